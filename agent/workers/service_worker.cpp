#include <utility>

#include <nlohmann/json.hpp>

#include "agent/workers/builtin_workers.hpp"
#include "agent/workers/process_result.hpp"
#include "agent/workers/service_call.hpp"
#include "agent/workers/worker_manifest.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/task_request.hpp"

namespace agenttask::agent {
namespace {

using nlohmann::json;

/// Who chose between answers of the question tells the service, as `execute` tells a worker.
Result<std::string> with_option(std::string arguments, const TaskState& state) {
  if (!state.chosen) return arguments;
  auto value = parse_json(arguments);
  if (!value) return value.error();
  (*value)["option"] = state.chosen->option;
  return encode_json(*value);
}

class ServiceWorker final : public TaskWorker {
 public:
  ServiceWorker(const WorkerRegistry& registry, os::ProcessSupervisor& supervisor)
      : registry_(registry), supervisor_(supervisor) {}

  [[nodiscard]] Result<void> check_data(const TaskSpec& task) const override {
    const auto data = parse_service_data(task.data);
    if (!data) return data.error();
    return {};
  }

  [[nodiscard]] std::string lacks(const TaskSpec& task) const override {
    const auto data = parse_service_data(task.data);
    return !data || find(data->service) != nullptr ? std::string() : no_such_service(data->service);
  }

  [[nodiscard]] Result<Validation> validate(const Task& task, std::stop_token) const override {
    const auto data = parse_service_data(task.spec.data);
    if (!data) return data.error();
    const auto worker = find(data->service);
    if (worker == nullptr) return Validation{false, no_such_service(data->service)};
    // It may have gone since the last look at the folder: the call waits for it.
    if (const auto program = locate_worker_program(*worker); !program)
      return Validation{false, "the worker can't be used: " + program.error().message};
    return Validation{};
  }

  [[nodiscard]] WorkResult execute(RunContext& context, const Task& task) const override {
    auto data = parse_service_data(task.spec.data);
    if (!data) return not_started(data.error(), context);
    ServiceCall call{find(data->service), data->service, data->method, {}};
    if (call.worker == nullptr) {
      return not_started({ErrorCode::unavailable, no_such_service(data->service) + " any more"}, context);
    }
    auto arguments = with_option(std::move(data->arguments), task.state);
    if (!arguments) return not_started(arguments.error(), context);
    call.arguments = *std::move(arguments);
    const Served served = serve_call(call, context, {.mark = context.run_id()}, supervisor_);
    return judge(served, context, run_limit(task.spec, *this));
  }

  [[nodiscard]] DurationMilliseconds longest_run(const TaskSpec& task) const override {
    const auto data = parse_service_data(task.data);
    const auto worker = data ? find(data->service) : nullptr;
    return worker == nullptr ? 0 : worker->timeout;
  }

 private:
  [[nodiscard]] std::shared_ptr<const WorkerManifest> find(const std::string& service) const {
    const auto services = registry_.services();
    const auto found = services->find(service);
    return found == services->end() ? nullptr : found->second;
  }

  /// Without an answer a call has failed, whatever its exit code.
  static WorkResult judge(const Served& served, const RunContext& context, DurationMilliseconds limit) {
    if (!served.process) {
      // What is wrong with the worker is no fault of the task's.
      WorkResult result = not_started(served.process.error(), context);
      result.reason = reason::kWorkerError;
      return result;
    }
    const os::ProcessOutcome& process = *served.process;
    if (auto stopped = judge_stop(process, context, limit)) return std::move(*stopped);
    if (const auto& failure = served.failure) {
      return failed_by_itself(process, context, failure->code,
                              failure->message.empty() ? "the service says that it failed" : failure->message,
                              failure->data);
    }
    if (!served.fault.empty() && (!served.result || process.stopped))
      return failed_by_itself(process, context, "", served.fault);
    if (process.exit_code != 0 || process.stopped)
      return failed_by_itself(process, context, "", describe_end(process));
    if (!served.result) return failed_by_itself(process, context, "", "the service gave no result");
    WorkResult result;
    result.data = R"({"answer":)" + *served.result + "}";
    result.output = encode_json(output_facts(process, context));
    result.nothing_survives = served.nothing_survives();
    return result;
  }

  const WorkerRegistry& registry_;
  os::ProcessSupervisor& supervisor_;
};

}  // namespace

std::unique_ptr<TaskWorker> make_service_worker(const WorkerRegistry& registry,
                                                os::ProcessSupervisor& supervisor) {
  return std::make_unique<ServiceWorker>(registry, supervisor);
}

}  // namespace agenttask::agent
