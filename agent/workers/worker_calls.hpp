#pragma once
#include <functional>
#include <string>

#include "agent/workers/run_wishes.hpp"
#include "agent/workers/service_call.hpp"
#include "agent/workers/worker_protocol.hpp"

namespace agenttask::agent {

/// Answers what a running worker asks: tasks, messages, services. Threads: one.
class WorkerCalls {
 public:
  /// A list of tasks ends past this, so that one answer fits what may wait for a worker.
  static constexpr std::size_t kAnswerBytes = 4 * 1024 * 1024;

  using Serve = std::function<CallAnswer(const ServiceCall&)>;
  /// All that it is given outlives it.
  WorkerCalls(RunWishes& wishes, const WorkerServices& services, Serve serve)
      : wishes_(wishes), services_(services), serve_(std::move(serve)) {}

  [[nodiscard]] CallAnswer answer(const WorkerCall& call);

 private:
  [[nodiscard]] Result<std::string> dispatch(const WorkerCall& call);

  RunWishes& wishes_;
  const WorkerServices& services_;
  Serve serve_;
  std::size_t count_ = 0;
};

}  // namespace agenttask::agent
