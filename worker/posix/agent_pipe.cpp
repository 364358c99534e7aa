#include "worker/agent_pipe.hpp"

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

namespace agenttask::worker {
namespace {

constexpr char kSignal = 's';
constexpr char kWake = 'w';

// A signal handler can reach nothing but what is static. The pipe is never closed: a handler may be on its
// way.
std::array<int, 2> wake_pipe = {-1, -1};
std::atomic<int> wake_end = -1;
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler may not wait for a lock");

void write_event(char event) {
  const int descriptor = wake_end.load();
  // Full: the reader has more than enough to wake up for.
  if (descriptor >= 0) [[maybe_unused]]
    const ssize_t ignored = ::write(descriptor, &event, 1);
}

extern "C" void on_stop_signal(int) {
  const int kept = errno;
  write_event(kSignal);
  errno = kept;
}

// Instead of SIG_IGN, which children would inherit.
extern "C" void on_broken_pipe(int) {}

void open_wake_pipe() {
  if (wake_pipe[0] >= 0 || ::pipe(wake_pipe.data()) != 0) return;
  for (const int end : wake_pipe) {
    ::fcntl(end, F_SETFD, FD_CLOEXEC);
    ::fcntl(end, F_SETFL, O_NONBLOCK);
  }
  wake_end = wake_pipe[1];
}

void handle(int number, void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  ::sigemptyset(&action.sa_mask);
  ::sigaction(number, &action, nullptr);
}

/// The first event in the wake pipe. One at a time: a stop and a wake may lie there together.
AgentPipe::Event read_wake_pipe() {
  char event = kWake;
  return ::read(wake_pipe[0], &event, 1) == 1 && event == kSignal ? AgentPipe::Event::signal
                                                                  : AgentPipe::Event::woken;
}

}  // namespace

struct AgentPipe::State {
  int input = -1;
  int output = -1;
};

AgentPipe::AgentPipe() : state_(std::make_unique<State>()) {
  open_wake_pipe();
  if (wake_end < 0) return;  // no descriptors left: nothing is heard, and nothing is begun
  state_->input = ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
  state_->output = ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
  const int nothing = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (nothing >= 0 && nothing != STDIN_FILENO) {
    ::dup2(nothing, STDIN_FILENO);
    ::close(nothing);
  }
  handle(SIGTERM, on_stop_signal);
  handle(SIGPIPE, on_broken_pipe);
}

AgentPipe::~AgentPipe() {
  // The handlers stay: all is said, and a stop that comes late shall not turn a success into a crash.
  if (state_->input >= 0) {
    ::dup2(state_->input, STDIN_FILENO);
    ::close(state_->input);
  }
  if (state_->output >= 0) ::close(state_->output);
}

AgentPipe::Event AgentPipe::wait(std::string& bytes) {
  for (;;) {
    std::array<pollfd, 2> watched = {pollfd{state_->input, POLLIN, 0}, pollfd{wake_pipe[0], POLLIN, 0}};
    if (state_->input < 0) return Event::end;
    if (::poll(watched.data(), watched.size(), -1) < 0) {
      if (errno == EINTR) continue;
      return Event::end;
    }
    // The agent writes why before it sends the signal: look again, it may have come since.
    if (watched[0].revents == 0) ::poll(watched.data(), 1, 0);
    if (watched[0].revents != 0) {
      bytes.resize(64 * 1024);
      const ssize_t count = ::read(state_->input, bytes.data(), bytes.size());
      if (count < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      bytes.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
      return count > 0 ? Event::bytes : Event::end;
    }
    if (watched[1].revents != 0) return read_wake_pipe();
  }
}

void AgentPipe::wake() {
  write_event(kWake);
}

bool AgentPipe::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(state_->output, bytes.data(), bytes.size());
    if (count >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(count));
    } else if (errno == EAGAIN) {
      pollfd watched = {state_->output, POLLOUT, 0};
      ::poll(&watched, 1, -1);
    } else if (errno != EINTR) {
      return false;
    }
  }
  return true;
}

bool AgentPipe::is_terminal() const {
  return state_->input >= 0 && ::isatty(state_->input) == 1;
}

}  // namespace agenttask::worker
