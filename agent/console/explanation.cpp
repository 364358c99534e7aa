#include "agent/console/explanation.hpp"

#include <array>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include "agent/console/json_access.hpp"
#include "agent/console/schedule_text.hpp"
#include "agent/console/task_view.hpp"
#include "agent/console/text.hpp"
#include "agent/console/time_text.hpp"

namespace agenttask::console {
namespace {

using nlohmann::json;

/// `{verbs}` and `{node}` stand for the verbs of whoever reads it, and for the task's device.
struct Advice {
  std::string_view reason;
  std::string_view text;
  std::string_view from_afar = {};  ///< for an operator, where it is another
};

/// What a person can do about each reason.
constexpr std::array kAdvice{
    Advice{reason::kDeviceOffline, "It starts when the device reaches its server again."},
    Advice{reason::kNotDue, "It starts by itself at its time; --at with {verbs} update changes that."},
    Advice{
        reason::kNoWorker, "It starts when a worker for it appears; --expires bounds how long it waits.",
        "It starts when a worker for it appears there; agenttask fleet node show {node} lists what there is. "
        "--expires bounds how long it waits."},
    Advice{reason::kNoSlot,
           "It starts as soon as a running task ends; agenttask list --status running shows them.",
           "It starts as soon as a running task ends; agenttask fleet list --node {node} --status running "
           "shows them."},
    Advice{reason::kKeyHeld, "It starts when the running task with the same key ends."},
    Advice{reason::kPaused, "It starts no more by itself; {verbs} run makes an extra run meanwhile."},
    Advice{reason::kValidateFalse, "Its worker said that it may not run yet; it is asked again."},
    Advice{reason::kQuarantined, "An operator has to release the device, or it has to enrol again.",
           "Its device has to be released (agenttask fleet node release {node}), or to enrol again."},
    Advice{reason::kHeld, "The device starts nothing new; agenttask release lets it go on.",
           "The device starts nothing new; agenttask fleet node release {node} lets it go on."},
    Advice{reason::kRetryBackoff, "The last run failed; the next attempt comes by itself."},
    Advice{reason::kLedgerUnwritable,
           "The agent cannot write its ledger; agenttask doctor says what to repair.",
           "The agent cannot write its ledger; agenttask doctor, on the device, says what to repair."},
    Advice{reason::kOutboxFull, "Too many reports wait for the server; they go out when it can be reached."},
    Advice{reason::kExpired, "It had not started by the time it was to; --expires allows more."},
    Advice{reason::kTimeout, "It was stopped at its timeout; --timeout allows more."},
    Advice{reason::kInterrupted,
           "The agent or the device stopped in the middle of it; --on-interrupt rerun would run such a task "
           "again by itself."},
    Advice{reason::kRejected, "The policy file of this device does not allow it.",
           "The policy file of its device does not allow it; no server can change that."},
    Advice{reason::kExitStatus, "The command failed by itself."},
};

std::string fill_in(std::string_view text, const Task& task, std::string_view verbs) {
  std::string filled(text);
  for (const auto& [mark, value] : {std::pair<std::string_view, std::string>("{verbs}", verbs),
                                    std::pair<std::string_view, std::string>("{node}", task.spec.node_id)}) {
    if (const auto at = filled.find(mark); at != std::string::npos) filled.replace(at, mark.size(), value);
  }
  return filled;
}

std::string advice_for(std::string_view reason, const Task& task, std::string_view verbs) {
  if (reason == agenttask::reason::kPaused && !task.spec.schedule.recurs()) {
    return fill_in(
        "It starts when it is resumed, at its time or at once; {verbs} run does not wait for that.", task,
        verbs);
  }
  for (const Advice& advice : kAdvice) {
    if (advice.reason != reason) continue;
    const bool from_afar = verbs == kFleetVerbs && !advice.from_afar.empty();
    return printable(fill_in(from_afar ? advice.from_afar : advice.text, task, verbs));
  }
  return {};
}

/// As a sentence: a capital at its beginning, a full stop at its end.
std::string sentence(std::string text) {
  if (text.empty()) return text;
  if (text.front() >= 'a' && text.front() <= 'z') text.front() = static_cast<char>(text.front() - 'a' + 'A');
  if (std::string_view(".!?)").find(text.back()) == std::string_view::npos) text += '.';
  return text;
}

/// `outside`: the run under way is outside the agent's service, whatever the task wants of the next.
std::string situation(const Task& task, const std::string& reason, bool outside, UnixMilliseconds now,
                      std::string_view verbs) {
  const TaskState& state = task.state;
  const auto since = [&](const std::optional<UnixMilliseconds>& time) {
    return time ? " " + format_duration(now - *time) + " ago" : std::string();
  };
  switch (state.status) {
    case TaskStatus::pending:
      return "It waits for its device";
    case TaskStatus::sent:
      if (!reason.empty()) return "It waits on the device (" + reason + ")";
      return verbs == kFleetVerbs ? "Its device has it, and is about to start it" : "It is about to start";
    case TaskStatus::awaiting_choice:
      return "It waits for somebody to choose";
    case TaskStatus::running:
      return "It is running, for " + format_duration(now - state.start_time.value_or(now)) +
             (outside ? ", outside the agent's service: it goes on when that is stopped or upgraded" : "") +
             (state.cancel_requested_at ? ", and was asked to stop" : "");
    case TaskStatus::complete:
      return "It completed" + since(state.end_time);
    case TaskStatus::failed:
      return "It failed" + since(state.end_time) + (reason.empty() ? "" : " (" + reason + ")");
    case TaskStatus::cancelled:
      return "It was cancelled" + since(state.end_time);
  }
  return {};
}

/// What comes next of a task that repeats or asks, and what came of its question.
std::string about_schedule(const Task& task, UnixMilliseconds now, std::string_view verbs) {
  const TaskSpec& spec = task.spec;
  const TaskState& state = task.state;
  std::string text;
  if (!has_ended(state.status) && state.next_run_at && !spec.schedule.recurs()) {
    text += (state.paused ? "Its time is " : "It is due ") + format_time(*state.next_run_at, now) + ".\n";
  }
  if (spec.schedule.recurs()) {
    text += "It repeats " + describe_schedule(spec.schedule, now);
    if (state.occurrence != 0) text += "; the last occurrence was number " + std::to_string(state.occurrence);
    if (state.missed_count != 0) text += ", and " + std::to_string(state.missed_count) + " were missed";
    text += ".\n";
    if (!has_ended(state.status) && state.next_run_at) {
      text += "Next run: " + format_time(*state.next_run_at, now) + ".\n";
    }
  }
  if (state.status == TaskStatus::awaiting_choice) {
    text += describe_choices(spec) + "\n";
    if (spec.choice_expires_at && !spec.schedule.recurs()) {
      text += "Until " + format_time(*spec.choice_expires_at, now) +
              (spec.default_choice.empty() ? "; then it fails as expired"
                                           : "; then " + printable(spec.default_choice) + " counts") +
              ".\n";
    }
    if (!state.choice_requested) {
      text += "Choose with: " + std::string(verbs) + " choose " + spec.id + " " +
              printable(choice_names(spec)) + "\n";
    }
  } else if (state.chosen) {
    text += "Chosen: " + printable(describe_choice_made(*state.chosen, now)) + ".\n";
  }
  return text;
}

/// What is on its way to a device that has not taken it.
std::string about_requests(const TaskView& view, UnixMilliseconds now) {
  const TaskState& state = view.task.state;
  std::string text;
  if (state.choice_requested && !state.chosen) {
    text += "Chosen: " + printable(describe_choice_made(*state.choice_requested, now)) +
            "; its device has still to confirm it.\n";
  }
  std::string asked;
  for (const std::string& one : view.requested) asked += (asked.empty() ? "" : ", ") + one;
  if (!asked.empty()) text += "Asked of its device, which has not taken it yet: " + printable(asked) + ".\n";
  return text;
}

}  // namespace

Result<std::string> explain(const json& answer, UnixMilliseconds now, std::string_view verbs) {
  if (!answer.is_object() || !answer.contains("task")) {
    return Error{ErrorCode::invalid, "the answer explains nothing"};
  }
  const auto view = read_task(answer.at("task"));
  if (!view) return view.error();
  const TaskState& state = view->task.state;
  const bool asked_now = !has_ended(state.status) && answer.contains("reason");
  const std::string reason = asked_now ? text_of(answer, "reason") : state.reason;
  const std::string detail = asked_now ? text_of(answer, "detail") : state.detail;
  std::string text = "Task " + view->task.spec.id + " (" + printable(view->task.spec.type) + ")\n";
  text += situation(view->task, printable(reason), flag_of(answer, "outside"), now, verbs) + ".\n";
  // While it runs the situation says it all; of a question and of a time, what follows does.
  const bool says_all = state.status == TaskStatus::running || state.status == TaskStatus::awaiting_choice ||
                        (reason == agenttask::reason::kNotDue && state.next_run_at);
  if (!detail.empty() && !says_all) text += sentence(printable_lines(detail)) + "\n";
  if (const std::string advice = advice_for(reason, view->task, verbs); !advice.empty())
    text += advice + "\n";
  if (has_ended(state.status) && reason == agenttask::reason::kInterrupted) {
    text += "Whether it had done its work is not known. Again, as a new task: " + std::string(verbs) +
            " add --like " + view->task.spec.id + "\n";
  }
  text += about_schedule(view->task, now, verbs);
  text += about_requests(*view, now);
  return text;
}

}  // namespace agenttask::console
