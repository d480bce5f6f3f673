// SPDX-License-Identifier: Apache-2.0
//
// vkb: an embedded, on-disk vector engine. This header is the whole interface; the vocabulary it
// uses (Error, Value, Metadata, Filter) is in the three small headers it includes.
//
//   vkb::Store store = vkb::Store::open("kb");
//   vkb::Collection notes = store.get_or_create_collection("notes", {.dim = 768});
//   std::vector<vkb::Record> records = {{.id = "a", .embedding = embed(text), .document = text}};
//   notes.upsert(records);
//   for (const vkb::Hit& hit : notes.query(embed(question), {.k = 5})) show(hit);
//
// Durability: when a writing call returns, its effect survives a crash of the process or the
// machine. Visibility: a reading call sees one state of the whole store, everything committed
// before it began, by this process or another. Errors: every call may throw std::bad_alloc, or
// vkb::Error with `corruption` (damage on disk), `io_error`, and, when it writes, `busy` (another
// process is the writer); further codes stand at the call. Thread safety: all methods of Store and
// Collection, from any thread. Processes: any number may read; one writes at a time, and takes the
// writer lock with its first write, not by opening. A Store does not survive fork(): a child can
// neither use it nor open its directory, and is told so: `unsupported`. Close it before, or exec.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "storage/error.h"
#include "storage/filter.h"
#include "storage/value.h"

namespace vkb {

class FileSystem;    // storage/file.h: replaced by tests only
struct Explanation;  // engine/explanation.h
class OpenStore;
struct OpenCollection;
inline constexpr std::string_view kDefaultTenant = "default_tenant";
inline constexpr std::string_view kDefaultDatabase = "default_database";

// How distance is measured; smaller is nearer.
//   cosine  1 - a.b / (|a| |b|), so a zero vector has distance 1 to everything
//   l2      sum of (a - b)^2, without the root
//   ip      1 - a.b
enum class Space : std::uint8_t { cosine = 0, l2 = 1, ip = 2 };
std::string_view to_string(Space space) noexcept;
Space parse_space(std::string_view name);  // throws invalid_argument

// One entry of a collection. What is absent was not given, not stored, or not asked for.
struct Record {
  std::string id{};                               // UTF-8, not empty, unique in its collection
  std::optional<std::vector<float>> embedding{};  // dim floats, kept bit for bit as given
  std::optional<std::string> document{};          // UTF-8; may hold NUL
  std::optional<Metadata> metadata{};
  std::optional<std::string> uri{};
  std::optional<std::string> origin{};  // bytes an importer keeps about where the record came from
};

struct Hit {
  Record record;
  float distance = 0;
};

struct Include {  // what the records of an answer carry besides their id
  bool documents = true;
  bool metadatas = true;
  bool embeddings = false;
  bool uris = false;
  bool origins = false;
};

struct GetOptions {
  std::optional<std::vector<std::string>> ids{};  // only these; unknown ones are skipped
  std::optional<Filter> filter{};
  std::uint64_t offset = 0;  // applied after ids and filter
  std::optional<std::uint64_t> limit{};
  Include include{};
};

struct QueryOptions {
  std::uint32_t k = 10;
  std::uint32_t ef = 0;  // beam width of the graph search; 0: the collection's; at least k is used
  bool exact = false;    // compare with every vector instead of walking the graph
  std::optional<std::vector<std::string>> ids{};  // only these
  std::optional<Filter> filter{};
  Include include{};
  Explanation* explain = nullptr;  // replaced by what the query did, when given
};

struct CollectionOptions {
  Space space = Space::cosine;
  std::optional<std::uint32_t> dim{};  // 1..16384; taken from the first embedding when absent
  std::uint32_t m = 16;                // neighbours a node, 2..512; level 0 has twice as many
  std::uint32_t ef_construction = 200;
  std::uint32_t ef_search = 192;
  std::optional<std::string> model{};  // the embedding model's name, when known
  std::optional<Metadata> metadata{};
  std::optional<std::string> extra{};  // kept for a front end (the Chroma API); vkb never reads it
};

// Called between steps of long work, from the thread that asked for it; returns false to stop at
// the next safe point, keeping what is complete. total is 0 when unknown.
struct Progress {
  std::string_view step;  // "load", "index", "build", "copy", "check"
  std::uint64_t done = 0;
  std::uint64_t total = 0;
};
using ProgressFunction = std::function<bool(const Progress&)>;

// Where Collection::load takes records from. load() calls it from one thread, not the caller's.
class Source {
 public:
  virtual ~Source() = default;
  // Replaces `batch` with the next records; returns false when there are none left.
  virtual bool next(std::vector<Record>& batch) = 0;
  // About how many records there are, 0 when unknown; to reserve memory and show progress.
  virtual std::uint64_t size_hint() const { return 0; }
};

struct LoadResult {
  std::uint64_t records = 0;   // stored, new or replaced
  std::uint64_t replaced = 0;  // of them, those whose id was there before
  bool stopped = false;        // the progress function asked to stop; whole batches were kept
  double source_seconds = 0;   // waiting for Source::next
  double store_seconds = 0;    // segments and transactions of the batches
  double build_seconds = 0;    // graph building after the last batch
};

// What info() looks at, each more than the one before; what it does not look at is 0 or empty:
// what SQLite knows; also segments, unsealed_count, tombstone_count; also resident_bytes, O(bytes).
enum class InfoDetail : std::uint8_t { records, segments, residency };

struct CollectionInfo {
  std::string name, uuid;
  std::string tenant, database;
  CollectionOptions options;  // dim is set once the first embedding came
  std::uint64_t record_count = 0;
  std::uint64_t unsealed_count = 0;  // records whose vector is still in the log
  std::uint64_t tombstone_count = 0;
  // Keys that records have or had, with "string", "int", "float" or "bool", also for arrays of it.
  std::vector<std::pair<std::string, std::string_view>> metadata_keys;
  struct Segment {
    std::string file;
    std::uint64_t row_count = 0;
    std::uint64_t tombstone_count = 0;
    std::uint64_t byte_count = 0;
    std::uint64_t resident_bytes = 0;
    bool has_graph = false;
    std::vector<std::pair<std::string, std::uint64_t>> sections;  // kind, bytes
  };
  std::vector<Segment> segments;
};

struct StoreInfo {
  std::uint64_t database_bytes = 0;  // vkb.sqlite3 with its -wal and -shm
  std::uint64_t segment_bytes = 0;
  int schema_version = 0;
  std::string writer;  // "pid 123 (vkb import-redis)" while a process holds the lock, else ""
};

struct Problem {
  std::string object;  // "segment 7f3a….vseg", "record 'a'", "collection notes"
  std::string message;
  bool repairable = false;  // by Store::repair(), without losing data
};

struct CheckResult {
  std::vector<Problem> problems;
  std::uint64_t segments = 0, records = 0, orphans = 0;  // orphans: files nothing names
  std::uint64_t bytes = 0;                               // read and compared with their checksums
  std::optional<double> recall{};  // deep: the share of a sample of records that find themselves
};

struct BackupResult {           // of what engine/backup.h restores
  bool stopped = false;         // the progress function asked to stop; nothing has changed
  std::uint64_t bytes = 0;      // of all files of the backup
  std::uint64_t new_bytes = 0;  // of those that were not there: the database, and new segments
};

class Collection {
 public:
  CollectionInfo info(InfoDetail detail = InfoDetail::residency) const;  // throws not_found
  const std::string& uuid() const noexcept;

  // Adds records, each with an embedding; one whose id exists, or came earlier in the batch, is
  // left as it is. All or nothing. Throws invalid_argument, naming the record, for an empty or
  // non-UTF-8 id, a wrong dimension, NaN or infinity; not_found when the collection was deleted.
  void add(std::span<const Record> records);
  // Inserts records, or updates those whose id exists: an absent document or uri stays as it was,
  // metadata is merged key by key. Throws as add().
  void upsert(std::span<const Record> records);
  // As upsert, but ids that do not exist are ignored and the embedding may be absent.
  void update(std::span<const Record> records);
  std::uint64_t remove(std::span<const std::string> ids);  // returns how many there were
  // Removes what `filter` matches, in get order, at most `limit`, and only among `ids` when given.
  std::uint64_t remove(const Filter& filter, std::optional<std::uint64_t> limit = {},
                       std::optional<std::span<const std::string>> ids = {});
  std::vector<Record> get(const GetOptions& options = {}) const;  // in insertion order
  std::uint64_t count() const;                                    // O(1): touches no segment
  // Calls `visit` for each record in insertion order, in bounded memory, until it returns false.
  void for_each(const Include& include, const std::function<bool(Record&&)>& visit) const;
  // The k records nearest to `query` (dim floats, finite, need not be unit length), nearest first;
  // fewer when fewer match. Distances are exact, whichever way the candidates were found. Throws
  // invalid_argument for a wrong dimension. A collection without embeddings answers with none.
  std::vector<Hit> query(std::span<const float> query, const QueryOptions& options = {}) const;
  // The same for several vectors, on one state of the store.
  std::vector<std::vector<Hit>> query_batch(std::span<const std::vector<float>> queries,
                                            const QueryOptions& options = {}) const;
  // Stores all records of `source`, batch by batch, the next being asked for while one is made
  // durable; a record whose id exists is replaced as a whole. Graphs are built meanwhile, and at
  // the end one segment with a graph holds the collection. After a crash the complete batches are
  // there, and load() or compact() finishes the graph. Passes on what `source` or `progress`
  // throws; an error of the document index comes last, records and graph complete, or on a stop.
  LoadResult load(Source& source, const ProgressFunction& progress = {});
  // Seals the log and merges all segments into one with a graph, leaving removed records behind,
  // and gives disk back. Returns false when stopped. Safe beside readers and writers.
  bool compact(const ProgressFunction& progress = {});
  // Erases what was removed or replaced, all once true is returned. Throws busy beside readers.
  bool purge(const ProgressFunction& progress = {});
  void wait_for_maintenance();  // until the background thread has nothing left to do
  // Renames, or replaces, where given. Throws already_exists, invalid_argument.
  struct Changes {
    std::optional<std::string> name{};
    std::optional<Metadata> metadata{};
    std::optional<std::uint32_t> ef_search{};
    std::optional<std::string> model{};
    std::optional<std::string> extra{};
  };
  void modify(const Changes& changes);

 private:
  friend class Store;
  Collection(std::shared_ptr<OpenStore> store, std::shared_ptr<OpenCollection> open);
  std::shared_ptr<OpenStore> store_;
  std::shared_ptr<OpenCollection> open_;
};

struct OpenOptions {
  bool read_only = false;    // writing calls throw unsupported
  bool create = true;        // make the directory and an empty store when there is none
  bool abandon_log = false;  // of a damaged log take what can be read; the last writes are lost
  std::chrono::milliseconds lock_timeout{5000};  // a write waits for another process's lock
  std::uint64_t memory_limit = 0;  // bytes, 64 MB or more: engine/memory_budget.h; 0: none
  FileSystem* file_system = nullptr;
};

// A directory with collections. Copies share one open store, closed with the last of all handles.
class Store {
 public:
  // Throws not_found (no store, and `create` is false), unsupported (a newer vkb wrote it).
  static Store open(const std::string& directory, const OpenOptions& options = {});
  const std::string& directory() const noexcept;
  void create_tenant(const std::string& name);
  bool has_tenant(const std::string& name) const;
  // The tenant need not exist, as in Chroma.
  void create_database(const std::string& name, std::string_view tenant = kDefaultTenant);
  void delete_database(const std::string& name, std::string_view tenant = kDefaultTenant);
  std::vector<std::string> databases(std::string_view tenant = kDefaultTenant) const;
  std::string database_uuid(const std::string& name, std::string_view tenant) const;
  // 3-512 of [a-zA-Z0-9._-], starting and ending with a letter or digit, no "..", no IP address.
  static void check_collection_name(const std::string& name);  // throws invalid_argument
  // Throws already_exists, invalid_argument; not_found when there is no such database.
  Collection create_collection(const std::string& name, const CollectionOptions& options = {},
                               std::string_view database = kDefaultDatabase,
                               std::string_view tenant = kDefaultTenant);
  // These throw not_found.
  Collection collection(const std::string& name, std::string_view database = kDefaultDatabase,
                        std::string_view tenant = kDefaultTenant) const;
  Collection collection_by_uuid(const std::string& uuid) const;
  std::vector<Collection> all_collections() const;  // of every tenant and database
  Collection get_or_create_collection(const std::string& name,
                                      const CollectionOptions& options = {},
                                      std::string_view database = kDefaultDatabase,
                                      std::string_view tenant = kDefaultTenant);
  std::vector<std::string> collections(std::string_view database = kDefaultDatabase,
                                       std::string_view tenant = kDefaultTenant) const;
  void delete_collection(const std::string& name, std::string_view database = kDefaultDatabase,
                         std::string_view tenant = kDefaultTenant);
  void reset();  // deletes everything; the default tenant and database are there again
  void purge();  // erases what deleted collections left; see Collection::purge
  StoreInfo info() const;
  // Looks for damage: SQLite's quick check, each segment's header, size and references; deep: also
  // every checksum, every record against its vector, every code, every link and where links lead.
  CheckResult check(bool deep, const ProgressFunction& progress = {}) const;
  // Rebuilds graphs, codes, indexes. Records whose vectors are damaged are named and stay; with
  // `lost`, which gets what is left of them first, they are removed. Returns check(true)'s result.
  using LostFunction = std::function<void(const Collection&, std::span<const Record>)>;
  CheckResult repair(const ProgressFunction& progress = {}, const LostFunction& lost = {});
  // Copies a snapshot, with a manifest of hashes, into a directory outside the store that is new or
  // has its backup, whole until it is replaced (else throws already_exists), hard-linking segments.
  BackupResult backup(const std::string& destination, const ProgressFunction& progress = {}) const;

 private:
  explicit Store(std::shared_ptr<OpenStore> open);
  std::shared_ptr<OpenStore> open_;
};
}  // namespace vkb
