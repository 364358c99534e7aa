#include <nlohmann/json.hpp>

#include "platform/protocol/json.hpp"
#include "platform/protocol/task_request.hpp"
#include "server/api/handlers.hpp"
#include "server/api/render.hpp"
#include "server/store/tasks.hpp"

namespace agenttask::server {
namespace {

using nlohmann::json;

Outcome answer(const Call& call, TaskOutcome outcome) {
  switch (outcome.answer) {
    case TaskAnswer::done:
      return json_response(200, render_task(call, std::move(outcome.record)));
    case TaskAnswer::asked:
      return json_response(202, render_task(call, std::move(outcome.record)));
    case TaskAnswer::ended:
      break;
  }
  return refuse_ended(call, std::move(outcome.record));
}

}  // namespace

Outcome change_task(Call& call) {
  const auto body = body_object(call);
  if (!body) return refuse(body.error());
  auto found = find_task(call.store, call.path[0], WithData::yes);
  if (!found.record) return found.refusal;
  const auto changes =
      parse_task_changes(*body, found.record->task.spec, found.record->task.state.add_time, call.now);
  if (!changes) return refuse(changes.error());
  if (auto fits = apply_changes(found.record->task.spec, *changes); !fits) return refuse(fits.error());
  if (has_ended(found.record->task.state.status)) return refuse_ended(call, std::move(*found.record));
  if (call.writes == nullptr) return NeedsWrite{};
  auto outcome = update_task(*call.writes, std::move(*found.record), *changes, encode_json(*body), call.now);
  if (!outcome) return refuse(outcome.error());
  return answer(call, std::move(*outcome));
}

Outcome remove_task(Call& call) {
  auto found = find_task(call.store, call.path[0], WithData::yes);
  if (!found.record) return found.refusal;
  if (const TaskState& state = found.record->task.state; state.deleted_at) {
    const int status =
        has_ended(state.status) ? 200 : 202;  // it may have taken the deletion and still stop a run
    return json_response(status, render_task(call, std::move(*found.record)));
  }
  if (call.writes == nullptr) return NeedsWrite{};
  return answer(call, delete_task(*call.writes, std::move(*found.record), call.now));
}

/// With `wait` the answer comes when the device has said what came of it, and says it.
Outcome cancel(Call& call) {
  const auto wait = call.number("wait", 0, limits::kWaitMost, 0);
  if (!wait) return refuse(wait.error());
  const auto body = body_object(call, true);
  if (!body) return refuse(body.error());
  if (!body->empty()) return refuse(Code::invalid, "a cancel has no fields", body->begin().key());
  auto found = find_task(call.store, call.path[0], WithData::yes);
  if (!found.record) return found.refusal;
  TaskRecord& record = *found.record;
  const TaskState& state = record.task.state;
  const auto age = std::chrono::duration_cast<std::chrono::milliseconds>(call.context.clock.monotonic() -
                                                                         call.request.received);
  const UnixMilliseconds came = call.now - age.count();
  if (has_ended(state.status)) {
    // A cancel that waited hears how the task ended; one that comes afterwards came too late.
    const bool while_waiting = *wait > 0 && state.status == TaskStatus::cancelled && state.updated_at >= came;
    if (while_waiting) return json_response(200, render_task(call, std::move(record)));
    return refuse_ended(call, std::move(record));
  }
  // One that waits for the device's word asks once.
  const bool was_asked =
      state.cancel_requested_at.value_or(came - 1) >= came || cancel_is_on_its_way(call.store, record);
  if (!was_asked && call.writes == nullptr) return NeedsWrite{};
  const std::string id = record.task.spec.id;
  TaskOutcome outcome{TaskAnswer::asked, {}};
  if (call.writes != nullptr) {
    outcome = cancel_task(*call.writes, std::move(record), call.now);
  } else {
    outcome.record = std::move(record);
  }
  if (outcome.answer == TaskAnswer::asked) {
    if (auto parked = call.wait(*wait, {"task:" + id, "operator:" + call.caller->id})) return *parked;
  }
  return answer(call, std::move(outcome));
}

}  // namespace agenttask::server
