#include "agent/console/wait_notes.hpp"

#include "agent/console/time_text.hpp"

namespace agenttask::console {

void WaitNotes::state(const Task& task) {
  constexpr std::string_view kWaiting = "waiting: ";
  const bool waits = !has_ended(task.state.status) && task.state.status != TaskStatus::running;
  if (!waits) {
    pending_.clear();
    return;
  }
  std::string note(kWaiting);
  if (task.state.status == TaskStatus::awaiting_choice) {
    note += std::string(verbs_) + " choose " + task.spec.id + " " + choice_names(task.spec);
  } else if (task.state.reason == reason::kNotDue && task.state.next_run_at) {
    note += "next run " + format_time(*task.state.next_run_at);
  } else if (!task.state.detail.empty()) {
    note += task.state.detail;
  } else if (!task.state.reason.empty()) {
    note += task.state.reason;
  } else {
    note += "the task has not started yet";
  }
  if (note == pending_ || note == said_) return;
  pending_ = std::move(note);
  since_ = std::chrono::steady_clock::now();
}

void WaitNotes::tick() {
  if (!enabled_ || pending_.empty()) return;
  if (std::chrono::steady_clock::now() - since_ < std::chrono::seconds(1)) return;
  screen_.say(pending_);
  said_ = std::move(pending_);
  pending_.clear();
}

}  // namespace agenttask::console
