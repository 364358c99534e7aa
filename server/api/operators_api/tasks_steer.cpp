#include <nlohmann/json.hpp>

#include "platform/protocol/json.hpp"
#include "platform/protocol/object_reader.hpp"
#include "platform/protocol/task_json.hpp"
#include "server/api/handlers.hpp"
#include "server/api/render.hpp"
#include "server/store/tasks.hpp"

// What an operator asks of a task that waits, runs or recurs: an answer, a pause, a run.
namespace agenttask::server {
namespace {

using nlohmann::json;

std::string names_of(const std::vector<Choice>& choices) {
  std::string names;
  for (const Choice& choice : choices) names += (names.empty() ? "" : ", ") + choice.name;
  return names;
}

/// 400 with the valid names; there is no task in which the wrong one would be right.
Response refuse_option(const std::string& why, const std::vector<Choice>& choices) {
  json names = json::array();
  for (const Choice& choice : choices) names.push_back(choice.name);
  return refuse(Code::invalid, "option " + why + "; the choices are " + names_of(choices), "option",
                encode_json({{"choices", std::move(names)}}));
}

Response refuse_taken(const TaskRecord& record) {
  const ChoiceMade winner = winner_of(record).value_or(ChoiceMade{});
  return refuse(Code::already_chosen,
                winner.by + " chose " + quote(winner.option) +
                    (record.task.state.chosen ? "" : " before; the device has to confirm it"),
                "option", encode_json({{"chosen", choice_made_to_json(winner)}}));
}

Response refuse_closed(const Task& task) {
  const bool runs = task.state.status == TaskStatus::running;
  return refuse(Code::conflict, "task " + task.spec.id +
                                    " does not ask now: " + (runs ? "it is running" : "it is not due yet"));
}

Response asked(const Call& call, TaskOutcome outcome) {
  if (outcome.answer == TaskAnswer::ended) return refuse_ended(call, std::move(outcome.record));
  return json_response(202, render_task(call, std::move(outcome.record)));
}

/// What the device said last is so now: it is connected, and nothing is on its way to it that changes this.
bool is_current(const Call& call, const TaskRecord& record) {
  if (record.task.state.status == TaskStatus::pending) return false;
  return call.context.presence.online(record.task.spec.node_id) &&
         call.store.requests_about(record.task.spec.id).empty();
}

/// 409 where a task can't be let run now.
std::optional<Response> refuse_run(const Call& call, const TaskRecord& record) {
  const TaskState& state = record.task.state;
  const bool runs = state.status == TaskStatus::running;
  if (!runs && state.status != TaskStatus::awaiting_choice) return std::nullopt;
  if (!is_current(call, record)) return std::nullopt;
  return refuse(Code::conflict,
                "task " + record.task.spec.id +
                    (runs ? " is running: try again when this run has ended"
                          : " waits for a choice first: " + names_of(record.task.spec.choices)));
}

Outcome steer(Call& call, DirectiveKind kind) {
  const auto body = body_object(call, true);
  if (!body) return refuse(body.error());
  if (!body->empty()) return refuse(Code::invalid, "this call has no fields", body->begin().key());
  auto found = find_task(call.store, call.path[0], WithData::yes);
  if (!found.record) return found.refusal;
  TaskRecord& record = *found.record;
  if (has_ended(record.task.state.status)) return refuse_ended(call, std::move(record));
  if (kind == DirectiveKind::run) {
    if (auto refusal = refuse_run(call, record)) return *refusal;
  } else if (record.task.state.paused == (kind == DirectiveKind::pause) && is_current(call, record)) {
    return json_response(200, render_task(call, std::move(record)));
  }
  if (call.writes == nullptr) return NeedsWrite{};
  return asked(call, steer_task(*call.writes, std::move(record), kind, call.now));
}

}  // namespace

/// Operators are ordered by the writer: the first is asked of the device, the others hear of it.
Outcome choose(Call& call) {
  const auto body = body_object(call, true);
  if (!body) return refuse(body.error());
  auto found = find_task(call.store, call.path[0], WithData::yes);
  if (!found.record) return found.refusal;
  TaskRecord& record = *found.record;
  const TaskSpec& spec = record.task.spec;
  ObjectReader reader(*body, ObjectReader::Unknown::refuse);
  const auto* option = reader.member("option");
  if (auto error = reader.finish()) return refuse(*error);
  const std::string name = option != nullptr && option->is_string() ? option->get<std::string>() : "";
  switch (examine_choice(record, name, call.now)) {
    case ChoiceAnswer::ended:
      return refuse_ended(call, std::move(record));
    case ChoiceAnswer::no_choices:
      return refuse(Code::conflict, "task " + spec.id + " asks nothing: it has no choices");
    case ChoiceAnswer::not_offered:
      if (option == nullptr) return refuse_option("is required", spec.choices);
      return refuse_option(option->is_string() ? "is none of the choices" : "must be a string", spec.choices);
    case ChoiceAnswer::taken:
      return refuse_taken(record);
    case ChoiceAnswer::not_asking:
      return refuse_closed(record.task);
    case ChoiceAnswer::open:
      break;
  }
  if (call.writes == nullptr) return NeedsWrite{};
  return asked(call, choose_task(*call.writes, std::move(record), name, caller_name(call), call.now));
}

Outcome pause(Call& call) {
  return steer(call, DirectiveKind::pause);
}

Outcome resume(Call& call) {
  return steer(call, DirectiveKind::resume);
}

Outcome run_now(Call& call) {
  return steer(call, DirectiveKind::run);
}

}  // namespace agenttask::server
