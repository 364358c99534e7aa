#include "server/main/command_line.hpp"

#include <CLI/CLI.hpp>

#include "platform/settings/values.hpp"
#include "server/api/credentials.hpp"

namespace agenttask::server {
namespace {

constexpr const char* kExamples = R"(Examples:
  agenttask-server init --host tasks.example.org,10.0.0.5
  agenttask-server run
  agenttask-server token create --ttl 24h --uses 50 --label site=berlin
  agenttask-server backup /var/backups/agenttask-$(date +%F)

Without root, everything in a folder of one's own:
  agenttask-server init --state-dir ~/tasks --host localhost,127.0.0.1
  agenttask-server run --state-dir ~/tasks --listen 127.0.0.1:8443

Settings come from the configuration file (/etc/agenttask/server.conf, or server.conf in the state folder),
from AGENTTASK_SERVER_… variables, and from flags; each overrides the one before.)";

constexpr const char* kTokenExamples =
    R"(Prints one string, once: give it to `agenttask enroll URL TOKEN` on the device.

Examples:
  agenttask-server token create
  agenttask-server token create --ttl 7d --uses 100 --label site=berlin --label "laptops, spring"
  agenttask-server token create --replace old-laptop)";

constexpr const char* kBackupExamples =
    R"(Works while the server runs: tasks come and go meanwhile, and the backup is of one instant. FOLDER must not
be there yet; it is made with mode 0700 and holds database, authority, certificate, session keys and settings.

Examples:
  agenttask-server backup /var/backups/agenttask-$(date +%F)
  agenttask-server backup --json /var/backups/agenttask-now | jq .contents
Exit codes: 0 taken and read back; 1 it was not, and nothing is left; 2 usage.)";

constexpr const char* kRestoreExamples =
    R"(The server must not run. Devices that are in the backup go on by themselves and tell what they did since;
enrolment tokens are void; what was revoked since has to be revoked again. See docs/recovery.md.

Examples:
  agenttask-server restore /var/backups/agenttask-2026-11-22
  agenttask-server restore --replace /var/backups/agenttask-2026-11-22
Exit codes: 0 restored; 1 it was not, and what was there is there still; 2 usage.)";

/// What one verb's flags are read into.
struct Words {
  std::string state_dir;
  std::string configuration;
  settings::FlagValues settings;
  std::string ttl = "24h";
  std::string uses = "1";
  std::vector<std::string> labels;
  std::string replace;
  std::string operator_label = "operator reset";
  std::string operator_name;
  std::string backup;
  bool replace_state = false;
  bool without_admin = false;
  bool json = false;
};

void add_folder(CLI::App& verb, Words& words) {
  verb.add_option("--state-dir", words.state_dir,
                  "Folder where everything is kept (default: the system's) [AGENTTASK_SERVER_STATE_DIR]")
      ->type_name("DIR");
}

void add_configuration(CLI::App& verb, Words& words) {
  verb.add_option("--config", words.configuration,
                  "Configuration file: lines of NAME = VALUE [AGENTTASK_SERVER_CONFIG]")
      ->type_name("FILE");
}

void add_settings(CLI::App& verb, Words& words) {
  add_folder(verb, words);
  add_configuration(verb, words);
  server_settings().add_flags(verb, words.settings);
}

Error wrong_flag(std::string_view flag, const Error& error) {
  return Error{ErrorCode::invalid, std::string(flag) + ": " + error.message, std::string(flag)};
}

Result<void> take_token(CommandLine& line, const Words& words) {
  const auto ttl = settings::parse_duration(words.ttl, kShortestTokenLife, kLongestTokenLife);
  if (!ttl) return wrong_flag("--ttl", ttl.error());
  const auto uses = settings::parse_number(words.uses, 1, kMostUses);
  if (!uses) return wrong_flag("--uses", uses.error());
  line.ttl = *ttl;
  line.uses = *uses;
  line.replace = words.replace;
  for (const auto& label : words.labels) {
    const auto equals = label.find('=');
    if (equals == std::string::npos) {
      if (!line.description.empty()) {
        return Error{ErrorCode::invalid, "--label: only one may be without a =; it describes the token",
                     "--label"};
      }
      line.description = label;
      continue;
    }
    const auto key = label.substr(0, equals);
    const auto value = label.substr(equals + 1);
    if (auto done = check_label(key, value); !done) return wrong_flag("--label", done.error());
    if (!line.labels.emplace(key, value).second) {
      return Error{ErrorCode::invalid, "--label: " + key + " was given before", "--label"};
    }
  }
  if (line.description.size() > kCredentialLabelBytes) {
    return Error{ErrorCode::invalid, "--label: at most " + std::to_string(kCredentialLabelBytes) + " bytes",
                 "--label"};
  }
  return {};
}

void take_common(CommandLine& line, const Words& words, const settings::EnvironmentLookup& environment) {
  line.state_dir =
      words.state_dir.empty() ? environment("AGENTTASK_SERVER_STATE_DIR").value_or("") : words.state_dir;
  line.configuration =
      words.configuration.empty() ? environment("AGENTTASK_SERVER_CONFIG").value_or("") : words.configuration;
  line.flags = words.settings;
}

/// All verbs, and what each one's flags are read into.
struct Grammar {
  CLI::App app{"The task server of AgentTask: operators enqueue and watch, devices poll.",
               "agenttask-server"};
  CLI::App* run = app.add_subcommand("run", "Serve until SIGTERM; SIGHUP reads the settings again");
  CLI::App* init =
      app.add_subcommand("init", "Make authority, certificate, database and the first admin token");
  CLI::App* token =
      app.add_subcommand("token", "Make enrolment tokens for devices; works while the server runs");
  CLI::App* create = token->add_subcommand("create", "Make a token with which devices enrol");
  CLI::App* operators = app.add_subcommand("operator", "Operators' tokens: list, revoke, make a new one");
  CLI::App* operator_list = operators->add_subcommand("list", "Show all operators, newest first");
  CLI::App* operator_revoke =
      operators->add_subcommand("revoke", "Revoke a token, when it got lost or its holder left");
  CLI::App* reset = operators->add_subcommand("reset", "Make an admin token: the first, or when one is lost");
  CLI::App* check =
      app.add_subcommand("check-config", "Check the settings as `run` would read them, and show what holds");
  CLI::App* backup =
      app.add_subcommand("backup", "Copy database and keys into a folder; while the server runs");
  CLI::App* restore = app.add_subcommand("restore", "Put a backup in place; while the server does not run");
  Words backup_words;
  Words restore_words;
  Words run_words;
  Words init_words;
  Words token_words;
  Words reset_words;
  Words list_words;
  Words revoke_words;
  Words check_words;

  Grammar() {
    app.set_version_flag("--version", std::string("agenttask-server " AGENTTASK_VERSION),
                         "Print the version");
    app.require_subcommand(1);
    app.footer(kExamples);
    token->require_subcommand(1);
    operators->require_subcommand(1);
    add_settings(*run, run_words);
    add_settings(*check, check_words);
    add_folder(*init, init_words);
    add_configuration(*init, init_words);
    server_settings().add_flag(*init, "host", init_words.settings);
    init->add_flag("--without-admin", init_words.without_admin,
                   "Make no admin token yet; `agenttask-server operator reset` makes it");
    add_folder(*reset, reset_words);
    add_configuration(*reset, reset_words);
    reset
        ->add_option("--label", reset_words.operator_label, "What the token is for (default: operator reset)")
        ->type_name("TEXT");
    add_folder(*operator_list, list_words);
    add_folder(*operator_revoke, revoke_words);
    operator_revoke
        ->add_option("operator", revoke_words.operator_name,
                     "Its id, or its label where no other has the same; see `agenttask-server operator list`")
        ->type_name("NAME")
        ->required();
    add_backup();
    add_folder(*create, token_words);
    add_configuration(*create, token_words);
    create->footer(kTokenExamples);
    create->add_option("--ttl", token_words.ttl, "How long it is good for (default 24h)")->type_name("TIME");
    create->add_option("--uses", token_words.uses, "How many devices may enrol with it (default 1)")
        ->type_name("N");
    create
        ->add_option("--label", token_words.labels,
                     "KEY=VALUE: a label for the devices that enrol with it (repeat); without =: a "
                     "description of the token")
        ->type_name("TEXT")
        ->expected(1)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    create
        ->add_option("--replace", token_words.replace,
                     "The node, by id or name, whose place the device takes")
        ->type_name("NODE");
  }
  Grammar(const Grammar&) = delete;
  Grammar& operator=(const Grammar&) = delete;

  void add_backup() {
    add_folder(*backup, backup_words);
    add_configuration(*backup, backup_words);
    add_folder(*restore, restore_words);
    for (auto [verb, words] : {std::pair{backup, &backup_words}, std::pair{restore, &restore_words}}) {
      verb->add_option("folder", words->backup, "Folder of the backup")->type_name("FOLDER")->required();
      verb->add_flag("--json", words->json, "Print one JSON object");
    }
    restore->add_flag("--replace", restore_words.replace_state,
                      "Put a server that is there aside, into a folder beside it");
    backup->footer(kBackupExamples);
    restore->footer(kRestoreExamples);
  }

  static void take_backup(CommandLine& line, const Words& words) {
    line.backup = words.backup;
    line.replace_state = words.replace_state;
    line.json = words.json;
  }

  Result<CommandLine> chosen(const settings::EnvironmentLookup& environment) const {
    CommandLine line;
    if (create->parsed()) {
      line.verb = Verb::create_token;
      take_common(line, token_words, environment);
      if (auto done = take_token(line, token_words); !done) return done.error();
    } else if (reset->parsed()) {
      line.verb = Verb::reset_operator;
      take_common(line, reset_words, environment);
      line.operator_label = reset_words.operator_label;
    } else if (operator_list->parsed()) {
      line.verb = Verb::list_operators;
      take_common(line, list_words, environment);
    } else if (operator_revoke->parsed()) {
      line.verb = Verb::revoke_operator;
      take_common(line, revoke_words, environment);
      line.operator_name = revoke_words.operator_name;
    } else if (backup->parsed()) {
      line.verb = Verb::backup;
      take_common(line, backup_words, environment);
      take_backup(line, backup_words);
    } else if (restore->parsed()) {
      line.verb = Verb::restore;
      take_common(line, restore_words, environment);
      take_backup(line, restore_words);
    } else if (init->parsed()) {
      line.verb = Verb::init;
      take_common(line, init_words, environment);
      line.without_admin = init_words.without_admin;
    } else {
      line.verb = check->parsed() ? Verb::check_config : Verb::run;
      take_common(line, check->parsed() ? check_words : run_words, environment);
    }
    return line;
  }
};

}  // namespace

Result<CommandLine> read_command_line(const std::vector<std::string>& arguments,
                                      const settings::EnvironmentLookup& environment) {
  Grammar grammar;
  try {
    std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
    grammar.app.parse(reversed);
  } catch (const CLI::Success& asked) {  // help or version
    std::ostringstream text;
    std::ostringstream none;
    grammar.app.exit(asked, text, none);
    CommandLine line;
    line.text = text.str();
    return line;
  } catch (const CLI::ParseError& error) {
    return Error{ErrorCode::invalid, std::string(error.what()) + "; see `agenttask-server --help`"};
  }
  return grammar.chosen(environment);
}

}  // namespace agenttask::server
