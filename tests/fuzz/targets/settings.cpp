// Configuration: its lines, its values, and all settings of both programs.
#include "server/main/settings.hpp"

#include <filesystem>
#include <fstream>

#include "agent/main/options.hpp"
#include "platform/base/encoding.hpp"
#include "platform/settings/configuration_file.hpp"
#include "platform/settings/values.hpp"
#include "tests/fuzz/target.hpp"
#include "tests/fuzz/targets.hpp"
#include "tests/support/temporary_folder.hpp"

namespace agenttask::fuzz {
namespace {

using settings::ConfigurationEntry;

/// A file may hold any bytes, and is quoted as it is: logs and terminals make it safe.
void hold_configuration_refusal(const Error& error) {
  hold(!error.message.empty(), "a refusal says why");
  hold(error.code == ErrorCode::invalid || error.code == ErrorCode::limit, "a refusal says what is at fault",
       error.message);
}

void hold_entry(const ConfigurationEntry& entry, std::size_t lines) {
  hold(!entry.name.empty() && entry.line >= 1 && entry.line <= lines, "a line that sets something names it");
  if (entry.values.size() != 1) return;
  const auto& value = entry.values.front();
  const bool both_quotes = value.find('"') != std::string::npos && value.find('\'') != std::string::npos;
  if (both_quotes && value.find('#') != std::string::npos) return;  // see configuration_value
  // What one line says can be said again.
  const auto again = settings::parse_configuration(
      "again", entry.name + " = " + settings::configuration_value(entry.values.front()));
  hold(again && again->size() == 1, "a value can be written again", entry.values.front());
  hold(again->front().name == entry.name && again->front().values == entry.values, "a value stays as it is",
       entry.values.front());
}

std::optional<std::string> no_environment(const std::string&) {
  return std::nullopt;
}

template <class Value, class Read, class Write>
void hold_value(std::string_view text, Read read, Write write) {
  const Result<Value> value = read(text);
  if (!value) return hold_configuration_refusal(value.error());
  const auto again = read(write(*value));
  hold(again && *again == *value, "a value that was taken is taken again as it is", write(*value));
}

}  // namespace

void configuration(std::string_view bytes) {
  const auto entries = settings::parse_configuration("file", bytes);
  if (!entries) return hold_configuration_refusal(entries.error());
  const auto lines = static_cast<std::size_t>(std::count(bytes.begin(), bytes.end(), '\n')) + 1;
  for (const auto& entry : *entries) hold_entry(entry, lines);
}

void settings(std::string_view bytes) {
  static const test::TemporaryFolder folder;
  const auto file = folder.path() / "file.conf";
  const auto write = [&](std::string_view text) {
    std::ofstream(file, std::ios::binary).write(text.data(), static_cast<std::streamsize>(text.size()));
  };
  write(bytes);
  const auto read_server = [&] { return server::read_settings({file, true, no_environment, {}}); };
  if (const auto server = read_server()) {
    const auto described = server::describe(*server);
    write(described);
    const auto again = read_server();
    hold(static_cast<bool>(again), "the server's settings can be read again", described);
    hold(server::describe(*again) == described, "the server's settings stay as they are", described);
  } else {
    hold_configuration_refusal(server.error());
  }
  write(bytes);
  const auto read_agent = [&] { return agent::read_options({"--config", file.string()}, no_environment); };
  if (const auto line = read_agent()) {
    const auto described = agent::describe(line->options);
    write(described);
    const auto again = read_agent();
    hold(static_cast<bool>(again), "the agent's settings can be read again", described);
    hold(agent::describe(again->options) == described || described.find("not shown") != std::string::npos,
         "the agent's settings stay as they are", described);
  } else {
    hold_configuration_refusal(line.error());
  }
}

void setting_values(std::string_view bytes) {
  constexpr std::int64_t kMost = INT64_MAX;
  hold_value<std::int64_t>(
      bytes, [](std::string_view text) { return settings::parse_number(text, INT64_MIN, kMost); },
      [](std::int64_t value) { return std::to_string(value); });
  hold_value<DurationMilliseconds>(
      bytes, [](std::string_view text) { return settings::parse_duration(text, 0, kMost); },
      settings::duration_text);
  hold_value<std::int64_t>(
      bytes, [](std::string_view text) { return settings::parse_size(text, 0, kMost); }, settings::size_text);
  hold_value<std::vector<std::string>>(bytes, settings::parse_list, settings::list_text);
  hold_value<bool>(bytes, settings::parse_boolean, [](bool value) { return value ? "on" : "off"; });
  const auto bounded = settings::parse_duration(bytes, 1000, 60'000);
  hold(!bounded || (*bounded >= 1000 && *bounded <= 60'000), "a duration is bounded");
  const auto size = settings::parse_size(bytes, 10, 1000, settings::kKibibyte);
  hold(!size || (*size >= 10 && *size <= 1000), "a size is bounded");
  (void)parse_log_level(bytes);
  (void)parse_log_format(bytes);
}

}  // namespace agenttask::fuzz
