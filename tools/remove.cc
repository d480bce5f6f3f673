// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <memory>

#include "tools/cli.h"

namespace vkb {
namespace {

struct DeleteFlags {
  std::vector<std::string> ids;
  std::string where;
  std::string where_document;
};

int run_delete(const DeleteFlags& flags, Context& context) {
  const std::optional<Filter> filter = make_filter(flags.where, flags.where_document);
  if (flags.ids.empty() && !filter) {
    throw UsageError("delete: say which records with --id or --where; nothing was deleted");
  }
  Store store = context.open_to_write();
  Collection collection = context.open_collection(store);
  std::uint64_t deleted = 0;
  if (!filter) {
    deleted = collection.remove(flags.ids);
  } else if (flags.ids.empty()) {
    deleted = collection.remove(*filter);
  } else {
    deleted = collection.remove(*filter, {}, std::span<const std::string>(flags.ids));
  }
  context.out().write(context.json ? "{\"deleted\":" + std::to_string(deleted) + "}\n"
                                   : "deleted " + with_commas(deleted) +
                                         (deleted == 1 ? " record\n" : " records\n"));
  return kExitDone;
}

}  // namespace

void register_delete(CLI::App& app, Context& context) {
  const auto flags = std::make_shared<DeleteFlags>();
  CLI::App* verb = app.add_subcommand("delete", "Delete records by id or by condition");
  add_id_option(*verb, flags->ids, "These records");
  verb->add_option("--where", flags->where, "Condition on metadata, as in Chroma")
      ->type_name("JSON");
  verb->add_option("--where-document", flags->where_document, "Condition on the document")
      ->type_name("JSON");
  verb->footer(
      "With ids and conditions, a record must be named and match. `vkb compact` gives the disk "
      "back.\n"
      "Examples:\n"
      "  vkb delete --id node-17 --id node-18\n"
      "  vkb delete --where '{\"source\": \"old.pdf\"}'");
  verb->callback([flags, &context] {
    context.run = [flags, &context] { return run_delete(*flags, context); };
  });
}

}  // namespace vkb
