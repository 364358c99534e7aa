#include "agent/workers/worker_process.hpp"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "agent/workers/process_result.hpp"
#include "platform/protocol/json.hpp"

namespace agenttask::agent {
namespace {

constexpr std::chrono::milliseconds kShortGrace{1000};
constexpr std::size_t kLastWords = 300;  ///< of standard error, for people

std::string describe(const WorkerFailure& failure) {
  if (failure.message.empty()) return failure.code.empty() ? "it says that it failed" : failure.code;
  return failure.code.empty() ? failure.message : failure.code + ": " + failure.message;
}

/// Asks one question about a task.
class Question final : public ProcessWithoutCalls {
 public:
  Question(const WorkerManifest& manifest, const Task& task)
      : ProcessWithoutCalls(manifest, encode_validate(task)) {}

  [[nodiscard]] Validation judge(const Result<os::ProcessOutcome>& outcome,
                                 std::chrono::milliseconds within) const {
    const auto no = [&](std::string why) {
      return Validation{false, "the worker's check failed: " + std::move(why)};
    };
    if (!outcome) return no(outcome.error().message);
    if (outcome->timed_out) return no("no answer within " + std::to_string(within.count()) + " ms");
    if (outcome->stopped) return no(fault().empty() ? "it was stopped" : fault());
    if (failure()) return no(describe(*failure()));
    if (outcome->exit_code != 0) return no(describe_end(*outcome) + last_words());
    if (!answer_) return no("it ended without an answer" + last_words());
    if (answer_->valid) return {};
    return {false, answer_->detail.empty() ? "the worker does not want to run it now" : answer_->detail};
  }

 private:
  bool heard(const WorkerLine& message) override {
    if (const auto* valid = std::get_if<WorkerValid>(&message); valid != nullptr && !answer_) {
      answer_ = *valid;
      close_input();
      return true;
    }
    return heard_without_calls(message);
  }
  void printed(OutputStream stream, std::string_view bytes) override {
    if (stream != OutputStream::standard_error) return;
    printed_ += bytes.substr(bytes.size() - std::min(bytes.size(), kLastWords));
    if (printed_.size() > kLastWords) printed_.erase(0, printed_.size() - kLastWords);
  }
  [[nodiscard]] StopCause stop_cause() const override { return StopCause::shutdown; }

  /// Its last line on standard error.
  [[nodiscard]] std::string last_words() const {
    std::string_view text = printed_;
    while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.remove_suffix(1);
    text = text.substr(text.rfind('\n') + 1);
    return text.empty() ? "" : "; " + std::string(text);
  }

  std::optional<WorkerValid> answer_;
  std::string printed_;
};

}  // namespace

Result<os::ProcessOutcome> WorkerProcess::run(os::ProcessSupervisor& supervisor, const Limits& limits,
                                              const std::stop_token& stop) {
  os::ProcessSpec process;
  process.argv = manifest_.command;
  process.cwd = manifest_.folder.string();
  process.environment = manifest_.environment;
  process.run_as = manifest_.run_as;
  process.interactive = true;
  process.run_id = limits.mark;
  process.record = limits.record;
  process.timeout = limits.timeout;
  process.grace = limits.grace;
  if (auto completed = complete_environment(process); !completed) return completed.error();
  const std::stop_callback pass_on(stop, [this] { stop_.request_stop(); });
  auto outcome = supervisor.run(process, stop_.get_token(), *this);
  input_ = nullptr;
  if (outcome) lines_.finish();
  hand_on();
  if (lines_.lost_an_answer()) {
    note_fault("its result is a line of more than " + std::to_string(kWorkerLineBytes) + " bytes");
  }
  return outcome;
}

void WorkerProcess::opened(os::ProcessInput& input) {
  input_ = &input;
  say(request_);
}

void WorkerProcess::stopping(bool timed_out) {
  if (input_ != nullptr) (void)input_->write(encode_stop(timed_out ? StopCause::timeout : stop_cause()));
}

void WorkerProcess::output(os::OutputStream stream, std::string_view bytes) {
  if (stream == os::OutputStream::standard_output) {
    lines_.take(bytes);
    hand_on();
  } else {
    printed(OutputStream::standard_error, bytes);
  }
}

void WorkerProcess::take_line(std::string_view line, std::string_view newline) {
  const WorkerLine message = parse_worker_line(line);
  const auto* plain = std::get_if<WorkerOutput>(&message);
  if (plain == nullptr) hand_on();  // what it said before comes before what the message brings about
  if (plain == nullptr && heard(message)) return;
  if (plain != nullptr && !plain->fault.empty()) note_fault("its result can't be read: " + plain->fault);
  plain_.append(line).append(newline);
}

void WorkerProcess::hand_on() {
  if (!plain_.empty()) printed(OutputStream::standard_output, plain_);
  plain_.clear();
}

void WorkerProcess::answer(std::int64_t id, const CallAnswer& answer) {
  say(encode_answer(id, answer));
}

void WorkerProcess::close_input() {
  if (input_ != nullptr) input_->close();
}

void WorkerProcess::say(std::string_view line) {
  if (input_ == nullptr || gave_up_) return;
  if (auto written = input_->write(line); !written) give_up(written.error().message);
}

void WorkerProcess::give_up(std::string fault) {
  note_fault(std::move(fault));
  gave_up_ = true;
  stop_.request_stop();
}

void WorkerProcess::note_fault(std::string fault) {
  if (fault_.empty()) fault_ = std::move(fault);
}

bool ProcessWithoutCalls::heard_without_calls(const WorkerLine& message) {
  if (const auto* failure = std::get_if<WorkerFailure>(&message); failure != nullptr && !failure_) {
    failure_ = *failure;
    return true;
  }
  if (const auto* call = std::get_if<WorkerCall>(&message)) {
    answer(call->id,
           CallAnswer::problem({ErrorCode::unsupported, "neither a check nor a service can make calls"}));
    return true;
  }
  return false;
}

std::string check_mark(std::string_view task_id) {
  return "validate-" + std::string(task_id);
}

Validation ask_worker(const WorkerManifest& manifest, const Task& task, os::ProcessSupervisor& supervisor,
                      std::chrono::milliseconds within, const std::stop_token& stop) {
  Question question(manifest, task);
  return question.judge(question.run(supervisor, {check_mark(task.spec.id), within, kShortGrace, {}}, stop),
                        within);
}

}  // namespace agenttask::agent
