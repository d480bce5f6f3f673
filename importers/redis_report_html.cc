// SPDX-License-Identifier: Apache-2.0
//
// report.html: one file with everything in it, readable without a network.
#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>
#include <vector>

#include "importers/redis_report.h"

namespace vkb {
namespace {

using Bars = std::vector<std::pair<std::string, double>>;

constexpr std::string_view kStyle = R"(
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}
h1{font-size:1.6rem}h2{font-size:1.15rem;margin-top:2rem}
table{border-collapse:collapse}td,th{padding:.2rem .9rem .2rem 0;text-align:left;vertical-align:top}
td.n{text-align:right;font-variant-numeric:tabular-nums}
.ok{color:#106b2c}.bad{color:#a81717}.note{color:#555}
svg{max-width:100%;height:auto}svg text{font:13px system-ui,sans-serif;fill:#333}
)";
constexpr std::array<const char*, 6> kColours = {"#4063d8", "#389826", "#cb8b1c",
                                                 "#9558b2", "#389aa0", "#777777"};

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else if (c == '"') {
      out += "&quot;";
    } else {
      out += c;
    }
  }
  return out;
}

std::string decimal(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

std::string row(std::string_view name, const std::string& value) {
  return "<tr><td>" + escaped(name) + "</td><td class=\"n\">" + escaped(value) + "</td></tr>\n";
}

std::string row(std::string_view name, std::uint64_t value) { return row(name, grouped(value)); }

std::string section(std::string_view title, const std::string& body) {
  return "<h2>" + escaped(title) + "</h2>\n" + body;
}

std::string table(const std::string& rows) { return "<table>\n" + rows + "</table>\n"; }

// Horizontal bars with their value; `unit` follows the number.
std::string bar_plot(const Bars& bars, int digits, std::string_view unit) {
  double most = 0;
  for (const auto& [name, value] : bars) most = std::max(most, value);
  if (most <= 0) most = 1;
  const std::size_t height = bars.size() * 28 + 8;
  std::string svg =
      "<svg viewBox=\"0 0 760 " + std::to_string(height) + "\" width=\"760\" role=\"img\">\n";
  for (std::size_t i = 0; i < bars.size(); ++i) {
    const auto& [name, value] = bars[i];
    const double width = value / most * 400;
    const std::string y = std::to_string(i * 28 + 6);
    const std::string baseline = std::to_string(i * 28 + 21);
    svg += "<text x=\"190\" y=\"" + baseline + "\" text-anchor=\"end\">" + escaped(name) +
           "</text><rect x=\"200\" y=\"" + y + "\" width=\"" + decimal(width, 1) +
           "\" height=\"20\" fill=\"" + kColours[i % kColours.size()] + "\"/><text x=\"" +
           decimal(208 + width, 1) + "\" y=\"" + baseline + "\">" +
           (digits == 0 ? grouped(static_cast<std::uint64_t>(value)) : decimal(value, digits)) +
           escaped(unit) + "</text>\n";
  }
  return svg + "</svg>\n";
}

// Records over time, one line for each step.
std::string rate_plot(const std::vector<RatePoint>& points) {
  if (points.size() < 2) return "<p class=\"note\">Too short to plot.</p>\n";
  double last = 0;
  std::uint64_t most = 1;
  for (const RatePoint& point : points) {
    last = std::max(last, point.seconds);
    most = std::max(most, point.records);
  }
  if (last <= 0) last = 1;
  std::string svg =
      "<svg viewBox=\"0 0 760 300\" width=\"760\" role=\"img\">\n"
      "<path d=\"M70 10V260H750\" fill=\"none\" stroke=\"#999\"/>\n"
      "<text x=\"64\" y=\"20\" text-anchor=\"end\">" +
      grouped(most) +
      "</text><text x=\"64\" y=\"260\" text-anchor=\"end\">0</text>"
      "<text x=\"750\" y=\"280\" text-anchor=\"end\">" +
      decimal(last, 1) + " s</text><text x=\"70\" y=\"280\">0</text>\n";
  std::vector<std::string> steps;
  for (const RatePoint& point : points) {
    if (std::find(steps.begin(), steps.end(), point.step) == steps.end()) {
      steps.push_back(point.step);
    }
  }
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const char* const colour = kColours[i % kColours.size()];
    std::string path;
    for (const RatePoint& point : points) {
      if (point.step != steps[i]) continue;
      const double x = 70 + point.seconds / last * 680;
      const double y = 260 - static_cast<double>(point.records) / static_cast<double>(most) * 240;
      path += (path.empty() ? "M" : "L") + decimal(x, 1) + ' ' + decimal(y, 1);
    }
    const std::string x = std::to_string(90 + i * 150);
    svg += "<path d=\"" + path + "\" fill=\"none\" stroke=\"" + colour +
           "\" stroke-width=\"2\"/><rect x=\"" + x +
           "\" y=\"286\" width=\"12\" height=\"12\" fill=\"" + colour + "\"/><text x=\"" +
           std::to_string(108 + i * 150) + "\" y=\"297\">" + escaped(steps[i]) + "</text>\n";
  }
  return svg + "</svg>\n";
}

std::string verdict(const RedisImportResult& result) {
  if (!result.verification) {
    return "<p class=\"bad\"><b>Not verified</b> (--no-verify): do not delete anything in "
           "Redis.</p>\n";
  }
  const Verification& v = *result.verification;
  if (v.passed) {
    return "<p class=\"ok\"><b>Passed.</b> All " + grouped(v.records_proved) +
           " records are in the store, each rebuilt and found equal, byte for byte, to what Redis "
           "gave.</p>\n";
  }
  std::string out = "<p class=\"bad\"><b>Not passed.</b></p>\n<ul>\n";
  for (const std::string& problem : v.problems) out += "<li>" + escaped(problem) + "</li>\n";
  return out + "</ul>\n";
}

std::string counts_section(const RedisImportResult& result) {
  const SourceCounts& counts = result.counts;
  std::string rows = row("Keys of the knowledge base", result.records_seen) +
                     row("Imported now", counts.imported) +
                     row("Unchanged since an earlier import", counts.unchanged) +
                     row("Rejected", counts.rejected);
  for (const auto& [reason, count] : counts.reasons) rows += row("    " + reason, count);
  rows += row("Other keys under the prefix, left alone", counts.other_keys) +
          row("Vanished while reading (deleted or expired)", counts.vanished) +
          row("Metadata taken from hash fields, for want of JSON", counts.metadata_from_fields);
  std::string out = table(rows);
  if (!result.rejects_file.empty()) {
    out += "<p>What was rejected, with all its fields: <code>" + escaped(result.rejects_file) +
           "</code></p>\n";
  }
  return section("Records", out);
}

std::string texts_section(const SourceCounts& counts) {
  constexpr std::array<const char*, kTextSources> kNames = {
      "text field", "_node_content.text", "….text_resource.text", "empty text", "no text at all"};
  Bars bars;
  for (std::size_t i = 0; i < kTextSources; ++i) {
    bars.emplace_back(kNames[i], static_cast<double>(counts.texts[i]));
  }
  return section("Where the texts came from", bar_plot(bars, 0, ""));
}

std::string times_section(const RedisImportResult& result) {
  const RedisImportTimes& times = result.times;
  const Bars bars = {{"planning", times.planning},         {"backup", times.backup},
                     {"waiting for Redis", times.reading}, {"storing", times.storing},
                     {"finishing the graph", times.graph}, {"verification", times.verification}};
  const std::string facts =
      table(row("From start to end", decimal(times.total, 1) + " s") +
            row("Imported records a second, all included", decimal(result.vectors_per_second, 0)) +
            row("Read from Redis",
                decimal(static_cast<double>(result.counts.bytes_read) / 1e6, 1) + " MB") +
            row("Peak resident memory",
                decimal(static_cast<double>(result.peak_resident_bytes) / 1e6, 0) + " MB"));
  return section("Time", facts + bar_plot(bars, 1, " s")) +
         section("Records over time", rate_plot(result.rate));
}

std::string verification_section(const Verification& v) {
  std::string rows = row("Records taken from Redis", v.source_count) +
                     row("Records in the store", v.store_count) +
                     row("Records proved equal, byte for byte", v.records_proved) +
                     row("Records damaged", v.records_damaged) + row("Records missing", v.missing) +
                     row("Imported earlier, since gone from Redis", v.gone_from_source) +
                     row("In the store, but not from Redis", v.not_imported) +
                     row("Random records read again", v.samples_checked) +
                     row("    equal in every part", v.samples_equal) +
                     row("    with equal text", v.documents_equal) +
                     row("    changed in Redis meanwhile", v.samples_changed);
  std::string out = table(rows);
  if (v.overlap.queries > 0) {
    Bars bars = {{"store, exact answer", v.overlap.top10_overlap}};
    if (v.overlap.top10_overlap_default)
      bars.emplace_back("store, Redis as asked", *v.overlap.top10_overlap_default);
    if (v.overlap.source_recall_default)
      bars.emplace_back("Redis as asked, exact", *v.overlap.source_recall_default);
    out += "<p>Overlap of the top 10 over " + grouped(v.overlap.queries) +
           " random vectors. The exact answer " +
           (v.overlap.reference == "redis" ? "is RediSearch's own, by brute force."
                                           : "was computed from the vectors in Redis.") +
           "</p>\n" + bar_plot(bars, 3, "");
  }
  if (!v.poisoned.empty()) {
    out += "<p>" + count_of(v.poisoned.size(), "key") +
           " with a vector that spoils Redis's own answers (NaN, infinity, or zero under cosine), "
           "left out of the comparison: <code>";
    for (std::size_t i = 0; i < std::min<std::size_t>(v.poisoned.size(), 20); ++i) {
      out += (i == 0 ? "" : ", ") + escaped(escape_bytes(v.poisoned[i]));
    }
    out += v.poisoned.size() > 20 ? ", …</code></p>\n" : "</code></p>\n";
  }
  return section("Verification", out);
}

std::string source_section(const RedisImportResult& result) {
  const RedisPlan& plan = result.plan;
  const RedisMapping& mapping = plan.mapping;
  std::string out = table(
      row("Redis", result.source +
                       (result.redis_version.empty() ? "" : ", version " + result.redis_version)) +
      row("Index", plan.index ? escape_bytes(plan.index->name) : "none") +
      row("Layout", std::string(to_string(mapping.layout)) + (mapping.json ? ", JSON" : ", hash")) +
      row("Keys", escape_bytes(mapping.key_prefix) + "…") +
      row("Vectors", std::to_string(mapping.dim) + " x " + std::string(to_string(mapping.type)) +
                         ", " + std::string(to_string(plan.space))) +
      row("Graph", "M " + std::to_string(plan.m) + ", ef_construction " +
                       std::to_string(plan.ef_construction)));
  out += "<ul>\n";
  for (const std::string& note : plan.notes) out += "<li>" + escaped(note) + "</li>\n";
  return section("Source", out + "</ul>\n");
}

std::string rollback_section(const RedisImportResult& result, const std::string& store) {
  const std::string backup =
      result.backup ? result.backup->note : "No backup was asked for (--backup).";
  return section(
      "Going back",
      "<p>The import changed nothing in Redis. To go back, point the application at <code>" +
          escaped(result.source) +
          "</code> again; the store can be removed with its directory <code>" + escaped(store) +
          "</code>, or imported anew with <code>--fresh</code>. " + escaped(backup) +
          "</p>\n<p>When everything works: <code>vkb cleanup-redis --report " +
          escaped(result.report) +
          "</code> says what it would delete from Redis; with <code>--yes</code> it deletes "
          "exactly "
          "the keys proved above that are still unchanged.</p>\n");
}

}  // namespace

std::string report_html(const RedisImportResult& result, const std::string& store) {
  std::string html =
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>vkb import " +
      escaped(result.collection) + "</title><style>" + std::string(kStyle) +
      "</style></head><body>\n<h1>Import of " + escaped(result.collection) +
      "</h1>\n<p class=\"note\">" + escaped(result.source) + " → " + escaped(store) + ", begun " +
      escaped(result.began) + "</p>\n";
  html += verdict(result) + counts_section(result) + texts_section(result.counts);
  if (result.verification) html += verification_section(*result.verification);
  html += times_section(result) + source_section(result) + rollback_section(result, store);
  return html + "</body></html>\n";
}

}  // namespace vkb
