#pragma once
#include <memory>
#include <optional>
#include <stop_token>
#include <vector>

#include "platform/base/clock.hpp"
#include "platform/os/process.hpp"
#include "platform/os/windows/job.hpp"
#include "platform/os/windows/launch.hpp"
#include "platform/os/windows/output_text.hpp"
#include "platform/os/windows/stop_event.hpp"
#include "platform/os/windows/stream_pipe.hpp"

namespace agenttask::os {

/// One run from just after its start to its end: reads both streams, keeps the time, stops the job. Private
/// to platform/os/windows. Threads: the one that made it.
class RunningProcess {
 public:
  RunningProcess(Launched main, Handle standard_input, Handle standard_output, Handle standard_error,
                 const ProcessSpec& spec, std::shared_ptr<Job> job, const RunJobs& jobs,
                 const std::stop_token& stop, ProcessObserver& observer);
  /// Kills what is left when an observer threw in spite of its contract.
  ~RunningProcess();
  RunningProcess(const RunningProcess&) = delete;
  RunningProcess& operator=(const RunningProcess&) = delete;

  /// Follows it to its end. Called once.
  ProcessOutcome follow();

 private:
  struct Stream {
    OutputPipe pipe;
    OutputStream name;
    OutputText text;
    bool finished = false;
  };

  void watch_main();
  void take_events(std::optional<MonotonicTime> until, bool watch_stop);
  void read(Stream& stream);
  void tell(OutputStream name, std::string_view bytes);
  void look_for_end();
  [[nodiscard]] bool streams_open() const { return out_.pipe.is_open() || err_.pipe.is_open(); }
  [[nodiscard]] std::vector<std::shared_ptr<Job>> jobs_of_run() const;
  [[nodiscard]] bool all_gone() const;
  void ask_to_stop() const;
  void await_all_gone(MonotonicTime until);
  void kill_all();
  void drain();
  void fill_outcome();

  const Launched main_;
  const ProcessSpec& spec_;
  const std::shared_ptr<Job> job_;
  const RunJobs& jobs_;
  ProcessObserver& observer_;
  const MonotonicTime began_;
  InputPipe input_;
  Stream out_;
  Stream err_;
  StopEvent stop_;
  std::optional<DWORD> end_;
  MonotonicTime ended_{};
  bool killed_ = false;  ///< we killed it before it had ended
  bool finished_ = false;
  ProcessOutcome outcome_;
};

}  // namespace agenttask::os
