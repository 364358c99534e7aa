#pragma once
#include <nlohmann/json_fwd.hpp>

#include "platform/base/error.hpp"
#include "platform/protocol/task.hpp"

namespace agenttask {

enum class Detail : std::uint8_t {
  summary,  ///< without `data` and `result`, as lists give it
  full,
};

/// The task object of contract section 2, the same in the API, the console and the worker API. Empty fields
/// are left out, except id, nodeId, type, status, addTime, updatedAt, runCount, metadata and tags, which are
/// always there.
[[nodiscard]] nlohmann::json task_to_json(const Task& task, Detail detail);
/// The other way, for what our own side wrote (wire, console): unknown fields are ignored, types and ranges
/// checked.
[[nodiscard]] Result<Task> task_from_json(const nlohmann::json& value);

/// The fields of the spec alone, as a task directive carries it.
[[nodiscard]] nlohmann::json spec_to_json(const TaskSpec& spec);
[[nodiscard]] Result<TaskSpec> spec_from_json(const nlohmann::json& value);

/// The fields of what happened to a task, without those of the spec; `result` only with Detail::full.
[[nodiscard]] nlohmann::json state_to_json(const TaskState& state, Detail detail);
[[nodiscard]] Result<TaskState> state_from_json(const nlohmann::json& value);

[[nodiscard]] nlohmann::json run_to_json(const Run& run);
[[nodiscard]] Result<Run> run_from_json(const nlohmann::json& value);

/// `{"option","by","time"}`
[[nodiscard]] nlohmann::json choice_made_to_json(const ChoiceMade& made);
[[nodiscard]] Result<ChoiceMade> choice_made_from_json(const nlohmann::json& value);

/// `{"id","nodeId","roomId","worldId","taskId","run","content","time"}`; empty fields are left out.
[[nodiscard]] nlohmann::json room_message_to_json(const RoomMessage& message);
[[nodiscard]] Result<RoomMessage> room_message_from_json(const nlohmann::json& value);

/// `{"stream","offset","text"}`, or `base64` in place of `text` where the bytes are not UTF-8.
[[nodiscard]] nlohmann::json chunk_to_json(const OutputChunk& chunk);
[[nodiscard]] Result<OutputChunk> chunk_from_json(const nlohmann::json& value);

/// Puts the kept output into a `command` result: `stdout` and `stderr`, with a line that counts what was
/// dropped between head and tail, or base64 with `stdoutEncoding: "base64"` where it is not text. `chunks` in
/// order of stream and offset.
void add_output(nlohmann::json& result, const std::vector<OutputChunk>& chunks);

}  // namespace agenttask
