#include "agent/workers/external_worker.hpp"

#include <utility>

#include <nlohmann/json.hpp>

#include "agent/workers/process_result.hpp"
#include "agent/workers/worker_process.hpp"
#include "platform/protocol/json.hpp"

namespace agenttask::agent {
namespace {

constexpr std::chrono::milliseconds kShortGrace{1000};  ///< of a service that took too long

/// One run.
class Execution final : public WorkerProcess {
 public:
  Execution(const WorkerManifest& manifest, const WorkerServices& services, os::ProcessSupervisor& supervisor,
            const WorkerTimes& times, RunContext& context, const Task& task)
      : WorkerProcess(manifest, encode_execute(task, context.run_id(), context.run_number())),
        supervisor_(supervisor),
        times_(times),
        context_(context),
        calls_(context.wishes(), services, [this](const ServiceCall& call) { return serve(call); }) {}

  [[nodiscard]] WorkResult judge(const os::ProcessOutcome& outcome, DurationMilliseconds limit) const {
    if (auto stopped = judge_stop(outcome, context_, limit)) {
      stopped->nothing_survives = stopped->nothing_survives && nothing_survives_;
      return std::move(*stopped);
    }
    if (!fault().empty() && (!result_ || outcome.stopped)) return failed(outcome, "", fault());
    if (outcome.exit_code != 0 || outcome.stopped || failure_) return failed(outcome);
    WorkResult result;
    if (result_) result.data = result_->value;
    if (result_ && !result_->is_object) return failed(outcome, "", "its result is not an object");
    result.output = encode_json(output_facts(outcome, context_));
    result.nothing_survives = outcome.survivors.empty() && nothing_survives_;
    return result;
  }

 private:
  [[nodiscard]] WorkResult failed(const os::ProcessOutcome& outcome) const {
    if (!failure_) return failed(outcome, "", describe_end(outcome));
    return failed(outcome, failure_->code,
                  failure_->message.empty() ? "the worker says that it failed" : failure_->message);
  }

  [[nodiscard]] WorkResult failed(const os::ProcessOutcome& outcome, std::string code,
                                  std::string detail) const {
    WorkResult result = failed_by_itself(outcome, context_, std::move(code), std::move(detail),
                                         failure_ ? failure_->data : std::string());
    result.nothing_survives = result.nothing_survives && nothing_survives_;
    return result;
  }

  bool heard(const WorkerLine& message) override {
    if (const auto* call = std::get_if<WorkerCall>(&message)) {
      if (!gave_up()) answer(call->id, calls_.answer(*call));
      return true;
    }
    if (const auto* progress = std::get_if<WorkerProgress>(&message)) {
      context_.progress(progress->text);
      return true;
    }
    if (const auto* result = std::get_if<WorkerResultLine>(&message); result != nullptr && !result_) {
      result_ = *result;
      return true;
    }
    if (const auto* failure = std::get_if<WorkerFailure>(&message); failure != nullptr && !failure_) {
      failure_ = *failure;
      return true;
    }
    return false;
  }
  void printed(OutputStream stream, std::string_view bytes) override { context_.output(stream, bytes); }
  [[nodiscard]] StopCause stop_cause() const override { return context_.stop_cause(); }

  CallAnswer serve(const ServiceCall& call) {
    const std::string mark = context_.run_id() + "/service-" + std::to_string(++services_called_);
    const Served served = serve_call(call, context_, {mark, times_.service, kShortGrace}, supervisor_);
    nothing_survives_ = nothing_survives_ && served.nothing_survives();
    return answer_of(served, call.name, times_.service);
  }

  os::ProcessSupervisor& supervisor_;
  const WorkerTimes& times_;
  RunContext& context_;
  WorkerCalls calls_;
  int services_called_ = 0;
  bool nothing_survives_ = true;  ///< of the services
  std::optional<WorkerResultLine> result_;
  std::optional<WorkerFailure> failure_;
};

class ExternalWorker final : public TaskWorker {
 public:
  ExternalWorker(std::shared_ptr<const WorkerManifest> manifest,
                 std::shared_ptr<const WorkerServices> services, os::ProcessSupervisor& supervisor,
                 WorkerTimes times)
      : manifest_(std::move(manifest)),
        services_(std::move(services)),
        supervisor_(supervisor),
        times_(times) {}

  [[nodiscard]] Result<void> check_data(const TaskSpec& task) const override {
    if (!manifest_->data_schema) return {};
    const auto data = parse_json(task.data);
    if (!data) return data.error();
    return manifest_->data_schema->check(*data);
  }

  [[nodiscard]] Result<Validation> validate(const Task& task, std::stop_token stop) const override {
    if (auto fits = check_data(task.spec); !fits) return fits.error();
    // It may have gone since the last look at the folder: the task waits for it.
    if (const auto program = locate_worker_program(*manifest_); !program)
      return Validation{false, "the worker can't be used: " + program.error().message};
    if (!manifest_->validates) return Validation{};
    return ask_worker(*manifest_, task, supervisor_, times_.validate, stop);
  }

  [[nodiscard]] WorkResult execute(RunContext& context, const Task& task) const override {
    Execution execution(*manifest_, *services_, supervisor_, times_, context, task);
    const auto outcome = execution.run(
        supervisor_, {.mark = context.run_id(), .record = context.process_record()}, context.stop());
    if (!outcome) {
      // What is wrong with the worker is no fault of the task's.
      WorkResult result = not_started(outcome.error(), context);
      result.reason = reason::kWorkerError;
      return result;
    }
    return execution.judge(*outcome, run_limit(task.spec, *this));
  }

  [[nodiscard]] DurationMilliseconds longest_run(const TaskSpec&) const override {
    return manifest_->timeout;
  }

 private:
  const std::shared_ptr<const WorkerManifest> manifest_;
  const std::shared_ptr<const WorkerServices> services_;
  os::ProcessSupervisor& supervisor_;
  const WorkerTimes times_;
};

}  // namespace

std::shared_ptr<const TaskWorker> make_external_worker(std::shared_ptr<const WorkerManifest> manifest,
                                                       std::shared_ptr<const WorkerServices> services,
                                                       os::ProcessSupervisor& supervisor, WorkerTimes times) {
  return std::make_shared<ExternalWorker>(std::move(manifest), std::move(services), supervisor, times);
}

}  // namespace agenttask::agent
