#include "agent/workers/service_call.hpp"

#include <nlohmann/json.hpp>

#include "agent/workers/process_result.hpp"
#include "agent/workers/worker_process.hpp"
#include "platform/protocol/json.hpp"

namespace agenttask::agent {
namespace {

class ServiceProcess final : public ProcessWithoutCalls {
 public:
  ServiceProcess(const ServiceCall& call, const nlohmann::json& arguments, RunContext& context)
      : ProcessWithoutCalls(*call.worker, encode_serve(call.name, call.method, arguments)),
        context_(context) {}

  [[nodiscard]] Served came_of(Result<os::ProcessOutcome> process) const {
    return {std::move(process), result_, failure(), fault()};
  }

 private:
  bool heard(const WorkerLine& message) override {
    if (const auto* result = std::get_if<WorkerResultLine>(&message); result != nullptr && !result_) {
      result_ = result->value;
      return true;
    }
    return heard_without_calls(message);
  }
  void printed(OutputStream stream, std::string_view bytes) override { context_.output(stream, bytes); }
  [[nodiscard]] StopCause stop_cause() const override { return context_.stop_cause(); }

  RunContext& context_;
  std::optional<std::string> result_;
};

}  // namespace

std::string no_such_service(const std::string& name) {
  return "no worker on this device offers the service " + name;
}

Served serve_call(const ServiceCall& call, RunContext& context, const ServiceLimits& limits,
                  os::ProcessSupervisor& supervisor) {
  const auto arguments = parse_json(call.arguments, limits::kJsonDepth + 4);
  if (!arguments) return {arguments.error(), {}, {}, {}};
  ServiceProcess service(call, *arguments, context);
  auto process = service.run(
      supervisor, {limits.mark, limits.timeout, limits.grace, context.process_record()}, context.stop());
  return service.came_of(std::move(process));
}

CallAnswer answer_of(const Served& served, const std::string& name, std::chrono::milliseconds within) {
  const auto no = [&](ErrorCode code, const std::string& why) {
    return CallAnswer::problem({code, "the service " + name + " failed: " + why});
  };
  if (!served.process) return no(ErrorCode::unavailable, served.process.error().message);
  const os::ProcessOutcome& process = *served.process;
  if (process.timed_out)
    return no(ErrorCode::timeout, "no answer within " + std::to_string(within.count()) + " ms");
  if (process.stopped)
    return no(ErrorCode::unavailable, served.fault.empty() ? "the run is being stopped" : served.fault);
  CallAnswer answer;
  if (served.failure) {
    answer.code = served.failure->code.empty() ? "failed" : served.failure->code;
    answer.message = served.failure->message;
    return answer;
  }
  if (process.exit_code != 0) return no(ErrorCode::internal, describe_end(process));
  if (!served.result)
    return no(ErrorCode::internal, served.fault.empty() ? "it gave no result" : served.fault);
  answer.result = *served.result;
  return answer;
}

}  // namespace agenttask::agent
