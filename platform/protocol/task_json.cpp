#include "platform/protocol/task_json.hpp"

#include <cstdint>
#include <map>
#include <utility>

#include <nlohmann/json.hpp>

#include "platform/base/encoding.hpp"
#include "platform/base/ids.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/object_reader.hpp"
#include "platform/protocol/task_fields.hpp"

namespace agenttask {
namespace {

using nlohmann::json;
using Unknown = ObjectReader::Unknown;

constexpr std::size_t kReasonBytes = 64;  ///< a longer one is none
constexpr std::size_t kDetailBytes = 4096;
constexpr std::size_t kChosenByBytes = 512;
// A result is `echo`'s data or a command's facts, in an object of its own.
constexpr std::size_t kResultBytes = limits::kDataBytes + 64 * 1024;
constexpr std::size_t kResultErrorBytes = 8 * 1024;

/// Text that this program encoded before. Anything else would be a fault of ours, shown rather than hidden.
json decode_own(const std::string& text) {
  auto value = parse_json(text, limits::kJsonDepth + 8);
  return value ? std::move(*value) : json{{"unreadable", value.error().message}};
}

template <class Value>
void put(json& object, const char* name, const std::optional<Value>& value) {
  if (value) object[name] = *value;
}

void put(json& object, const char* name, const std::string& value) {
  if (!value.empty()) object[name] = value;
}

std::optional<UnixMilliseconds> read_time(ObjectReader& reader, std::string_view name) {
  return reader.integer(name, 0, limits::kLatestTime);
}

std::optional<ChoiceMade> read_choice_made(ObjectReader& outer, std::string_view name) {
  const auto* value = outer.object(name);
  if (value == nullptr) return std::nullopt;
  auto made = choice_made_from_json(*value);
  if (made) return std::move(*made);
  outer.refuse(with_context(made.error(), outer.path_of(name)));
  return std::nullopt;
}

/// A result that is no object, or too large, gives way to a note: what else is said, that a run ended above
/// all, counts more.
std::string read_result(ObjectReader& reader) {
  const auto* value = reader.member("result");
  if (value == nullptr) return {};
  std::string text = encode_json(*value);
  if (value->is_object() && text.size() <= kResultBytes) return text;
  json note = {{"note", value->is_object()
                            ? "the result was left out: it had " + std::to_string(text.size()) +
                                  " bytes, and at most " + std::to_string(kResultBytes) + " are kept"
                            : "the result was left out: it was not a JSON object"}};
  if (value->is_object()) {
    const auto success = value->find("success");
    if (success != value->end() && success->is_boolean()) note["success"] = *success;
    const auto error = value->find("error");
    if (error != value->end() && encode_json(*error).size() <= kResultErrorBytes) note["error"] = *error;
  }
  return encode_json(note);
}

TaskState read_state(ObjectReader& reader) {
  TaskState state;
  reader.require("status");
  if (const auto name = reader.text("status", 32)) {
    if (const auto status = parse_task_status(*name)) {
      state.status = *status;
    } else {
      reader.refuse("status", "is unknown: " + status.error().message);
    }
  }
  state.detail = reader.explanation("detail", kDetailBytes).value_or("");
  state.reason = reader.explanation("reason", SIZE_MAX).value_or("");
  if (state.reason.size() > kReasonBytes) {
    const std::string told =
        "the reason given is none: " + cut_to(std::exchange(state.reason, {}), kReasonBytes);
    state.detail = cut_to(state.detail.empty() ? told : told + "; " + state.detail, kDetailBytes);
  }
  state.paused = reader.boolean("paused").value_or(false);
  state.add_time = read_time(reader, "addTime").value_or(0);
  state.sent_time = read_time(reader, "sentTime");
  state.start_time = read_time(reader, "startTime");
  state.end_time = read_time(reader, "endTime");
  state.updated_at = read_time(reader, "updatedAt").value_or(0);
  state.next_run_at = read_time(reader, "nextRunAt");
  state.run_count = reader.integer("runCount", 0, INT64_MAX).value_or(0);
  state.missed_count = reader.integer("missedCount", 0, INT64_MAX).value_or(0);
  state.occurrence = reader.integer("occurrence", 0, INT64_MAX).value_or(0);
  state.chosen = read_choice_made(reader, "chosen");
  state.choice_requested = read_choice_made(reader, "choiceRequested");
  state.cancel_requested_at = read_time(reader, "cancelRequestedAt");
  state.deleted_at = read_time(reader, "deletedAt");
  state.result = read_result(reader);
  return state;
}

}  // namespace

json spec_to_json(const TaskSpec& spec) {
  json value = {{"nodeId", spec.node_id}, {"type", spec.type}, {"tags", spec.tags}};
  put(value, "id", spec.id);
  put(value, "description", spec.description);
  put(value, "roomId", spec.room_id);
  put(value, "worldId", spec.world_id);
  value["data"] = decode_own(spec.data);
  value["metadata"] = decode_own(spec.metadata);
  value["options"] = fields::options_to_json(spec.options);
  if (spec.schedule != TaskSchedule{}) value["schedule"] = fields::schedule_to_json(spec.schedule);
  for (const Choice& choice : spec.choices) {
    json item = {{"name", choice.name}};
    put(item, "description", choice.description);
    value["choices"].push_back(std::move(item));
  }
  put(value, "defaultChoice", spec.default_choice);
  put(value, "choiceExpiresAt", spec.choice_expires_at);
  if (spec.chooser != Chooser::operator_) value["chooser"] = to_string(spec.chooser);
  return value;
}

Result<TaskSpec> spec_from_json(const json& value) {
  ObjectReader reader(value, Unknown::ignore);
  reader.require("id");
  TaskSpec spec = fields::read_spec(reader, Unknown::ignore);
  if (auto error = reader.finish()) return *error;
  return spec;
}

json state_to_json(const TaskState& state, Detail detail) {
  json value = {{"status", to_string(state.status)},
                {"addTime", state.add_time},
                {"updatedAt", state.updated_at},
                {"runCount", state.run_count}};
  put(value, "reason", state.reason);
  put(value, "detail", state.detail);
  if (state.paused) value["paused"] = true;
  put(value, "sentTime", state.sent_time);
  put(value, "startTime", state.start_time);
  put(value, "endTime", state.end_time);
  put(value, "nextRunAt", state.next_run_at);
  if (state.missed_count != 0) value["missedCount"] = state.missed_count;
  if (state.occurrence != 0) value["occurrence"] = state.occurrence;
  if (state.chosen) value["chosen"] = choice_made_to_json(*state.chosen);
  if (state.choice_requested) value["choiceRequested"] = choice_made_to_json(*state.choice_requested);
  put(value, "cancelRequestedAt", state.cancel_requested_at);
  put(value, "deletedAt", state.deleted_at);
  if (detail == Detail::full && !state.result.empty()) value["result"] = decode_own(state.result);
  return value;
}

Result<TaskState> state_from_json(const json& value) {
  ObjectReader reader(value, Unknown::ignore);
  TaskState state = read_state(reader);
  if (auto error = reader.finish()) return *error;
  return state;
}

json task_to_json(const Task& task, Detail detail) {
  json value = spec_to_json(task.spec);
  if (detail == Detail::summary) value.erase("data");
  value.update(state_to_json(task.state, detail));
  return value;
}

Result<Task> task_from_json(const json& value) {
  auto spec = spec_from_json(value);
  if (!spec) return spec.error();
  auto state = state_from_json(value);
  if (!state) return state.error();
  return Task{std::move(*spec), std::move(*state)};
}

json run_to_json(const Run& run) {
  json value = {{"taskId", run.task_id},
                {"run", run.number},
                {"status", to_string(run.status)},
                {"startTime", run.start_time}};
  put(value, "reason", run.reason);
  put(value, "endTime", run.end_time);
  if (run.occurrence != 0) value["occurrence"] = run.occurrence;
  put(value, "option", run.option);
  if (!run.result.empty()) value["result"] = decode_own(run.result);
  return value;
}

Result<Run> run_from_json(const json& value) {
  ObjectReader reader(value, Unknown::ignore);
  Run run;
  for (const char* name : {"taskId", "run", "status", "startTime"}) reader.require(name);
  run.task_id = reader.text("taskId", 36).value_or("");
  if (!is_uuid(run.task_id)) reader.refuse("taskId", "must be a UUID");
  run.number = reader.integer("run", 1, INT64_MAX).value_or(1);
  if (const auto name = reader.text("status", 32)) {
    if (const auto status = parse_run_status(*name)) {
      run.status = *status;
    } else {
      reader.refuse("status", status.error().message);
    }
  }
  run.reason = reader.explanation("reason", SIZE_MAX).value_or("");
  if (run.reason.size() > kReasonBytes) run.reason.clear();
  run.start_time = read_time(reader, "startTime").value_or(0);
  run.end_time = read_time(reader, "endTime");
  run.occurrence = reader.integer("occurrence", 0, INT64_MAX).value_or(0);
  run.option = reader.text("option", limits::kChoiceNameBytes).value_or("");
  run.result = read_result(reader);
  if (auto error = reader.finish()) return *error;
  return run;
}

json choice_made_to_json(const ChoiceMade& made) {
  return {{"option", made.option}, {"by", made.by}, {"time", made.time}};
}

Result<ChoiceMade> choice_made_from_json(const json& value) {
  ObjectReader reader(value, Unknown::ignore);
  ChoiceMade made;
  for (const char* name : {"option", "by", "time"}) reader.require(name);
  made.option = reader.text("option", limits::kChoiceNameBytes, 1).value_or("");
  made.by = reader.explanation("by", kChosenByBytes).value_or("");
  if (made.by.empty()) reader.refuse("by", "must not be empty");
  made.time = read_time(reader, "time").value_or(0);
  if (auto error = reader.finish()) return *error;
  return made;
}

json room_message_to_json(const RoomMessage& message) {
  json value = {{"id", message.id}, {"content", decode_own(message.content)}, {"time", message.time}};
  put(value, "nodeId", message.node_id);
  put(value, "roomId", message.room_id);
  put(value, "worldId", message.world_id);
  put(value, "taskId", message.task_id);
  if (message.run != 0) value["run"] = message.run;
  return value;
}

Result<RoomMessage> room_message_from_json(const json& value) {
  ObjectReader reader(value, Unknown::ignore);
  RoomMessage message;
  for (const char* name : {"id", "content", "time"}) reader.require(name);
  message.id = reader.text("id", 36).value_or("");
  if (!is_uuid(message.id)) reader.refuse("id", "must be a UUID");
  message.node_id = reader.text("nodeId", limits::kNodeNameBytes).value_or("");
  message.room_id = reader.text("roomId", limits::kRoomBytes).value_or("");
  message.world_id = reader.text("worldId", limits::kRoomBytes).value_or("");
  message.task_id = reader.text("taskId", 36).value_or("");
  if (!message.task_id.empty() && !is_uuid(message.task_id)) reader.refuse("taskId", "must be a UUID");
  message.run = reader.integer("run", 0, INT64_MAX).value_or(0);
  message.content = fields::read_object_text(reader, "content", limits::kMessageBytes).value_or("{}");
  message.time = read_time(reader, "time").value_or(0);
  if (auto error = reader.finish()) return *error;
  return message;
}

json chunk_to_json(const OutputChunk& chunk) {
  json value = {{"stream", to_string(chunk.stream)}, {"offset", chunk.offset}};
  if (is_utf8(chunk.bytes)) {
    value["text"] = chunk.bytes;
  } else {
    value["base64"] = base64_encode(chunk.bytes);
  }
  return value;
}

Result<OutputChunk> chunk_from_json(const json& value) {
  ObjectReader reader(value, Unknown::ignore);
  OutputChunk chunk;
  reader.require("stream");
  reader.require("offset");
  if (const auto name = reader.text("stream", 16)) {
    if (const auto stream = parse_output_stream(*name)) {
      chunk.stream = *stream;
    } else {
      reader.refuse("stream", stream.error().message);
    }
  }
  chunk.offset = reader.integer("offset", 0, INT64_MAX).value_or(0);
  // Output may hold any character, U+0000 too, so ObjectReader::text is too strict here.
  const auto* text = reader.member("text");
  const auto* base64 = reader.member("base64");
  const auto* given = text != nullptr ? text : base64;
  if (given == nullptr || !given->is_string()) {
    reader.refuse("text", "or base64 is required, as a string");
  } else if (text != nullptr) {
    chunk.bytes = text->get<std::string>();
  } else if (auto bytes = base64_decode(base64->get_ref<const std::string&>())) {
    chunk.bytes = std::move(*bytes);
  } else {
    reader.refuse("base64", bytes.error().message);
  }
  if (chunk.bytes.size() > limits::kOutputChunkBytes) {
    reader.refuse("text", "has more than " + std::to_string(limits::kOutputChunkBytes) + " bytes",
                  ErrorCode::limit);
  }
  if (auto error = reader.finish()) return *error;
  return chunk;
}

void add_output(json& result, const std::vector<OutputChunk>& chunks) {
  struct Kept {
    std::string bytes;
    std::string marked;  ///< with a line where something was dropped
    std::int64_t next = 0;
  };
  std::map<OutputStream, Kept> streams;
  for (const auto& chunk : chunks) {
    Kept& kept = streams[chunk.stream];
    if (chunk.offset > kept.next) {
      kept.marked += "\n[" + std::to_string(chunk.offset - kept.next) + " bytes dropped here]\n";
    }
    kept.bytes += chunk.bytes;
    kept.marked += chunk.bytes;
    kept.next = chunk.offset + static_cast<std::int64_t>(chunk.bytes.size());
  }
  json& data = result["data"];
  for (const OutputStream stream : {OutputStream::standard_output, OutputStream::standard_error}) {
    const std::string name(to_string(stream));
    const Kept& kept = streams[stream];
    // Head and tail may be cut inside a character: text is judged with the marker between them left out only
    // where nothing was dropped.
    if (is_utf8(kept.marked)) {
      data[name] = kept.marked;
    } else {
      data[name] = base64_encode(kept.bytes);
      data[name + "Encoding"] = "base64";
    }
  }
}

}  // namespace agenttask
