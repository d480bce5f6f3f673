// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>

#include "engine/explanation.h"
#include "server/json_text.h"
#include "tools/cli.h"
#include "tools/embedding.h"
#include "tools/npy.h"

namespace vkb {
namespace {

using Clock = std::chrono::steady_clock;
using Vectors = std::vector<std::vector<float>>;

constexpr std::size_t kTextWidth = 100;

struct QueryFlags {
  std::string text;
  std::string vector;
  std::string vector_file;
  std::string like;
  std::uint32_t k = 10;
  std::uint32_t ef = 0;
  bool exact = false;
  bool explain = false;
  bool any_model = false;
  std::string where;
  std::string where_document;
  std::string include = "documents,metadatas,distances";
  EmbeddingFlags embedding;
};

Vectors embed_text(const QueryFlags& flags, Context& context, const CollectionInfo& info) {
  EmbeddingOptions options;
  try {
    options = embedding_options(flags.embedding, context.config().embedding, info.options.model);
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
  if (!flags.any_model) check_model(info, options.model);
  Vectors vectors = embed(options, EmbeddingUse::query, std::span(&flags.text, 1));
  const std::size_t dim = vectors.front().size();
  if (info.options.dim && *info.options.dim != dim) {
    throw Error(ErrorCode::invalid_argument,
                "model '" + options.model + "' gives vectors of " + std::to_string(dim) +
                    " dimensions, but collection '" + info.name + "' holds " +
                    std::to_string(*info.options.dim) +
                    "; embed with the model the collection was made with (--model)");
  }
  return vectors;
}

Vectors read_vector_file(const std::string& file) {
  const Matrix<float> matrix = read_npy_floats(file);
  Vectors vectors;
  for (std::size_t row = 0; row < matrix.rows; ++row) {
    vectors.emplace_back(matrix.row(row), matrix.row(row) + matrix.columns);
  }
  return vectors;
}

Vectors query_vectors(const QueryFlags& flags, Context& context, const Collection& collection) {
  if (!flags.text.empty()) return embed_text(flags, context, collection.info(InfoDetail::records));
  if (!flags.vector_file.empty()) return read_vector_file(flags.vector_file);
  if (!flags.vector.empty()) {
    try {
      return parse_vectors(flags.vector);
    } catch (const Error& error) {
      throw UsageError(std::string("--vector: ") + error.what());
    }
  }
  const Include embeddings{.documents = false, .metadatas = false, .embeddings = true};
  std::vector<Record> found =
      collection.get({.ids = std::vector<std::string>{flags.like}, .include = embeddings});
  if (found.empty() || !found.front().embedding) {
    throw Error(ErrorCode::not_found, "--like: there is no record '" + flags.like +
                                          "' in collection '" +
                                          collection.info(InfoDetail::records).name + "'");
  }
  return {std::move(*found.front().embedding)};
}

void check_dimensions(const Vectors& vectors, const Collection& collection) {
  const CollectionInfo info = collection.info(InfoDetail::records);
  for (const std::vector<float>& vector : vectors) {
    if (info.options.dim && vector.size() != *info.options.dim) {
      throw Error(ErrorCode::invalid_argument, "the query has " + std::to_string(vector.size()) +
                                                   " dimensions, but collection '" + info.name +
                                                   "' holds vectors of " +
                                                   std::to_string(*info.options.dim));
    }
  }
}

// Among hits as near as the first, the record that was asked about comes first.
void put_first(std::vector<Hit>& hits, const std::string& id) {
  const auto found =
      std::find_if(hits.begin(), hits.end(), [&](const Hit& hit) { return hit.record.id == id; });
  if (found != hits.end() && found->distance == hits.front().distance) {
    std::rotate(hits.begin(), found, found + 1);
  }
}

struct Answer {
  std::vector<std::vector<Hit>> hits;     // one list a query
  double elapsed_ms = 0;                  // searching, all queries
  double open_ms = 0;                     // opening the store and the collection
  std::vector<Explanation> explanations;  // one a query, when asked for
};

std::string json_of(const Explanation::Segment& segment) {
  std::string json = "{\"file\":";
  append_json(json, segment.file);
  json += ",\"plan\":";
  append_json(json, segment.plan);
  for (const auto& [name, count] : {std::pair("rows", segment.rows),
                                    {"selected", segment.selected},
                                    {"estimated", segment.estimated},
                                    {"ranked", segment.ranked},
                                    {"compared", segment.compared}}) {
    json += ",\"" + std::string(name) + "\":" + std::to_string(count);
  }
  return json + ",\"search_us\":" + json_fixed(segment.search_us) + "}";
}

std::string json_of(const Explanation& explained) {
  std::string json = "{\"ef\":" + std::to_string(explained.ef) +
                     ",\"log_rows\":" + std::to_string(explained.log_rows) + ",\"filter\":";
  json += !explained.has_filter         ? "null"
          : explained.filter_from_cache ? "\"from cache\""
                                        : "\"compiled\"";
  json += ",\"segments\":[";
  for (const Explanation::Segment& segment : explained.segments) {
    if (json.back() != '[') json += ',';
    json += json_of(segment);
  }
  return json + "],\"snapshot_us\":" + json_fixed(explained.snapshot_us) +
         ",\"filter_us\":" + json_fixed(explained.filter_us) +
         ",\"search_us\":" + json_fixed(explained.search_us) +
         ",\"records_us\":" + json_fixed(explained.records_us) +
         ",\"total_us\":" + json_fixed(explained.total_us) + "}";
}

void write_explanation(Output& out, const Explanation& explained) {
  const auto microseconds = [](double us) { return json_fixed(us) + " us"; };
  out.write("plan, ef " + std::to_string(explained.ef) + ":\n");
  for (const Explanation::Segment& segment : explained.segments) {
    out.write("  " + segment.file + ": " + std::string(segment.plan) + ", " +
              with_commas(segment.selected) + " of " + with_commas(segment.rows) + " rows, " +
              with_commas(segment.estimated) + " met by one-bit codes, " +
              with_commas(segment.ranked) + " ranked by codes, " + with_commas(segment.compared) +
              " compared exactly, " + microseconds(segment.search_us) + "\n");
  }
  out.write("  log: " + with_commas(explained.log_rows) + " rows\n");
  std::string filter = ", no filter";
  if (explained.has_filter) {
    filter = std::string(", filter ") +
             (explained.filter_from_cache ? "from cache " : "compiled ") +
             microseconds(explained.filter_us);
  }
  out.write("time: snapshot " + microseconds(explained.snapshot_us) + filter + ", search " +
            microseconds(explained.search_us) + ", records " + microseconds(explained.records_us) +
            ", in all " + microseconds(explained.total_us) + "\n");
}

void write_json(Output& out, const Answer& answer, const Include& include, bool distances) {
  std::vector<std::vector<const Record*>> groups;
  for (const std::vector<Hit>& hits : answer.hits) {
    groups.emplace_back();
    for (const Hit& hit : hits) groups.back().push_back(&hit.record);
  }
  const auto write = [&out](std::string_view text) { out.write(text); };
  write("{");
  write_columns(write, groups, true, include);
  distances ? write_distances(write, answer.hits) : write(",\"distances\":null");
  write_include(write, include, distances);
  out.write(",\"elapsed_ms\":" + json_fixed(answer.elapsed_ms) +
            ",\"open_ms\":" + json_fixed(answer.open_ms));
  for (std::size_t i = 0; i < answer.explanations.size(); ++i) {
    out.write((i == 0 ? ",\"explain\":[" : ",") + json_of(answer.explanations[i]));
  }
  out.write(answer.explanations.empty() ? "}\n" : "]}\n");
}

void write_text(Output& out, const Answer& answer, const Include& include, bool distances) {
  std::size_t results = 0;
  for (std::size_t query = 0; query < answer.hits.size(); ++query) {
    if (answer.hits.size() > 1) out.write("query " + std::to_string(query) + "\n");
    std::size_t rank = 0;
    for (const Hit& hit : answer.hits[query]) {
      const double distance = hit.distance;
      char head[64];
      if (distances) {
        // Rounding may leave a distance just below 0, which "-0.0000" would make look odd.
        std::snprintf(head, sizeof head, "%3zu  %.4f  ", ++rank,
                      distance < 0 && distance > -5e-5 ? 0.0 : distance);
      } else {
        std::snprintf(head, sizeof head, "%3zu  ", ++rank);
      }
      out.write(head + one_line(hit.record.id, kTextWidth) + "\n");
      write_record_text(out, hit.record, include);
    }
    if (!answer.explanations.empty()) write_explanation(out, answer.explanations[query]);
    results += answer.hits[query].size();
  }
  char line[96];
  std::snprintf(line, sizeof line, "%zu result%s in %.2f ms (store opened in %.2f ms)\n", results,
                results == 1 ? "" : "s", answer.elapsed_ms, answer.open_ms);
  out.write(line);
}

int run_query(const QueryFlags& flags, Context& context) {
  QueryOptions options{.k = flags.k, .ef = flags.ef, .exact = flags.exact};
  bool distances = false;
  options.include = parse_include(flags.include, distances);
  options.filter = make_filter(flags.where, flags.where_document);
  static_cast<void>(context.path());  // reads the configuration, which is not opening the store

  Answer answer;
  const Clock::time_point begin = Clock::now();
  const Store store = context.open_to_read();
  const Collection collection = context.open_collection(store);
  answer.open_ms = milliseconds(begin, Clock::now());

  const Vectors vectors = query_vectors(flags, context, collection);
  check_dimensions(vectors, collection);
  for (const std::vector<float>& vector : vectors) {
    if (flags.explain) options.explain = &answer.explanations.emplace_back();
    const Clock::time_point started = Clock::now();
    answer.hits.push_back(collection.query(vector, options));
    answer.elapsed_ms += milliseconds(started, Clock::now());
    if (!flags.like.empty()) put_first(answer.hits.back(), flags.like);
  }
  if (context.json) {
    write_json(context.out(), answer, options.include, distances);
  } else {
    write_text(context.out(), answer, options.include, distances);
  }
  return kExitDone;
}

}  // namespace

void register_query(CLI::App& app, Context& context) {
  const auto flags = std::make_shared<QueryFlags>();
  CLI::App* verb = app.add_subcommand("query", "Find the records nearest to a text or a vector");
  CLI::Option_group* what = verb->add_option_group("what", "One of:");
  what->add_option("--text", flags->text, "Text, embedded by the configured endpoint")
      ->type_name("T");
  what->add_option("--vector", flags->vector, "Vector as JSON, [0.1, …], or several")
      ->type_name("JSON");
  what->add_option("--vector-file", flags->vector_file,
                   "NumPy file, float32 or float16, [n, dim]; one answer a row")
      ->type_name("F.npy");
  what->add_option("--like", flags->like, "The stored vector of this record")->type_name("ID");
  what->require_option(1);
  for (CLI::Option* option : what->get_options()) {
    option->check(CLI::Validator(
        [](const std::string& given) { return std::string(given.empty() ? "is empty" : ""); }, ""));
  }
  verb->add_option("-k,--k", flags->k, "How many results, 1 to 10000 [10]")
      ->check(CLI::Range(1, 10000).description(""))
      ->type_name("N");
  verb->add_option("--ef", flags->ef, "Beam width of the search: more is slower, finds more")
      ->check(CLI::Range(1, 1000000).description(""))
      ->type_name("N");
  verb->add_flag("--exact", flags->exact, "Compare with every vector instead");
  verb->add_flag("--explain", flags->explain,
                 "Also say how: the plan for each segment, rows met, time of each part");
  verb->add_option("--where", flags->where, "Condition on metadata, as in Chroma")
      ->type_name("JSON");
  verb->add_option("--where-document", flags->where_document, "Condition on the document")
      ->type_name("JSON");
  verb->add_option("--include", flags->include,
                   "Of documents,metadatas,distances,embeddings,uris [the first three]")
      ->type_name("LIST");
  add_embedding_flags(*verb, flags->embedding);
  verb->add_flag("--any-model", flags->any_model,
                 "Search even if the collection was embedded with another model");
  verb->footer(
      "Examples:\n"
      "  vkb query --text 'how is a segment sealed?' -k 3\n"
      "  vkb query --vector '[0.1, 0.2, 0.3]' --where '{\"page\": {\"$gte\": 10}}'\n"
      "  vkb query --like node-17 --include documents,distances --json");
  verb->callback([flags, &context] {
    context.run = [flags, &context] { return run_query(*flags, context); };
  });
}

}  // namespace vkb
