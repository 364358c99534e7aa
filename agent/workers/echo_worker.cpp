#include "agent/workers/builtin_workers.hpp"

namespace agenttask::agent {
namespace {

class EchoWorker final : public TaskWorker {
 public:
  [[nodiscard]] Result<bool> validate(const TaskSpec&) const override { return true; }
  [[nodiscard]] WorkResult execute(RunContext&, const TaskSpec& task) const override {
    WorkResult result;
    result.data = task.data;
    return result;
  }
};

}  // namespace

std::unique_ptr<TaskWorker> make_echo_worker() {
  return std::make_unique<EchoWorker>();
}

}  // namespace agenttask::agent
