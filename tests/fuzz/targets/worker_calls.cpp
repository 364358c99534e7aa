// What a running worker asks of the agent, call by call, and what it is answered.
#include "agent/workers/worker_calls.hpp"

#include <nlohmann/json.hpp>

#include "agent/workers/run_wishes.hpp"
#include "agent/workers/worker_protocol.hpp"
#include "platform/protocol/json.hpp"
#include "tests/fuzz/target.hpp"
#include "tests/fuzz/targets.hpp"
#include "tests/support/manual_clock.hpp"

namespace agenttask::fuzz {
namespace {

using namespace agent;

Task task_named(const char* id, const char* type) {
  Task task;
  task.spec.id = id;
  task.spec.type = type;
  task.spec.room_id = "room";
  task.state.status = TaskStatus::sent;
  return task;
}

/// A device with two tasks: the one that runs, and another.
class TwoTasks final : public TaskReader {
 public:
  [[nodiscard]] const Task& own() const { return tasks_.front(); }
  [[nodiscard]] Result<Task> get(std::string_view id) override {
    for (const Task& task : tasks_) {
      if (task.spec.id == id) return task;
    }
    return Error{ErrorCode::not_found, "no such task", "id"};
  }
  [[nodiscard]] Result<TaskPage> list(const TaskFilter&, std::optional<std::int64_t>,
                                      std::size_t most) override {
    TaskPage page;
    for (const Task& task : tasks_) {
      if (page.tasks.size() < most) page.tasks.push_back(task);
    }
    return page;
  }
  [[nodiscard]] Result<std::vector<RoomMessage>> messages(std::string_view, std::size_t) override {
    return std::vector<RoomMessage>();
  }

 private:
  std::vector<Task> tasks_{task_named("0192d5a0-0000-7000-8000-000000000001", "build"),
                           task_named("0192d5a0-0000-7000-8000-000000000002", "echo")};
};

}  // namespace

void worker_calls(std::string_view bytes) {
  static const test::ManualClock clock;
  TwoTasks device;
  RunWishes wishes(device, device.own(), 1, clock);
  const WorkerServices services;
  WorkerCalls calls(wishes, services, [](const ServiceCall&) { return CallAnswer{}; });
  std::string_view rest = bytes;
  std::size_t most = 0;
  while (!rest.empty()) {
    const auto line = parse_worker_line(take_line(rest));
    const auto* call = std::get_if<WorkerCall>(&line);
    if (call == nullptr) continue;
    ++most;
    const auto answer = calls.answer(*call);
    hold(answer.code.empty() || !answer.message.empty(), "a problem says what it is", answer.code);
    hold(answer.code != "internal", "no call finds a fault of ours", answer.message);
    const auto text = encode_answer(call->id, answer);
    const auto value = parse_json(text, limits::kJsonDepth + 8);
    hold(value && value->is_object() && text.find('\n') == text.size() - 1, "an answer is one line of JSON",
         text);
  }
  hold(wishes.take().size() <= std::min(most, RunWishes::kMost), "a call wishes one thing at most");
}

}  // namespace agenttask::fuzz
