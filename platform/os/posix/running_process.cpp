#include "platform/os/posix/running_process.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <thread>

#include "platform/os/posix/wait.hpp"

namespace agenttask::os {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::size_t kBufferBytes = 64 * 1024;  // what a pipe holds
constexpr std::size_t kMostInput = 16 * 1024 * 1024;
constexpr milliseconds kKillLimit{2000};  // how long killing is repeated before survivors are reported
constexpr milliseconds kFirstLook{2};     // between two looks at the tree, doubled up to
constexpr milliseconds kLastLook{100};
constexpr milliseconds kLookWithoutHandle{20};

}  // namespace

Result<void> InputPipe::write(std::string_view bytes) {
  if (!ours_.is_open() || closing_) return {};
  if (waiting_.size() - sent_ + bytes.size() > kMostInput) {
    return Error{ErrorCode::limit, "the process does not read its standard input, and " +
                                       std::to_string(kMostInput) + " bytes wait there for it"};
  }
  waiting_.append(bytes);
  flush();
  return {};
}

void InputPipe::close() {
  closing_ = true;
  flush();
}

void InputPipe::flush() {
  while (ours_.is_open() && sent_ < waiting_.size()) {
    const auto count = ::write(ours_.get(), waiting_.data() + sent_, waiting_.size() - sent_);
    if (count >= 0) {
      sent_ += static_cast<std::size_t>(count);
    } else if (errno == EAGAIN) {
      break;
    } else if (errno != EINTR) {
      ours_.close();  // the child has closed its end
    }
  }
  if (!ours_.is_open() || sent_ == waiting_.size()) {
    waiting_.clear();
    sent_ = 0;
    if (closing_) ours_.close();
  } else if (sent_ > kBufferBytes && sent_ > waiting_.size() / 2) {
    waiting_.erase(0, sent_);
    sent_ = 0;
  }
}

RunningProcess::RunningProcess(pid_t main, Descriptor standard_input, Descriptor standard_output,
                               Descriptor standard_error, const ProcessSpec& spec, ChildRegistry& children,
                               const RunGroup* group, const std::stop_token& stop, ProcessObserver& observer)
    : main_(main),
      spec_(spec),
      children_(children),
      group_(group),
      observer_(observer),
      began_(steady_clock::now()),
      input_(std::move(standard_input),
             spec.interactive ? std::string_view(spec.standard_input) : std::string_view()),
      streams_{{std::move(standard_output), OutputStream::standard_output},
               {std::move(standard_error), OutputStream::standard_error}},
      main_handle_(open_process_handle(main)),
      stop_(stop),
      buffer_(kBufferBytes) {
  outcome_.started = true;
}

RunningProcess::~RunningProcess() {
  if (!finished_) kill_tree();
  children_.release(main_);
}

ProcessOutcome RunningProcess::follow() {
  observer_.started(main_);
  if (spec_.interactive) observer_.opened(input_);
  watch_main();
  if (outcome_.stopped || outcome_.timed_out) {
    observer_.stopping(outcome_.timed_out);
    ask_to_stop();
    await_tree_gone(steady_clock::now() + spec_.grace);
    kill_tree();
  }
  finished_ = true;
  drain();
  fill_outcome();
  return std::move(outcome_);
}

void RunningProcess::watch_main() {
  const auto deadline = deadline_after(spec_.timeout);
  while (!end_) {
    if (stop_.requested()) {
      outcome_.stopped = true;
      return;
    }
    if (deadline && steady_clock::now() >= *deadline) {
      outcome_.timed_out = true;
      return;
    }
    take_events(deadline, true);
  }
}

void RunningProcess::make_tree() {
  tree_.emplace(
      main_, spec_.run_id, [this] { return children_.is_alone(main_); }, group_);
}

void RunningProcess::ask_to_stop() {
  make_tree();
  tree_->living();  // before the first of them goes: orphans are known by having been seen
  ::kill(-main_, SIGTERM);
  for (const auto& entry : tree_->living()) {
    if (entry.group != main_) signal_process(entry.pid, entry.start, SIGTERM);
    signal_process(entry.pid, entry.start, SIGCONT);  // a stopped process hears nothing
  }
}

void RunningProcess::await_tree_gone(MonotonicTime until) {
  auto look = kFirstLook;
  while (steady_clock::now() < until) {
    if (end_) {
      if (tree_->living().empty()) return;
      take_events(std::min(until, steady_clock::now() + look), false);
      look = std::min(look * 2, kLastLook);
    } else {
      take_events(until, false);
    }
  }
}

void RunningProcess::kill_tree() {
  if (!tree_) make_tree();
  const auto until = steady_clock::now() + kKillLimit;
  auto look = kFirstLook;
  int quiet = 0;
  for (;;) {
    ::kill(-main_, SIGKILL);  // the group at once; its number is ours while the main process is not collected
    const auto sent = tree_->kill();
    children_.reap_orphans();
    look_for_end();
    quiet = sent == 0 && !tree_->grew() ? quiet + 1 : 0;
    if (quiet >= tree_->quiet_looks() && end_) return;
    if (steady_clock::now() >= until) {
      outcome_.survivors = tree_->describe_left();
      return;
    }
    // Streams are not read meanwhile: nobody in this tree needs to write any more.
    std::this_thread::sleep_for(look);
    look = sent == 0 || tree_->grew() ? kFirstLook : std::min(look * 2, kLastLook);
  }
}

void RunningProcess::drain() {
  const auto until = steady_clock::now() + spec_.drain;
  while (streams_open() && steady_clock::now() < until) take_events(until, false);
  outcome_.streams_left_open = streams_open();
}

void RunningProcess::take_events(std::optional<MonotonicTime> until, bool watch_stop) {
  const bool watch_end = !end_;
  if (watch_end && (!main_handle_.is_open() || (watch_stop && stop_.needs_looking()))) {
    const auto soon = steady_clock::now() + kLookWithoutHandle;
    until = until ? std::min(*until, soon) : soon;
  }
  std::array<pollfd, 5> watched{{{streams_[0].end.get(), POLLIN, 0},
                                 {streams_[1].end.get(), POLLIN, 0},
                                 {watch_end ? main_handle_.get() : -1, POLLIN, 0},
                                 {watch_stop ? stop_.descriptor() : -1, POLLIN, 0},
                                 {input_.descriptor(), POLLOUT, 0}}};
  const int ready = ::poll(watched.data(), watched.size(), poll_milliseconds(until));
  if (ready > 0) {
    if (watched[0].revents != 0) read(streams_[0]);
    if (watched[1].revents != 0) read(streams_[1]);
    if (watched[4].revents != 0) input_.flush();
  }
  if (watch_end && (watched[2].revents != 0 || !main_handle_.is_open())) look_for_end();
}

void RunningProcess::read(Stream& stream) {
  const auto count = ::read(stream.end.get(), buffer_.data(), buffer_.size());
  if (count > 0) {
    observer_.output(stream.name, {buffer_.data(), static_cast<std::size_t>(count)});
  } else if (count == 0 || (errno != EAGAIN && errno != EINTR)) {
    stream.end.close();
  }
}

void RunningProcess::look_for_end() {
  if (end_) return;
  end_ = ChildRegistry::ended(main_);
  if (end_) ended_ = steady_clock::now();
}

void RunningProcess::fill_outcome() {
  outcome_.duration =
      std::chrono::duration_cast<milliseconds>((end_ ? ended_ : steady_clock::now()) - began_);
  if (!end_) return;
  if (end_->by_signal) {
    outcome_.signal_number = end_->number;
    outcome_.signal_name = signal_name(end_->number);
  } else {
    outcome_.exit_code = end_->number;
  }
}

}  // namespace agenttask::os
