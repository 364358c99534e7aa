#pragma once
#include <chrono>
#include <filesystem>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "agent/workers/worker_manifest.hpp"
#include "agent/workers/worker_protocol.hpp"
#include "platform/base/error.hpp"
#include "platform/os/process.hpp"

namespace agenttask::agent {

/// One conversation with one process of a worker, whatever it was asked. Threads: the one that runs it.
class WorkerProcess : private os::ProcessObserver {
 public:
  WorkerProcess(const WorkerManifest& manifest, std::string request)
      : manifest_(manifest),
        request_(std::move(request)),
        lines_([this](std::string_view line, std::string_view newline) { take_line(line, newline); },
               [this](std::string_view bytes) { plain_ += bytes; }) {}
  WorkerProcess(const WorkerProcess&) = delete;
  WorkerProcess& operator=(const WorkerProcess&) = delete;

  struct Limits {
    std::string mark;                      ///< of the process and what it starts
    std::chrono::milliseconds timeout{0};  ///< zero: none
    std::chrono::milliseconds grace{5000};
    std::filesystem::path record = {};  ///< see os::ProcessSpec::record
  };
  /// Runs it to its end. Errors as ProcessSupervisor::run.
  [[nodiscard]] Result<os::ProcessOutcome> run(os::ProcessSupervisor& supervisor, const Limits& limits,
                                               const std::stop_token& stop);

 protected:
  ~WorkerProcess() override = default;

  /// A line of its standard output was a message. False: not one that is expected here, so it is output.
  virtual bool heard(const WorkerLine& message) = 0;
  /// Ordinary output.
  virtual void printed(OutputStream stream, std::string_view bytes) = 0;
  /// Why it is asked to stop.
  [[nodiscard]] virtual StopCause stop_cause() const = 0;

  void answer(std::int64_t id, const CallAnswer& answer);
  /// No more will be said to it.
  void close_input();
  /// It can't go on: it is stopped, and `fault` says why.
  void give_up(std::string fault);
  [[nodiscard]] bool gave_up() const { return gave_up_; }
  void note_fault(std::string fault);
  /// What it did against the rules; empty: nothing.
  [[nodiscard]] const std::string& fault() const { return fault_; }

 private:
  void started(std::int64_t) override {}
  void opened(os::ProcessInput& input) override;
  void stopping(bool timed_out) override;
  void output(os::OutputStream stream, std::string_view bytes) override;
  void take_line(std::string_view line, std::string_view newline);
  void hand_on();
  void say(std::string_view line);

  const WorkerManifest& manifest_;
  const std::string request_;
  WorkerLines lines_;
  std::string plain_;  ///< ordinary output of what was just read: a flood of short lines is kept as one piece
  os::ProcessInput* input_ = nullptr;
  std::stop_source stop_;
  std::string fault_;
  bool gave_up_ = false;
};

/// One that may fail, and can make no calls: a check, or a service.
class ProcessWithoutCalls : public WorkerProcess {
 protected:
  using WorkerProcess::WorkerProcess;

  /// Takes an error, and answers a call; false: the line is neither.
  bool heard_without_calls(const WorkerLine& message);
  [[nodiscard]] const std::optional<WorkerFailure>& failure() const { return failure_; }

 private:
  std::optional<WorkerFailure> failure_;
};

/// Asks a worker whether the task may run now; `within` at most. Never an error.
[[nodiscard]] Validation ask_worker(const WorkerManifest& manifest, const Task& task,
                                    os::ProcessSupervisor& supervisor, std::chrono::milliseconds within,
                                    const std::stop_token& stop);

}  // namespace agenttask::agent
