#include "agent/console/console.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

#include <CLI/CLI.hpp>

#include "agent/console/exit_code.hpp"
#include "agent/console/text.hpp"
#include "platform/base/error_text.hpp"
#include "platform/os/system_clock.hpp"

namespace agenttask::console {
namespace {

constexpr const char* kSummary =
    "Runs tasks on this device, and follows them; with fleet, on any device of a task server.";
constexpr const char* kVerbs = "Verbs";  ///< their title in --help
constexpr const char* kOverview = R"(
IDs may be shortened to their end (at least 4 characters); @last is the task that anybody added last on this
device (with echo, command, service or add; those of a server don't count).
Exit codes: that of the command; 124 it timed out; 128+n signal n ended it; 125 AgentTask itself failed.
Environment: AGENTTASK_STATE_DIR (as --state-dir), NO_COLOR; AGENTTASK_SERVER, _TOKEN, _CA for fleet.

Examples:
  agenttask echo "test data"
  agenttask command "uname -a; uptime"
  agenttask command -- ls -l "a b"
  agenttask add command --data '{"cmd":"backup"}' --every 24h --at "tomorrow 03:00"
  agenttask list --awaiting
  agenttask VERB --help)";

void add_all(CLI::App& root, Console& console) {
  add_echo(root, console);
  add_command(root, console);
  add_service(root, console);
  add_add(root, console);
  add_list(root, console);
  add_show(root, console);
  add_explain(root, console);
  add_watch(root, console);
  add_output(root, console);
  add_runs(root, console);
  add_cancel(root, console);
  add_choose(root, console);
  add_pause(root, console);
  add_resume(root, console);
  add_run(root, console);
  add_update(root, console);
  add_delete(root, console);
  add_messages(root, console);
  add_post(root, console);
  add_status(root, console);
  add_doctor(root, console);
  add_hold(root, console);
  add_release(root, console);
  add_enroll(root, console);
  add_unenroll(root, console);
  add_workers(root, console);
  add_worker(root, console);
  add_fleet(root, console);
  add_completion(root, console);
}

void add_state_folder(CLI::App& app, Console& console) {
  app.add_option("--state-dir", console.state_folder,
                 "Folder of the agent, where it does not run as the system's service")
      ->type_name("DIR");
}

void add_json(CLI::App& app, Console& console) {
  app.add_flag("--json", console.json, "Print JSON: the objects of the API");
}

/// Which help tells what the user got wrong: `agenttask fleet list --help`.
std::string help_of(const CLI::App& app) {
  const auto chosen = app.get_subcommands();
  std::string path = app.get_name();
  if (!chosen.empty()) path += " " + help_of(*chosen.front());
  return path;
}

int explain_misuse(const CLI::App& root, const CLI::ParseError& fault, const Console& console) {
  std::string message = fault.what();
  const CLI::App* chosen = &root;
  while (!chosen->get_subcommands().empty()) chosen = chosen->get_subcommands().front();
  const auto wrong = root.remaining(true);
  if (chosen->get_require_subcommand_min() != 0) {
    message = wrong.empty() ? "a verb is missing" : "there is no verb '" + wrong.front() + "'";
  } else if (dynamic_cast<const CLI::ExtrasError*>(&fault) != nullptr && chosen->get_name() == "command") {
    message += "; put a shell line in quotes, or the program and its arguments after --";
  } else if (dynamic_cast<const CLI::ExtrasError*>(&fault) != nullptr && chosen->get_name() == "echo") {
    message += "; put a text of several words in quotes";
  }
  std::replace(message.begin(), message.end(), '\n', ' ');
  console.screen.say(message);
  console.screen.say("see: " + help_of(root) + " --help");
  return kFailure;
}

/// What is wrong with an empty text where `option` stands. A shell makes one of a variable that is not set,
/// and taken for "not given" it would change what was meant: a task for later would run at once.
Error empty_text(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const std::string what = type == "WHEN"   ? "'' is not a time"
                           : type == "TIME" ? "'' is not a duration"
                           : type == "SIZE" ? "'' is not a size"
                           : type == "JSON" ? "'' is not JSON"
                                            : "'' is empty";
  return {ErrorCode::invalid, option.get_name() + ": " + what + "; leave it out, or give it a value"};
}

/// The first option or word that was given as an empty text, of `app` and the verbs below it.
std::optional<Error> find_empty_text(const CLI::App& app) {
  for (const CLI::Option* option : app.get_options()) {
    if (option->count() == 0 || (app.get_name() == "echo" && option->get_name() == "TEXT")) continue;
    const auto& texts = option->results();
    if (std::find(texts.begin(), texts.end(), "") != texts.end()) return empty_text(*option);
  }
  for (const CLI::App* verb : app.get_subcommands()) {
    if (auto error = find_empty_text(*verb)) return error;
  }
  return std::nullopt;
}

/// `--at=` with nothing behind it: the parser would take the next word for its value.
std::optional<Error> find_cut_off(const std::vector<std::string>& arguments) {
  for (const std::string& word : arguments) {
    if (word.size() > 3 && word.starts_with("--") && word.find_first_of(" =") == word.size() - 1 &&
        word.back() == '=') {
      return Error{ErrorCode::invalid,
                   word.substr(0, word.size() - 1) +
                       ": there is nothing behind the =; leave it out, or give it a value"};
    }
  }
  return std::nullopt;
}

}  // namespace

int Console::fail(const Problem& problem) const {
  if (json) {
    screen.print_error(encode(problem) + "\n");
    return kFailure;
  }
  std::string message = problem.detail.empty() ? problem.code : problem.detail;
  const bool about_input = problem.status == 400 || problem.status == 422;
  if (about_input) message = with_field(problem.field, message);
  screen.say(message);
  return kFailure;
}

int Console::fail(const Error& error) const {
  return fail(to_problem(error));
}

void Console::print_json(const std::string& text) const {
  screen.print(text + "\n");
}

CLI::App* add_verb(CLI::App& parent, Console& console, const Verb& verb, std::function<int()> action) {
  CLI::App* app = parent.add_subcommand(verb.name, verb.summary)->group(kVerbs);
  add_json(*app, console);
  app->footer("Examples:\n" + verb.examples);
  app->callback([&console, takes_rest = verb.takes_rest, action = std::move(action)] {
    console.takes_rest = takes_rest;
    console.action = action;
  });
  return app;
}

CLI::App* add_verb_group(CLI::App& parent, const std::string& name, const std::string& summary) {
  return parent.add_subcommand(name, summary)->group(kVerbs)->require_subcommand(1);
}

CLI::App* add_agent_verb(CLI::App& parent, Console& console, const Verb& verb, std::function<int()> action) {
  CLI::App* app = add_verb(parent, console, verb, std::move(action));
  add_state_folder(*app, console);
  return app;
}

void add_task_id(CLI::App& verb, std::string& id) {
  verb.add_option("ID", id, "The task: its id, the end of it, or @last: the one last added on this device")
      ->type_name("")
      ->required();
}

void allow_only(CLI::Option& option, std::vector<std::string> words) {
  option.check(
      [words = std::move(words)](const std::string& text) {
        if (std::find(words.begin(), words.end(), text) != words.end()) return std::string();
        std::string list;
        for (const std::string& word : words) list += (list.empty() ? "" : ", ") + word;
        return "'" + text + "' is not one of " + list;
      },
      "");
}

void allow_range(CLI::Option& option, std::int64_t least, std::int64_t most) {
  option.check(
      [least, most](const std::string& text) {
        std::int64_t value = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        if (error == std::errc{} && end == text.data() + text.size() && value >= least && value <= most) {
          return std::string();
        }
        return "'" + text + "' is not a whole number " +
               (most == INT64_MAX ? "of at least " + std::to_string(least)
                                  : "from " + std::to_string(least) + " to " + std::to_string(most));
      },
      "");
}

int run(std::vector<std::string> arguments, Console& console) {
  // What follows -- belongs to the verb, word for word: the parser would take [a,b] apart and find options in
  // it.
  if (const auto mark = std::find(arguments.begin(), arguments.end(), "--"); mark != arguments.end()) {
    console.rest.emplace(mark + 1, arguments.end());
    arguments.erase(mark, arguments.end());
  }
  if (const auto error = find_cut_off(arguments)) return console.fail(*error);
  CLI::App root(kSummary, "agenttask");
  root.set_version_flag("--version", "agenttask " AGENTTASK_VERSION, "Print the version");
  root.require_subcommand(1);
  root.get_formatter()->column_width(32);
  root.get_formatter()->label("SUBCOMMAND", "VERB");
  root.get_formatter()->label("REQUIRED", "");
  root.footer(kOverview);
  add_json(root, console);
  add_state_folder(root, console);
  add_all(root, console);
  try {
    std::reverse(arguments.begin(), arguments.end());
    root.parse(std::move(arguments));
  } catch (const CLI::Success& wish) {  // --help, --version
    std::ostringstream text;
    root.exit(wish, text, text);
    console.screen.print(text.str());
    return kSuccess;
  } catch (const CLI::ParseError& fault) {
    return explain_misuse(root, fault, console);
  }
  if (const auto error = find_empty_text(root)) return console.fail(*error);
  if (console.rest && !console.takes_rest) {
    console.screen.say("nothing is expected after --; see: " + help_of(root) + " --help");
    return kFailure;
  }
  return console.action();
}

UnixMilliseconds now() {
  return os::SystemClock().wall();
}

}  // namespace agenttask::console
