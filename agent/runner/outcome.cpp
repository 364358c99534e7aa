#include "agent/runner/outcome.hpp"

#include <utility>

#include <nlohmann/json.hpp>

#include "agent/ledger/detail_text.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/limits.hpp"

namespace agenttask::agent {
namespace {

/// A worker may leave the reason to us: then it is why it was asked to stop.
void complete_reason(WorkResult& result, StopCause cause) {
  if (result.status != RunStatus::failed || !result.reason.empty()) return;
  switch (cause) {
    case StopCause::none:
      result.reason = reason::kWorkerError;
      break;
    case StopCause::timeout:
      result.reason = reason::kTimeout;
      break;
    case StopCause::shutdown:
      result.reason = reason::kInterrupted;
      break;
    case StopCause::cancel:
    case StopCause::replaced:
      result.status = RunStatus::cancelled;
      break;
  }
}

}  // namespace

WorkResult worker_error(std::string detail) {
  WorkResult result;
  result.status = RunStatus::failed;
  result.reason = reason::kWorkerError;
  result.detail = std::move(detail);
  return result;
}

RunOutcome to_outcome(WorkResult result, StopCause cause, std::vector<Wish> wishes) {
  Result<nlohmann::json> data =
      Error{ErrorCode::limit, "it is larger than " + std::to_string(limits::kDataBytes) + " bytes"};
  if (result.data.size() <= limits::kDataBytes) data = parse_json(result.data, limits::kJsonDepth + 4);
  if (!data) result = worker_error("the worker's result can't be taken: " + data.error().message);
  result.detail = to_detail(result.detail);
  complete_reason(result, cause);
  nlohmann::json value = {{"success", result.status == RunStatus::complete}};
  value["data"] = data ? std::move(*data) : nlohmann::json::object();
  if (auto output = parse_json(result.output); !result.output.empty() && output)
    value["output"] = *std::move(output);
  if (result.status != RunStatus::complete) {
    std::string code = result.status == RunStatus::cancelled ? "cancelled" : result.reason;
    if (!result.code.empty()) code = result.code;
    value["error"] = {{"code", std::move(code)}, {"message", result.detail}};
  }
  RunOutcome outcome{result.status, result.reason, result.detail, encode_json(value),
                     result.nothing_survives};
  if (result.status == RunStatus::complete) outcome.wishes = std::move(wishes);
  return outcome;
}

}  // namespace agenttask::agent
