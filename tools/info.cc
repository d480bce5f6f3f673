// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <map>
#include <memory>

#include "server/json_text.h"
#include "tools/cli.h"

namespace vkb {
namespace {

int run_count(Context& context) {
  const Store store = context.open_to_read();
  const Collection collection = context.open_collection(store);
  const std::string count = std::to_string(collection.count());
  context.out().write(
      context.json ? "{\"collection\":" + json_string(collection.info(InfoDetail::records).name) +
                         ",\"count\":" + count + "}\n"
                   : count + "\n");
  return kExitDone;
}

std::string dim_json(const CollectionOptions& options) {
  return options.dim ? std::to_string(*options.dim) : "null";
}
std::string model_json(const CollectionOptions& options) {
  return options.model ? json_string(*options.model) : "null";
}

int run_collections(Context& context) {
  const Store store = context.open_to_read();
  std::string json = "{\"collections\":[";
  bool first = true;
  for (const std::string& name : store.collections()) {
    const Collection collection = store.collection(name);
    const CollectionOptions options = collection.info(InfoDetail::records).options;
    const std::uint64_t rows = collection.count();
    if (context.json) {
      json += (first ? "" : ",") + ("{\"name\":" + json_string(name)) +
              ",\"rows\":" + std::to_string(rows) + ",\"dim\":" + dim_json(options) +
              ",\"space\":" + json_string(to_string(options.space)) +
              ",\"model\":" + model_json(options) + "}";
    } else {
      context.out().write(name + "  " + with_commas(rows) + " records" +
                          (options.dim ? "  dim " + std::to_string(*options.dim) : "") + "  " +
                          std::string(to_string(options.space)) +
                          (options.model ? "  " + one_line(*options.model, 60) : "") + "\n");
    }
    first = false;
  }
  if (context.json) context.out().write(json + "]}\n");
  if (first && !context.json) context.note("no collections");
  return kExitDone;
}

// Sums over segments, by kind of section, and the database.
std::map<std::string, std::uint64_t> bytes_by_kind(const CollectionInfo& info,
                                                   const StoreInfo& store) {
  std::map<std::string, std::uint64_t> bytes;
  bytes["database"] = store.database_bytes;
  for (const CollectionInfo::Segment& segment : info.segments) {
    std::uint64_t rest = segment.byte_count;
    for (const auto& [kind, size] : segment.sections) {
      bytes[kind] += size;
      rest -= std::min(rest, size);
    }
    bytes["headers"] += rest;
  }
  return bytes;
}

std::uint64_t resident_bytes(const CollectionInfo& info) {
  std::uint64_t bytes = 0;
  for (const CollectionInfo::Segment& segment : info.segments) bytes += segment.resident_bytes;
  return bytes;
}

std::string segment_json(const CollectionInfo::Segment& segment) {
  std::string json = "{\"file\":" + json_string(segment.file) +
                     ",\"rows\":" + std::to_string(segment.row_count) +
                     ",\"tombstones\":" + std::to_string(segment.tombstone_count) +
                     ",\"bytes\":" + std::to_string(segment.byte_count) +
                     ",\"resident_bytes\":" + std::to_string(segment.resident_bytes) +
                     ",\"has_graph\":" + (segment.has_graph ? "true" : "false") + ",\"sections\":{";
  for (std::size_t i = 0; i < segment.sections.size(); ++i) {
    const auto& [kind, bytes] = segment.sections[i];
    json += (i == 0 ? "" : ",") + json_string(kind) + ":" + std::to_string(bytes);
  }
  return json + "}}";
}

std::string info_json(const CollectionInfo& info, const StoreInfo& store,
                      const std::string& directory) {
  const CollectionOptions& options = info.options;
  std::string json =
      "{\"collection\":" + json_string(info.name) + ",\"uuid\":" + json_string(info.uuid) +
      ",\"rows\":" + std::to_string(info.record_count) + ",\"dim\":" + dim_json(options) +
      ",\"space\":" + json_string(to_string(options.space)) + ",\"model\":" + model_json(options) +
      ",\"m\":" + std::to_string(options.m) +
      ",\"ef_construction\":" + std::to_string(options.ef_construction) +
      ",\"ef_search\":" + std::to_string(options.ef_search) +
      ",\"metadata\":" + (options.metadata ? to_json(*options.metadata) : "null") +
      ",\"unsealed\":" + std::to_string(info.unsealed_count) +
      ",\"tombstones\":" + std::to_string(info.tombstone_count) + ",\"segments\":[";
  for (std::size_t i = 0; i < info.segments.size(); ++i) {
    json += (i == 0 ? "" : ",") + segment_json(info.segments[i]);
  }
  json += "],\"bytes_by_kind\":{";
  bool first = true;
  for (const auto& [kind, bytes] : bytes_by_kind(info, store)) {
    json += (first ? "" : ",") + json_string(kind) + ":" + std::to_string(bytes);
    first = false;
  }
  return json + "},\"resident_bytes\":" + std::to_string(resident_bytes(info)) +
         ",\"store\":{\"path\":" + json_string(directory) +
         ",\"database_bytes\":" + std::to_string(store.database_bytes) +
         ",\"segment_bytes\":" + std::to_string(store.segment_bytes) +
         ",\"schema_version\":" + std::to_string(store.schema_version) +
         ",\"writer\":" + (store.writer.empty() ? "null" : json_string(store.writer)) + "}}\n";
}

void write_info(Output& out, const CollectionInfo& info, const StoreInfo& store,
                const std::string& directory) {
  const CollectionOptions& options = info.options;
  const auto line = [&out](std::string label, const std::string& text) {
    label.resize(18, ' ');
    out.write(label + text + "\n");
  };
  line("collection", info.name + " (" + info.uuid + ")");
  line("rows", with_commas(info.record_count) + " (" + with_commas(info.unsealed_count) +
                   " not sealed yet, " + with_commas(info.tombstone_count) +
                   " tombstones to compact)");
  line("dim", options.dim ? std::to_string(*options.dim) : "not known yet");
  line("space", std::string(to_string(options.space)));
  if (options.model) line("model", one_line(*options.model, 100));
  line("graph", "M " + std::to_string(options.m) + ", ef_construction " +
                    std::to_string(options.ef_construction) + ", ef " +
                    std::to_string(options.ef_search));
  line("segments", std::to_string(info.segments.size()));
  for (const CollectionInfo::Segment& segment : info.segments) {
    line("  " + segment.file.substr(0, 8), with_commas(segment.row_count) + " rows, " +
                                               human_bytes(segment.byte_count) + ", " +
                                               human_bytes(segment.resident_bytes) + " resident" +
                                               (segment.has_graph ? "" : ", no graph yet"));
  }
  line("on disk", human_bytes(store.database_bytes + store.segment_bytes) + " in " + directory);
  for (const auto& [kind, bytes] : bytes_by_kind(info, store)) {
    line("  " + kind, human_bytes(bytes));
  }
  line("resident", human_bytes(resident_bytes(info)) + " of the segments");
  line("writer", store.writer.empty() ? "none" : one_line(store.writer, 100));
}

int run_info(Context& context) {
  const Store store = context.open_to_read();
  const CollectionInfo info = context.open_collection(store).info();
  if (context.json) {
    context.out().write(info_json(info, store.info(), store.directory()));
  } else {
    write_info(context.out(), info, store.info(), store.directory());
  }
  return kExitDone;
}

void register_plain(CLI::App& app, Context& context, const char* name, const char* description,
                    int (*run)(Context&)) {
  app.add_subcommand(name, description)->callback([run, &context] {
    context.run = [run, &context] { return run(context); };
  });
}

}  // namespace

void register_count(CLI::App& app, Context& context) {
  register_plain(app, context, "count", "Print how many records there are", run_count);
}

void register_collections(CLI::App& app, Context& context) {
  register_plain(app, context, "collections", "List the collections of the store", run_collections);
}

void register_info(CLI::App& app, Context& context) {
  register_plain(app, context, "info",
                 "Show a collection: rows, segments, bytes on disk by kind, what is resident",
                 run_info);
}

}  // namespace vkb
