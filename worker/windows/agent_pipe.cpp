#include "worker/agent_pipe.hpp"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <fcntl.h>
#include <functional>
#include <io.h>
#include <mutex>
#include <thread>
#include <utility>
#include <windows.h>

namespace agenttask::worker {
namespace {

constexpr std::size_t kMostAtOnce = 64 * 1024;

/// Another descriptor of what `standard` leads to, which children don't get.
HANDLE take(int standard, int& descriptor) {
  descriptor = ::_dup(standard);
  if (descriptor < 0) return INVALID_HANDLE_VALUE;
  const auto handle = reinterpret_cast<HANDLE>(::_get_osfhandle(descriptor));
  ::SetHandleInformation(handle, HANDLE_FLAG_INHERIT, 0);
  return handle;
}

}  // namespace

/// A pipe can't be waited for together with something else here, so a thread reads it, one piece ahead.
struct AgentPipe::State {
  int input_descriptor = -1;
  int output_descriptor = -1;
  HANDLE input = INVALID_HANDLE_VALUE;
  HANDLE output = INVALID_HANDLE_VALUE;

  std::mutex mutex;
  std::condition_variable changed;
  std::string piece;  // what was read and not taken yet
  bool ended = false;
  bool closing = false;
  bool signalled = false;
  bool woken = false;
  HANDLE reading = nullptr;  // the reader's thread, as the system knows it
  std::thread reader;

  void read() {
    {
      const std::lock_guard lock(mutex);
      const HANDLE self = ::GetCurrentProcess();
      ::DuplicateHandle(self, ::GetCurrentThread(), self, &reading, 0, FALSE, DUPLICATE_SAME_ACCESS);
    }
    std::string bytes;
    for (;;) {
      bytes.resize(kMostAtOnce);
      DWORD count = 0;
      const bool good =
          ::ReadFile(input, bytes.data(), static_cast<DWORD>(bytes.size()), &count, nullptr) != 0;
      std::unique_lock lock(mutex);
      if (!good || count == 0 || closing) {
        ended = true;
        changed.notify_all();
        return;
      }
      piece.assign(bytes, 0, count);
      changed.notify_all();
      changed.wait(lock, [this] { return piece.empty() || closing; });
    }
  }

  void signal() {
    const std::lock_guard lock(mutex);
    signalled = true;
    changed.notify_all();
  }

  [[nodiscard]] bool has_more() const {
    DWORD waiting = 0;
    return ::PeekNamedPipe(input, nullptr, 0, nullptr, &waiting, nullptr) != 0 && waiting > 0;
  }
};

namespace {

// The system calls a handler on a thread of its own, and it can reach nothing but what is static.
std::mutex& listener_lock() {
  static std::mutex mutex;
  return mutex;
}
std::function<void()>& listener() {
  static std::function<void()> function;
  return function;
}

/// True also when nobody listens any more: all is said, and a stop that comes late shall not turn a success
/// into a failure.
BOOL WINAPI on_stop(DWORD) {
  const std::lock_guard lock(listener_lock());
  if (listener()) listener()();
  return TRUE;
}

void listen(std::function<void()> function) {
  const std::lock_guard lock(listener_lock());
  listener() = std::move(function);
}

}  // namespace

AgentPipe::AgentPipe() : state_(std::make_unique<State>()) {
  constexpr int kInput = 0;
  constexpr int kOutput = 1;
  state_->input = take(kInput, state_->input_descriptor);
  state_->output = take(kOutput, state_->output_descriptor);
  const int nothing = ::_open("NUL", _O_RDONLY | _O_NOINHERIT);
  if (nothing > kInput) {
    ::_dup2(nothing, kInput);
    ::_close(nothing);
  }
  if (state_->input == INVALID_HANDLE_VALUE) return;
  listen([state = state_.get()] { state->signal(); });
  ::SetConsoleCtrlHandler(&on_stop, TRUE);
  state_->reader = std::thread([state = state_.get()] { state->read(); });
}

AgentPipe::~AgentPipe() {
  listen({});
  if (state_->reader.joinable()) {
    std::unique_lock lock(state_->mutex);
    state_->closing = true;
    state_->changed.notify_all();
    // It may be on its way into the read that is to be taken back.
    while (!state_->ended) {
      if (state_->reading != nullptr) ::CancelSynchronousIo(state_->reading);
      state_->changed.wait_for(lock, std::chrono::milliseconds(10), [this] { return state_->ended; });
    }
    lock.unlock();
    state_->reader.join();
    if (state_->reading != nullptr) ::CloseHandle(state_->reading);
  }
  if (state_->input_descriptor >= 0) {
    ::_dup2(state_->input_descriptor, 0);
    ::_close(state_->input_descriptor);
  }
  if (state_->output_descriptor >= 0) ::_close(state_->output_descriptor);
}

AgentPipe::Event AgentPipe::wait(std::string& bytes) {
  if (state_->input == INVALID_HANDLE_VALUE) return Event::end;
  std::unique_lock lock(state_->mutex);
  state_->changed.wait(
      lock, [this] { return !state_->piece.empty() || state_->ended || state_->signalled || state_->woken; });
  // The agent writes why before it asks to end: that is read first. The reader may be about to hand it over.
  if (state_->signalled) {
    constexpr std::chrono::milliseconds kHandOver{50};
    const auto is_there = [this] { return !state_->piece.empty() || state_->ended; };
    if (!state_->changed.wait_for(lock, kHandOver, is_there) && state_->has_more())
      state_->changed.wait(lock, is_there);
  }
  if (!state_->piece.empty()) {
    bytes = std::exchange(state_->piece, {});
    state_->changed.notify_all();
    return Event::bytes;
  }
  if (std::exchange(state_->signalled, false)) return Event::signal;
  if (std::exchange(state_->woken, false)) return Event::woken;
  return Event::end;
}

void AgentPipe::wake() {
  const std::lock_guard lock(state_->mutex);
  state_->woken = true;
  state_->changed.notify_all();
}

bool AgentPipe::write(std::string_view bytes) {
  while (!bytes.empty()) {
    DWORD count = 0;
    const auto most = static_cast<DWORD>(std::min(bytes.size(), kMostAtOnce));
    if (::WriteFile(state_->output, bytes.data(), most, &count, nullptr) == 0) return false;
    bytes.remove_prefix(count);
  }
  return true;
}

bool AgentPipe::is_terminal() const {
  DWORD mode = 0;
  return ::GetConsoleMode(state_->input, &mode) != 0;
}

}  // namespace agenttask::worker
