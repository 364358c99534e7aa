#include "agent/main/options.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <sstream>
#include <utility>

#include <CLI/CLI.hpp>

#include "platform/net/enrollment_token.hpp"
#include "platform/net/url.hpp"
#include "platform/os/paths.hpp"
#include "platform/os/secure_file.hpp"
#include "platform/protocol/limits.hpp"

namespace agenttask::agent {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kConfigBytes = 256 * 1024;
constexpr std::int64_t kMebibyte = 1024 * 1024;
constexpr std::string_view kConfigName = "agent.conf";

/// One setting: its name as flag and in the file (the environment's follows from it), what it takes, and how
/// it is read.
struct Field {
  std::string_view name;
  std::string_view value;
  std::string_view help;
  bool reloads;  ///< SIGHUP applies it
  bool secret;
  std::string_view standard;  ///< its default, in the form in which it is given; empty: none
  Result<void> (*set)(AgentOptions& options, std::string_view text);
  std::string (*get)(const AgentOptions& options);
};

Error wrong(std::string expected) {
  return Error{ErrorCode::invalid, "expected " + std::move(expected)};
}

Result<std::int64_t> whole_number(std::string_view text, std::int64_t least, std::int64_t most) {
  std::int64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size() || value < least || value > most) {
    return wrong("a whole number from " + std::to_string(least) + " to " + std::to_string(most));
  }
  return value;
}

struct Unit {
  std::string_view name;
  std::int64_t milliseconds;
};
constexpr std::array<Unit, 5> kUnits = {
    {{"d", 86'400'000}, {"h", 3'600'000}, {"m", 60'000}, {"s", 1'000}, {"ms", 1}}};

std::string duration_text(milliseconds duration) {
  if (duration.count() == 0) return "0";
  for (const Unit& unit : kUnits) {
    if (duration.count() % unit.milliseconds == 0)
      return std::to_string(duration.count() / unit.milliseconds) + std::string(unit.name);
  }
  return "0";
}

/// 0, or a whole number with its unit.
Result<milliseconds> duration(std::string_view text, milliseconds least, milliseconds most, bool zero) {
  const Error error = wrong((zero ? "0, or a time from " : "a time from ") + duration_text(least) + " to " +
                            duration_text(most) + " with its unit (ms, s, m, h, d)");
  if (text == "0") return zero ? Result<milliseconds>(milliseconds(0)) : error;
  const auto digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const auto unit = std::find_if(kUnits.begin(), kUnits.end(),
                                 [&](const Unit& one) { return one.name == text.substr(digits); });
  std::int64_t count = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + digits, count);
  if (digits == 0 || unit == kUnits.end() || parsed.ec != std::errc() ||
      count > most.count() / unit->milliseconds)
    return error;
  const milliseconds value(count * unit->milliseconds);
  if (value < least || value > most) return error;
  return value;
}

Result<std::vector<std::string>> worker_names(std::string_view text) {
  std::vector<std::string> names;
  for (std::size_t begin = 0; begin <= text.size();) {
    const auto end = std::min(text.find(',', begin), text.size());
    const std::string_view name = text.substr(begin, end - begin);
    begin = end + 1;
    if (name.empty() && text.empty()) break;
    if (name != "echo" && name != "command") return wrong("worker names with commas between: echo, command");
    if (std::find(names.begin(), names.end(), name) == names.end()) names.emplace_back(name);
  }
  return names;
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "" : ",") + name;
  return text;
}

template <class T, class Target>
Result<void> take(Result<T> value, Target& target) {
  if (!value) return value.error();
  target = static_cast<Target>(*std::move(value));
  return {};
}

template <class Target>
Result<void> take_text(std::string_view text, std::size_t most, Target& target) {
  if (text.size() > most) return wrong("at most " + std::to_string(most) + " bytes");
  target = Target(std::string(text));
  return {};
}

constexpr milliseconds kSecond{1'000};
constexpr milliseconds kDay{limits::kDay};
constexpr std::size_t kPathBytes = 4096;

using Options = AgentOptions;
using Text = std::string_view;

/// The one table of all settings.
const auto& fields() {
  static const std::array<Field, 19> table = {{
      {"state-dir", "FOLDER", "Keep everything in this folder of one's own (no root needed)", false, false,
       "", [](Options& o, Text t) { return take_text(t, kPathBytes, o.state_dir); },
       [](const Options& o) { return o.state_dir.string(); }},
      {"server", "URL", "Server to enrol with, when the device is not enrolled yet", false, false, "",
       [](Options& o, Text t) -> Result<void> {
         if (t.empty()) return o.server.clear(), Result<void>();
         const auto url = net::parse_server_url(t);
         if (!url) return url.error();
         o.server = url->to_string();
         return {};
       },
       [](const Options& o) { return o.server; }},
      {"enrollment-token", "TOKEN",
       "Token for that; better given in the environment or the file than as a flag", false, true, "",
       [](Options& o, Text t) -> Result<void> {
         if (!t.empty() && !net::parse_enrollment_token(t)) return net::parse_enrollment_token(t).error();
         o.enrollment_token = std::string(t);
         return {};
       },
       [](const Options& o) { return o.enrollment_token; }},
      {"name", "NAME", "Name of this device for its enrolment; the host's where it is not given", false,
       false, "", [](Options& o, Text t) { return take_text(t, limits::kNodeNameBytes, o.name); },
       [](const Options& o) { return o.name; }},
      {"slots", "NUMBER", "Tasks that run at once", true, false, "8",
       [](Options& o, Text t) { return take(whole_number(t, 1, 256), o.slots); },
       [](const Options& o) { return std::to_string(o.slots); }},
      {"poll-wait", "TIME", "How long the server may hold a poll", true, false, "55s",
       [](Options& o, Text t) {
         return take(duration(t, kSecond, milliseconds(limits::kWaitMost), false), o.poll_wait);
       },
       [](const Options& o) { return duration_text(o.poll_wait); }},
      {"poll-interval", "TIME", "Ask the server this often, in place of polls that it holds; 0: long polls",
       true, false, "0",
       [](Options& o, Text t) { return take(duration(t, kSecond, kDay, true), o.poll_interval); },
       [](const Options& o) { return duration_text(o.poll_interval); }},
      {"proxy", "URL", "Proxy on the way to the server, http://[USER:PASSWORD@]HOST:PORT", false, true, "",
       [](Options& o, Text t) { return take(net::check_proxy_url(t), o.proxy); },
       [](const Options& o) { return o.proxy; }},
      {"no-proxy", "HOSTS", "Hosts and domains reached without it, with commas between", false, false, "",
       [](Options& o, Text t) { return take_text(t, kPathBytes, o.no_proxy); },
       [](const Options& o) { return o.no_proxy; }},
      {"tls-minimum", "VERSION", "Oldest TLS version to speak: 1.2 or 1.3", false, false, "1.3",
       [](Options& o, Text t) { return take(net::parse_tls_version(t), o.tls_minimum); },
       [](const Options& o) { return std::string(net::to_string(o.tls_minimum)); }},
      {"policy", "FILE",
       "The local policy file; policy.json in the configuration folder where it is not given", false, false,
       "", [](Options& o, Text t) { return take_text(t, kPathBytes, o.policy); },
       [](const Options& o) { return o.policy.string(); }},
      {"workers", "NAMES", "Built-in workers that this device offers; other tasks wait", false, false,
       "echo,command", [](Options& o, Text t) { return take(worker_names(t), o.workers); },
       [](const Options& o) { return joined(o.workers); }},
      {"shutdown-drain", "TIME", "How long running tasks may go on when the agent is stopped", false, false,
       "0",
       [](Options& o, Text t) {
         return take(duration(t, milliseconds(1), milliseconds(3'600'000), true), o.shutdown_drain);
       },
       [](const Options& o) { return duration_text(o.shutdown_drain); }},
      {"retention", "TIME", "How long ended tasks are kept on the device", false, false, "30d",
       [](Options& o, Text t) {
         return take(duration(t, milliseconds(3'600'000), 3660 * kDay, false), o.retention);
       },
       [](const Options& o) { return duration_text(o.retention); }},
      {"outbox-budget", "MEBIBYTES", "Reports that may wait for the server, on disk", false, false, "256",
       [](Options& o, Text t) -> Result<void> {
         auto set = take(whole_number(t, 1, 1'048'576), o.outbox_bytes);
         if (set) o.outbox_bytes *= kMebibyte;
         return set;
       },
       [](const Options& o) { return std::to_string(o.outbox_bytes / kMebibyte); }},
      {"console-group", "GROUP", "Group whose members may do everything with agenttask on this device", false,
       false, "", [](Options& o, Text t) { return take_text(t, 255, o.console_group); },
       [](const Options& o) { return o.console_group; }},
      {"console-view-group", "GROUP", "Group whose members may look", false, false, "",
       [](Options& o, Text t) { return take_text(t, 255, o.console_view_group); },
       [](const Options& o) { return o.console_view_group; }},
      {"log-level", "LEVEL", "debug, info, warning or error", true, false, "info",
       [](Options& o, Text t) { return take(parse_log_level(t), o.log_level); },
       [](const Options& o) {
         constexpr std::array<const char*, 4> names = {"debug", "info", "warning", "error"};
         return std::string(names.at(static_cast<std::size_t>(o.log_level)));
       }},
      {"log-format", "FORMAT", "text or json", false, false, "text",
       [](Options& o, Text t) { return take(parse_log_format(t), o.log_format); },
       [](const Options& o) { return std::string(o.log_format == LogFormat::json ? "json" : "text"); }},
  }};
  return table;
}

bool takes_list(const Field& field) {
  return field.name == "workers" || field.name == "no-proxy";
}

std::string environment_name(std::string_view name) {
  std::string result = "AGENTTASK_";
  for (const char c : name)
    result += c == '-' ? '_' : static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
  return result;
}

Result<void> apply(AgentOptions& options, const Field& field, std::string_view text,
                   const std::string& source) {
  if (text.find('\0') != std::string_view::npos)
    return Error{ErrorCode::invalid, source + ": a zero byte in it"};
  if (auto set = field.set(options, text); !set) {
    Error error = with_context(set.error(), source);
    error.field = std::string(field.name);
    return error;
  }
  return {};
}

/// What the flags say: the verb, and a text for each setting that was given.
struct Flags {
  AgentVerb verb = AgentVerb::run;
  std::string text;
  std::optional<std::string> config;
  std::vector<std::optional<std::string>> values;
};

Result<Flags> parse_flags(const std::vector<std::string>& arguments) {
  Flags flags;
  flags.values.resize(fields().size());
  CLI::App app(
      "The agent of AgentTask: keeps a durable inbox of tasks on this device and runs them on time, online "
      "or offline.",
      "agenttaskd");
  app.set_version_flag("--version", "agenttaskd " AGENTTASK_VERSION);
  app.add_option("--config", flags.config,
                 "Configuration file: lines of NAME = VALUE with the names below (AGENTTASK_CONFIG)")
      ->type_name("FILE");
  for (std::size_t i = 0; i < fields().size(); ++i) {
    const Field& field = fields().at(i);
    app.add_option("--" + std::string(field.name), flags.values[i],
                   std::string(field.help) +
                       (field.standard.empty() ? "" : "; " + std::string(field.standard) + " if not given") +
                       " (" + environment_name(field.name) + ")")
        ->type_name(std::string(field.value));
  }
  app.fallthrough();
  app.require_subcommand(0, 1);
  app.add_subcommand("run", "Run the agent (what it does without a command)");
  app.add_subcommand("check-config", "Check the configuration and show what counts; 0 when it is good");
  app.footer(
      "Flags count before the environment, the environment before the file. The file is "
      "/etc/agenttask/agent.conf, or\n"
      "agent.conf in the folder of --state-dir. SIGHUP reads it again: slots, poll-wait, poll-interval, "
      "log-level and the\n"
      "policy change at once, the rest at the next start.\n\nExamples:\n"
      "  agenttaskd --state-dir ~/.agenttask\n"
      "  AGENTTASK_ENROLLMENT_TOKEN=… agenttaskd --server https://tasks.example:8443");
  std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
  try {
    app.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    return Flags{AgentVerb::help, app.help(), {}, {}};
  } catch (const CLI::CallForVersion&) {
    return Flags{AgentVerb::version, "agenttaskd " AGENTTASK_VERSION "\n", {}, {}};
  } catch (const CLI::ParseError& error) {
    return Error{ErrorCode::invalid, std::string(error.what()) + "; see agenttaskd --help"};
  }
  if (app.got_subcommand("check-config")) flags.verb = AgentVerb::check_config;
  return flags;
}

/// CLI11's own format of configuration files: NAME = VALUE, # comments.
Result<void> apply_file(AgentOptions& options, const std::filesystem::path& file) {
  const auto text = os::read_file(file, kConfigBytes);
  if (!text) return text.error();
  std::vector<CLI::ConfigItem> items;
  try {
    std::istringstream stream(*text);
    items = CLI::ConfigTOML().from_config(stream);
  } catch (const CLI::Error& error) {
    return Error{ErrorCode::invalid, file.string() + ": " + error.what()};
  }
  std::vector<std::string> seen;
  for (const auto& item : items) {
    const auto field = std::find_if(fields().begin(), fields().end(),
                                    [&](const Field& one) { return one.name == item.name; });
    const std::string source = file.string() + ": " + item.fullname();
    if (!item.parents.empty() || field == fields().end()) {
      return Error{ErrorCode::invalid, source + " is no setting; see agenttaskd --help", item.fullname()};
    }
    // The parser joins lines of the same name: of two values neither would be what was meant.
    const bool twice = std::find(seen.begin(), seen.end(), item.name) != seen.end();
    if (twice || (item.inputs.size() > 1 && !takes_list(*field))) {
      return Error{ErrorCode::invalid, source + " is there twice, or has several values", item.name};
    }
    seen.push_back(item.name);
    if (auto set = apply(options, *field, joined(item.inputs), source); !set) return set;
  }
  return {};
}

/// The folder that counts for the configuration file: the state folder has to be known before the file is
/// read.
Result<std::filesystem::path> config_file(const Flags& flags, const EnvironmentLookup& environment) {
  std::error_code ignored;
  if (flags.config) return std::filesystem::path(*flags.config);
  if (const auto variable = environment("AGENTTASK_CONFIG"); variable && !variable->empty())
    return std::filesystem::path(*variable);
  std::string state_dir = flags.values.front().value_or("");
  if (state_dir.empty()) state_dir = environment("AGENTTASK_STATE_DIR").value_or("");
  const auto folder = state_dir.empty() ? os::default_folders().config : os::folders_inside(state_dir).config;
  const auto file = folder / kConfigName;
  return std::filesystem::exists(file, ignored) ? file : std::filesystem::path();
}

}  // namespace

Result<CommandLine> read_options(const std::vector<std::string>& arguments,
                                 const EnvironmentLookup& environment) {
  auto flags = parse_flags(arguments);
  if (!flags) return flags.error();
  CommandLine line{.verb = flags->verb, .options = {}, .text = flags->text};
  if (line.verb == AgentVerb::help || line.verb == AgentVerb::version) return line;
  for (const Field& field : fields()) {
    if (field.standard.empty()) continue;
    if (auto set = field.set(line.options, field.standard); !set) return set.error();
  }
  const auto file = config_file(*flags, environment);
  if (!file) return file.error();
  line.options.config = *file;
  if (!file->empty()) {
    if (auto applied = apply_file(line.options, *file); !applied) return applied.error();
  }
  for (const Field& field : fields()) {
    const std::string name = environment_name(field.name);
    if (const auto value = environment(name)) {
      if (auto set = apply(line.options, field, *value, name); !set) return set.error();
    }
  }
  for (std::size_t i = 0; i < fields().size(); ++i) {
    const Field& field = fields().at(i);
    if (!flags->values[i]) continue;
    if (auto set = apply(line.options, field, *flags->values[i], "--" + std::string(field.name)); !set)
      return set.error();
  }
  return line;
}

std::vector<std::string> need_restart(const AgentOptions& before, const AgentOptions& after) {
  std::vector<std::string> names;
  for (const Field& field : fields()) {
    if (!field.reloads && field.get(before) != field.get(after)) names.emplace_back(field.name);
  }
  return names;
}

std::string describe(const AgentOptions& options) {
  std::string text =
      "# " + (options.config.empty() ? std::string("no configuration file") : options.config.string()) + "\n";
  for (const Field& field : fields()) {
    const std::string value = field.get(options);
    text += std::string(value.empty() ? "# " : "") + std::string(field.name) + " = " +
            (field.secret && !value.empty() ? "(set, not shown)" : value) + "\n";
  }
  return text;
}

}  // namespace agenttask::agent
