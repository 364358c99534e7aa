#include "agent/main/options.hpp"

#include <algorithm>
#include <utility>

#include <CLI/CLI.hpp>

#include "agent/workers/builtin_workers.hpp"
#include "platform/base/path_text.hpp"
#include "platform/net/enrollment_token.hpp"
#include "platform/net/url.hpp"
#include "platform/os/paths.hpp"
#include "platform/os/secure_file.hpp"
#include "platform/protocol/limits.hpp"
#include "platform/settings/configuration_file.hpp"
#include "platform/settings/setting_table.hpp"
#include "platform/settings/values.hpp"

namespace agenttask::agent {
namespace {

using settings::assign;
using settings::duration_text;
using settings::expected;
using settings::parse_duration;
using settings::parse_number;
using settings::parse_text;
using Options = AgentOptions;
using Text = std::string_view;

constexpr std::string_view kConfigName = "agent.conf";
constexpr std::string_view kVersion = "agenttaskd " AGENTTASK_VERSION;
constexpr DurationMilliseconds kSecond = 1000;
constexpr DurationMilliseconds kHour = 3600 * kSecond;
constexpr std::int64_t kMostOutbox = 1'048'576 * settings::kMebibyte;
constexpr std::size_t kPathBytes = 4096;
constexpr std::size_t kGroupBytes = 255;

Result<std::filesystem::path> parse_path(Text text) {
  const auto whole = parse_text(text, kPathBytes);
  if (!whole) return whole.error();
  return to_path(*whole);
}

Result<void> set_server(Options& options, Text text) {
  options.server.clear();
  if (text.empty()) return {};
  const auto url = net::parse_server_url(text);
  if (!url) return url.error();
  options.server = url->to_string();
  return {};
}

Result<void> set_token(Options& options, Text text) {
  if (!text.empty()) {
    if (const auto token = net::parse_enrollment_token(text); !token) return token.error();
  }
  options.enrollment_token = std::string(text);
  return {};
}

/// No name at all is an agent that runs nothing itself.
Result<void> set_workers(Options& options, Text text) {
  std::vector<std::string> workers;
  if (!text.empty()) {
    const auto names = settings::parse_list(text);
    if (!names) return names.error();
    for (const auto& name : *names) {
      if (!is_built_in(name)) return expected("worker names separated by commas: echo, command, service");
      if (std::find(workers.begin(), workers.end(), name) == workers.end()) workers.push_back(name);
    }
  }
  options.workers = std::move(workers);
  return {};
}

using Row = settings::Setting<Options>;

std::vector<Row> connection_rows() {
  return {
      {{.name = "state-dir",
        .value = "DIR",
        .help = "Keep everything in this folder of one's own; no root needed"},
       [](Options& o, Text t) { return assign(parse_path(t), o.state_dir); },
       [](const Options& o) { return o.state_dir.string(); }},
      {{.name = "server",
        .value = "URL",
        .help = "Server to enrol with, when the device is not enrolled yet",
        .spared = true},
       set_server,
       [](const Options& o) { return o.server; }},
      {{.name = "enrollment-token",
        .value = "TOKEN",
        .help = "Token for that; better given in the environment or the file than as a flag",
        .secret = true,
        .spared = true},
       set_token,
       [](const Options& o) { return o.enrollment_token; }},
      {{.name = "name",
        .value = "NAME",
        .help = "Name of this device for its enrolment (default: the host's)",
        .spared = true},
       [](Options& o, Text t) { return assign(parse_text(t, limits::kNodeNameBytes), o.name); },
       [](const Options& o) { return o.name; }},
      {{.name = "poll-wait",
        .value = "TIME",
        .standard = "55s",
        .help = "How long the server may hold a poll",
        .reloads = true},
       [](Options& o, Text t) { return assign(parse_duration(t, kSecond, limits::kWaitMost), o.poll_wait); },
       [](const Options& o) { return duration_text(o.poll_wait.count()); }},
      {{.name = "poll-interval",
        .value = "TIME",
        .standard = "0",
        .help = "Ask the server this often, in place of polls that it holds; 0: long polls",
        .reloads = true},
       [](Options& o, Text t) {
         return assign(parse_duration(t, kSecond, limits::kDay, true), o.poll_interval);
       },
       [](const Options& o) { return duration_text(o.poll_interval.count()); }},
      {{.name = "proxy",
        .value = "URL",
        .help = "Proxy on the way to the server, http://[USER:PASSWORD@]HOST:PORT",
        .secret = true},
       [](Options& o, Text t) { return assign(net::check_proxy_url(t), o.proxy); },
       [](const Options& o) { return o.proxy; }},
      {{.name = "no-proxy",
        .value = "NAMES",
        .help = "Hosts and domains reached without it, separated by commas",
        .list = true},
       [](Options& o, Text t) { return assign(parse_text(t, kPathBytes), o.no_proxy); },
       [](const Options& o) { return o.no_proxy; }},
      {{.name = "tls-minimum",
        .value = "VERSION",
        .standard = "1.3",
        .help = "Oldest TLS version to speak: 1.2 or 1.3"},
       [](Options& o, Text t) { return assign(net::parse_tls_version(t), o.tls_minimum); },
       [](const Options& o) { return std::string(net::to_string(o.tls_minimum)); }},
  };
}

std::vector<Row> work_rows() {
  return {
      {{.name = "slots", .value = "N", .standard = "8", .help = "Tasks that run at once", .reloads = true},
       [](Options& o, Text t) { return assign(parse_number(t, 1, 256), o.slots); },
       [](const Options& o) { return std::to_string(o.slots); }},
      {{.name = "policy",
        .value = "FILE",
        .help = "The local policy file (default: policy.json in the configuration folder)"},
       [](Options& o, Text t) { return assign(parse_path(t), o.policy); },
       [](const Options& o) { return o.policy.string(); }},
      {{.name = "workers",
        .value = "NAMES",
        .standard = "echo,command,service",
        .help =
            "Built-in workers that this device offers; one that is left out is not, nor with `service` any "
            "service: its tasks wait",
        .list = true},
       set_workers,
       [](const Options& o) { return settings::list_text(o.workers); }},
      {{.name = "workers-folder",
        .value = "DIR",
        .help = "Folder of this device's own workers (default: workers in the configuration folder)"},
       [](Options& o, Text t) { return assign(parse_path(t), o.workers_folder); },
       [](const Options& o) { return o.workers_folder.string(); }},
      {{.name = "shutdown-drain",
        .value = "TIME",
        .standard = "30s",
        .help = "How long running tasks may go on when the agent is stopped or upgraded",
        .reloads = true},
       [](Options& o, Text t) { return assign(parse_duration(t, 0, kHour), o.shutdown_drain); },
       [](const Options& o) { return duration_text(o.shutdown_drain.count()); }},
      {{.name = "retention",
        .value = "TIME",
        .standard = "30d",
        .help = "How long ended tasks are kept on the device"},
       [](Options& o, Text t) { return assign(parse_duration(t, kHour, 3660 * limits::kDay), o.retention); },
       [](const Options& o) { return duration_text(o.retention.count()); }},
      {{.name = "keep-runs",
        .value = "N",
        .standard = "100",
        .help = "Runs that are kept of each recurring task, once the server has them"},
       [](Options& o, Text t) { return assign(parse_number(t, 1, 1'000'000), o.keep_runs); },
       [](const Options& o) { return std::to_string(o.keep_runs); }},
      {{.name = "keep-messages",
        .value = "N",
        .standard = "10000",
        .help = "Messages that are kept on the device, once the server has them"},
       [](Options& o, Text t) { return assign(parse_number(t, 1, 100'000'000), o.keep_messages); },
       [](const Options& o) { return std::to_string(o.keep_messages); }},
      {{.name = "outbox-budget",
        .value = "SIZE",
        .standard = "256MiB",
        .help = "Reports that may wait for the server, on disk; a number alone counts MiB"},
       [](Options& o, Text t) {
         return assign(settings::parse_size(t, settings::kMebibyte, kMostOutbox, settings::kMebibyte),
                       o.outbox_bytes);
       },
       [](const Options& o) { return settings::size_text(o.outbox_bytes); }},
      {{.name = "console-group",
        .value = "GROUP",
        .help = "Group whose members may do everything with agenttask on this device"},
       [](Options& o, Text t) { return assign(parse_text(t, kGroupBytes), o.console_group); },
       [](const Options& o) { return o.console_group; }},
      {{.name = "console-view-group", .value = "GROUP", .help = "Group whose members may look"},
       [](Options& o, Text t) { return assign(parse_text(t, kGroupBytes), o.console_view_group); },
       [](const Options& o) { return o.console_view_group; }},
      {{.name = "log-level",
        .value = "LEVEL",
        .standard = "info",
        .help = "What is logged: debug, info, warning or error",
        .reloads = true},
       [](Options& o, Text t) { return assign(parse_log_level(t), o.log_level); },
       [](const Options& o) { return settings::log_level_text(o.log_level); }},
      {{.name = "log-format",
        .value = "FORMAT",
        .standard = "text",
        .help = "How it is logged: text or json"},
       [](Options& o, Text t) { return assign(parse_log_format(t), o.log_format); },
       [](const Options& o) { return settings::log_format_text(o.log_format); }},
  };
}

/// The one table of all settings.
const settings::SettingTable<Options>& table() {
  static const settings::SettingTable<Options> all = [] {
    auto rows = connection_rows();
    for (auto& row : work_rows()) rows.push_back(row);
    return settings::SettingTable<Options>({"agenttaskd --help", "AGENTTASK_"}, std::move(rows));
  }();
  return all;
}

/// What the flags say: the verb, and a text for each setting that was given.
struct Flags {
  AgentVerb verb = AgentVerb::run;
  std::string text;
  std::optional<std::string> config;
  settings::FlagValues values;
  bool json = false;
  bool confirmed = false;
  std::string folder = {};
};

/// The verbs with which an administrator cares for what the agent keeps.
struct CareVerbs {
  CareVerbs(CLI::App& app, Flags& flags)
      : ledger(app.add_subcommand("ledger", "Look after this device's durable record of tasks and runs")),
        check(ledger->add_subcommand("check", "Say whether the ledger is sound; changes nothing")),
        salvage(ledger->add_subcommand("salvage", "Save what can be read of a damaged ledger")),
        reset(ledger->add_subcommand("reset", "Put the ledger away and begin anew")),
        image(app.add_subcommand("prepare-image",
                                 "Remove what makes this machine this node, for a disk image")),
        enrollment(app.add_subcommand("prepare-enrollment",
                                      "Keep --server and --enrollment-token for the agent's next start")) {
    ledger->require_subcommand(1);
    ledger->fallthrough();
    for (CLI::App* verb : {check, salvage, reset, image, enrollment}) {
      verb->fallthrough();
      verb->add_flag("--json", flags.json, "Print one JSON object");
    }
    for (CLI::App* verb : {reset, image})
      verb->add_flag("--yes", flags.confirmed, "This is meant: nothing happens without it");
    check->footer(
        "Examples:\n  agenttaskd ledger check\n  agenttaskd ledger check --json | jq .findings\n"
        "Exit codes: 0 sound; 1 not sound, or it can't be looked at; 3 the agent has it open.");
    salvage->footer(
        "What may have started never runs again: it ends as interrupted. The damaged file is kept beside. An "
        "agent "
        "that\nruns and can't use its ledger goes on by itself afterwards.\n\n"
        "Examples:\n  agenttaskd ledger salvage\n  agenttaskd ledger salvage --json | jq '.ended, .lost'\n"
        "Exit codes: 0 saved; 1 nothing could be saved, or the ledger is sound; 3 the agent has it open.");
    reset->footer(
        "The identity stays: the device is the same node. Its server sees that the ledger is lost.\n\n"
        "Examples:\n  agenttaskd ledger reset --yes\n"
        "Exit codes: 0 done; 1 it could not be; 2 without --yes; 3 the agent has it open.");
    image->footer(
        "Removes identity, key, ledger and output of runs; keeps configuration (with an enrolment token, "
        "where it "
        "holds\none), policy and workers. Each machine from the image enrols as a node of its own.\n\n"
        "Examples:\n  systemctl stop agenttask && agenttaskd prepare-image --yes && poweroff\n"
        "Exit codes: 0 done; 1 it could not be; 2 without --yes; 3 the agent runs.");
    enrollment->footer(
        "For installers: the server is not asked, so it may be away. The token lies in the state folder, "
        "readable by "
        "the\nagent alone, until the server has answered it. A device that is enrolled stays what it is.\n\n"
        "Examples:\n  AGENTTASK_ENROLLMENT_TOKEN=… agenttaskd prepare-enrollment --server "
        "https://tasks.example:8443\n"
        "Exit codes: 0 kept, or the device is enrolled; 1 it could not be kept; 2 no server or token was "
        "given.");
  }

  [[nodiscard]] std::optional<AgentVerb> chosen() const {
    if (enrollment->parsed()) return AgentVerb::prepare_enrollment;
    if (check->parsed()) return AgentVerb::ledger_check;
    if (salvage->parsed()) return AgentVerb::ledger_salvage;
    if (reset->parsed()) return AgentVerb::ledger_reset;
    if (image->parsed()) return AgentVerb::prepare_image;
    return std::nullopt;
  }

  CLI::App* ledger;
  CLI::App* check;
  CLI::App* salvage;
  CLI::App* reset;
  CLI::App* image;
  CLI::App* enrollment;
};

Result<Flags> parse_flags(const std::vector<std::string>& arguments) {
  Flags flags;
  CLI::App app(
      "The agent of AgentTask: keeps a durable inbox of tasks on this device and runs them on time, online "
      "or offline.",
      "agenttaskd");
  app.set_version_flag("--version", std::string(kVersion), "Print the version");
  app.add_option("--config", flags.config,
                 "Configuration file: lines of NAME = VALUE with the names below [AGENTTASK_CONFIG]")
      ->type_name("FILE");
  table().add_flags(app, flags.values);
  app.fallthrough();
  app.require_subcommand(0, 1);
  app.add_subcommand("run", "Run the agent (what it does without a command)");
  const CareVerbs care(app, flags);
  // Not for people: the agent starts this itself.
  CLI::App* outside =
      app.add_subcommand("run-outside", "Do a run outside the agent's service and record its end");
  outside->group("");
  outside->add_option("FOLDER", flags.folder)->required();
  app.add_subcommand("check-config", "Check the configuration and show what counts; 0 when it is good");
  app.footer(
      "Flags count before the environment, the environment before the file. The file is "
      "/etc/agenttask/agent.conf, or\n"
      "agent.conf in the folder of --state-dir. SIGHUP reads it again: slots, poll-wait, poll-interval, "
      "log-level,\n"
      "shutdown-drain and the policy change at once, the rest at the next start.\n\nExamples:\n"
      "  agenttaskd --state-dir ~/.agenttask\n"
      "  AGENTTASK_ENROLLMENT_TOKEN=… agenttaskd --server https://tasks.example:8443");
  std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
  try {
    app.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    return Flags{AgentVerb::help, app.help(), {}, {}, false, false};
  } catch (const CLI::CallForVersion&) {
    return Flags{AgentVerb::version, std::string(kVersion) + "\n", {}, {}, false, false};
  } catch (const CLI::ParseError& error) {
    return Error{ErrorCode::invalid, std::string(error.what()) + "; see `agenttaskd --help`"};
  }
  if (app.got_subcommand("check-config")) flags.verb = AgentVerb::check_config;
  if (outside->parsed()) flags.verb = AgentVerb::run_outside;
  if (const auto verb = care.chosen()) flags.verb = *verb;
  return flags;
}

/// The folder that counts for the configuration file: the state folder has to be known before the file is
/// read.
std::filesystem::path config_file(const Flags& flags, const settings::EnvironmentLookup& environment) {
  std::error_code ignored;
  if (flags.config) return to_path(*flags.config);
  if (const auto variable = environment("AGENTTASK_CONFIG"); variable && !variable->empty())
    return to_path(*variable);
  const auto flag = flags.values.find("state-dir");
  std::string state_dir = flag == flags.values.end() ? std::string() : flag->second;
  if (state_dir.empty()) state_dir = environment("AGENTTASK_STATE_DIR").value_or("");
  const auto folder =
      state_dir.empty() ? os::default_folders().config : os::folders_inside(to_path(state_dir)).config;
  const auto file = folder / kConfigName;
  return std::filesystem::exists(file, ignored) ? file : std::filesystem::path();
}

/// Whether nothing comes of it where an enrolment that the settings ask for can't be.
bool needs_enrollment(AgentVerb verb) {
  return verb == AgentVerb::check_config || verb == AgentVerb::prepare_enrollment;
}

std::optional<Error> joined(const settings::SettingProblems& problems) {
  if (problems.empty()) return std::nullopt;
  Error all{ErrorCode::invalid, {}, {}};
  for (const auto& [name, problem] : problems)
    all.message += (all.message.empty() ? "" : "; ") + problem.message;
  return all;
}

}  // namespace

Result<CommandLine> read_options(const std::vector<std::string>& arguments,
                                 const settings::EnvironmentLookup& environment) {
  auto flags = parse_flags(arguments);
  if (!flags) return flags.error();
  CommandLine line{.verb = flags->verb,
                   .options = {},
                   .text = flags->text,
                   .json = flags->json,
                   .confirmed = flags->confirmed,
                   .folder = to_path(flags->folder)};
  // A run outside must not depend on what somebody writes into the configuration meanwhile.
  if (line.verb == AgentVerb::help || line.verb == AgentVerb::version || line.verb == AgentVerb::run_outside)
    return line;
  settings::Sources sources{config_file(*flags, environment), {}, environment, std::move(flags->values)};
  if (!sources.file.empty()) {
    auto text = os::read_file(sources.file, settings::kConfigurationBytes);
    if (!text) return text.error();
    sources.configuration = *std::move(text);
  }
  settings::SettingProblems unusable;
  auto options = table().read(sources, needs_enrollment(line.verb) ? nullptr : &unusable);
  if (!options) return options.error();
  line.options = *std::move(options);
  line.options.enrollment_problem = joined(unusable);
  line.options.config = sources.file;
  return line;
}

std::vector<std::string> need_restart(const AgentOptions& before, const AgentOptions& after) {
  return table().need_restart(before, after);
}

std::string describe(const AgentOptions& options) {
  return "# " + (options.config.empty() ? "no configuration file" : options.config.string()) + "\n" +
         table().describe(options);
}

}  // namespace agenttask::agent
