#include "agent/workers/builtin_workers.hpp"

namespace agenttask::agent {
namespace {

class EchoWorker final : public TaskWorker {
 public:
  [[nodiscard]] Result<Validation> validate(const Task&, std::stop_token) const override {
    return Validation{};
  }
  [[nodiscard]] bool validates_at_once() const override { return true; }
  [[nodiscard]] bool starts_processes() const override { return false; }
  [[nodiscard]] bool only_computes() const override { return true; }
  [[nodiscard]] WorkResult compute(const Task& task) const override {
    WorkResult result;
    result.data = task.spec.data;
    return result;
  }
  [[nodiscard]] WorkResult execute(RunContext&, const Task& task) const override { return compute(task); }
};

}  // namespace

std::unique_ptr<TaskWorker> make_echo_worker() {
  return std::make_unique<EchoWorker>();
}

}  // namespace agenttask::agent
