// SPDX-License-Identifier: Apache-2.0
//
// The report directory of an import:
//   report.json    everything below, for programs
//   report.html    the same for people, with plots; needs nothing from elsewhere
//   keys.tsv       a line for each key that is imported and proved: escaped key, tab, Hash128 of
//                  its fields. `vkb cleanup-redis` deletes from it.
//   rejects.jsonl  unless another place was given: what was not taken
// No file holds a password.
#pragma once

#include <string>

#include "importers/redis_import.h"

namespace vkb {

inline constexpr int kReportVersion = 1;

// The JSON document that `vkb import-redis --json` prints (docs/cli.md).
std::string import_result_json(const RedisImportResult& result);
// report.json and report.html.
std::string report_json(const RedisImportResult& result, const std::string& store);
std::string report_html(const RedisImportResult& result, const std::string& store);

// What `vkb cleanup-redis` needs of a report.
struct ImportReport {
  bool passed = false;
  std::string source;
  std::string index;  // "" when there was none
  bool json = false;
  std::uint64_t keys = 0;
  std::string keys_digest;
};
// Throws not_found when the directory has no report, corruption when it is none of ours.
ImportReport read_report(const std::string& directory);

}  // namespace vkb
