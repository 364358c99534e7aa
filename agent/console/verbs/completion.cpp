#include <memory>

#include <CLI/CLI.hpp>

#include "agent/console/completion_words.hpp"
#include "agent/console/console.hpp"
#include "agent/console/exit_code.hpp"

namespace agenttask::console {
namespace {

/// All words that may follow `path`, from the one table that also makes the help: verbs and options.
std::string words_after(const CLI::App& app) {
  std::string words;
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; })) {
    words += (words.empty() ? "" : " ") + verb->get_name();
  }
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) words += (words.empty() ? "--" : " --") + name;
  }
  return words;
}

/// One line of the shell's case for each verb: `"fleet node") words="show label …" ;;`
void add_cases(const CLI::App& app, const std::string& path, std::string& cases) {
  cases += "    \"" + path + "\") words=\"" + words_after(app) + "\" ;;\n";
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; })) {
    add_cases(*verb, path.empty() ? verb->get_name() : path + " " + verb->get_name(), cases);
  }
}

/// The paths that lead to a verb, as one pattern of the shell's case.
std::string verb_paths(const CLI::App& app, const std::string& path) {
  std::string paths;
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; })) {
    const std::string here = path.empty() ? verb->get_name() : path + " " + verb->get_name();
    const std::string below = verb_paths(*verb, here);
    paths += (paths.empty() ? "\"" : "|\"") + here + "\"" + (below.empty() ? "" : "|" + below);
  }
  return paths;
}

/// No variable is called `path`: in zsh that one is PATH.
constexpr const char* kBegin = R"BASH(# Completion of agenttask for bash.
_agenttask() {
  local current="${COMP_WORDS[COMP_CWORD]}" verb="" words="" i word
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="${COMP_WORDS[i]}"
    case "$word" in
      --) return ;;
      -*) continue ;;
    esac
    case "${verb:+$verb }$word" in
)BASH";

constexpr const char* kMiddle = R"BASH()
        verb="${verb:+$verb }$word" ;;
    esac
  done
  case "$verb" in
)BASH";

// First what the agent knows: names that others chose, so they are never expanded, and quoted for the line.
constexpr const char* kEnd = R"BASH(  esac
  COMPREPLY=()
  while IFS= read -r word; do
    [[ -z "$word" ]] && continue
    [[ -n "${ZSH_VERSION-}" ]] || word="$(printf '%q' "$word")"
    COMPREPLY+=("$word")
  done <<< "$(agenttask completion words @STATE@ -- "${COMP_WORDS[@]:1:$COMP_CWORD}" 2>/dev/null)"
  [[ ${#COMPREPLY[@]} -eq 0 ]] || return 0
  for word in $words; do
    [[ "$word" == "$current"* ]] && COMPREPLY+=("$word")
  done
}
complete -o default -F _agenttask agenttask
)BASH";

/// `state_folder`: of the agent whose tasks are offered as words; empty: the usual one.
std::string bash_script(const CLI::App& root, const std::string& state_folder) {
  std::string cases;
  add_cases(root, "", cases);
  std::string end = kEnd;
  constexpr std::string_view kPlace = " @STATE@";
  std::string option;
  if (!state_folder.empty()) {
    option = " --state-dir '";
    for (const char character : state_folder)
      option += character == '\'' ? "'\\''" : std::string(1, character);
    option += "'";
  }
  end.replace(end.find(kPlace), kPlace.size(), option);
  return kBegin + ("      " + verb_paths(root, "")) + kMiddle + cases + end;
}

int completion(const Console& console, const CLI::App& root, const std::string& shell) {
  if (console.json) {
    return console.fail(Error{ErrorCode::invalid,
                              "completion prints a script or words, which have no JSON: leave --json out"});
  }
  if (shell == "words") {
    std::string lines;
    for (const auto& word : known_words(console, root, console.rest.value_or(std::vector<std::string>())))
      lines += word + "\n";
    console.screen.print(lines);
    return kSuccess;
  }
  std::string script = bash_script(root, console.state_folder);
  if (shell == "zsh") script = "autoload -U +X bashcompinit && bashcompinit\n" + script;
  console.screen.print(script);
  return kSuccess;
}

}  // namespace

void add_completion(CLI::App& root, Console& console) {
  const auto shell = std::make_shared<std::string>();
  CLI::App* verb = add_agent_verb(root, console,
                                  {"completion", "Print a script that completes words in your shell",
                                   "  source <(agenttask completion bash)\n"
                                   "  agenttask completion bash > /etc/bash_completion.d/agenttask\n"
                                   "  agenttask completion words -- choose 4f2a \"\"\n"
                                   "words is what the scripts ask at each key: the ids, choices, types and "
                                   "services that may stand\n"
                                   "in place of the last word.",
                                   true},
                                  [&console, &root, shell] { return completion(console, root, *shell); });
  allow_only(*verb->add_option("SHELL", *shell, "bash, zsh, or words")->type_name("")->required(),
             {"bash", "zsh", "words"});
}

}  // namespace agenttask::console
