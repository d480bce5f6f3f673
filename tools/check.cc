// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <memory>

#include "tools/cli.h"
#include "server/json_text.h"

namespace vkb {
namespace {

std::string problems_json(const std::vector<Problem>& problems) {
  std::string json = "[";
  for (const Problem& problem : problems) {
    json += (json.size() == 1 ? "" : ",") + ("{\"object\":" + json_string(problem.object)) +
            ",\"message\":" + json_string(problem.message) +
            ",\"repairable\":" + (problem.repairable ? "true" : "false") + "}";
  }
  return json + "]";
}

void write_problems(Output& out, const std::vector<Problem>& problems) {
  for (const Problem& problem : problems) {
    out.write(safe_message(problem.object + ": " + problem.message) +
              (problem.repairable ? " (repairable)\n" : " (not repairable)\n"));
  }
}

// A store too damaged to be opened is something a check found, not a check that failed.
CheckResult check_store(Context& context, bool deep, ProgressPrinter& progress) {
  try {
    return context.open_to_read().check(deep, progress.function());
  } catch (const Error& error) {
    if (error.code() != ErrorCode::corruption) throw;
    return {.problems = {{.object = "store " + context.path(), .message = error.what()}}};
  }
}

int run_check(bool deep, Context& context) {
  ProgressPrinter progress(context.quiet, "records");
  const CheckResult result = check_store(context, deep, progress);
  progress.clear();
  if (progress.stopped()) return context.stopped("the check is not complete; repeat it");
  const bool ok = result.problems.empty();
  Output& out = context.out();
  if (context.json) {
    out.write(std::string("{\"ok\":") + (ok ? "true" : "false") + ",\"deep\":" +
              (deep ? "true" : "false") + ",\"segments\":" + std::to_string(result.segments) +
              ",\"records\":" + std::to_string(result.records) +
              ",\"bytes\":" + std::to_string(result.bytes) +
              ",\"problems\":" + problems_json(result.problems) + "}\n");
    return ok ? kExitDone : kExitFailed;
  }
  write_problems(out, result.problems);
  out.write((ok ? "ok: "
                : "damaged: " + std::to_string(result.problems.size()) +
                      (result.problems.size() == 1 ? " problem, " : " problems, ")) +
            std::to_string(result.segments) + " segments, " + with_commas(result.records) +
            " records, " + human_bytes(result.bytes) + " compared with checksums\n");
  if (!ok) {
    context.note(
        "vkb: `vkb repair` rebuilds what is repairable; for the rest, `vkb restore` a backup");
  }
  return ok ? kExitDone : kExitFailed;
}

int run_repair(Context& context) {
  Store store = context.open_to_write();
  ProgressPrinter progress(context.quiet, "records");
  const CheckResult before = store.check(true, progress.function());
  CheckResult after = before;
  if (!progress.stopped() && !before.problems.empty()) after = store.repair(progress.function());
  progress.clear();
  if (progress.stopped()) {
    return context.stopped("what was rebuilt is kept; repeat the command to go on");
  }
  const bool ok = after.problems.empty();
  Output& out = context.out();
  if (context.json) {
    out.write(std::string("{\"ok\":") + (ok ? "true" : "false") +
              ",\"found\":" + problems_json(before.problems) +
              ",\"problems\":" + problems_json(after.problems) + "}\n");
    return ok ? kExitDone : kExitFailed;
  }
  if (before.problems.empty()) {
    out.write("nothing to repair: " + std::to_string(after.segments) + " segments, " +
              with_commas(after.records) + " records are sound\n");
    return kExitDone;
  }
  out.write("found:\n");
  write_problems(out, before.problems);
  if (ok) {
    out.write("repaired: nothing is left\n");
  } else {
    out.write("left after the repair:\n");
    write_problems(out, after.problems);
    context.note("vkb: what is left needs its data back: `vkb restore` a backup, or import again");
  }
  return ok ? kExitDone : kExitFailed;
}

}  // namespace

void register_check(CLI::App& app, Context& context) {
  const auto deep = std::make_shared<bool>(false);
  CLI::App* verb = app.add_subcommand("check", "Look for damage in the store; exit 1 if there is");
  verb->add_flag("--deep", *deep, "Read everything: checksums, vectors, graphs, codes");
  verb->callback(
      [deep, &context] { context.run = [deep, &context] { return run_check(*deep, context); }; });
}

void register_repair(CLI::App& app, Context& context) {
  CLI::App* verb = app.add_subcommand(
      "repair", "Rebuild damaged graphs, codes and postings from vectors and records");
  verb->footer("Vectors, documents and metadata are never dropped. Exit 1 when damage is left.");
  verb->callback([&context] { context.run = [&context] { return run_repair(context); }; });
}

}  // namespace vkb
