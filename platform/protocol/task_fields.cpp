#include "platform/protocol/task_fields.hpp"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "platform/base/ids.hpp"
#include "platform/protocol/json.hpp"

namespace agenttask::fields {
namespace {

using nlohmann::json;

/// Reads `name` into `target`, or puts it back to `fallback` where a patch says null.
template <class Value>
void integer_field(ObjectReader& reader, std::string_view name, std::int64_t least, std::int64_t most,
                   Nulls nulls, Value& target, Value fallback) {
  if (nulls == Nulls::reset && reader.has(name)) {
    if (const auto* value = reader.member(name); value != nullptr && value->is_null()) {
      target = fallback;
      return;
    }
  }
  if (const auto number = reader.integer(name, least, most)) target = *number;
}

bool is_null(ObjectReader& reader, std::string_view name, Nulls nulls) {
  if (nulls == Nulls::refuse) return false;
  const auto* value = reader.member(name);
  return value != nullptr && value->is_null();
}

/// Reads one of several names into `target`; null in a patch puts it back to the first of them.
template <class Value>
void name_field(ObjectReader& reader, std::string_view field, Nulls nulls, Value& target,
                Result<Value> (*parse)(std::string_view)) {
  if (is_null(reader, field, nulls)) {
    target = Value{};
  } else if (const auto name = reader.text(field, 32)) {
    if (const auto value = parse(*name)) {
      target = *value;
    } else {
      reader.refuse(field, "is not known: " + value.error().message);
    }
  }
}

RetryPolicy read_retry(ObjectReader& outer, const json& value) {
  RetryPolicy retry;
  ObjectReader reader(value, ObjectReader::Unknown::refuse, outer.path_of("retry"));
  reader.require("maxAttempts");
  retry.max_attempts = reader.integer("maxAttempts", 1, limits::kMaxAttempts).value_or(retry.max_attempts);
  retry.backoff = reader.integer("backoff", 0, limits::kTimeoutMilliseconds).value_or(retry.backoff);
  retry.max_backoff = reader.integer("maxBackoff", 0, limits::kTimeoutMilliseconds)
                          .value_or(std::max(retry.max_backoff, retry.backoff));
  if (retry.max_backoff < retry.backoff) reader.refuse("maxBackoff", "must not be less than backoff");
  if (auto error = reader.finish()) outer.refuse(std::move(*error));
  return retry;
}

bool is_type_name(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
  });
}

bool has_control_characters(std::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; });
}

std::optional<std::string> uuid_field(ObjectReader& reader, std::string_view name) {
  auto id = reader.text(name, 36, 1);
  if (!id) return std::nullopt;
  if (!is_uuid(*id)) {
    reader.refuse(name, "must be a UUID");
    return std::nullopt;
  }
  return normalize_uuid(*id);
}

}  // namespace

TaskOptions read_options(ObjectReader& reader, TaskOptions base, Nulls nulls) {
  const TaskOptions defaults;
  integer_field(reader, "timeout", 0, limits::kTimeoutMilliseconds, nulls, base.timeout, defaults.timeout);
  integer_field(reader, "expiresAt", 0, limits::kLatestTime, nulls, base.expires_at, defaults.expires_at);
  integer_field(reader, "maxOutputBytes", 0, limits::kMaxOutputBytes, nulls, base.max_output_bytes,
                defaults.max_output_bytes);
  integer_field(reader, "priority", -limits::kPriority, limits::kPriority, nulls, base.priority,
                defaults.priority);
  if (is_null(reader, "retry", nulls)) {
    base.retry.reset();
  } else if (const auto* retry = reader.object("retry")) {
    base.retry = read_retry(reader, *retry);
  }
  if (is_null(reader, "onInterrupt", nulls)) {
    base.on_interrupt = OnInterrupt::fail;
  } else if (const auto choice = reader.text("onInterrupt", 16)) {
    if (*choice != "fail" && *choice != "rerun") reader.refuse("onInterrupt", "must be fail or rerun");
    base.on_interrupt = *choice == "rerun" ? OnInterrupt::rerun : OnInterrupt::fail;
  }
  if (is_null(reader, "concurrencyKey", nulls)) {
    base.concurrency_key.clear();
  } else if (auto key = reader.text("concurrencyKey", limits::kConcurrencyKeyBytes, 1)) {
    base.concurrency_key = std::move(*key);
  }
  if (is_null(reader, "outlivesAgent", nulls)) {
    base.outlives_agent = false;
  } else if (const auto outlives = reader.boolean("outlivesAgent")) {
    base.outlives_agent = *outlives;
  }
  return base;
}

void check_options(ObjectReader& reader, const TaskOptions& options, std::string_view type) {
  if (options.outlives_agent && type != "command")
    reader.refuse("outlivesAgent", "goes with tasks of the type command only");
}

TaskSchedule read_schedule(ObjectReader& reader, TaskSchedule base, Nulls nulls) {
  integer_field(reader, "scheduledFor", 0, limits::kLatestTime, nulls, base.scheduled_for,
                std::optional<UnixMilliseconds>());
  integer_field(reader, "updateInterval", limits::kShortestInterval, limits::kLongestInterval, nulls,
                base.update_interval, std::optional<DurationMilliseconds>());
  integer_field(reader, "jitter", 0, limits::kJitter, nulls, base.jitter, DurationMilliseconds{0});
  name_field(reader, "overlap", nulls, base.overlap, parse_overlap);
  name_field(reader, "catchUp", nulls, base.catch_up, parse_catch_up);
  if (!base.recurs()) {
    for (const std::string_view name : {"overlap", "catchUp"}) {
      if (reader.has(name)) reader.refuse(name, "goes with updateInterval only");
    }
    base.overlap = Overlap::skip;
    base.catch_up = CatchUp::once;
  }
  return base;
}

namespace {

std::vector<Choice> read_choice_list(ObjectReader& reader) {
  std::vector<Choice> choices;
  const auto* list = reader.array("choices", limits::kChoices);
  if (list == nullptr) return choices;
  for (std::size_t i = 0; i < list->size(); ++i) {
    const std::string place = "choices[" + std::to_string(i) + "]";
    const json& item = (*list)[i];
    if (!item.is_object()) {
      reader.refuse(place, "must be an object with name and description");
      break;
    }
    ObjectReader inner(item, ObjectReader::Unknown::refuse, reader.path_of(place));
    inner.require("name");
    Choice choice;
    choice.name = inner.text("name", limits::kChoiceNameBytes, 1).value_or("");
    choice.description = inner.text("description", limits::kChoiceDescriptionBytes).value_or("");
    if (has_control_characters(choice.name)) inner.refuse("name", "must not contain control characters");
    const auto is_same = [&](const Choice& other) { return other.name == choice.name; };
    if (std::any_of(choices.begin(), choices.end(), is_same)) {
      inner.refuse("name", "is there twice: each choice has a name of its own");
    }
    if (auto error = inner.finish()) reader.refuse(std::move(*error));
    choices.push_back(std::move(choice));
  }
  return choices;
}

/// What belongs to a question, and fits together.
void read_choices(ObjectReader& reader, TaskSpec& spec) {
  spec.choices = read_choice_list(reader);
  spec.default_choice = reader.text("defaultChoice", limits::kChoiceNameBytes, 1).value_or("");
  spec.choice_expires_at = reader.integer("choiceExpiresAt", 0, limits::kLatestTime);
  name_field(reader, "chooser", Nulls::refuse, spec.chooser, parse_chooser);
  if (reader.failed()) return;
  if (spec.choices.empty()) {
    for (const std::string_view name : {"defaultChoice", "choiceExpiresAt", "chooser"}) {
      if (reader.has(name)) reader.refuse(name, "goes with choices only");
    }
    return;
  }
  if (spec.default_choice.empty()) return;
  if (spec.find_choice(spec.default_choice) == nullptr) {
    std::string names;
    for (const Choice& choice : spec.choices) names += (names.empty() ? "" : ", ") + choice.name;
    reader.refuse("defaultChoice", "must be one of the choices: " + names);
  } else if (!spec.choice_expires_at) {
    reader.refuse("defaultChoice",
                  "never counts without choiceExpiresAt: say until when somebody may choose");
  }
}

}  // namespace

std::optional<std::vector<std::string>> read_tags(ObjectReader& reader) {
  auto tags = reader.texts("tags", limits::kTags, limits::kTagBytes, 1);
  if (!tags) return std::nullopt;
  for (std::size_t i = 0; i < tags->size(); ++i) {
    if (has_control_characters((*tags)[i])) {
      reader.refuse("tags[" + std::to_string(i) + "]", "must not contain control characters");
      return std::nullopt;
    }
  }
  // A tag counts once; the order that the caller chose stays.
  std::vector<std::string> distinct;
  for (auto& tag : *tags) {
    if (std::find(distinct.begin(), distinct.end(), tag) == distinct.end())
      distinct.push_back(std::move(tag));
  }
  return distinct;
}

std::optional<std::string> read_object_text(ObjectReader& reader, std::string_view name,
                                            std::size_t most_bytes) {
  const auto* value = reader.object(name);
  if (value == nullptr) return std::nullopt;
  std::string text = encode_json(*value);
  if (text.size() > most_bytes) {
    reader.refuse(name,
                  "has " + std::to_string(text.size()) + " bytes encoded; at most " +
                      std::to_string(most_bytes) + " are allowed",
                  ErrorCode::limit);
    return std::nullopt;
  }
  return text;
}

TaskSpec read_spec(ObjectReader& reader, ObjectReader::Unknown unknown) {
  TaskSpec spec;
  spec.id = uuid_field(reader, "id").value_or("");
  // On the wire a device without a server has no id; whoever asks names a node or leaves it out.
  const std::size_t least = unknown == ObjectReader::Unknown::refuse ? 1 : 0;
  spec.node_id = reader.text("nodeId", limits::kNodeNameBytes, least).value_or("");
  reader.require("type");
  spec.type = reader.text("type", limits::kTypeBytes, 1).value_or("");
  if (!is_type_name(spec.type)) reader.refuse("type", "may have letters, digits, '_', '-' and '.' only");
  spec.description = reader.text("description", limits::kDescriptionBytes).value_or("");
  spec.tags = read_tags(reader).value_or(std::vector<std::string>());
  spec.room_id = reader.text("roomId", limits::kRoomBytes).value_or("");
  spec.world_id = reader.text("worldId", limits::kRoomBytes).value_or("");
  for (const auto& [name, text] :
       {std::pair("roomId", &spec.room_id), std::pair("worldId", &spec.world_id)}) {
    if (has_control_characters(*text)) reader.refuse(name, "must not contain control characters");
  }
  spec.data = read_object_text(reader, "data", limits::kDataBytes).value_or("{}");
  spec.metadata = read_object_text(reader, "metadata", limits::kMetadataBytes).value_or("{}");
  if (const auto* options = reader.object("options")) {
    ObjectReader inner(*options, unknown, reader.path_of("options"));
    spec.options = read_options(inner, {}, Nulls::refuse);
    check_options(inner, spec.options, spec.type);
    if (auto error = inner.finish()) reader.refuse(std::move(*error));
  }
  if (const auto* schedule = reader.object("schedule")) {
    ObjectReader inner(*schedule, unknown, reader.path_of("schedule"));
    spec.schedule = read_schedule(inner, {}, Nulls::refuse);
    if (auto error = inner.finish()) reader.refuse(std::move(*error));
  }
  read_choices(reader, spec);
  return spec;
}

json options_to_json(const TaskOptions& options) {
  const TaskOptions defaults;
  json value = {{"timeout", options.timeout}};
  if (options.expires_at) value["expiresAt"] = *options.expires_at;
  if (options.retry) {
    value["retry"] = {{"maxAttempts", options.retry->max_attempts},
                      {"backoff", options.retry->backoff},
                      {"maxBackoff", options.retry->max_backoff}};
  }
  if (options.on_interrupt == OnInterrupt::rerun) value["onInterrupt"] = "rerun";
  if (options.max_output_bytes != defaults.max_output_bytes)
    value["maxOutputBytes"] = options.max_output_bytes;
  if (options.priority != 0) value["priority"] = options.priority;
  if (!options.concurrency_key.empty()) value["concurrencyKey"] = options.concurrency_key;
  if (options.outlives_agent) value["outlivesAgent"] = true;
  return value;
}

json schedule_to_json(const TaskSchedule& schedule) {
  json value = json::object();
  if (schedule.scheduled_for) value["scheduledFor"] = *schedule.scheduled_for;
  if (schedule.update_interval) value["updateInterval"] = *schedule.update_interval;
  if (schedule.jitter != 0) value["jitter"] = schedule.jitter;
  if (schedule.overlap != Overlap::skip) value["overlap"] = to_string(schedule.overlap);
  if (schedule.catch_up != CatchUp::once) value["catchUp"] = to_string(schedule.catch_up);
  return value;
}

}  // namespace agenttask::fields
