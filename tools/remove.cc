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
  bool purge = false;
};

// Erases what is deleted, with erase(progress). Returns false when a signal stopped it.
bool purge(std::uint64_t deleted, Context& context,
           const std::function<bool(const ProgressFunction&)>& erase) {
  ProgressPrinter progress(context.quiet, "records");
  bool done = false;
  try {
    done = erase(progress.function());
  } catch (const std::exception& error) {
    progress.clear();
    const auto* known = dynamic_cast<const Error*>(&error);
    throw Error(known != nullptr ? known->code() : ErrorCode::io_error,
                with_commas(deleted) + " deleted, but not erased yet: " + message_of(error) +
                    " (`vkb delete --purge` goes on)");
  }
  progress.clear();
  return done;
}

int report(std::uint64_t deleted, bool is_purged, Context& context) {
  const std::string text =
      "deleted " + with_commas(deleted) + (deleted == 1 ? " record" : " records");
  if (is_purged) {
    context.out().write(context.json
                            ? "{\"deleted\":" + std::to_string(deleted) + ",\"purged\":true}\n"
                            : text + "; nothing that was deleted is left in the store's files\n");
  } else {
    context.out().write(context.json ? "{\"deleted\":" + std::to_string(deleted) + "}\n"
                                     : text + "\n");
  }
  return kExitDone;
}

int run_delete(const DeleteFlags& flags, Context& context) {
  const std::optional<Filter> filter = make_filter(flags.where, flags.where_document);
  if (flags.ids.empty() && !filter && !flags.purge) {
    throw UsageError("delete: say which records with --id or --where; nothing was deleted");
  }
  Store store = context.open_to_write();
  if (flags.purge && store.all_collections().empty()) {  // of those that were there
    purge(0, context, [&](const ProgressFunction&) {
      store.purge();
      return true;
    });
    return report(0, true, context);
  }
  Collection collection = context.open_collection(store);
  std::uint64_t deleted = 0;
  if (flags.ids.empty() && !filter) {
    // Nothing but what was deleted before is to be erased.
  } else if (!filter) {
    deleted = collection.remove(flags.ids);
  } else if (flags.ids.empty()) {
    deleted = collection.remove(*filter);
  } else {
    deleted = collection.remove(*filter, {}, std::span<const std::string>(flags.ids));
  }
  const auto erase = [&](const ProgressFunction& progress) { return collection.purge(progress); };
  if (flags.purge && !purge(deleted, context, erase)) {
    return context.stopped(with_commas(deleted) +
                           " deleted, but not erased yet; `vkb delete --purge` goes on");
  }
  return report(deleted, flags.purge, context);
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
  verb->add_flag("--purge", flags->purge,
                 "Also erase all that was ever deleted from the store's files");
  verb->footer(
      "With ids and conditions, a record must be named and match. `vkb compact` gives the disk "
      "back,\n"
      "and --purge, which takes longer, leaves no byte of it; backups keep theirs.\n"
      "Examples:\n"
      "  vkb delete --id node-17 --id node-18\n"
      "  vkb delete --where '{\"source\": \"old.pdf\"}'");
  verb->callback([flags, &context] {
    context.run = [flags, &context] { return run_delete(*flags, context); };
  });
}

}  // namespace vkb
