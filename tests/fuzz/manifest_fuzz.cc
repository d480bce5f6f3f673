// SPDX-License-Identifier: Apache-2.0
//
// Rows of vkb.sqlite3 as no vkb writes them. The first byte tells whether the store is written to
// as well; then come edits of rows. What check() calls sound must answer, and answer right;
// whatever it does not, must answer or say why not.
#include <array>
#include <cmath>
#include <fstream>
#include <optional>
#include <set>
#include <vector>

#include "engine/vkb.h"
#include "storage/sqlite.h"
#include "tests/fuzz/input.h"
#include "tests/support/test_data.h"

namespace {

using namespace vkb;

struct Table {
  const char* name;
  const char* key;  // tells one row
  std::vector<const char*> columns;
};
const std::vector<Table>& tables() {
  static const std::vector<Table> all = {
      {"segment",
       "segment_id",
       {"segment_id", "collection_id", "file", "row_count", "byte_count", "checksum", "has_graph"}},
      {"collection",
       "collection_id",
       {"collection_id", "uuid", "database_id", "name", "dim", "space", "m", "ef_construction",
        "ef_search", "model", "metadata", "extra", "record_count", "last_seq", "manifest_version",
        "changes"}},
      {"tombstone", "segment_id, slot", {"segment_id", "slot", "seq"}},
      {"vector_log", "seq", {"seq", "collection_id", "row_id", "vector"}},
      {"record",
       "row_id",
       {"row_id", "collection_id", "id", "uri", "origin", "metadata", "document"}},
      {"metadata_key", "key_id", {"key_id", "collection_id", "key", "kind"}},
      {"posting_block",
       "block_id",
       {"block_id", "key_id", "first_value", "last_value", "entry_count", "rows", "entries"}},
      {"posting", "key_id, value, row_id", {"key_id", "value", "row_id"}},
      {"posting_removed", "key_id, value, row_id", {"key_id", "value", "row_id"}},
      {"document_index", "collection_id", {"collection_id", "indexed_through"}},
      {"document_pending", "row_id", {"row_id", "collection_id", "document"}},
      {"database", "database_id", {"database_id", "uuid", "tenant", "name"}},
      {"tenant", "name", {"name"}}};
  return all;
}

Record record(int i) {
  Record out{
      .id = "r" + std::to_string(i),
      .embedding = std::vector{static_cast<float>(i % 5), static_cast<float>(i), 1.0F, -2.0F},
      .document = "text number " + std::to_string(i),
      .metadata = Metadata{{"n", std::int64_t{i}},
                           {"half", i * 0.5},
                           {"s", std::string(i % 3 == 0 ? "x" : "y")},
                           {"even", i % 2 == 0},
                           {"list", std::vector<std::int64_t>{i, 7}}}};
  if (i % 8 == 0) out.metadata->emplace("long", std::string(600, static_cast<char>('a' + i % 26)));
  if (i % 7 == 0) out.uri = "file:///" + out.id;
  if (i % 6 == 0) out.origin = "{}";
  return out;
}

// A store with sealed rows, some of them dead, a log, and all indexes; put back for each input.
class ManifestStore {
 public:
  ManifestStore() {
    {
      Store store = Store::open(path());
      Collection first = store.create_collection("first", {.space = Space::l2, .m = 3});
      std::vector<Record> records;
      for (int i = 0; i < 40; ++i) records.push_back(record(i));
      first.add(records);
      first.compact();
      first.remove(std::vector<std::string>{"r3", "r4", "r20"});
      records = {record(5), record(6), record(50), record(51), record(52)};
      records[0].embedding = std::vector{9.0F, 9.0F, 9.0F, 9.0F};
      records[1].document = "another text";
      first.upsert(records);
      store.create_database("other");
      records = {{.id = "a", .embedding = std::vector{1.0F}},
                 {.id = "b", .embedding = std::vector{2.0F}}};
      store.create_collection("second", {.metadata = Metadata{{"made", true}}}, "other")
          .add(records);
    }
    database_ = read_whole_file(path() + "/vkb.sqlite3");
    for (const auto& entry : std::filesystem::directory_iterator(path() + "/segments")) {
      segments_.emplace_back(entry.path(), read_whole_file(entry.path()));
    }
  }

  const std::string& path() const noexcept { return directory_.path(); }
  void put_back() const {
    for (const char* suffix : {"-wal", "-shm"}) {
      std::filesystem::remove(path() + "/vkb.sqlite3" + suffix);
    }
    write_whole_file(path() + "/vkb.sqlite3", database_);
    for (const auto& entry : std::filesystem::directory_iterator(path() + "/segments")) {
      std::filesystem::remove(entry.path());
    }
    for (const auto& [file, bytes] : segments_) write_whole_file(file, bytes);
  }

 private:
  FuzzDirectory directory_;
  std::string database_;
  std::vector<std::pair<std::string, std::string>> segments_;
};

// What is bound in place of a column's value.
using Cell =
    std::variant<std::monostate, std::int64_t, double, std::string, std::vector<std::byte>>;

std::vector<std::byte> bytes_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

// The value that a row has, with some of it changed.
Cell changed(Database& db, const std::string& select, std::int64_t row, Input& input) {
  const auto at = input.number<std::uint16_t>();
  const std::string_view bytes = input.short_text();
  Statement found(db, select);
  found.bind(row);
  if (!found.step()) return {};
  const bool is_blob = found.is_blob(0);
  std::string value(found.text(0));
  if (value.empty()) return {};
  const std::size_t from = at % value.size();
  if (bytes.empty()) {
    value.resize(from);
  } else {
    value.replace(from, bytes.size(), bytes);
  }
  if (is_blob) return bytes_of(value);
  return value;
}

Cell cell(Database& db, const std::string& select, std::int64_t row, Input& input) {
  switch (input.byte() % 8) {
    case 0:
      return {};
    case 1:
      return std::int64_t{input.number<std::int8_t>()};
    case 2:
      return input.number<std::int64_t>();
    case 3:
      return input.number<double>();
    case 4:
      return std::string(input.short_text());
    case 5:
      return bytes_of(input.long_text());
    default:
      return changed(db, select, row, input);
  }
}

// Updates, deletes or doubles one row of one table.
void edit(Database& db, Input& input) {
  const std::uint8_t what = input.byte();
  const Table& table = tables()[input.byte() % tables().size()];
  const std::int64_t row = input.byte();
  const std::string column = table.columns[input.byte() % table.columns.size()];
  const std::string in = std::string(" FROM ") + table.name;
  const std::string one = in + " LIMIT 1 OFFSET ?1 % max(1, (SELECT count(*)" + in + "))";
  const std::string where =
      std::string(" WHERE (") + table.key + ")=(SELECT " + table.key + one + ")";
  if (what % 8 == 7) {
    Statement(db, "DELETE" + in + where).bind(row).run();
    return;
  }
  const Cell value = cell(db, "SELECT " + column + one, row, input);
  if (what % 8 < 5) {
    Statement(db, std::string("UPDATE ") + table.name + " SET " + column + "=?2" + where)
        .bind(row, value)
        .run();
    return;
  }
  std::string names;
  std::string values;
  for (const char* name : table.columns) {
    names += std::string(names.empty() ? "" : ",") + name;
    values += std::string(values.empty() ? "" : ",") + (name == column ? "?2" : name);
  }
  Statement(db, std::string("INSERT OR REPLACE INTO ") + table.name + "(" + names + ") SELECT " +
                    values + one)
      .bind(row, value)
      .run();
}

void edit_all(const std::string& directory, Input& input) {
  Database db(directory + "/vkb.sqlite3", Database::Mode::copy);
  db.execute("PRAGMA synchronous=OFF; BEGIN");
  for (int edits = 0; !input.empty() && edits < 50; ++edits) {
    try {
      edit(db, input);
    } catch (const Error&) {
      // A constraint of the schema, which SQLite keeps.
    }
  }
  db.execute("COMMIT");
}

// Runs `question`, which may throw an Error unless the store is sound.
template <typename Question>
void attempt(bool sound, const Question& question) {
  try {
    question();
  } catch (const Error& error) {
    require(!sound);
    require(*error.what() != '\0');
  }
}

// What a filter selects, and what of all records it should.
template <typename Matches>
void expect_filtered(const Collection& collection, const std::vector<Record>& all, bool sound,
                     const Filter& filter, const Matches& matches) {
  const std::vector<Record> found = collection.get({.filter = filter, .include = {}});
  if (!sound) return;
  std::size_t next = 0;
  for (const Record& one : all) {
    if (!matches(one)) continue;
    require(next < found.size() && found[next].id == one.id);
    ++next;
  }
  require(next == found.size());
}

template <typename T>
bool has(const Record& record, const char* key, const auto& holds) {
  if (!record.metadata) return false;
  const auto found = record.metadata->find(key);
  const auto* value = found == record.metadata->end() ? nullptr : std::get_if<T>(&found->second);
  return value != nullptr && holds(*value);
}

void ask(const Collection& collection, bool sound) {
  std::vector<Record> all;
  attempt(sound, [&] {
    all = collection.get({.include = {.embeddings = true, .uris = true, .origins = true}});
    std::set<std::string> ids;
    for (const Record& one : all) require(ids.insert(one.id).second || !sound);
    require(!sound || collection.count() == all.size());
  });
  CollectionInfo info;
  attempt(sound, [&] { info = collection.info(); });
  attempt(sound, [&] {
    std::size_t visited = 0;
    collection.for_each({.embeddings = true}, [&](Record&&) { return ++visited > 0; });
    require(!sound || visited == all.size());
  });
  const std::vector<float> query(all.empty() ? 4 : all.front().embedding->size(), 0.5F);
  const std::vector<std::string> ids = {"r1", "r5", "r50", "a", "none"};
  const Filter at_least_30 = parse_where(R"({"n":{"$gte":30}})");
  for (const QueryOptions& options :
       {QueryOptions{.k = 5}, QueryOptions{.k = 100, .exact = true},
        QueryOptions{.k = 5, .ids = ids}, QueryOptions{.k = 5, .filter = at_least_30}}) {
    attempt(sound, [&] {
      const std::vector<Hit> hits = collection.query(query, options);
      require(hits.size() <= options.k);
      for (std::size_t i = 0; i < hits.size(); ++i) {
        require(!sound || i == 0 || hits[i - 1].distance <= hits[i].distance);
      }
      require(!sound || options.k < 100 || hits.size() == std::min<std::size_t>(all.size(), 100));
    });
  }
  attempt(sound, [&] {
    expect_filtered(collection, all, sound, at_least_30, [](const Record& one) {
      const auto enough = [](auto value) { return value >= 30; };
      return has<std::int64_t>(one, "n", enough) || has<double>(one, "n", enough);
    });
  });
  attempt(sound, [&] {
    expect_filtered(collection, all, sound, parse_where(R"({"s":"x"})"), [](const Record& one) {
      return has<std::string>(one, "s", [](const std::string& text) { return text == "x"; });
    });
  });
  attempt(sound, [&] {
    const Filter filter = parse_where_document(R"({"$contains":"number 3"})");
    expect_filtered(collection, all, sound, filter, [](const Record& one) {
      return one.document && one.document->find("number 3") != std::string::npos;
    });
  });
}

// Whether check() has nothing to say.
bool read_all(const std::string& directory) {
  bool sound = false;
  attempt(false, [&] {
    const Store store = Store::open(directory, {.read_only = true});
    bool checked = false;
    attempt(false, [&] {
      sound = store.check(true).problems.empty();
      checked = true;
    });
    attempt(false, [&] { store.check(false); });
    attempt(checked, [&] { store.info(); });
    attempt(false, [&] { store.collection("first"); });
    attempt(false, [&] { store.collections("other"); });
    attempt(sound, [&] {
      for (const Collection& collection : store.all_collections()) ask(collection, sound);
    });
  });
  return sound;
}

void write_all(const std::string& directory, bool sound) {
  attempt(false, [&] {
    Store store = Store::open(directory);
    for (Collection& collection : store.all_collections()) {
      attempt(false, [&] {
        // The dimension may be another one.
        const auto records = collection.get({.limit = 2, .include = {.embeddings = true}});
        collection.upsert(records);
        collection.remove(std::vector<std::string>{"r5", "r7"});
      });
      attempt(false, [&] { collection.remove(parse_where(R"({"n":{"$gt":35}})")); });
      attempt(false, [&] { collection.compact(); });
    }
    if (sound) require(store.check(true).problems.empty());
    attempt(false, [&] { store.repair(); });
    attempt(false, [&] {
      for (Collection& collection : store.all_collections()) collection.wait_for_maintenance();
    });
    attempt(false, [&] { store.delete_collection("first"); });
  });
}

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const ManifestStore store;
  Input input(data, size);
  const bool writes = input.byte() % 4 == 1;
  store.put_back();
  edit_all(store.path(), input);
  const bool sound = read_all(store.path());
  if (writes) write_all(store.path(), sound);
  return 0;
}
