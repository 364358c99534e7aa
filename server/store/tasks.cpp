#include "server/store/tasks.hpp"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "platform/base/ids.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/task_json.hpp"
#include "server/store/changes.hpp"

namespace agenttask::server {
namespace {

void ask(WriteStore& store, const TaskRecord& record, DirectiveKind kind, std::string body = {}) {
  const TaskSpec& spec = record.task.spec;
  store.append_directive({0, spec.node_id, kind, spec.id, std::move(body), 0, {}});
  store.touch("node:" + spec.node_id);
}

}  // namespace

TaskRecord create_task(WriteStore& store, TaskSpec spec, std::string digest, std::string created_by,
                       UnixMilliseconds now) {
  if (!spec.options.expires_at) spec.options.expires_at = default_expiry(spec.schedule, now);
  TaskRecord record;
  record.task.spec = std::move(spec);
  record.task.state.add_time = now;
  record.task.state.updated_at = now;
  record.digest = std::move(digest);
  record.created_by = std::move(created_by);
  record.sequence = store.insert_task(record);
  ask(store, record, DirectiveKind::task);
  touch_task(store, record.task.spec.id);
  return record;
}

void end_alone(WriteStore& store, TaskRecord& record, TaskStatus status, std::string_view why,
               std::string detail, UnixMilliseconds now) {
  TaskState& state = record.task.state;
  state.status = status;
  state.reason = why;
  state.detail = std::move(detail);
  if (status == TaskStatus::failed) {
    state.result = encode_json({{"success", false}, {"error", {{"code", why}, {"message", state.detail}}}});
  }
  state.end_time = now;
  state.next_run_at.reset();
  settle_choice(record);
  record.decided_alone = true;
  record.in_doubt = false;
  store.remove_queued(record.task.spec.id);
  save_state(store, record, now);
}

void end_interrupted(WriteStore& store, TaskRecord& record, std::string detail, UnixMilliseconds now) {
  record.task.state.cancel_requested_at.reset();
  store.close_runs(record.task.spec.id, INT64_MAX, now);
  end_alone(store, record, TaskStatus::failed, reason::kInterrupted, std::move(detail), now);
}

void touch_task(WriteStore& store, const std::string& task_id) {
  store.touch("task:" + task_id);
  store.touch("output:" + task_id);
}

void save_state(WriteStore& store, TaskRecord& record, UnixMilliseconds now) {
  record.task.state.updated_at = std::max(now, record.task.state.updated_at + 1);
  store.update_task_state(record);
  touch_task(store, record.task.spec.id);
  if (record.batch == 0 || !has_ended(record.task.state.status)) return;
  if (const auto over = store.id_if_over(record.batch)) store.touch("batch:" + *over);
}

TaskOutcome cancel_task(WriteStore& store, TaskRecord record, UnixMilliseconds now) {
  TaskState& state = record.task.state;
  if (has_ended(state.status)) return {TaskAnswer::ended, std::move(record)};
  if (!record.offered) {
    end_alone(store, record, TaskStatus::cancelled, "", "cancelled before it was sent to the device", now);
    return {TaskAnswer::done, std::move(record)};
  }
  if (!cancel_is_on_its_way(store, record)) {
    ask(store, record, DirectiveKind::cancel);
    state.cancel_requested_at = now;
    save_state(store, record, now);
  }
  return {TaskAnswer::asked, std::move(record)};
}

bool cancel_is_on_its_way(const ReadStore& store, const TaskRecord& record) {
  const TaskSpec& spec = record.task.spec;
  return !store.waiting_directives(spec.node_id, DirectiveKind::cancel, spec.id).empty() ||
         !store.waiting_directives(spec.node_id, DirectiveKind::delete_, spec.id).empty();
}

TaskOutcome delete_task(WriteStore& store, TaskRecord record, UnixMilliseconds now) {
  TaskState& state = record.task.state;
  const TaskSpec& spec = record.task.spec;
  if (has_ended(state.status)) {
    if (!state.deleted_at) {
      state.deleted_at = now;
      save_state(store, record, now);
    }
    return {TaskAnswer::done, std::move(record)};
  }
  if (!record.offered) {
    state.deleted_at = now;
    end_alone(store, record, TaskStatus::cancelled, "", "deleted before it was sent to the device", now);
    return {TaskAnswer::done, std::move(record)};
  }
  if (store.waiting_directives(spec.node_id, DirectiveKind::delete_, spec.id).empty()) {
    ask(store, record, DirectiveKind::delete_);
    if (!state.cancel_requested_at) state.cancel_requested_at = now;
    save_state(store, record, now);
  }
  return {TaskAnswer::asked, std::move(record)};
}

Result<TaskOutcome> update_task(WriteStore& store, TaskRecord record, const TaskChanges& changes,
                                std::string body, UnixMilliseconds now) {
  if (has_ended(record.task.state.status)) return TaskOutcome{TaskAnswer::ended, std::move(record)};
  auto spec = apply_changes(record.task.spec, changes);
  if (!spec) return spec.error();
  if (record.offered) {
    // The row stays what the device was told until the device reports the change.
    ask(store, record, DirectiveKind::update, std::move(body));
    save_state(store, record, now);
    return TaskOutcome{TaskAnswer::asked, std::move(record)};
  }
  record.task.spec = std::move(*spec);
  store.update_task_spec(record.task.spec);
  save_state(store, record, now);
  return TaskOutcome{TaskAnswer::done, std::move(record)};
}

void settle_choice(TaskRecord& record) {
  record.task.state.choice_requested.reset();
  record.choice_occurrence.reset();
  record.choice_runs.reset();
  record.choice_directive = 0;
}

std::optional<ChoiceMade> winner_of(const TaskRecord& record) {
  const TaskState& state = record.task.state;
  return state.chosen ? state.chosen : state.choice_requested;
}

ChoiceAnswer examine_choice(const TaskRecord& record, std::string_view option, UnixMilliseconds now) {
  const TaskSpec& spec = record.task.spec;
  const TaskState& state = record.task.state;
  if (has_ended(state.status)) return state.chosen ? ChoiceAnswer::taken : ChoiceAnswer::ended;
  if (spec.choices.empty()) return ChoiceAnswer::no_choices;
  if (spec.find_choice(option) == nullptr) return ChoiceAnswer::not_offered;
  if (winner_of(record)) return ChoiceAnswer::taken;
  if (state.status == TaskStatus::awaiting_choice) return ChoiceAnswer::open;
  // Between two questions nobody knows which of them the answer would be for.
  if (state.status == TaskStatus::running || (spec.schedule.recurs() && state.status == TaskStatus::sent))
    return ChoiceAnswer::not_asking;
  const auto due = std::max(spec.schedule.scheduled_for.value_or(0), state.next_run_at.value_or(0));
  return due > now ? ChoiceAnswer::not_asking : ChoiceAnswer::open;
}

TaskOutcome choose_task(WriteStore& store, TaskRecord record, std::string option, std::string by,
                        UnixMilliseconds now) {
  const TaskSpec& spec = record.task.spec;
  TaskState& state = record.task.state;
  // One that waits here was for a question that is over.
  for (const auto& stale : store.waiting_directives(spec.node_id, DirectiveKind::choose, spec.id))
    if (stale.sequence == 0) store.remove_directive(stale.position);
  state.choice_requested = ChoiceMade{std::move(option), std::move(by), now};
  record.choice_occurrence.reset();
  if (state.status == TaskStatus::awaiting_choice) record.choice_occurrence = state.occurrence;
  record.choice_runs = state.run_count;
  record.choice_directive = 0;
  nlohmann::json body = {{"choice", choice_made_to_json(*state.choice_requested)}, {"runs", state.run_count}};
  if (record.choice_occurrence) body["occurrence"] = *record.choice_occurrence;
  ask(store, record, DirectiveKind::choose, encode_json(body));
  save_state(store, record, now);
  return {TaskAnswer::asked, std::move(record)};
}

TaskOutcome steer_task(WriteStore& store, TaskRecord record, DirectiveKind kind, UnixMilliseconds now) {
  const TaskSpec& spec = record.task.spec;
  if (has_ended(record.task.state.status)) return {TaskAnswer::ended, std::move(record)};
  const auto same = store.waiting_directives(spec.node_id, kind, spec.id);
  std::vector<DirectiveRecord> opposite;
  if (kind != DirectiveKind::run) {
    opposite = store.waiting_directives(
        spec.node_id, kind == DirectiveKind::pause ? DirectiveKind::resume : DirectiveKind::pause, spec.id);
  }
  const bool asked = !same.empty() && (opposite.empty() || same.back().position > opposite.back().position);
  if (asked) return {TaskAnswer::asked, std::move(record)};
  if (!opposite.empty() && opposite.back().sequence == 0) store.remove_directive(opposite.back().position);
  ask(store, record, kind,
      kind == DirectiveKind::run
          ? encode_json({{"runs", record.task.state.run_count}, {"request", make_uuid(now)}})
          : std::string());
  save_state(store, record, now);
  return {TaskAnswer::asked, std::move(record)};
}

bool set_hold(WriteStore& store, NodeRecord& node, bool hold) {
  const std::string body = hold ? R"({"hold":true})" : R"({"hold":false})";
  const auto waiting = store.waiting_directives(node.id, DirectiveKind::settings, "");
  if (waiting.empty() && node.hold_reported == hold) return false;
  if (!waiting.empty() && waiting.back().body == body) return true;
  if (!waiting.empty() && waiting.back().sequence == 0) {
    store.set_directive_body(waiting.back().position, body);
  } else {
    store.append_directive({0, node.id, DirectiveKind::settings, "", body, 0, {}});
  }
  node.hold_wanted = hold;
  store.update_node(node);
  store.touch("node:" + node.id);
  return true;
}

bool same_request(const TaskRecord& record, const TaskSpec& request) {
  if (!record.digest.empty()) return record.digest == request_digest(request);
  TaskSpec known = record.task.spec;
  if (!request.options.expires_at) known.options.expires_at.reset();
  return request_digest(known) == request_digest(request);
}

}  // namespace agenttask::server
