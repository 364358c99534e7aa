#include "platform/protocol/task_request.hpp"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "platform/base/encoding.hpp"
#include "platform/base/error_text.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/object_reader.hpp"
#include "platform/protocol/task_fields.hpp"
#include "platform/protocol/task_json.hpp"

namespace agenttask {
namespace {

using fields::Nulls;
using nlohmann::json;

std::vector<std::pair<std::string, std::string>> read_environment(ObjectReader& outer) {
  std::vector<std::pair<std::string, std::string>> entries;
  const auto* value = outer.object("env");
  if (value == nullptr) return entries;
  if (value->size() > limits::kEnvironmentEntries) {
    outer.refuse("env", "has more than " + std::to_string(limits::kEnvironmentEntries) + " entries",
                 ErrorCode::limit);
    return entries;
  }
  ObjectReader reader(*value, ObjectReader::Unknown::refuse, outer.path_of("env"));
  for (const auto& [name, unused] : value->items()) {
    if (name.empty() || name.find('=') != std::string::npos || name.find('\0') != std::string::npos) {
      reader.refuse(excerpt(name, 100), "is no name for an environment variable");
    }
    if (auto text = reader.text(name, limits::kDataBytes)) entries.emplace_back(name, std::move(*text));
  }
  if (auto error = reader.finish()) outer.refuse(std::move(*error));
  return entries;
}

CommandData read_command(ObjectReader& reader) {
  CommandData command;
  if (reader.has("cmd") == reader.has("argv")) {
    reader.refuse(reader.has("cmd") ? "argv" : "cmd",
                  reader.has("cmd") ? "and cmd exclude each other: give a shell line or a list of arguments"
                                    : "or argv is required: a shell line, or a list of arguments");
  }
  command.cmd = reader.text("cmd", limits::kDataBytes, 1).value_or("");
  command.argv =
      reader.texts("argv", limits::kArguments, limits::kDataBytes).value_or(std::vector<std::string>());
  if (reader.has("argv") && (command.argv.empty() || command.argv.front().empty())) {
    reader.refuse("argv", "must begin with the program to run");
  }
  command.cwd = reader.text("cwd", 4096, 1).value_or("");
  command.env = read_environment(reader);
  command.stdin_text = reader.text("stdin", limits::kDataBytes).value_or("");
  command.shell = reader.text("shell", 16, 1).value_or("");
  if (!command.shell.empty()) {
    constexpr std::string_view shells[] = {"sh", "bash", "powershell", "cmd"};
    if (std::find(std::begin(shells), std::end(shells), command.shell) == std::end(shells)) {
      reader.refuse("shell", "must be sh, bash, powershell or cmd");
    }
    if (reader.has("argv")) reader.refuse("shell", "goes with cmd, not with argv");
  }
  command.run_as = reader.text("runAs", 256, 1).value_or("");
  return command;
}

ServiceData read_service(ObjectReader& reader) {
  reader.require("service");
  reader.require("method");
  ServiceData call;
  call.service = reader.text("service", limits::kTypeBytes, 1).value_or("");
  call.method = reader.text("method", kServiceMethodBytes, 1).value_or("");
  if (const json* arguments = reader.object("arguments")) call.arguments = encode_json(*arguments);
  return call;
}

/// `data` of the types whose shape is known everywhere.
void check_data(ObjectReader& reader, const std::string& type) {
  if (type != "command" && type != "service") return;
  const auto* data = reader.member("data");
  const json empty = json::object();
  ObjectReader inner(data != nullptr ? *data : empty, ObjectReader::Unknown::refuse, "data");
  if (type == "command") {
    (void)read_command(inner);
  } else {
    (void)read_service(inner);
  }
  if (auto error = inner.finish()) reader.refuse(std::move(*error));
}

}  // namespace

Result<TaskSpec> parse_task_request(const json& body) {
  ObjectReader reader(body, ObjectReader::Unknown::refuse);
  TaskSpec spec = fields::read_spec(reader, ObjectReader::Unknown::refuse);
  if (!reader.failed()) check_data(reader, spec.type);
  if (auto error = reader.finish()) return *error;
  return spec;
}

std::optional<UnixMilliseconds> default_expiry(const TaskSchedule& schedule, UnixMilliseconds add_time) {
  if (schedule.recurs()) return std::nullopt;
  const auto from = std::max(add_time, schedule.scheduled_for.value_or(add_time));
  return std::min(from + limits::kDefaultExpiry, limits::kLatestTime);
}

Result<TaskChanges> parse_task_changes(const json& body, const TaskSpec& current, UnixMilliseconds add_time,
                                       UnixMilliseconds now) {
  ObjectReader reader(body, ObjectReader::Unknown::refuse);
  TaskChanges changes;
  changes.description = reader.text("description", limits::kDescriptionBytes);
  changes.tags = fields::read_tags(reader);
  changes.metadata = fields::read_object_text(reader, "metadata", limits::kMetadataBytes);
  bool names_expiry = false;
  if (const auto* options = reader.object("options")) {
    names_expiry = options->contains("expiresAt");
    ObjectReader inner(*options, ObjectReader::Unknown::refuse, "options");
    changes.options = fields::read_options(inner, current.options, Nulls::reset);
    fields::check_options(inner, *changes.options, current.type);
    if (auto error = inner.finish()) reader.refuse(std::move(*error));
  }
  if (const auto* schedule = reader.object("schedule")) {
    ObjectReader inner(*schedule, ObjectReader::Unknown::refuse, "schedule");
    changes.schedule = fields::read_schedule(inner, current.schedule, Nulls::reset);
    if (auto error = inner.finish()) reader.refuse(std::move(*error));
    const auto& expires_at = current.options.expires_at;
    if (!names_expiry && expires_at && expires_at == default_expiry(current.schedule, add_time)) {
      if (!changes.options) changes.options = current.options;
      auto moved = default_expiry(*changes.schedule, add_time);
      // A time that has passed means at once, and not that it has expired.
      if (moved && *moved <= now) moved = default_expiry(*changes.schedule, now);
      changes.options->expires_at = moved;
    }
  }
  if (auto error = reader.finish()) return *error;
  if (body.empty())
    return Error{ErrorCode::invalid,
                 "the update changes nothing: give description, tags, metadata, options or schedule"};
  return changes;
}

Result<TaskSpec> apply_changes(TaskSpec spec, const TaskChanges& changes) {
  if (changes.description) spec.description = *changes.description;
  if (changes.tags) spec.tags = *changes.tags;
  if (changes.options) spec.options = *changes.options;
  if (changes.schedule) spec.schedule = *changes.schedule;
  if (changes.metadata) {
    auto target = parse_json(spec.metadata);
    const auto patch = parse_json(*changes.metadata);
    if (!target || !target->is_object() || !patch || !patch->is_object()) {
      return Error{ErrorCode::internal, "the stored metadata of task " + spec.id + " is not a JSON object",
                   "metadata"};
    }
    merge_keys(*target, *patch);
    spec.metadata = encode_json(*target);
    if (spec.metadata.size() > limits::kMetadataBytes) {
      return Error{ErrorCode::limit,
                   "metadata would have " + std::to_string(spec.metadata.size()) +
                       " bytes after the merge; at most " + std::to_string(limits::kMetadataBytes) +
                       " are allowed",
                   "metadata"};
    }
  }
  return spec;
}

std::string request_digest(const TaskSpec& spec) {
  json value = spec_to_json(spec);
  value.erase("id");  // made by the server where the caller gives none: not part of what was asked
  return hex_encode(sha256(encode_json(value)));
}

Result<CommandData> parse_command_data(const std::string& data) {
  const auto value = parse_json(data);
  if (!value) return value.error();
  ObjectReader reader(*value, ObjectReader::Unknown::refuse, "data");
  CommandData command = read_command(reader);
  if (auto error = reader.finish()) return *error;
  return command;
}

Result<ServiceData> parse_service_data(const std::string& data) {
  const auto value = parse_json(data);
  if (!value) return value.error();
  ObjectReader reader(*value, ObjectReader::Unknown::refuse, "data");
  ServiceData call = read_service(reader);
  if (auto error = reader.finish()) return *error;
  return call;
}

}  // namespace agenttask
