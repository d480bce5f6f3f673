// SPDX-License-Identifier: Apache-2.0
//
// Filters as they come from users. The first byte chooses where, where_document or a search's
// filter; what parses is evaluated on a small collection; a filter or itself must match what it
// matches.
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>

#include "engine/vkb.h"

namespace {

using namespace vkb;

// A store that lives as long as the process.
struct Fixture {
  std::string directory = (std::filesystem::temp_directory_path() / "vkb-fuzz-XXXXXX").string();
  Collection collection = [this] {
    if (mkdtemp(directory.data()) == nullptr) std::abort();
    Collection empty = Store::open(directory).create_collection("fuzzed");
    std::vector<Record> records;
    for (int i = 0; i < 20; ++i) {
      records.push_back({.id = "r" + std::to_string(i),
                         .embedding = std::vector{1.0F},
                         .document = "text number " + std::to_string(i),
                         .metadata = Metadata{{"a", std::int64_t{i}},
                                              {"b", i * 0.5},
                                              {"c", std::string(i % 2 == 0 ? "x" : "y")},
                                              {"d", i % 3 == 0},
                                              {"e", std::vector<std::int64_t>{i, i + 1}}}});
    }
    empty.add(records);
    return empty;
  }();
  ~Fixture() { std::filesystem::remove_all(directory); }
};

std::size_t matches(Filter filter) {
  static const Fixture fixture;
  return fixture.collection
      .get({.ids = {}, .filter = std::move(filter), .offset = 0, .limit = {}, .include = {}})
      .size();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    const Filter filter = data[0] % 3 == 0   ? parse_where(text)
                          : data[0] % 3 == 1 ? parse_where_document(text)
                                             : parse_search_filter(text);
    if (matches(filter) > 20) std::abort();
    if (matches(Filter::combine(Filter::Op::any_of, {filter, filter})) != matches(filter)) {
      std::abort();
    }
  } catch (const Error& error) {
    if (error.code() != ErrorCode::invalid_argument) std::abort();
  }
  return 0;
}
