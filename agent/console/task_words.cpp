#include "agent/console/task_words.hpp"

#include <array>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <utility>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "agent/console/time_text.hpp"
#include "platform/base/encoding.hpp"
#include "platform/os/secure_file.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/limits.hpp"

namespace agenttask::console {
namespace {

using nlohmann::json;

Error about(const char* option, Error error) {
  return with_context(std::move(error), option);
}

Result<std::string> read_standard_input(std::size_t most) {
  std::string text;
  std::array<char, 64 * 1024> buffer{};
  while (true) {
    const std::size_t count = std::fread(buffer.data(), 1, buffer.size(), stdin);
    text.append(buffer.data(), count);
    if (text.size() > most) {
      return Error{ErrorCode::limit, "standard input has more than " + std::to_string(most) + " bytes"};
    }
    if (count == 0) break;
  }
  if (std::ferror(stdin) != 0) return Error{ErrorCode::io, "cannot read standard input"};
  return text;
}

/// Options that a task and its update share, laid into `body`.
std::optional<Error> put_shared(json& body, const TaskWords& words, UnixMilliseconds now) {
  if (!words.description.empty()) body["description"] = words.description;
  if (!words.tags.empty()) body["tags"] = words.tags;
  if (!words.metadata.empty()) {
    auto metadata = data_argument(words.metadata);
    if (!metadata) return about("--metadata", metadata.error());
    body["metadata"] = std::move(*metadata);
  }
  json options = json::object();
  if (!words.timeout.empty()) {
    const auto timeout = parse_duration(words.timeout);
    if (!timeout) return about("--timeout", timeout.error());
    options["timeout"] = *timeout;
  }
  if (!words.expires.empty()) {
    const auto time = parse_time(words.expires, now);
    if (!time) return about("--expires", time.error());
    options["expiresAt"] = *time;
  }
  if (!words.max_output.empty()) {
    const auto size = parse_size(words.max_output);
    if (!size) return about("--max-output", size.error());
    options["maxOutputBytes"] = *size;
  }
  if (words.priority) options["priority"] = *words.priority;
  if (!words.key.empty()) options["concurrencyKey"] = words.key;
  if (!words.on_interrupt.empty()) options["onInterrupt"] = words.on_interrupt;
  if (words.attempts) options["retry"]["maxAttempts"] = *words.attempts;
  if (!words.backoff.empty()) {
    const auto backoff = parse_duration(words.backoff);
    if (!backoff) return about("--backoff", backoff.error());
    options["retry"]["backoff"] = *backoff;
  }
  if (!options.empty()) body["options"] = std::move(options);
  if (!words.at.empty()) {
    const auto time = parse_time(words.at, now);
    if (!time) return about("--at", time.error());
    body["schedule"] = {{"scheduledFor", *time}};
  }
  return std::nullopt;
}

/// One value each time the option is given, taken as it is: the parser would split `[a,b]`.
CLI::Option* add_list_option(CLI::App& verb, const std::string& name, std::vector<std::string>& values,
                             const std::string& description, const std::string& type) {
  return verb.add_option(name, values, description)->type_name(type)->allow_extra_args(false);
}

}  // namespace

void add_task_options(CLI::App& verb, TaskWords& words) {
  constexpr const char* kGroup = "How the task runs";
  const auto text = [&](const char* name, std::string& value, const char* description, const char* type) {
    verb.add_option(name, value, description)->type_name(type)->group(kGroup);
  };
  text("--timeout", words.timeout, "Stop it after this long: 500ms, 30s, 2m, 1h; 0 never (default 60s)",
       "TIME");
  text("--at", words.at, "Start then: 2026-11-22T05:10:00Z, +90s, or milliseconds since 1970", "WHEN");
  text("--expires", words.expires, "Fail it when it has not started by then (as --at)", "WHEN");
  text("--max-output", words.max_output,
       "Keep this much of each stream: 64KiB, 4MiB (default 1MiB, at most 16MiB)", "SIZE");
  verb.add_option("--priority", words.priority, "Higher goes first (default 0)")
      ->type_name("N")
      ->group(kGroup);
  text("--key", words.key, "Tasks with the same key run one at a time", "KEY");
  verb.add_option("--attempts", words.attempts, "Run it again when it fails, at most so many runs in all")
      ->type_name("N")
      ->group(kGroup);
  text("--backoff", words.backoff, "Before the second attempt; doubles (default 1s)", "TIME");
  allow_only(
      *verb.add_option(
               "--on-interrupt", words.on_interrupt,
               "After a crash in the middle: fail (default) or rerun, at most 3 times and beside --retry")
           ->type_name("WHAT")
           ->group(kGroup),
      {"fail", "rerun"});
  add_list_option(verb, "--tag", words.tags, "A label; may be given several times", "TAG")->group(kGroup);
  text("--description", words.description, "What it is for", "TEXT");
  text("--metadata", words.metadata, "A JSON object of your own, @FILE or -", "JSON");
}

void add_place_options(CLI::App& verb, TaskWords& words) {
  verb.add_option("--room", words.room, "The room it belongs to")
      ->type_name("ID")
      ->group("How the task runs");
  verb.add_option("--world", words.world, "The world it belongs to")
      ->type_name("ID")
      ->group("How the task runs");
}

void add_command_options(CLI::App& verb, CommandWords& words) {
  constexpr const char* kGroup = "The command";
  verb.add_option("--cwd", words.cwd, "Folder it runs in (default: /)")->type_name("DIR")->group(kGroup);
  add_list_option(verb, "--env", words.environment, "Add to its environment; may be given several times",
                  "NAME=VALUE")
      ->group(kGroup);
  verb.add_option("--stdin", words.standard_input,
                  "Its standard input: a file, or - for ours (text, at most 1 MiB)")
      ->type_name("FILE")
      ->group(kGroup);
  allow_only(*verb.add_option("--shell", words.shell, "Which shell runs the line: sh, bash, powershell, cmd")
                  ->type_name("SHELL")
                  ->group(kGroup),
             {"sh", "bash", "powershell", "cmd"});
  verb.add_option("--run-as", words.run_as, "User it runs as (default: the agent's)")
      ->type_name("USER")
      ->group(kGroup);
}

Result<std::string> read_input(const std::string& file, std::size_t most) {
  if (file == "-") return read_standard_input(most);
  return os::read_file(file, most);
}

Result<json> data_argument(const std::string& text) {
  std::string source = text;
  if (text == "-" || (!text.empty() && text.front() == '@')) {
    auto input = read_input(text == "-" ? text : text.substr(1), limits::kDataBytes);
    if (!input) return input.error();
    source = std::move(*input);
  }
  auto value = parse_json(source);
  if (!value) return value.error();
  if (!value->is_object()) {
    return Error{ErrorCode::invalid, R"(a JSON object is expected, such as {"message":"Hello"})"};
  }
  return value;
}

Result<json> command_data(const CommandWords& words, const std::optional<std::vector<std::string>>& rest,
                          bool local) {
  json data = json::object();
  if (rest && !words.line.empty()) {
    return Error{ErrorCode::invalid,
                 "give a shell line in quotes, or a program and its arguments after --, not both"};
  }
  if (rest) {
    if (rest->empty()) return Error{ErrorCode::invalid, "a program is expected after --"};
    data["argv"] = *rest;
  } else if (words.line.empty()) {
    return Error{ErrorCode::invalid,
                 "a shell line in quotes is expected, or a program and its arguments after --"};
  } else {
    data["cmd"] = words.line;
  }
  if (!words.cwd.empty()) {
    data["cwd"] = local ? std::filesystem::absolute(words.cwd).lexically_normal().string() : words.cwd;
  }
  for (const std::string& entry : words.environment) {
    const std::size_t mark = entry.find('=');
    if (mark == std::string::npos || mark == 0) {
      return Error{ErrorCode::invalid, "--env: '" + entry + "' is not NAME=VALUE"};
    }
    data["env"][entry.substr(0, mark)] = entry.substr(mark + 1);
  }
  if (!words.standard_input.empty()) {
    auto input = read_input(words.standard_input, limits::kDataBytes);
    if (!input) return with_context(input.error(), "--stdin");
    if (!is_utf8(*input)) {
      return Error{ErrorCode::invalid, "--stdin: what a task reads has to be UTF-8 text, and this is not"};
    }
    data["stdin"] = std::move(*input);
  }
  if (!words.shell.empty()) data["shell"] = words.shell;
  if (!words.run_as.empty()) data["runAs"] = words.run_as;
  return Result<json>(boost::system::in_place_value, std::move(data));
}

Result<json> task_request(const std::string& type, json data, const TaskWords& words, UnixMilliseconds now) {
  json body{{"type", type}, {"data", std::move(data)}};
  if (auto error = put_shared(body, words, now)) return *error;
  if (!words.room.empty()) body["roomId"] = words.room;
  if (!words.world.empty()) body["worldId"] = words.world;
  return Result<json>(boost::system::in_place_value, std::move(body));
}

Result<json> task_changes(const TaskWords& words, UnixMilliseconds now) {
  json body = json::object();
  if (auto error = put_shared(body, words, now)) return *error;
  if (body.empty()) {
    return Error{ErrorCode::invalid, "say what to change, such as --description, --tag, --metadata or --at"};
  }
  return Result<json>(boost::system::in_place_value, std::move(body));
}

Result<std::int64_t> parse_size(std::string_view text) {
  struct Unit {
    std::string_view name;
    std::int64_t bytes;
  };
  constexpr std::array<Unit, 7> kUnits{
      {{"", 1}, {"B", 1}, {"K", 1024}, {"KiB", 1024}, {"M", 1024 * 1024}, {"MiB", 1024 * 1024}, {"k", 1024}}};
  const Error wrong{ErrorCode::invalid,
                    "'" + std::string(text) + "' is not a size; write 65536, 64KiB or 4MiB"};
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || value < 0 || value > (1LL << 40)) return wrong;
  const std::string_view unit = text.substr(static_cast<std::size_t>(end - text.data()));
  for (const Unit& one : kUnits) {
    if (one.name == unit) return value * one.bytes;
  }
  return wrong;
}

}  // namespace agenttask::console
