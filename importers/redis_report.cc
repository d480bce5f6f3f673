// SPDX-License-Identifier: Apache-2.0
#include "importers/redis_report.h"

#include <nlohmann/json.hpp>

#include "importers/line_file.h"

namespace vkb {
namespace {

using Json = nlohmann::ordered_json;

Json or_null(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

Json or_null(const std::optional<double>& number) { return number ? Json(*number) : Json(nullptr); }

Json backup_json(const std::optional<RedisBackup>& backup) {
  if (!backup) return nullptr;
  return {{"file", or_null(backup->file)},
          {"note", backup->note},
          {"saved_at", backup->saved_at},
          {"seconds", backup->seconds}};
}

Json verification_json(const std::optional<Verification>& verification) {
  if (!verification) return nullptr;
  const Verification& v = *verification;
  Json poisoned = Json::array();
  for (const std::string& key : v.poisoned) {
    if (poisoned.size() < 100) poisoned.push_back(escape_bytes(key));
  }
  return {{"source_count", v.source_count},
          {"store_count", v.store_count},
          {"count_ok", v.count_ok},
          {"missing", v.missing},
          {"gone_from_source", v.gone_from_source},
          {"not_imported", v.not_imported},
          {"records_proved", v.records_proved},
          {"records_damaged", v.records_damaged},
          {"samples_checked", v.samples_checked},
          {"samples_equal", v.samples_equal},
          {"samples_changed", v.samples_changed},
          {"documents_equal", v.documents_equal},
          {"queries", v.overlap.queries},
          {"top10_overlap", v.overlap.queries > 0 ? Json(v.overlap.top10_overlap) : Json(nullptr)},
          {"overlap_reference", or_null(v.overlap.reference)},
          {"top10_overlap_default", or_null(v.overlap.top10_overlap_default)},
          {"source_recall_default", or_null(v.overlap.source_recall_default)},
          {"poisoned", v.poisoned.size()},
          {"poisoned_keys", std::move(poisoned)},
          {"problems", v.problems},
          {"passed", v.passed},
          {"seconds", v.seconds}};
}

Json plan_json(const RedisPlan& plan) {
  Json prefixes = Json::array();
  for (const std::string& prefix : plan.scan_prefixes) prefixes.push_back(escape_bytes(prefix));
  const RedisMapping& mapping = plan.mapping;
  Json rejected = Json::object();
  for (const auto& [reason, count] : plan.sample.rejected) rejected[reason] = count;
  return {{"layout", to_string(mapping.layout)},
          {"storage", mapping.json ? "json" : "hash"},
          {"scan_prefixes", std::move(prefixes)},
          {"key_prefix", escape_bytes(mapping.key_prefix)},
          {"vector_field", escape_bytes(mapping.vector_field)},
          {"text_field", escape_bytes(mapping.text_field)},
          {"id_field", escape_bytes(mapping.id_field)},
          {"vector_type", to_string(mapping.type)},
          {"dim", mapping.dim},
          {"space", to_string(plan.space)},
          {"m", plan.m},
          {"ef_construction", plan.ef_construction},
          {"sampled_keys", plan.sample.keys},
          {"sampled_records", plan.sample.good},
          {"sampled_with_text", plan.sample.with_text},
          {"sampled_rejected", std::move(rejected)},
          {"notes", plan.notes}};
}

Json texts_json(const SourceCounts& counts) {
  Json texts = Json::object();
  for (std::size_t i = 0; i < kTextSources; ++i) {
    texts[std::string(to_string(static_cast<TextSource>(i)))] = counts.texts[i];
  }
  return texts;
}

// The members docs/cli.md promises.
Json result_json(const RedisImportResult& result) {
  Json reasons = Json::object();
  for (const auto& [reason, count] : result.counts.reasons) reasons[reason] = count;
  return {{"collection", result.collection},
          {"source", result.source},
          {"index", result.plan.index ? Json(escape_bytes(result.plan.index->name)) : Json()},
          {"dry_run", result.dry_run},
          {"stopped", result.stopped},
          {"records_seen", result.records_seen},
          {"imported", result.counts.imported},
          {"unchanged", result.counts.unchanged},
          {"rejected", result.counts.rejected},
          {"rejected_by_reason", std::move(reasons)},
          {"rejects_file", or_null(result.rejects_file)},
          {"other_keys_under_prefix", result.counts.other_keys},
          {"vanished", result.counts.vanished},
          {"documents_with_text", result.counts.with_text()},
          {"text_sources", texts_json(result.counts)},
          {"metadata_from_fields", result.counts.metadata_from_fields},
          {"seconds", result.times.total},
          {"vectors_per_second", result.vectors_per_second},
          {"backup", backup_json(result.backup)},
          {"verification", verification_json(result.verification)},
          {"plan", plan_json(result.plan)},
          {"report", or_null(result.report)}};
}

Json rollback_json(const RedisImportResult& result, const std::string& store) {
  return {{"redis", "the import changed nothing in Redis: point the application at " +
                        result.source + " again and it works as before"},
          {"delete_collection", "vkb import-redis --fresh imports anew; removing the directory " +
                                    store + " removes the whole store"},
          {"backup", result.backup ? result.backup->note
                                   : std::string("no backup was asked for (--backup)")}};
}

}  // namespace

std::string import_result_json(const RedisImportResult& result) {
  return result_json(result).dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string report_json(const RedisImportResult& result, const std::string& store) {
  Json report = {{"report_version", kReportVersion}, {"began", result.began}};
  const Json members = result_json(result);
  for (const auto& [name, value] : members.items()) report[name] = value;
  report["store"] = store;
  report["collection_uuid"] = result.collection_uuid;
  report["redis_version"] = or_null(result.redis_version);
  report["breakdown_seconds"] = {
      {"planning", result.times.planning}, {"backup", result.times.backup},
      {"reading", result.times.reading},   {"storing", result.times.storing},
      {"graph", result.times.graph},       {"verification", result.times.verification},
      {"total", result.times.total}};
  report["bytes_read"] = result.counts.bytes_read;
  report["peak_resident_bytes"] = result.peak_resident_bytes;
  Json rate = Json::array();
  for (const RatePoint& point : result.rate) {
    rate.push_back({{"step", point.step}, {"seconds", point.seconds}, {"records", point.records}});
  }
  report["rate"] = std::move(rate);
  if (result.verification) {
    report["keys"] = {{"file", "keys.tsv"},
                      {"count", result.verification->records_proved},
                      {"digest", result.verification->keys_digest},
                      {"digest_of", "XXH3-128 over the sorted XXH3-128 hashes of the keys"}};
  }
  report["rollback"] = rollback_json(result, store);
  return report.dump(2, ' ', false, Json::error_handler_t::replace) + '\n';
}

ImportReport read_report(const std::string& directory) {
  const std::string path = directory + "/report.json";
  const Json report = Json::parse(read_whole_file(path), nullptr, false);
  const auto refuse = [&](const std::string& why) {
    throw Error(ErrorCode::corruption, path + ": " + why);
  };
  if (!report.is_object() || !report.contains("report_version")) {
    refuse("not the report of an import");
  }
  try {
    if (report.at("report_version") != kReportVersion) {
      throw Error(ErrorCode::unsupported, path + ": written by a newer vkb");
    }
    ImportReport out;
    out.source = report.at("source").get<std::string>();
    if (report.at("index").is_string()) {
      out.index = unescape_bytes(report.at("index").get<std::string>());
    }
    out.json = report.at("plan").at("storage") == "json";
    if (report.at("verification").is_object()) {
      out.passed = report.at("verification").at("passed").get<bool>();
      out.keys = report.at("keys").at("count").get<std::uint64_t>();
      out.keys_digest = report.at("keys").at("digest").get<std::string>();
    }
    return out;
  } catch (const Json::exception& error) {
    refuse(error.what());
  }
  return {};
}

}  // namespace vkb
