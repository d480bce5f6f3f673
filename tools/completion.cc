// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <memory>

#include "tools/cli.h"

namespace vkb {
namespace {

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

std::string verb_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; })) {
    // Option groups are nameless subcommands; a verb for internal use has an empty group.
    if (!verb->get_name().empty() && !verb->get_group().empty()) names.push_back(verb->get_name());
  }
  return joined(names);
}

void collect_options(const CLI::App& app, std::vector<std::string>& names) {
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  for (const CLI::App* group : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (group->get_name().empty()) collect_options(*group, names);
  }
}

// One case a verb: its own verbs and options besides the global ones.
std::string cases(const CLI::App& app) {
  std::string text;
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (verb->get_name().empty()) continue;
    std::vector<std::string> words{verb_names(*verb)};
    collect_options(*verb, words);
    for (const CLI::App* inner : verb->get_subcommands([](const CLI::App*) { return true; })) {
      if (!inner->get_name().empty()) collect_options(*inner, words);
    }
    text += "    " + verb->get_name() + ") words=\"" + joined(words) + "\" ;;\n";
  }
  return text;
}

std::string script(const CLI::App& app, const std::string& shell) {
  std::vector<std::string> globals;
  collect_options(app, globals);
  const std::string bash =
      "_vkb() {\n"
      "  local word words verb=''\n"
      "  local current=\"${COMP_WORDS[COMP_CWORD]}\"\n"
      "  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
      "    case \" " +
      verb_names(app) +
      " \" in *\" $word \"*) verb=\"$word\"; break ;; esac\n"
      "  done\n"
      "  case \"$verb\" in\n" +
      cases(app) + "    *) words=\"" + verb_names(app) +
      "\" ;;\n"
      "  esac\n"
      "  case \"$current\" in -*) words=\"$words " +
      joined(globals) +
      "\" ;; esac\n"
      "  COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
      "  [ ${#COMPREPLY[@]} -gt 0 ] || COMPREPLY=($(compgen -f -- \"$current\"))\n"
      "}\n"
      "complete -o filenames -F _vkb vkb\n";
  return shell == "bash" ? bash : "autoload -U +X bashcompinit && bashcompinit\n" + bash;
}

}  // namespace

void register_completion(CLI::App& app, Context& context) {
  const auto shell = std::make_shared<std::string>();
  CLI::App* verb = app.add_subcommand("completion", "Print a script that completes vkb's words");
  verb->add_option("SHELL", *shell, "bash or zsh")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh"}));
  verb->footer("In ~/.bashrc or ~/.zshrc:  source <(vkb completion bash)");
  verb->callback([shell, &app, &context] {
    context.run = [shell, &app, &context] {
      context.out().write(script(app, *shell));
      return kExitDone;
    };
  });
}

}  // namespace vkb
