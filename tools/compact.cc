// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>

#include "server/json_text.h"
#include "tools/cli.h"

namespace vkb {
namespace {

int run_compact(Context& context) {
  Store store = context.open_to_write();
  Collection collection = context.open_collection(store);
  const CollectionInfo before = collection.info(InfoDetail::segments);
  const StoreInfo bytes_before = store.info();
  const auto begin = std::chrono::steady_clock::now();
  ProgressPrinter progress(context.quiet, "records");
  const bool finished = collection.compact(progress.function());
  progress.clear();
  if (!finished) {
    return context.stopped("nothing is lost; `vkb compact` again starts over");
  }
  const double seconds = milliseconds(begin, std::chrono::steady_clock::now()) / 1000;
  const std::size_t segments = collection.info(InfoDetail::segments).segments.size();
  const StoreInfo bytes_after = store.info();
  const std::uint64_t disk_before = bytes_before.database_bytes + bytes_before.segment_bytes;
  const std::uint64_t disk_after = bytes_after.database_bytes + bytes_after.segment_bytes;
  if (context.json) {
    context.out().write("{\"collection\":" + json_string(before.name) +
                        ",\"segments_before\":" + std::to_string(before.segments.size()) +
                        ",\"segments_after\":" + std::to_string(segments) +
                        ",\"bytes_before\":" + std::to_string(disk_before) + ",\"bytes_after\":" +
                        std::to_string(disk_after) + ",\"seconds\":" + json_fixed(seconds) + "}\n");
  } else {
    char time[32];
    std::snprintf(time, sizeof time, "%.1f s", seconds);
    context.out().write(before.name + ": " + std::to_string(before.segments.size()) + " -> " +
                        std::to_string(segments) + " segments, " + human_bytes(disk_before) +
                        " -> " + human_bytes(disk_after) + " on disk, in " + time + "\n");
  }
  return kExitDone;
}

}  // namespace

void register_compact(CLI::App& app, Context& context) {
  CLI::App* verb = app.add_subcommand(
      "compact", "Merge a collection into one segment and give back the disk of removed records");
  verb->footer(
      "Readers may go on meanwhile; programs that write must pause for a second. Needs free disk "
      "for\n"
      "a second copy.");
  verb->callback([&context] { context.run = [&context] { return run_compact(context); }; });
}

}  // namespace vkb
