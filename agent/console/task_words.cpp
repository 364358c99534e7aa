#include "agent/console/task_words.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <utility>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "agent/console/json_access.hpp"
#include "agent/console/time_text.hpp"
#include "platform/base/encoding.hpp"
#include "platform/base/path_text.hpp"
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

constexpr const char* kNever = "never";  ///< takes --every away in an update

std::optional<Error> put_schedule(json& body, const TaskWords& words, UnixMilliseconds now) {
  json schedule = json::object();
  if (!words.at.empty()) {
    const auto time = parse_time(words.at, now);
    if (!time) return about("--at", time.error());
    schedule["scheduledFor"] = *time;
  }
  if (words.every == kNever) {
    schedule["updateInterval"] = nullptr;
  } else if (!words.every.empty()) {
    const auto interval = parse_interval(words.every);
    if (!interval) return about("--every", interval.error());
    schedule["updateInterval"] = *interval;
  }
  if (!words.jitter.empty()) {
    const auto jitter = parse_duration(words.jitter);
    if (!jitter) return about("--jitter", jitter.error());
    schedule["jitter"] = *jitter;
  }
  if (!words.overlap.empty()) {
    schedule["overlap"] = words.overlap == "cancel-previous" ? "cancelPrevious" : words.overlap;
  }
  if (!words.catch_up.empty()) schedule["catchUp"] = words.catch_up;
  if (!schedule.empty()) body["schedule"] = std::move(schedule);
  return std::nullopt;
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
  if (words.outlives_agent) options["outlivesAgent"] = true;
  if (words.attempts) options["retry"]["maxAttempts"] = *words.attempts;
  if (!words.backoff.empty()) {
    const auto backoff = parse_duration(words.backoff);
    if (!backoff) return about("--backoff", backoff.error());
    options["retry"]["backoff"] = *backoff;
  }
  if (!words.max_backoff.empty()) {
    const auto backoff = parse_duration(words.max_backoff);
    if (!backoff) return about("--max-backoff", backoff.error());
    options["retry"]["maxBackoff"] = *backoff;
  }
  if (options.contains("retry") && !words.attempts && words.like.empty()) {
    return Error{ErrorCode::invalid, "--backoff and --max-backoff go with --attempts: how often may it run?"};
  }
  if (!options.empty()) body["options"] = std::move(options);
  return put_schedule(body, words, now);
}

/// `confirm:Proceed`: what stands before the first colon is the name.
std::optional<Error> put_choices(json& body, const TaskWords& words, UnixMilliseconds now) {
  for (const std::string& entry : words.choices) {
    const std::size_t mark = std::min(entry.find(':'), entry.size());
    if (mark == 0) {
      return Error{ErrorCode::invalid, "--choice: '" + entry + "' is not NAME or NAME:DESCRIPTION"};
    }
    json choice{{"name", entry.substr(0, mark)}};
    if (mark + 1 < entry.size()) choice["description"] = entry.substr(mark + 1);
    body["choices"].push_back(std::move(choice));
  }
  if (words.choices.empty() && words.like.empty() &&
      !(words.default_choice.empty() && words.choose_until.empty() && words.chooser.empty())) {
    return Error{ErrorCode::invalid, "--default, --choose-until and --chooser go with --choice"};
  }
  if (!words.default_choice.empty() && words.choose_until.empty() && words.like.empty()) {
    return Error{ErrorCode::invalid,
                 "--default never counts without --choose-until: say until when somebody may choose"};
  }
  if (!words.default_choice.empty()) body["defaultChoice"] = words.default_choice;
  if (!words.choose_until.empty()) {
    const auto time = parse_time(words.choose_until, now);
    if (!time) return about("--choose-until", time.error());
    body["choiceExpiresAt"] = *time;
  }
  if (!words.chooser.empty()) body["chooser"] = words.chooser;
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
  text("--at", words.at,
       "Start then: \"tomorrow 09:00\", \"monday 8:00\", 18:30, \"in 2h\", 2026-11-22T05:10 (local), …Z",
       "WHEN");
  text("--every", words.every,
       "Run it again and again: 90m, 24h, 1d12h, hour, day, week; the first time at once, or --at", "TIME");
  text("--jitter", words.jitter, "Later by up to this much, always the same for this task and device",
       "TIME");
  allow_only(*verb.add_option("--overlap", words.overlap,
                              "When it is due while it still runs: skip (default), queue, cancel-previous")
                  ->type_name("WHAT")
                  ->group(kGroup),
             {"skip", "queue", "cancel-previous", "cancelPrevious"});
  allow_only(*verb.add_option("--catch-up", words.catch_up,
                              "What was due while the device was off or asleep: once (default), all, skip")
                  ->type_name("WHAT")
                  ->group(kGroup),
             {"once", "all", "skip"});
  text("--expires", words.expires, "Fail it when it has not started by then (as --at)", "WHEN");
  text("--max-output", words.max_output,
       "Keep this much of each stream: 64KiB, 4MiB (default 1MiB, at most 16MiB)", "SIZE");
  verb.add_option("--priority", words.priority, "Higher goes first (default 0)")
      ->type_name("N")
      ->group(kGroup);
  text("--key", words.key, "Tasks with the same key run one at a time", "KEY");
  verb.add_option("--attempts,--retry", words.attempts,
                  "Run it again when it fails, at most so many runs in all")
      ->type_name("N")
      ->group(kGroup);
  text("--backoff", words.backoff, "Before the second attempt; doubles (default 1s)", "TIME");
  text("--max-backoff", words.max_backoff, "The longest wait between attempts (default 1h)", "TIME");
  allow_only(
      *verb.add_option(
               "--on-interrupt", words.on_interrupt,
               "After a crash in the middle: fail (default) or rerun, at most 3 times and beside --attempts")
           ->type_name("WHAT")
           ->group(kGroup),
      {"fail", "rerun"});
  verb.add_flag("--outlives-agent", words.outlives_agent,
                "Run a command outside the agent's service: it goes on when that is stopped or upgraded")
      ->group(kGroup);
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

void add_choice_options(CLI::App& verb, TaskWords& words) {
  constexpr const char* kGroup = "What it asks before it runs";
  add_list_option(verb, "--choice", words.choices,
                  "One of the answers that it waits for; may be given several times", "NAME:TEXT")
      ->group(kGroup);
  verb.add_option("--default", words.default_choice, "Counts when nobody has chosen by --choose-until")
      ->type_name("NAME")
      ->group(kGroup);
  verb.add_option("--choose-until", words.choose_until,
                  "Until when somebody may choose (as --at); then --default, or it fails as expired")
      ->type_name("WHEN")
      ->group(kGroup);
  allow_only(*verb.add_option("--chooser", words.chooser,
                              "Who on the device may: operator (default; who may run tasks), or user "
                              "(whoever is logged in)")
                  ->type_name("WHO")
                  ->group(kGroup),
             {"operator", "user"});
}

void add_like_option(CLI::App& verb, TaskWords& words) {
  verb.add_option("--like", words.like,
                  "Another one like this task: its type, data and all else that is not given here")
      ->type_name("ID");
}

bool outlasts_its_console(const TaskWords& words) {
  return !words.every.empty() || !words.choices.empty();
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
  return os::read_file(to_path(file), most);
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
    data["cwd"] =
        local ? std::filesystem::absolute(to_path(words.cwd)).lexically_normal().string() : words.cwd;
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
  if (words.every == kNever) return Error{ErrorCode::invalid, "--every never is for agenttask update"};
  if (auto error = put_shared(body, words, now)) return *error;
  if (auto error = put_choices(body, words, now)) return *error;
  if (!words.room.empty()) body["roomId"] = words.room;
  if (!words.world.empty()) body["worldId"] = words.world;
  return Result<json>(boost::system::in_place_value, std::move(body));
}

json like_request(const json& task, json typed, bool has_data, UnixMilliseconds now) {
  json body = json::object();
  for (const char* name : {"type", "data", "description", "tags", "roomId", "worldId", "metadata", "options",
                           "schedule", "choices", "defaultChoice", "choiceExpiresAt", "chooser"}) {
    if (const auto value = task.find(name); value != task.end() && !value->is_null()) body[name] = *value;
  }
  const auto time_in = [](const json& object, const char* name) {
    return object.is_object() ? integer_of(object, name) : std::optional<std::int64_t>();
  };
  json& schedule = body["schedule"];
  if (!schedule.is_object()) schedule = json::object();
  const std::int64_t began =
      time_in(schedule, "scheduledFor").value_or(integer_of(task, "addTime").value_or(now));
  if (const auto time = time_in(schedule, "scheduledFor"); time && *time <= now) {
    const auto interval = time_in(schedule, "updateInterval").value_or(0);
    if (interval > 0) {
      schedule["scheduledFor"] = *time + ((now - *time) / interval + 1) * interval;
    } else {
      schedule.erase("scheduledFor");
    }
  }
  json typed_schedule = typed.value("schedule", json::object());
  const std::int64_t begins =
      time_in(typed_schedule, "scheduledFor").value_or(time_in(schedule, "scheduledFor").value_or(now));
  const auto move = [&](json& object, const char* name) {
    if (const auto time = time_in(object, name)) object[name] = *time - began + std::max(begins, now);
  };
  if (body.contains("options")) move(body["options"], "expiresAt");
  move(body, "choiceExpiresAt");
  typed.erase("type");
  json data = std::move(typed["data"]);
  typed.erase("data");
  // Other answers are another question: what belonged to the old ones goes with them.
  if (typed.contains("choices")) {
    for (const char* name : {"defaultChoice", "choiceExpiresAt", "chooser"}) body.erase(name);
  }
  body.merge_patch(typed);
  if (has_data) body["data"] = std::move(data);
  if (body["schedule"].empty()) body.erase("schedule");
  return body;
}

Result<json> task_changes(const TaskWords& words, UnixMilliseconds now) {
  json body = json::object();
  if (auto error = put_shared(body, words, now)) return *error;
  if (body.empty()) {
    return Error{ErrorCode::invalid,
                 "say what to change, such as --description, --tag, --metadata, --at or --every"};
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
