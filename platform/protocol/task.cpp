#include "platform/protocol/task.hpp"

#include <array>
#include <utility>

namespace agenttask {
namespace {

template <class Value, std::size_t Size>
using Names = std::array<std::pair<Value, std::string_view>, Size>;

constexpr Names<TaskStatus, 7> kTaskStatuses{{{TaskStatus::pending, "pending"},
                                              {TaskStatus::sent, "sent"},
                                              {TaskStatus::awaiting_choice, "awaiting_choice"},
                                              {TaskStatus::running, "running"},
                                              {TaskStatus::complete, "complete"},
                                              {TaskStatus::failed, "failed"},
                                              {TaskStatus::cancelled, "cancelled"}}};
constexpr Names<RunStatus, 4> kRunStatuses{{{RunStatus::running, "running"},
                                            {RunStatus::complete, "complete"},
                                            {RunStatus::failed, "failed"},
                                            {RunStatus::cancelled, "cancelled"}}};
constexpr Names<OutputStream, 2> kOutputStreams{
    {{OutputStream::standard_output, "stdout"}, {OutputStream::standard_error, "stderr"}}};
constexpr Names<Overlap, 3> kOverlaps{
    {{Overlap::skip, "skip"}, {Overlap::queue, "queue"}, {Overlap::cancel_previous, "cancelPrevious"}}};
constexpr Names<CatchUp, 3> kCatchUps{
    {{CatchUp::once, "once"}, {CatchUp::all, "all"}, {CatchUp::skip, "skip"}}};
constexpr Names<Chooser, 2> kChoosers{{{Chooser::operator_, "operator"}, {Chooser::user, "user"}}};

template <class Value, std::size_t Size>
std::string_view name_of(const Names<Value, Size>& names, Value value) {
  for (const auto& [each, name] : names) {
    if (each == value) return name;
  }
  return "unknown";
}

template <class Value, std::size_t Size>
Result<Value> value_of(const Names<Value, Size>& names, std::string_view text, std::string_view what) {
  std::string valid;
  for (const auto& [value, name] : names) {
    if (name == text) return value;
    valid += (valid.empty() ? "" : ", ") + std::string(name);
  }
  return Error{ErrorCode::invalid, "no such " + std::string(what) + "; one of " + valid};
}

}  // namespace

std::string_view to_string(TaskStatus status) {
  return name_of(kTaskStatuses, status);
}
Result<TaskStatus> parse_task_status(std::string_view name) {
  return value_of(kTaskStatuses, name, "status");
}
std::string_view to_string(RunStatus status) {
  return name_of(kRunStatuses, status);
}
Result<RunStatus> parse_run_status(std::string_view name) {
  return value_of(kRunStatuses, name, "run status");
}
std::string_view to_string(OutputStream stream) {
  return name_of(kOutputStreams, stream);
}
Result<OutputStream> parse_output_stream(std::string_view name) {
  return value_of(kOutputStreams, name, "stream");
}

std::string_view to_string(Overlap overlap) {
  return name_of(kOverlaps, overlap);
}
Result<Overlap> parse_overlap(std::string_view name) {
  return value_of(kOverlaps, name, "overlap");
}
std::string_view to_string(CatchUp catch_up) {
  return name_of(kCatchUps, catch_up);
}
Result<CatchUp> parse_catch_up(std::string_view name) {
  return value_of(kCatchUps, name, "catchUp");
}
std::string_view to_string(Chooser chooser) {
  return name_of(kChoosers, chooser);
}
Result<Chooser> parse_chooser(std::string_view name) {
  return value_of(kChoosers, name, "chooser");
}

const Choice* TaskSpec::find_choice(std::string_view name) const {
  for (const Choice& choice : choices) {
    if (choice.name == name) return &choice;
  }
  return nullptr;
}

bool may_become(TaskStatus from, TaskStatus to) {
  using enum TaskStatus;
  switch (from) {
    case pending:
      return to == sent || to == awaiting_choice || to == failed || to == cancelled;
    case sent:
      return to == running || to == awaiting_choice || to == failed || to == cancelled;
    case awaiting_choice:
      return to == sent || to == failed || to == cancelled;
    case running:
      return to == sent || to == complete || to == failed || to == cancelled;
    case complete:
    case failed:
    case cancelled:
      return false;
  }
  return false;
}

}  // namespace agenttask
