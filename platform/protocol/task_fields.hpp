#pragma once
#include "platform/protocol/object_reader.hpp"
#include "platform/protocol/task.hpp"

/// The readers and writers of the task object's parts, shared by the request parser and the wire codecs.
/// Inside platform/protocol only.
namespace agenttask::fields {

/// A patch may set a member to null: back to its default.
enum class Nulls : std::uint8_t { refuse, reset };

[[nodiscard]] TaskOptions read_options(ObjectReader& reader, TaskOptions base, Nulls nulls);
/// What depends on the type of the task.
void check_options(ObjectReader& reader, const TaskOptions& options, std::string_view type);
[[nodiscard]] TaskSchedule read_schedule(ObjectReader& reader, TaskSchedule base, Nulls nulls);
/// Everything of a spec that a caller may give; `id` and `nodeId` too.
[[nodiscard]] TaskSpec read_spec(ObjectReader& reader, ObjectReader::Unknown unknown);
[[nodiscard]] std::optional<std::vector<std::string>> read_tags(ObjectReader& reader);
/// Object members that are kept as JSON text.
[[nodiscard]] std::optional<std::string> read_object_text(ObjectReader& reader, std::string_view name,
                                                          std::size_t most_bytes);

[[nodiscard]] nlohmann::json options_to_json(const TaskOptions& options);
[[nodiscard]] nlohmann::json schedule_to_json(const TaskSchedule& schedule);

}  // namespace agenttask::fields
