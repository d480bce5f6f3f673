// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <memory>

#include "server/json_text.h"
#include "tools/cli.h"
#include "tools/embedding.h"
#include "tools/jsonl.h"

namespace vkb {
namespace {

constexpr std::size_t kBatchRecords = 1000;
constexpr std::uint32_t kMaxDim = 16384;
constexpr std::size_t kBatchBytes = std::size_t{64} << 20;  // of input: documents may be large

struct AddFlags {
  std::string jsonl;
  std::optional<std::string> space;
  std::optional<std::uint32_t> dim;
  std::uint32_t m = 16;
  std::uint32_t ef_construction = 200;
  EmbeddingFlags embedding;
};

// Reads lines, and stores them batch by batch; each batch is durable before the next is read. A
// store or collection that is not there is made when there is a batch for it.
class Adder {
 public:
  Adder(const AddFlags& flags, Context& context)
      : flags_(flags),
        context_(context),
        name_(flags.jsonl == "-" ? "stdin" : flags.jsonl),
        progress_(context.quiet, "records") {
    find_collection();
    dim_ = info_.options.dim;
  }

  int run() {
    LineReader lines(flags_.jsonl);
    try {
      for (std::string line; lines.next(line);) {
        last_line_ = lines.number();
        if (line.find_first_not_of(" \t") == std::string::npos) continue;
        take(line);
        batch_bytes_ += line.size();
        if (batch_.size() >= kBatchRecords || batch_bytes_ >= kBatchBytes) store_batch();
        if (!progress_.update("add", stored_, 0)) break;
      }
      if (!batch_.empty()) store_batch();
    } catch (const Error& error) {
      progress_.clear();
      if (stop_requested()) return stopped();
      throw Error(error.code(), std::string(error.what()) + "; " + outcome());
    }
    progress_.clear();
    if (stop_requested()) return stopped();
    make_collection();  // of no lines
    return report();
  }

 private:
  // Sets info_: of the collection, or of the one to make.
  void find_collection() {
    try {
      store_ = context_.open_to_write();
    } catch (const Error& error) {
      if (error.code() != ErrorCode::not_found) throw;
    }
    const std::string name = context_.collection_name().value_or("");
    std::vector<std::string> names;
    if (store_) names = store_->collections();
    const bool exists = std::find(names.begin(), names.end(), name) != names.end();
    if (exists || (name.empty() && !names.empty())) {
      collection_ = context_.open_collection(*store_);
      info_ = collection_->info(InfoDetail::records);
      return check_options(info_);
    }
    if (name.empty()) throw UsageError("name the collection to make with --collection");
    try {
      Store::check_collection_name(name);
    } catch (const Error& error) {
      throw UsageError(error.what());
    }
    info_.name = name;
    info_.options = {
        .space = flags_.space ? parse_space(*flags_.space) : Space::cosine,
        .dim = flags_.dim,
        .m = flags_.m,
        .ef_construction = flags_.ef_construction,
    };
    if (!flags_.embedding.model.empty()) info_.options.model = flags_.embedding.model;
  }

  void make_collection() {
    if (collection_) return;
    if (!store_) store_ = context_.open_to_write(true);
    const std::optional<std::string> model = info_.options.model;
    collection_ = store_->get_or_create_collection(info_.name, info_.options);
    info_ = collection_->info(InfoDetail::records);
    check_options(info_);  // another process may have made it
    if (model) set_model(*model);
  }

  // That of the vectors to store.
  void set_model(const std::string& model) {
    check_model(info_, model);
    if (info_.options.model) return;
    info_.options.model = model;
    if (collection_) collection_->modify({.model = model});
  }

  void check_options(const CollectionInfo& info) const {
    if (flags_.space && parse_space(*flags_.space) != info.options.space) {
      throw UsageError("--space " + *flags_.space + ": collection '" + info.name +
                       "' exists with space " + std::string(to_string(info.options.space)));
    }
    if (flags_.dim && info.options.dim && *flags_.dim != *info.options.dim) {
      throw UsageError("--dim " + std::to_string(*flags_.dim) + ": collection '" + info.name +
                       "' exists with dim " + std::to_string(*info.options.dim));
    }
    if (!flags_.embedding.model.empty()) check_model(info, flags_.embedding.model);
  }

  void take(const std::string& line) {
    if (batch_.empty()) batch_first_line_ = last_line_;
    Record record;
    try {
      record = parse_record_line(line);
    } catch (const Error& error) {
      throw Error(error.code(), at_line(last_line_) + error.what());
    }
    if (!record.embedding && !record.document) {
      throw Error(ErrorCode::invalid_argument,
                  at_line(last_line_) + "there is neither an \"embedding\" nor a \"document\"");
    }
    if (!record.embedding && !can_embed()) {
      throw Error(
          ErrorCode::invalid_argument,
          at_line(last_line_) +
              "there is no \"embedding\", and no embedding endpoint is configured (embedding "
              "in the configuration file, or --embed-url and --embed-model)");
    }
    if (record.embedding) check_dimension(*record.embedding, last_line_);
    batch_.push_back(std::move(record));
    batch_lines_.push_back(last_line_);
  }

  bool can_embed() { return embedding_configured(flags_.embedding, context_.config().embedding); }

  void check_dimension(const std::vector<float>& embedding, std::uint64_t line) {
    if (!dim_ && embedding.size() > kMaxDim) {
      throw Error(ErrorCode::invalid_argument,
                  at_line(line) + "the embedding has " + std::to_string(embedding.size()) +
                      " dimensions, expected at most " + std::to_string(kMaxDim));
    }
    if (!dim_) dim_ = static_cast<std::uint32_t>(embedding.size());
    if (embedding.size() == *dim_) return;
    throw Error(ErrorCode::invalid_argument, at_line(line) + "the embedding has " +
                                                 std::to_string(embedding.size()) +
                                                 " dimensions, expected " + std::to_string(*dim_));
  }

  void store_batch() {
    embed_missing();
    make_collection();
    try {
      collection_->upsert(batch_);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::invalid_argument) throw;  // of the store, not of the lines
      const bool one = batch_first_line_ == last_line_;
      throw Error(error.code(),
                  name_ + (one ? " line " : " lines ") + std::to_string(batch_first_line_) +
                      (one ? "" : " to " + std::to_string(last_line_)) + ": " + error.what());
    }
    stored_ += batch_.size();
    stored_line_ = last_line_;
    batch_.clear();
    batch_lines_.clear();
    batch_bytes_ = 0;
  }

  void embed_missing() {
    std::vector<std::size_t> places;
    std::vector<std::string> texts;
    for (std::size_t i = 0; i < batch_.size(); ++i) {
      if (batch_[i].embedding) continue;
      places.push_back(i);
      texts.push_back(*batch_[i].document);
    }
    if (texts.empty()) return;
    if (collection_) info_ = collection_->info(InfoDetail::records);
    const EmbeddingOptions options =
        embedding_options(flags_.embedding, context_.config().embedding, info_.options.model);
    check_model(info_, options.model);
    std::vector<std::vector<float>> vectors = embed(options, EmbeddingUse::document, texts);
    for (std::size_t i = 0; i < places.size(); ++i) {
      check_dimension(vectors[i], batch_lines_[places[i]]);
      batch_[places[i]].embedding = std::move(vectors[i]);
    }
    set_model(options.model);
  }

  std::string at_line(std::uint64_t line) const {
    return name_ + " line " + std::to_string(line) + ": ";
  }
  // What is in the store after an error.
  std::string outcome() const {
    if (stored_ == 0) return "nothing was stored";
    return "the " + with_commas(stored_) + " records of lines 1 to " +
           std::to_string(stored_line_) + " are stored, nothing after them";
  }
  int stopped() const {
    return context_.stopped(outcome() +
                            "; repeat the command to go on (what is stored is replaced "
                            "by the same)");
  }

  int report() {
    const std::string& name = info_.name;
    const std::uint64_t count = collection_->count();
    if (context_.json) {
      context_.out().write("{\"collection\":" + json_string(name) + ",\"stored\":" +
                           std::to_string(stored_) + ",\"count\":" + std::to_string(count) + "}\n");
    } else {
      context_.out().write("stored " + with_commas(stored_) + " records; " + name + " holds " +
                           with_commas(count) + "\n");
    }
    return kExitDone;
  }

  const AddFlags& flags_;
  Context& context_;
  std::string name_;
  std::optional<Store> store_;
  std::optional<Collection> collection_;
  CollectionInfo info_;
  std::optional<std::uint32_t> dim_;
  ProgressPrinter progress_;
  std::vector<Record> batch_;
  std::vector<std::uint64_t> batch_lines_;
  std::size_t batch_bytes_ = 0;
  std::uint64_t batch_first_line_ = 0;
  std::uint64_t last_line_ = 0;
  std::uint64_t stored_ = 0;
  std::uint64_t stored_line_ = 0;
};

}  // namespace

void register_add(CLI::App& app, Context& context) {
  const auto flags = std::make_shared<AddFlags>();
  CLI::App* verb = app.add_subcommand("add", "Store records from JSON lines (insert or update)");
  verb->add_option("--jsonl", flags->jsonl, "The lines; - reads stdin")
      ->required()
      ->type_name("FILE|-");
  verb->add_option("--space", flags->space, "Of a new collection: cosine, l2 or ip [cosine]")
      ->check(CLI::IsMember({"cosine", "l2", "ip"}))
      ->type_name("SPACE");
  verb->add_option("--dim", flags->dim, "Of a new collection [the first embedding's]")
      ->check(CLI::Range(std::uint32_t{1}, kMaxDim).description(""))
      ->type_name("N");
  verb->add_option("--m", flags->m, "Of a new collection: neighbours a node, 2 to 512 [16]")
      ->check(CLI::Range(2, 512).description(""))
      ->type_name("N");
  verb->add_option("--ef-construction", flags->ef_construction,
                   "Of a new collection: care taken in building the graph [200]")
      ->check(CLI::Range(1, 100000).description(""))
      ->type_name("N");
  add_embedding_flags(*verb, flags->embedding);
  verb->footer(
      "A line is {\"id\", \"embedding\"?, \"document\"?, \"metadata\"?, \"uri\"?}. A document "
      "without an\n"
      "embedding is embedded by the configured endpoint. Exit code 0 means: all is on disk.\n"
      "Examples:\n"
      "  vkb add --jsonl notes.jsonl --collection notes\n"
      "  vkb export --jsonl - --path a | vkb add --jsonl - --path b --collection copy");
  verb->callback([flags, &context] {
    context.run = [flags, &context] { return Adder(*flags, context).run(); };
  });
}

}  // namespace vkb
