#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include <nlohmann/json_fwd.hpp>

#include "agent/workers/task_worker.hpp"
#include "platform/base/error.hpp"
#include "platform/protocol/task.hpp"

/// What agent and worker processes write to each other: one JSON object a line (docs/workers.md).
namespace agenttask::agent {

constexpr std::size_t kWorkerLineBytes = 2 * 1024 * 1024;  ///< of a line, without its newline
constexpr std::size_t kWorkerCalls = 10'000;               ///< of a run

/// `{"valid":…}`
struct WorkerValid {
  bool valid = true;
  std::string detail = {};
};
/// `{"call":…}`
struct WorkerCall {
  std::int64_t id = 0;
  std::string name = {};
  std::string arguments = "{}";  ///< JSON text of an object
};
/// `{"progress":…}`
struct WorkerProgress {
  std::string text;
};
/// `{"result":…}`
struct WorkerResultLine {
  std::string value;  ///< JSON text
  bool is_object = true;
};
/// `{"error":…}`
struct WorkerFailure {
  std::string code;
  std::string message;
  std::string data = {};  ///< JSON text of an object, or empty
};
/// Ordinary output; `fault` says why, where it was meant to be a result or an error.
struct WorkerOutput {
  std::string fault = {};
};
using WorkerLine =
    std::variant<WorkerOutput, WorkerValid, WorkerCall, WorkerProgress, WorkerResultLine, WorkerFailure>;

/// What a line is, without its newline.
[[nodiscard]] WorkerLine parse_worker_line(std::string_view line);

/// Cuts the standard output of a worker into lines that may be for us, and what is output for certain, which
/// goes on at once. Holds one line at most, up to kWorkerLineBytes.
class WorkerLines {
 public:
  using Line = std::function<void(std::string_view line, std::string_view newline)>;
  using Output = std::function<void(std::string_view bytes)>;
  WorkerLines(Line line, Output output) : line_(std::move(line)), output_(std::move(output)) {}

  void take(std::string_view bytes);
  /// The stream has ended: what is left is a line too.
  void finish();
  /// Whether a line was passed on as output because it was too long, although it began as a result or error.
  [[nodiscard]] bool lost_an_answer() const { return lost_an_answer_; }

 private:
  void pass_on();

  Line line_;
  Output output_;
  std::string held_;
  bool passing_ = false;  ///< the rest of this line is output
  bool lost_an_answer_ = false;
};

/// What a call is answered.
struct CallAnswer {
  std::string result = "null";  ///< JSON text
  std::string code = {};        ///< of a problem; empty: there is none, `result` counts
  std::string message = {};
  std::string field = {};
  [[nodiscard]] static CallAnswer problem(const Error& error);
};

// What the agent writes; each with its newline.
[[nodiscard]] std::string encode_validate(const Task& task);
[[nodiscard]] std::string encode_execute(const Task& task, const std::string& run_id, std::int64_t run);
[[nodiscard]] std::string encode_serve(const std::string& service, const std::string& method,
                                       const nlohmann::json& arguments);
[[nodiscard]] std::string encode_answer(std::int64_t id, const CallAnswer& answer);
[[nodiscard]] std::string encode_stop(StopCause cause);

}  // namespace agenttask::agent
