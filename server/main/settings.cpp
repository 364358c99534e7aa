#include "server/main/settings.hpp"

#include <algorithm>
#include <array>
#include <set>

#include "platform/os/secure_file.hpp"
#include "server/main/setting_values.hpp"

namespace agenttask::server {
namespace {

using std::chrono::milliseconds;
using Text = std::string_view;
using Settings = ServerSettings;

constexpr std::size_t kFileBytes = 256 * 1024;
constexpr DurationMilliseconds kSecond = 1000;
constexpr DurationMilliseconds kHour = 3600 * kSecond;
constexpr DurationMilliseconds kDay = 24 * kHour;
constexpr std::int64_t kMostConnections = 1'000'000;

Result<void> set_list(std::vector<std::string>& target, Text text) {
  auto list = parse_list(text);
  if (!list) return list.error();
  target = std::move(*list);
  return {};
}

Result<void> set_duration(DurationMilliseconds& target, Text text, DurationMilliseconds least,
                          DurationMilliseconds most) {
  const auto duration = parse_duration(text, least, most);
  if (!duration) return duration.error();
  target = *duration;
  return {};
}

Result<void> set_duration(milliseconds& target, Text text, DurationMilliseconds least,
                          DurationMilliseconds most) {
  const auto duration = parse_duration(text, least, most);
  if (!duration) return duration.error();
  target = milliseconds(*duration);
  return {};
}

template <class Number>
Result<void> set_number(Number& target, Text text, std::int64_t least, std::int64_t most) {
  const auto number = parse_number(text, least, most);
  if (!number) return number.error();
  target = static_cast<Number>(*number);
  return {};
}

Result<void> set_path(std::filesystem::path& target, Text text) {
  target = std::filesystem::path(text);
  return {};
}

Result<void> set_listen(Settings& settings, Text text) {
  auto listen = parse_listen(text);
  if (!listen) return listen.error();
  settings.listen_address = std::move(listen->first);
  if (listen->second >= 0) settings.port = static_cast<std::uint16_t>(listen->second);
  return {};
}

Result<void> set_tls(Settings& settings, Text text) {
  if (text != "1.2" && text != "1.3") return Error{ErrorCode::invalid, "expected 1.3 or 1.2"};
  settings.allow_tls12 = text == "1.2";
  return {};
}

Result<void> set_log_level(Settings& settings, Text text) {
  const auto level = parse_log_level(text);
  if (!level) return level.error();
  settings.log_level = *level;
  return {};
}

Result<void> set_log_format(Settings& settings, Text text) {
  const auto format = parse_log_format(text);
  if (!format) return format.error();
  settings.log_format = *format;
  return {};
}

std::string list_text(const std::vector<std::string>& items) {
  std::string text;
  for (const auto& item : items) text += (text.empty() ? "" : ", ") + item;
  return text;
}

std::string log_level_text(LogLevel level) {
  constexpr std::array<const char*, 4> names{"debug", "info", "warning", "error"};
  return names.at(static_cast<std::size_t>(level));
}

// The order is that of the configuration file: port after listen, as it overrides a port given there.
constexpr std::array<SettingField, 22> kFields{{
    {"host", "NAMES", "",
     "names and addresses under which the server is reached, for its certificate; default: this host's name, "
     "localhost, 127.0.0.1, ::1",
     false, [](Settings& s, Text t) { return set_list(s.hosts, t); },
     [](const Settings& s) { return list_text(s.hosts); }},
    {"listen", "ADDRESS[:PORT]", "0.0.0.0:8443", "where to listen; :: is every address of both kinds", false,
     set_listen, [](const Settings& s) { return s.listen_address; }},
    {"port", "PORT", "", "overrides the port of listen; 0: any free one, see ready-file", false,
     [](Settings& s, Text t) { return set_number(s.port, t, 0, 65'535); },
     [](const Settings& s) { return std::to_string(s.port); }},
    {"ready-file", "FILE", "", "gets the port, one line, once the server answers", false,
     [](Settings& s, Text t) { return set_path(s.ready_file, t); },
     [](const Settings& s) { return s.ready_file.string(); }},
    {"certificate", "FILE", "",
     "a server certificate of your own (PEM, then intermediates), with private-key and "
     "certificate-authority; default: the server makes and renews its own",
     false, [](Settings& s, Text t) { return set_path(s.certificate, t); },
     [](const Settings& s) { return s.certificate.string(); }},
    {"private-key", "FILE", "", "its key (PEM, readable by the service only)", false,
     [](Settings& s, Text t) { return set_path(s.private_key, t); },
     [](const Settings& s) { return s.private_key.string(); }},
    {"certificate-authority", "FILE", "", "the authority that devices and operators shall trust for it (PEM)",
     false, [](Settings& s, Text t) { return set_path(s.certificate_authority, t); },
     [](const Settings& s) { return s.certificate_authority.string(); }},
    {"tls", "1.3|1.2", "1.3", "the oldest TLS version that is spoken", true, set_tls,
     [](const Settings& s) { return std::string(s.allow_tls12 ? "1.2" : "1.3"); }},
    {"server-certificate-life", "DURATION", "365d",
     "of the certificate that the server makes for itself; renewed at half of it", false,
     [](Settings& s, Text t) { return set_duration(s.server_certificate_life, t, kHour, 3650 * kDay); },
     [](const Settings& s) { return duration_text(s.server_certificate_life); }},
    {"device-certificate-life", "DURATION", "90d", "of devices' certificates; devices renew at half of it",
     false,
     [](Settings& s, Text t) {
       return set_duration(s.device_certificate_life, t, 60 * kSecond, 3650 * kDay);
     },
     [](const Settings& s) { return duration_text(s.device_certificate_life); }},
    {"retention", "DURATION", "30d", "how long ended tasks stay readable", false,
     [](Settings& s, Text t) { return set_duration(s.retention, t, 0, 36'500 * kDay); },
     [](const Settings& s) { return duration_text(s.retention); }},
    {"max-connections", "NUMBER", "10000", "connections in all", true,
     [](Settings& s, Text t) { return set_number(s.http.connections, t, 1, kMostConnections); },
     [](const Settings& s) { return std::to_string(s.http.connections); }},
    {"max-connections-per-address", "NUMBER", "10000",
     "connections from one address; devices may sit behind one", true,
     [](Settings& s, Text t) { return set_number(s.http.connections_per_address, t, 1, kMostConnections); },
     [](const Settings& s) { return std::to_string(s.http.connections_per_address); }},
    {"handshake-timeout", "DURATION", "10s", "for a TLS handshake", true,
     [](Settings& s, Text t) { return set_duration(s.http.handshake_timeout, t, 100, kHour); },
     [](const Settings& s) { return duration_text(s.http.handshake_timeout.count()); }},
    {"header-timeout", "DURATION", "10s", "from a request's first byte to the end of its header", true,
     [](Settings& s, Text t) { return set_duration(s.http.header_timeout, t, 100, kHour); },
     [](const Settings& s) { return duration_text(s.http.header_timeout.count()); }},
    {"body-timeout", "DURATION", "30s", "for a body, and a second more for each 8 KiB of it", true,
     [](Settings& s, Text t) { return set_duration(s.http.body_timeout, t, 100, kHour); },
     [](const Settings& s) { return duration_text(s.http.body_timeout.count()); }},
    {"idle-timeout", "DURATION", "75s", "how long a connection is kept without a request", true,
     [](Settings& s, Text t) { return set_duration(s.http.idle_timeout, t, 100, kDay); },
     [](const Settings& s) { return duration_text(s.http.idle_timeout.count()); }},
    {"network-threads", "NUMBER", "0", "threads for TLS and HTTP; 0: one a core, at most 4", false,
     [](Settings& s, Text t) { return set_number(s.network_threads, t, 0, 64); },
     [](const Settings& s) { return std::to_string(s.network_threads); }},
    {"readers", "NUMBER", "2", "threads that answer from the database", false,
     [](Settings& s, Text t) { return set_number(s.readers, t, 1, 64); },
     [](const Settings& s) { return std::to_string(s.readers); }},
    {"stop-grace", "DURATION", "10s", "how long a stop waits for requests under way", true,
     [](Settings& s, Text t) { return set_duration(s.stop_grace, t, 0, kHour); },
     [](const Settings& s) { return duration_text(s.stop_grace.count()); }},
    {"log-level", "LEVEL", "info", "debug, info, warning or error", true, set_log_level,
     [](const Settings& s) { return log_level_text(s.log_level); }},
    {"log-format", "FORMAT", "text", "text or json", false, set_log_format,
     [](const Settings& s) { return std::string(s.log_format == LogFormat::json ? "json" : "text"); }},
}};

Error invalid_from(const std::string& source, Text name, const Error& error) {
  return Error{ErrorCode::invalid, source + ": " + error.message, std::string(name)};
}

const SettingField* find_field(Text name) {
  const auto* found =
      std::find_if(kFields.begin(), kFields.end(), [&](const SettingField& f) { return f.name == name; });
  return found == kFields.end() ? nullptr : found;
}

Result<void> apply_line(Settings& settings, Text line, std::set<std::string, std::less<>>& seen,
                        const std::string& where) {
  const auto equals = line.find('=');
  const auto name = trimmed(line.substr(0, equals));
  if (equals == Text::npos || name.empty()) {
    return Error{ErrorCode::invalid, where + ": expected a line as \"name = value\""};
  }
  const auto* field = find_field(name);
  if (field == nullptr) {
    return Error{ErrorCode::invalid,
                 where + ": there is no setting \"" + std::string(name) +
                     "\"; `agenttask-server run --help` lists them",
                 std::string(name)};
  }
  if (!seen.insert(std::string(name)).second) {
    return Error{ErrorCode::invalid, where + ": " + std::string(name) + " was given before",
                 std::string(name)};
  }
  if (auto done = field->set(settings, trimmed(line.substr(equals + 1))); !done)
    return invalid_from(where + ": " + std::string(name), name, done.error());
  return {};
}

/// A # begins a comment at the begin of a line and after white space: it may be part of a value.
Text without_comment(Text line) {
  for (auto at = line.find('#'); at != Text::npos; at = line.find('#', at + 1)) {
    if (at == 0 || line[at - 1] == ' ' || line[at - 1] == '\t') return line.substr(0, at);
  }
  return line;
}

Result<void> apply_file(Settings& settings, const SettingSources& sources) {
  if (sources.file.empty()) return {};
  const auto text = os::read_file(sources.file, kFileBytes);
  if (!text) {
    if (text.error().code == ErrorCode::not_found && !sources.file_must_exist) return {};
    return text.error();
  }
  std::set<std::string, std::less<>> seen;
  Text rest = *text;
  for (int number = 1; !rest.empty(); ++number) {
    const auto end = rest.find('\n');
    const auto line = trimmed(without_comment(rest.substr(0, end)));
    rest.remove_prefix(std::min(end == Text::npos ? rest.size() : end + 1, rest.size()));
    if (line.empty()) continue;
    const auto where = sources.file.string() + " line " + std::to_string(number);
    if (auto done = apply_line(settings, line, seen, where); !done) return done;
  }
  return {};
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

std::span<const SettingField> setting_fields() {
  return kFields;
}

std::string variable_name(std::string_view setting) {
  std::string name = "AGENTTASK_SERVER_";
  for (const char letter : setting) {
    name += letter == '-'                    ? '_'
            : letter >= 'a' && letter <= 'z' ? static_cast<char>(letter - 'a' + 'A')
                                             : letter;
  }
  return name;
}

Result<ServerSettings> read_settings(const SettingSources& sources) {
  Settings settings;
  for (const auto& field : kFields) {
    if (field.standard.empty()) continue;
    if (auto done = field.set(settings, field.standard); !done)
      return invalid_from("default", field.name, done.error());
  }
  if (auto done = apply_file(settings, sources); !done) return done.error();
  for (const auto& field : kFields) {
    const auto name = variable_name(field.name);
    const auto text = sources.environment(name);
    if (!text) continue;
    if (auto done = field.set(settings, *text); !done)
      return invalid_from("environment " + name, field.name, done.error());
  }
  for (const auto& field : kFields) {
    const auto found = sources.flags.find(field.name);
    if (found == sources.flags.end()) continue;
    const auto flag = "--" + std::string(field.name);
    if (auto done = field.set(settings, found->second); !done)
      return invalid_from(flag, field.name, done.error());
  }
  if (auto done = check_together(settings); !done) return done.error();
  return settings;
}

std::string describe(const ServerSettings& settings) {
  std::string text;
  for (const auto& field : kFields) {
    const auto value = field.get(settings);
    text += value.empty() ? "# " + std::string(field.name) + " =\n"
                          : std::string(field.name) + " = " + value + '\n';
  }
  return text;
}

std::string first_configuration(const std::vector<std::string>& hosts) {
  std::string text =
      "# Settings of agenttask-server. Flags and AGENTTASK_SERVER_… variables override them.\n"
      "# `agenttask-server check-config` says what holds; SIGHUP reads this file again.\n";
  for (const auto& field : kFields) {
    text += "\n# " + std::string(field.help) + (field.reloads ? "\n" : " (from the next start)\n");
    if (field.name == "host") {
      text += "host = " + list_text(hosts) + '\n';
    } else {
      text += "#" + std::string(field.name) + " = " + std::string(field.standard) + '\n';
    }
  }
  return text;
}

std::vector<std::string> need_restart(const ServerSettings& before, const ServerSettings& after) {
  std::vector<std::string> names;
  for (const auto& field : kFields) {
    if (!field.reloads && field.get(before) != field.get(after)) names.emplace_back(field.name);
  }
  return names;
}

}  // namespace agenttask::server
