#pragma once
#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "agent/workers/task_worker.hpp"
#include "agent/workers/worker_protocol.hpp"
#include "platform/base/error.hpp"
#include "platform/os/process.hpp"

namespace agenttask::agent {

/// A call of a service, to its answer.
struct ServiceCall {
  std::shared_ptr<const WorkerManifest> worker;
  std::string name;
  std::string method;
  std::string arguments = "{}";  ///< JSON text of an object
};

/// "no worker on this device offers the service NAME"
[[nodiscard]] std::string no_such_service(const std::string& name);

/// What came of a call.
struct Served {
  Result<os::ProcessOutcome> process;    ///< an error: there was none
  std::optional<std::string> result;     ///< JSON text, once it gave one
  std::optional<WorkerFailure> failure;  ///< it said that it failed
  std::string fault;                     ///< what it did against the rules
  [[nodiscard]] bool nothing_survives() const { return !process || process->survivors.empty(); }
};

/// How its process is run.
struct ServiceLimits {
  std::string mark;                      ///< of the process and what it starts
  std::chrono::milliseconds timeout{0};  ///< zero: as the run's
  std::chrono::milliseconds grace{5000};
};

/// Has a service do one thing, inside a run: its output is the run's, and it stops with it.
[[nodiscard]] Served serve_call(const ServiceCall& call, RunContext& context, const ServiceLimits& limits,
                                os::ProcessSupervisor& supervisor);

/// What the worker hears that made the call; `within`: what the service had for it.
[[nodiscard]] CallAnswer answer_of(const Served& served, const std::string& name,
                                   std::chrono::milliseconds within);

}  // namespace agenttask::agent
