#include "server/main/settings.hpp"

#include <utility>

#include "platform/os/secure_file.hpp"
#include "platform/settings/configuration_file.hpp"
#include "platform/settings/setting_table.hpp"
#include "platform/settings/values.hpp"
#include "server/main/listen_address.hpp"

namespace agenttask::server {
namespace {

using settings::assign;
using settings::duration_text;
using settings::parse_duration;
using settings::parse_number;
using Text = std::string_view;
using Settings = ServerSettings;
using Row = settings::Setting<Settings>;

constexpr DurationMilliseconds kSecond = 1000;
constexpr DurationMilliseconds kHour = 3600 * kSecond;
constexpr DurationMilliseconds kDay = 24 * kHour;
constexpr DurationMilliseconds kShortestTimeout = 100;
constexpr std::int64_t kMostConnections = 1'000'000;
constexpr std::size_t kPathBytes = 4096;
constexpr std::int64_t kMostKept = 1'000'000;

Result<void> set_path(std::filesystem::path& target, Text text) {
  return assign(settings::parse_text(text, kPathBytes), target);
}

Result<void> set_timeout(std::chrono::milliseconds& target, Text text, DurationMilliseconds most = kHour) {
  return assign(parse_duration(text, kShortestTimeout, most), target);
}

Result<void> set_listen(Settings& settings, Text text) {
  auto listen = parse_listen(text);
  if (!listen) return listen.error();
  settings.listen_address = std::move(listen->first);
  if (listen->second >= 0) settings.port = static_cast<std::uint16_t>(listen->second);
  return {};
}

Result<void> set_tls(Settings& settings, Text text) {
  if (text != "1.2" && text != "1.3") return settings::expected("1.3 or 1.2");
  settings.allow_tls12 = text == "1.2";
  return {};
}

// Variables and flags are taken in this order: port comes after listen, as it overrides a port given there.
std::vector<Row> address_rows() {
  return {
      {{.name = "host",
        .value = "NAMES",
        .help = "Names and addresses under which the server is reached, for its certificate (default: this "
                "host's name, localhost, 127.0.0.1, ::1)",
        .list = true,
        .alias = "name"},
       [](Settings& s, Text t) { return assign(settings::parse_list(t), s.hosts); },
       [](const Settings& s) { return settings::list_text(s.hosts); }},
      {{.name = "listen",
        .value = "ADDRESS[:PORT]",
        .standard = "0.0.0.0:8443",
        .help = "Where to listen; :: is every address of both kinds"},
       set_listen,
       [](const Settings& s) { return s.listen_address; }},
      {{.name = "port",
        .value = "PORT",
        .help = "Overrides the port of listen; 0: any free one, see ready-file"},
       [](Settings& s, Text t) { return assign(parse_number(t, 0, 65'535), s.port); },
       [](const Settings& s) { return std::to_string(s.port); }},
      {{.name = "ready-file", .value = "FILE", .help = "Gets the port, one line, once the server answers"},
       [](Settings& s, Text t) { return set_path(s.ready_file, t); },
       [](const Settings& s) { return s.ready_file.string(); }},
      {{.name = "certificate",
        .value = "FILE",
        .help = "A server certificate of your own (PEM, then intermediates), with private-key and "
                "certificate-authority (default: the server makes and renews its own)"},
       [](Settings& s, Text t) { return set_path(s.certificate, t); },
       [](const Settings& s) { return s.certificate.string(); }},
      {{.name = "private-key", .value = "FILE", .help = "Its key (PEM, readable by the service only)"},
       [](Settings& s, Text t) { return set_path(s.private_key, t); },
       [](const Settings& s) { return s.private_key.string(); }},
      {{.name = "certificate-authority",
        .value = "FILE",
        .help = "The authority that devices and operators shall trust for it (PEM)"},
       [](Settings& s, Text t) { return set_path(s.certificate_authority, t); },
       [](const Settings& s) { return s.certificate_authority.string(); }},
      {{.name = "tls",
        .value = "VERSION",
        .standard = "1.3",
        .help = "Oldest TLS version to speak: 1.2 or 1.3",
        .reloads = true},
       set_tls,
       [](const Settings& s) { return std::string(s.allow_tls12 ? "1.2" : "1.3"); }},
      {{.name = "server-certificate-life",
        .value = "TIME",
        .standard = "365d",
        .help = "Life of the certificate that the server makes for itself; renewed at half of it"},
       [](Settings& s, Text t) {
         return assign(parse_duration(t, kHour, 3650 * kDay), s.server_certificate_life);
       },
       [](const Settings& s) { return duration_text(s.server_certificate_life); }},
      {{.name = "device-certificate-life",
        .value = "TIME",
        .standard = "90d",
        .help = "Life of devices' certificates; devices renew at half of it"},
       [](Settings& s, Text t) {
         return assign(parse_duration(t, 60 * kSecond, 3650 * kDay), s.device_certificate_life);
       },
       [](const Settings& s) { return duration_text(s.device_certificate_life); }},
  };
}

std::vector<Row> service_rows() {
  return {
      {{.name = "retention",
        .value = "TIME",
        .standard = "30d",
        .help = "How long ended tasks stay readable"},
       [](Settings& s, Text t) { return assign(parse_duration(t, 0, 36'500 * kDay), s.retention); },
       [](const Settings& s) { return duration_text(s.retention); }},
      {{.name = "keep-runs",
        .value = "N",
        .standard = "200",
        .help = "Runs that are kept of each task, with their output; older ones go"},
       [](Settings& s, Text t) { return assign(parse_number(t, 1, kMostKept), s.keep_runs); },
       [](const Settings& s) { return std::to_string(s.keep_runs); }},
      {{.name = "message-retention",
        .value = "TIME",
        .standard = "30d",
        .help = "How long messages in rooms are kept"},
       [](Settings& s, Text t) { return assign(parse_duration(t, 0, 36'500 * kDay), s.message_retention); },
       [](const Settings& s) { return duration_text(s.message_retention); }},
      {{.name = "keep-messages",
        .value = "N",
        .standard = "10000",
        .help = "Messages that are kept of each device and of each operator, up to 64 MiB; older ones go"},
       [](Settings& s, Text t) { return assign(parse_number(t, 1, kMostKept), s.keep_messages); },
       [](const Settings& s) { return std::to_string(s.keep_messages); }},
      {{.name = "max-connections",
        .value = "N",
        .standard = "10000",
        .help = "Connections in all",
        .reloads = true},
       [](Settings& s, Text t) { return assign(parse_number(t, 1, kMostConnections), s.http.connections); },
       [](const Settings& s) { return std::to_string(s.http.connections); }},
      {{.name = "max-connections-per-address",
        .value = "N",
        .standard = "10000",
        .help = "Connections from one address; devices may sit behind one",
        .reloads = true},
       [](Settings& s, Text t) {
         return assign(parse_number(t, 1, kMostConnections), s.http.connections_per_address);
       },
       [](const Settings& s) { return std::to_string(s.http.connections_per_address); }},
      {{.name = "handshake-timeout",
        .value = "TIME",
        .standard = "10s",
        .help = "Time for a TLS handshake",
        .reloads = true},
       [](Settings& s, Text t) { return set_timeout(s.http.handshake_timeout, t); },
       [](const Settings& s) { return duration_text(s.http.handshake_timeout.count()); }},
      {{.name = "header-timeout",
        .value = "TIME",
        .standard = "10s",
        .help = "Time from a request's first byte to the end of its header",
        .reloads = true},
       [](Settings& s, Text t) { return set_timeout(s.http.header_timeout, t); },
       [](const Settings& s) { return duration_text(s.http.header_timeout.count()); }},
      {{.name = "body-timeout",
        .value = "TIME",
        .standard = "30s",
        .help = "Time for a body, and a second more for each 8 KiB of it",
        .reloads = true},
       [](Settings& s, Text t) { return set_timeout(s.http.body_timeout, t); },
       [](const Settings& s) { return duration_text(s.http.body_timeout.count()); }},
      {{.name = "idle-timeout",
        .value = "TIME",
        .standard = "75s",
        .help = "How long a connection is kept without a request",
        .reloads = true},
       [](Settings& s, Text t) { return set_timeout(s.http.idle_timeout, t, kDay); },
       [](const Settings& s) { return duration_text(s.http.idle_timeout.count()); }},
      {{.name = "network-threads",
        .value = "N",
        .standard = "0",
        .help = "Threads for TLS and HTTP; 0: one a core, at most 4"},
       [](Settings& s, Text t) { return assign(parse_number(t, 0, 64), s.network_threads); },
       [](const Settings& s) { return std::to_string(s.network_threads); }},
      {{.name = "readers", .value = "N", .standard = "2", .help = "Threads that answer from the database"},
       [](Settings& s, Text t) { return assign(parse_number(t, 1, 64), s.readers); },
       [](const Settings& s) { return std::to_string(s.readers); }},
      {{.name = "stop-grace",
        .value = "TIME",
        .standard = "10s",
        .help = "How long a stop waits for requests under way",
        .reloads = true},
       [](Settings& s, Text t) { return assign(parse_duration(t, 0, kHour), s.stop_grace); },
       [](const Settings& s) { return duration_text(s.stop_grace.count()); }},
      {{.name = "log-level",
        .value = "LEVEL",
        .standard = "info",
        .help = "What is logged: debug, info, warning or error",
        .reloads = true},
       [](Settings& s, Text t) { return assign(parse_log_level(t), s.log_level); },
       [](const Settings& s) { return settings::log_level_text(s.log_level); }},
      {{.name = "log-format",
        .value = "FORMAT",
        .standard = "text",
        .help = "How it is logged: text or json"},
       [](Settings& s, Text t) { return assign(parse_log_format(t), s.log_format); },
       [](const Settings& s) { return settings::log_format_text(s.log_format); }},
  };
}

/// The one table of all settings.
const settings::SettingTable<Settings>& table() {
  static const settings::SettingTable<Settings> all = [] {
    auto rows = address_rows();
    for (auto& row : service_rows()) rows.push_back(row);
    return settings::SettingTable<Settings>({"agenttask-server run --help", "AGENTTASK_SERVER_"},
                                            std::move(rows));
  }();
  return all;
}

Result<void> check_together(const Settings& settings) {
  const auto given = static_cast<int>(!settings.certificate.empty()) +
                     static_cast<int>(!settings.private_key.empty()) +
                     static_cast<int>(!settings.certificate_authority.empty());
  if (given == 0 || given == 3) return {};
  return Error{ErrorCode::invalid,
               "certificate, private-key and certificate-authority belong together: give all three or none",
               "certificate"};
}

}  // namespace

const settings::SettingCatalog& server_settings() {
  return table();
}

Result<ServerSettings> read_settings(const SettingSources& sources) {
  settings::Sources from{sources.file, {}, sources.environment, sources.flags};
  if (!sources.file.empty()) {
    auto text = os::read_file(sources.file, settings::kConfigurationBytes);
    if (text) {
      from.configuration = *std::move(text);
    } else if (text.error().code != ErrorCode::not_found || sources.file_must_exist) {
      return text.error();
    }
  }
  auto settings = table().read(from);
  if (!settings) return settings.error();
  if (auto done = check_together(*settings); !done) return done.error();
  return settings;
}

std::string describe(const ServerSettings& settings) {
  return table().describe(settings);
}

std::string first_configuration(const std::vector<std::string>& hosts) {
  std::string text =
      "# Settings of agenttask-server. Flags and AGENTTASK_SERVER_… variables override them.\n"
      "# `agenttask-server check-config` says what holds; SIGHUP reads this file again.\n";
  for (const auto& setting : table().settings()) {
    text += "\n# " + std::string(setting.help) + (setting.reloads ? "\n" : "; counts from the next start\n");
    if (setting.name == "host") {
      text += "host = " + settings::list_text(hosts) + '\n';
    } else {
      text += "#" + std::string(setting.name) + " = " + std::string(setting.standard) + '\n';
    }
  }
  return text;
}

std::vector<std::string> need_restart(const ServerSettings& before, const ServerSettings& after) {
  return table().need_restart(before, after);
}

}  // namespace agenttask::server
