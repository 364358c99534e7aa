// Tasks: as somebody asks for them, and as they travel.
#include <nlohmann/json.hpp>

#include "platform/base/encoding.hpp"
#include "platform/base/ids.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/task_json.hpp"
#include "platform/protocol/task_request.hpp"
#include "tests/fuzz/target.hpp"
#include "tests/fuzz/targets.hpp"

namespace agenttask::fuzz {
namespace {

using nlohmann::json;

constexpr std::string_view kSomeId = "0192d5a0-0000-7000-8000-000000000001";

void hold_options(const TaskOptions& options) {
  hold(options.timeout >= 0 && options.timeout <= limits::kTimeoutMilliseconds, "a timeout is bounded");
  hold(options.max_output_bytes >= 0 && options.max_output_bytes <= limits::kMaxOutputBytes,
       "output is bounded");
  hold(options.priority >= -limits::kPriority && options.priority <= limits::kPriority,
       "priority is bounded");
  hold(options.concurrency_key.size() <= limits::kConcurrencyKeyBytes, "a concurrency key is bounded");
  hold(!options.expires_at || (*options.expires_at >= 0 && *options.expires_at <= limits::kLatestTime),
       "an expiry is bounded");
  if (!options.retry) return;
  hold(options.retry->max_attempts >= 1 && options.retry->max_attempts <= limits::kMaxAttempts,
       "attempts are bounded");
  hold(options.retry->backoff >= 0 && options.retry->max_backoff >= options.retry->backoff &&
           options.retry->max_backoff <= limits::kTimeoutMilliseconds,
       "waits between attempts are bounded");
}

void hold_schedule(const TaskSchedule& schedule) {
  hold(!schedule.update_interval || (*schedule.update_interval >= limits::kShortestInterval &&
                                     *schedule.update_interval <= limits::kLongestInterval),
       "an interval is bounded");
  hold(schedule.jitter >= 0 && schedule.jitter <= limits::kJitter, "jitter is bounded");
  hold(!schedule.scheduled_for ||
           (*schedule.scheduled_for >= 0 && *schedule.scheduled_for <= limits::kLatestTime),
       "a time is bounded");
}

void hold_limits(const TaskSpec& spec) {
  hold(!spec.type.empty() && spec.type.size() <= limits::kTypeBytes, "a type is bounded");
  hold(spec.description.size() <= limits::kDescriptionBytes, "a description is bounded");
  hold(spec.tags.size() <= limits::kTags, "tags are bounded");
  for (const auto& tag : spec.tags) hold(!tag.empty() && tag.size() <= limits::kTagBytes, "a tag is bounded");
  hold(spec.data.size() <= limits::kDataBytes && spec.data.starts_with('{'), "data is a bounded object");
  hold(spec.metadata.size() <= limits::kMetadataBytes && spec.metadata.starts_with('{'),
       "metadata is a bounded object");
  hold(spec.choices.size() <= limits::kChoices, "choices are bounded");
  hold(spec.default_choice.empty() || spec.find_choice(spec.default_choice) != nullptr,
       "the default is one of the choices");
  hold_options(spec.options);
  hold_schedule(spec.schedule);
}

/// What the server stores and the device gets is what was asked.
void hold_travels(const TaskSpec& spec) {
  const std::string text = encode_json(spec_to_json(spec));
  const auto value = parse_json(text, limits::kJsonDepth + 8);
  hold(static_cast<bool>(value), "a task that was taken can be read again", text);
  const auto again = spec_from_json(*value);
  hold(static_cast<bool>(again), "a task that was taken can be sent", text);
  hold(*again == spec, "a task that was taken arrives as it is", text);
}

TaskSpec named(TaskSpec spec) {
  if (spec.id.empty()) spec.id = kSomeId;
  if (spec.node_id.empty()) spec.node_id = kSomeId;
  return spec;
}

void hold_command(const std::string& data) {
  const auto command = parse_command_data(data);
  hold(static_cast<bool>(command), "a command that was taken can be run", data);
  hold(command->cmd.empty() != command->argv.empty(), "a command is a shell line or a list", data);
  hold(command->argv.size() <= limits::kArguments && command->env.size() <= limits::kEnvironmentEntries,
       "a command is bounded");
}

}  // namespace

void task_request(std::string_view bytes) {
  const auto body = read_json(bytes);
  if (!body) return;
  const auto spec = parse_task_request(*body);
  if (!spec) {
    if (body->is_object()) hold_refusal_names_field(spec.error());
    return;
  }
  hold_limits(*spec);
  hold_travels(named(*spec));
  const auto again = parse_task_request(spec_to_json(named(*spec)));
  hold(again && *again == named(*spec), "the task asked for again is the same");
  hold(request_digest(named(*spec)) == request_digest(*again), "the same task has the same digest");
  if (spec->type == "command") hold_command(spec->data);
}

void task_change(std::string_view bytes) {
  TaskSpec task = named({});
  task.type = "echo";
  task.metadata = R"({"a":1,"b":{"c":null}})";
  task.schedule.update_interval = 60'000;
  task.schedule.overlap = Overlap::queue;
  task.choices = {{"yes", ""}, {"no", "not now"}};
  std::string_view rest = bytes;
  // One update, then another on what the first left.
  while (!rest.empty()) {
    const auto body = read_json(take_line(rest));
    if (!body) continue;
    const auto changes = parse_task_changes(*body, task, 0, 0);
    if (!changes) {
      hold_refusal(changes.error());
      continue;
    }
    const auto changed = apply_changes(task, *changes);
    if (!changed) {
      hold_refusal_names_field(changed.error());
      continue;
    }
    hold_limits(*changed);
    hold_travels(*changed);
    hold(changed->id == task.id && changed->type == task.type && changed->data == task.data &&
             changed->choices == task.choices,
         "an update leaves the rest alone");
    task = *changed;
  }
}

namespace {

/// What one codec takes it writes so that it takes it again, and nothing else comes of it.
template <class Value>
void hold_codec(const json& value, Result<Value> (*read)(const json&), json (*write)(const Value&)) {
  const auto taken = read(value);
  if (!taken) return hold_refusal(taken.error());
  const json written = write(*taken);
  const std::string text = encode_json(written);
  const auto again = read(written);
  hold(static_cast<bool>(again), "what was taken is taken again", text);
  hold(*again == *taken && encode_json(write(*again)) == text, "what was taken is kept exactly", text);
}

json whole_task(const Task& task) {
  return task_to_json(task, Detail::full);
}

}  // namespace

void task_object(std::string_view bytes) {
  const auto value = read_json(bytes);
  if (!value) return;
  hold_codec<Task>(*value, task_from_json, whole_task);
  hold_codec<TaskSpec>(*value, spec_from_json, spec_to_json);
  hold_codec<Run>(*value, run_from_json, run_to_json);
  hold_codec<ChoiceMade>(*value, choice_made_from_json, choice_made_to_json);
  hold_codec<RoomMessage>(*value, room_message_from_json, room_message_to_json);
  hold_codec<OutputChunk>(*value, chunk_from_json, chunk_to_json);
  if (const auto chunk = chunk_from_json(*value))
    hold(chunk->bytes.size() <= limits::kOutputChunkBytes && chunk->offset >= 0, "a chunk is bounded");
}

}  // namespace agenttask::fuzz
