// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <memory>

#include "server/json_text.h"
#include "tools/cli.h"

namespace vkb {
namespace {

constexpr std::size_t kTextWidth = 100;

struct GetFlags {
  std::vector<std::string> ids;
  std::string where;
  std::string where_document;
  std::optional<std::uint64_t> limit;
  std::uint64_t offset = 0;
  std::string include = "documents,metadatas";
};

int run_get(const GetFlags& flags, Context& context) {
  GetOptions options{.offset = flags.offset, .limit = flags.limit};
  if (!flags.ids.empty()) options.ids = flags.ids;
  bool distances = false;  // accepted, as in Chroma, and without meaning here
  options.include = parse_include(flags.include, distances);
  options.filter = make_filter(flags.where, flags.where_document);

  const Store store = context.open_to_read();
  const std::vector<Record> records = context.open_collection(store).get(options);
  Output& out = context.out();
  if (context.json) {
    std::vector<const Record*> rows;
    for (const Record& record : records) rows.push_back(&record);
    const auto write = [&out](std::string_view text) { out.write(text); };
    write("{");
    write_columns(write, {rows}, false, options.include);
    write_include(write, options.include, false);
    out.write("}\n");
    return kExitDone;
  }
  for (const Record& record : records) {
    out.write(one_line(record.id, kTextWidth) + "\n");
    write_record_text(out, record, options.include);
  }
  if (records.empty()) context.note("no records");
  return kExitDone;
}

}  // namespace

void register_get(CLI::App& app, Context& context) {
  const auto flags = std::make_shared<GetFlags>();
  CLI::App* verb = app.add_subcommand("get", "Show records by id or by condition");
  add_id_option(*verb, flags->ids, "Only these records");
  verb->add_option("--where", flags->where, "Condition on metadata, as in Chroma")
      ->type_name("JSON");
  verb->add_option("--where-document", flags->where_document, "Condition on the document")
      ->type_name("JSON");
  verb->add_option("--limit", flags->limit, "At most so many")
      ->check(CLI::Range(kLargestCount).description(""))
      ->type_name("N");
  verb->add_option("--offset", flags->offset, "Leave out the first N")
      ->check(CLI::Range(kLargestCount).description(""))
      ->type_name("N");
  verb->add_option("--include", flags->include,
                   "Of documents,metadatas,embeddings,uris [the first two]")
      ->type_name("LIST");
  verb->footer(
      "Records come in the order of their insertion; ids that do not exist are left out.\n"
      "Examples:\n"
      "  vkb get --id node-17 --id node-18 --include documents,embeddings --json\n"
      "  vkb get --where '{\"lang\": \"en\"}' --where-document '{\"$contains\": \"seal\"}' --limit "
      "5");
  verb->callback(
      [flags, &context] { context.run = [flags, &context] { return run_get(*flags, context); }; });
}

}  // namespace vkb
