// SPDX-License-Identifier: Apache-2.0
//
// `vkb check --erased`: whether bytes are anywhere in a store's files. Reads them as any program
// would: what the store makes of them does not matter.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "server/json_text.h"
#include "tools/byte_search.h"
#include "tools/cli.h"

namespace vkb {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kReadBytes = std::size_t{1} << 20;
// Places that are worth naming one by one; more are counted.
constexpr std::size_t kMostNamed = 100;
// Fewer bytes are found by accident in any file of some size.
constexpr std::size_t kShortBytes = 4;

struct Wanted {
  std::string name;  // "id 'n1'", "text of FILE"
  ByteSearch search;
};

struct Place {
  std::string what;
  std::string file;
  std::uint64_t offset;
};

[[noreturn]] void throw_unreadable(const fs::path& path) {
  throw Error(ErrorCode::io_error, path.string() + ": cannot read: " + std::strerror(errno));
}

// Visits the file's bytes, whatever becomes of it meanwhile.
void read_file(const fs::path& path, const std::function<void(std::string_view)>& visit) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw_unreadable(path);
  std::string buffer(kReadBytes, '\0');
  while (file.read(buffer.data(), static_cast<std::streamsize>(buffer.size())) ||
         file.gcount() > 0) {
    visit(std::string_view(buffer).substr(0, static_cast<std::size_t>(file.gcount())));
  }
  if (file.bad()) throw_unreadable(path);
}

std::vector<Wanted> wanted_of(const std::vector<std::string>& ids,
                              const std::vector<std::string>& text_files, const Context& context) {
  std::vector<Wanted> wanted;
  for (const std::string& id : ids) {
    if (id.empty()) throw UsageError("check: --erased: an id is not empty");
    if (id.size() < kShortBytes) {
      context.note("vkb: '" + id + "' is so short that other data may hold it by accident");
    }
    wanted.push_back({"id '" + id + "'", ByteSearch(id)});
  }
  for (const std::string& name : text_files) {
    std::string text;
    read_file(name, [&](std::string_view bytes) { text += bytes; });
    if (text.ends_with('\n')) text.pop_back();  // an editor's, more often than the text's
    if (text.empty()) throw UsageError("check: --erased-text: " + name + " is empty");
    wanted.push_back({"text of " + name, ByteSearch(text)});
  }
  return wanted;
}

std::vector<fs::path> files_of(const fs::path& store) {
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(store)) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

struct Findings {
  std::vector<Place> places;  // the first kMostNamed
  std::uint64_t count = 0;
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
};

// Returns false when a signal stopped it.
bool look_into(const fs::path& store, std::vector<Wanted>& wanted, ProgressPrinter& progress,
               Findings& findings) {
  const std::vector<fs::path> files = files_of(store);
  std::uint64_t total = 0;
  for (const fs::path& file : files) {
    std::error_code gone;
    const std::uint64_t bytes = fs::file_size(file, gone);
    if (!gone) total += bytes;
  }
  for (const fs::path& file : files) {
    for (Wanted& each : wanted) each.search.start();
    const std::string name = file.lexically_relative(store).string();
    bool go_on = true;
    read_file(file, [&](std::string_view bytes) {
      go_on = go_on && progress.update("check", findings.bytes, total);
      if (!go_on) return;
      findings.bytes += bytes.size();
      for (Wanted& each : wanted) {
        each.search.look_at(bytes, [&](std::uint64_t offset) {
          if (++findings.count <= kMostNamed) findings.places.push_back({each.name, name, offset});
        });
      }
    });
    if (!go_on) return false;
    ++findings.files;
  }
  return true;
}

std::string findings_json(const Findings& findings) {
  std::string found;
  for (const Place& place : findings.places) {
    found += (found.empty() ? "" : ",") + ("{\"what\":" + json_string(place.what)) +
             ",\"file\":" + json_string(place.file) +
             ",\"offset\":" + std::to_string(place.offset) + "}";
  }
  return std::string("{\"erased\":") + (findings.count == 0 ? "true" : "false") +
         ",\"files\":" + std::to_string(findings.files) +
         ",\"bytes\":" + std::to_string(findings.bytes) +
         ",\"count\":" + std::to_string(findings.count) + ",\"found\":[" + found + "]}\n";
}

}  // namespace

int check_erased(const std::vector<std::string>& ids, const std::vector<std::string>& text_files,
                 Context& context) {
  std::vector<Wanted> wanted = wanted_of(ids, text_files, context);
  const std::string store = context.open_to_read().directory();  // says when there is none
  ProgressPrinter progress(context.quiet, "bytes");
  Findings findings;
  const bool complete = look_into(store, wanted, progress, findings);
  progress.clear();
  if (!complete) return context.stopped("the check is not complete; repeat it");
  Output& out = context.out();
  const int code = findings.count == 0 ? kExitDone : kExitFailed;
  if (context.json) {
    out.write(findings_json(findings));
    return code;
  }
  for (const Place& place : findings.places) {
    out.write(safe_message(place.what + ": found in " + place.file + " at " +
                           std::to_string(place.offset)) +
              "\n");
  }
  if (findings.count > findings.places.size()) {
    out.write("and in " + with_commas(findings.count - findings.places.size()) + " more places\n");
  }
  out.write((findings.count == 0 ? "erased: not in any of " : "not erased: looked at ") +
            std::to_string(findings.files) + " files, " + human_bytes(findings.bytes) + "\n");
  return code;
}

}  // namespace vkb
