#pragma once
#include <optional>
#include <stop_token>
#include <vector>

#include "platform/base/clock.hpp"
#include "platform/os/posix/child_registry.hpp"
#include "platform/os/posix/descriptor.hpp"
#include "platform/os/posix/process_tree.hpp"
#include "platform/os/posix/stop_signal.hpp"
#include "platform/os/process.hpp"

namespace agenttask::os {

/// The bytes on their way to a child's standard input. Private to platform/os.
class InputPipe final : public ProcessInput {
 public:
  /// `ours` does not block. One that is not open takes nothing.
  InputPipe(Descriptor ours, std::string_view first) : ours_(std::move(ours)), waiting_(first) {}

  Result<void> write(std::string_view bytes) override;
  void close() override;
  /// What poll has to wait for until the child can take more; -1: nothing waits.
  [[nodiscard]] int descriptor() const { return waiting_.size() > sent_ ? ours_.get() : -1; }
  /// Hands over what the child takes now.
  void flush();

 private:
  Descriptor ours_;
  std::string waiting_;
  std::size_t sent_ = 0;  ///< of `waiting_`
  bool closing_ = false;
};

/// One run from just after its start to its end: reads both streams, keeps the time, stops the tree. Private
/// to platform/os. Threads: the one that made it.
class RunningProcess {
 public:
  RunningProcess(pid_t main, Descriptor standard_input, Descriptor standard_output, Descriptor standard_error,
                 const ProcessSpec& spec, ChildRegistry& children, const RunGroup* group,
                 const std::stop_token& stop, ProcessObserver& observer);
  /// Kills what is left when an observer threw in spite of its contract, and collects the main process.
  ~RunningProcess();
  RunningProcess(const RunningProcess&) = delete;
  RunningProcess& operator=(const RunningProcess&) = delete;

  /// Follows it to its end. Called once.
  ProcessOutcome follow();

 private:
  struct Stream {
    Descriptor end;
    OutputStream name;
  };

  /// Waits until something happens or `until`, and takes what the streams have, at most one buffer each.
  void take_events(std::optional<MonotonicTime> until, bool watch_stop);
  void read(Stream& stream);
  void look_for_end();
  [[nodiscard]] bool streams_open() const { return streams_[0].end.is_open() || streams_[1].end.is_open(); }

  void watch_main();
  void make_tree();
  void ask_to_stop();
  void await_tree_gone(MonotonicTime until);
  void kill_tree();
  void drain();
  void fill_outcome();

  const pid_t main_;
  const ProcessSpec& spec_;
  ChildRegistry& children_;
  const RunGroup* const group_;  // none: the system holds its processes in no group
  ProcessObserver& observer_;
  const MonotonicTime began_;
  InputPipe input_;
  Stream streams_[2];
  Descriptor main_handle_;  // readable when the main process has ended
  StopSignal stop_;
  std::vector<char> buffer_;
  std::optional<ProcessTree> tree_;  // made when the run has to be stopped
  std::optional<ProcessEnd> end_;
  MonotonicTime ended_{};
  bool finished_ = false;
  ProcessOutcome outcome_;
};

}  // namespace agenttask::os
