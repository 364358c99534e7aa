#include "platform/os/local_socket.hpp"

#include <algorithm>
#include <array>
#include <windows.h>
#include <winternl.h>

#include "platform/base/clock.hpp"
#include "platform/os/line_buffer.hpp"
#include "platform/os/windows/access_rights.hpp"
#include "platform/os/windows/handle.hpp"
#include "platform/os/windows/peer.hpp"
#include "platform/os/windows/stop_event.hpp"
#include "platform/os/windows/system_error.hpp"
#include "platform/os/windows/wide.hpp"

// A named pipe of messages: the boundaries between them mean nothing, but an empty one says that no more will
// come, as a pipe can't be closed on one side alone.
namespace agenttask::os {
namespace {

using std::chrono::milliseconds;
using Deadline = std::optional<MonotonicTime>;

constexpr std::string_view kPrefix = "\\\\.\\pipe\\";
constexpr std::size_t kLongestName = 256;
constexpr DWORD kBufferBytes = 64 * 1024;
constexpr std::size_t kMostAtOnce = 64 * 1024;
/// To read, write and ask who is there; not to make another instance of the pipe (0x4).
constexpr DWORD kClientRights = FILE_READ_DATA | FILE_WRITE_DATA | FILE_READ_ATTRIBUTES |
                                FILE_WRITE_ATTRIBUTES | READ_CONTROL | SYNCHRONIZE;
constexpr std::string_view kClientRightsText = "0x12019b";

Deadline deadline_after(milliseconds timeout) {
  if (timeout.count() == 0) return std::nullopt;
  return std::chrono::steady_clock::now() + timeout;
}

DWORD left_until(const Deadline& deadline) {
  if (!deadline) return INFINITE;
  const auto left = std::chrono::ceil<milliseconds>(*deadline - std::chrono::steady_clock::now()).count();
  return static_cast<DWORD>(std::clamp<long long>(left, 0, INFINITE - 1));
}

Result<std::wstring> to_pipe_name(const std::string& address) {
  if (!address.starts_with(kPrefix) || address.size() == kPrefix.size() ||
      address.find('\0') != std::string::npos) {
    return Error{ErrorCode::invalid, "the local pipe's name \"" + address + "\" does not begin with " +
                                         std::string(kPrefix) + ", or contains a NUL byte"};
  }
  auto name = to_wide(address);
  if (name.size() > kLongestName) {
    return Error{ErrorCode::invalid, "the local pipe's name " + address + " has more than the " +
                                         std::to_string(kLongestName) + " characters that Windows allows"};
  }
  return name;
}

Error connection_error(std::string_view what, DWORD code) {
  if (code == ERROR_BROKEN_PIPE || code == ERROR_NO_DATA || code == ERROR_PIPE_NOT_CONNECTED)
    return {ErrorCode::unavailable, std::string(what) + ": the other side has closed the connection"};
  return system_error(what, code);
}

/// One call that goes on in the background until it is done, or taken back.
class Overlapped {
 public:
  Overlapped() : event_(::CreateEventW(nullptr, TRUE, FALSE, nullptr)) { state_.hEvent = event_.get(); }
  Overlapped(const Overlapped&) = delete;
  Overlapped& operator=(const Overlapped&) = delete;

  enum class End { done, timed_out, stopped };
  struct Outcome {
    End end = End::done;
    DWORD code = ERROR_SUCCESS;
    DWORD bytes = 0;
  };

  [[nodiscard]] OVERLAPPED* get() { return &state_; }

  /// What came of a call: it is done already, or the last error says why not (ERROR_IO_PENDING: it goes on,
  /// and is waited for). What was done before it could be taken back counts as done.
  Outcome finish(HANDLE file, bool is_done, const Deadline& deadline, const StopEvent& stop) {
    if (!is_done && ::GetLastError() != ERROR_IO_PENDING) return {End::done, ::GetLastError(), 0};
    Outcome outcome;
    if (!is_done) outcome.end = wait(file, deadline, stop);
    const bool succeeded = ::GetOverlappedResult(file, &state_, &outcome.bytes, TRUE) != 0;
    outcome.code = succeeded ? ERROR_SUCCESS : ::GetLastError();
    if (outcome.code != ERROR_OPERATION_ABORTED) outcome.end = End::done;
    return outcome;
  }

 private:
  End wait(HANDLE file, const Deadline& deadline, const StopEvent& stop) {
    const std::array<HANDLE, 2> watched = {event_.get(), stop.get()};
    const DWORD woken = ::WaitForMultipleObjects(2, watched.data(), FALSE, left_until(deadline));
    if (woken == WAIT_OBJECT_0) return End::done;
    ::CancelIoEx(file, &state_);
    return woken == WAIT_OBJECT_0 + 1 ? End::stopped : End::timed_out;
  }

  Handle event_;
  OVERLAPPED state_{};
};

Error end_error(Overlapped::End end, std::string_view what) {
  if (end == Overlapped::End::stopped) return {ErrorCode::unavailable, std::string(what) + ": stopped"};
  return {ErrorCode::timeout, std::string(what) + ": the other side took too long"};
}

/// What the kernel says of one end of a pipe (FilePipeLocalInformation).
struct PipeFacts {
  ULONG type = 0;
  ULONG configuration = 0;
  ULONG most_instances = 0;
  ULONG instances = 0;
  ULONG incoming_quota = 0;
  ULONG readable = 0;
  ULONG outgoing_quota = 0;
  ULONG writable = 0;
  ULONG state = 0;
  ULONG end = 0;
};
constexpr int kPipeFacts = 24;
constexpr ULONG kConnected = 3;

bool is_connected(HANDLE pipe) {
  PipeFacts facts;
  IO_STATUS_BLOCK status{};
  const auto result = ::NtQueryInformationFile(pipe, &status, &facts, sizeof facts,
                                               static_cast<FILE_INFORMATION_CLASS>(kPipeFacts));
  return result >= 0 && facts.state == kConnected;
}

Result<AccessRights> rights_of_pipe(const std::string& address, const LocalAccess& access) {
  // Nobody from another machine, whatever else he may be; then as for files of ours.
  std::string text = "D:P(D;;GA;;;NU)(A;;GA;;;SY)(A;;GA;;;BA)";
  const auto allow = [&text](std::string_view rights, const std::string& account) {
    text.append("(A;;").append(rights).append(";;;").append(account).append(")");
  };
  allow("GA", user_of_this_process().text());
  if (!access.group.empty()) {
    const auto group = find_account(access.group);
    if (!group) return with_context(group.error(), "cannot open " + address + " to a group");
    allow(kClientRightsText, group->text());
  }
  if (access.everyone) allow(kClientRightsText, "AU");
  return AccessRights::from_text(text);
}

}  // namespace

struct LocalStream::State {
  State(Handle pipe_, Peer peer_) : pipe(std::move(pipe_)), peer(std::move(peer_)) {}

  Handle pipe;
  Peer peer;
  bool ended = false;  // the other side said that no more will come
  LineBuffer lines = {};
};

LocalStream::LocalStream(std::unique_ptr<State> state) : state_(std::move(state)) {}
LocalStream::LocalStream(LocalStream&&) noexcept = default;
LocalStream& LocalStream::operator=(LocalStream&&) noexcept = default;
LocalStream::~LocalStream() = default;

Result<LocalStream> LocalStream::connect(const std::string& address, milliseconds timeout) {
  const auto name = to_pipe_name(address);
  if (!name) return name.error();
  const auto deadline = deadline_after(timeout);
  Handle pipe;
  for (;;) {
    // The other side may know who we are, and not act in our name.
    pipe = Handle(::CreateFileW(name->c_str(), kClientRights, 0, nullptr, OPEN_EXISTING,
                                FILE_FLAG_OVERLAPPED | SECURITY_SQOS_PRESENT | SECURITY_IDENTIFICATION,
                                nullptr));
    if (pipe.is_open()) break;
    const DWORD code = ::GetLastError();
    if (code == ERROR_FILE_NOT_FOUND || code == ERROR_PATH_NOT_FOUND) {
      return Error{ErrorCode::unavailable,
                   "nobody listens at " + address + ": the agent is not running, or runs elsewhere"};
    }
    if (code == ERROR_ACCESS_DENIED) {
      return Error{ErrorCode::denied, "no permission to connect to " + address +
                                          "; ask an administrator, or join the group that may"};
    }
    if (code != ERROR_PIPE_BUSY) return system_error("cannot connect to " + address, code);
    const DWORD left = left_until(deadline);
    if (left == 0) {
      return Error{ErrorCode::timeout,
                   "cannot connect to " + address + ": the agent does not accept connections"};
    }
    ::WaitNamedPipeW(name->c_str(), left == INFINITE ? NMPWAIT_WAIT_FOREVER : left);
  }
  DWORD mode = PIPE_READMODE_MESSAGE;
  if (::SetNamedPipeHandleState(pipe.get(), &mode, nullptr, nullptr) == 0)
    return system_error("cannot connect to " + address, ::GetLastError());
  auto peer = read_server(pipe.get(), address);
  if (!peer) return peer.error();
  return LocalStream(std::make_unique<State>(std::move(pipe), std::move(*peer)));
}

Result<std::size_t> LocalStream::read_some(std::span<char> into, milliseconds timeout,
                                           const std::stop_token& stop) {
  constexpr std::string_view kWhat = "cannot read from the local pipe";
  const StopEvent stop_event(stop);
  if (stop_event.requested()) return end_error(Overlapped::End::stopped, kWhat);
  if (state_->ended || into.empty()) return std::size_t{0};
  const HANDLE pipe = state_->pipe.get();
  Overlapped call;
  const auto most = static_cast<DWORD>(std::min(into.size(), kMostAtOnce));
  const bool begun = ::ReadFile(pipe, into.data(), most, nullptr, call.get()) != 0;
  // ERROR_MORE_DATA: the message is longer than the room; the rest comes at the next call.
  const bool rests = !begun && ::GetLastError() == ERROR_MORE_DATA;
  const auto outcome = call.finish(pipe, begun || rests, deadline_after(timeout), stop_event);
  if (outcome.end != Overlapped::End::done) return end_error(outcome.end, kWhat);
  if (outcome.code == ERROR_SUCCESS || outcome.code == ERROR_MORE_DATA) {
    state_->ended = outcome.bytes == 0;
    return std::size_t{outcome.bytes};
  }
  if (outcome.code == ERROR_BROKEN_PIPE || outcome.code == ERROR_PIPE_NOT_CONNECTED) {
    state_->ended = true;
    return std::size_t{0};
  }
  return connection_error(kWhat, outcome.code);
}

Result<std::optional<std::string>> LocalStream::read_line(std::size_t most, milliseconds timeout,
                                                          const std::stop_token& stop) {
  return state_->lines.next(
      most, timeout, [&](std::span<char> into, milliseconds left) { return read_some(into, left, stop); });
}

Result<void> LocalStream::write_all(std::string_view bytes, milliseconds timeout,
                                    const std::stop_token& stop) {
  constexpr std::string_view kWhat = "cannot write to the local pipe";
  const StopEvent stop_event(stop);
  const auto deadline = deadline_after(timeout);
  const HANDLE pipe = state_->pipe.get();
  while (!bytes.empty()) {
    if (stop_event.requested()) return end_error(Overlapped::End::stopped, kWhat);
    Overlapped call;
    const auto most = static_cast<DWORD>(std::min(bytes.size(), kMostAtOnce));
    const bool begun = ::WriteFile(pipe, bytes.data(), most, nullptr, call.get()) != 0;
    const auto outcome = call.finish(pipe, begun, deadline, stop_event);
    if (outcome.end != Overlapped::End::done) return end_error(outcome.end, kWhat);
    if (outcome.code != ERROR_SUCCESS) return connection_error(kWhat, outcome.code);
    bytes.remove_prefix(outcome.bytes);
  }
  return {};
}

void LocalStream::finish_writing() {
  constexpr milliseconds kPatience{1000};
  Overlapped call;
  const StopEvent never{std::stop_token()};
  const bool begun = ::WriteFile(state_->pipe.get(), "", 0, nullptr, call.get()) != 0;
  static_cast<void>(call.finish(state_->pipe.get(), begun, deadline_after(kPatience), never));
}

bool LocalStream::peer_gone() const {
  return !is_connected(state_->pipe.get());
}

const Peer& LocalStream::peer() const {
  return state_->peer;
}

struct LocalListener::State {
  std::string address;
  std::wstring name;
  AccessRights rights;
  Handle waiting;  // the instance that the next client gets

  /// One more end of the pipe; `first`: there must be none yet.
  Handle open_instance(bool first) {
    const DWORD how = PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED | (first ? FILE_FLAG_FIRST_PIPE_INSTANCE : 0);
    return Handle(::CreateNamedPipeW(
        name.c_str(), how, PIPE_TYPE_MESSAGE | PIPE_READMODE_MESSAGE | PIPE_WAIT | PIPE_REJECT_REMOTE_CLIENTS,
        PIPE_UNLIMITED_INSTANCES, kBufferBytes, kBufferBytes, 0, rights.attributes()));
  }
};

LocalListener::LocalListener(std::unique_ptr<State> state) : state_(std::move(state)) {}
LocalListener::LocalListener(LocalListener&&) noexcept = default;
LocalListener& LocalListener::operator=(LocalListener&&) noexcept = default;
LocalListener::~LocalListener() = default;

Result<LocalListener> LocalListener::listen(const std::string& address, const LocalAccess& access) {
  auto name = to_pipe_name(address);
  if (!name) return name.error();
  auto rights = rights_of_pipe(address, access);
  if (!rights) return rights.error();
  auto state = std::make_unique<State>(State{address, std::move(*name), std::move(*rights), {}});
  state->waiting = state->open_instance(true);
  if (!state->waiting.is_open()) {
    const DWORD code = ::GetLastError();
    if (code == ERROR_ACCESS_DENIED || code == ERROR_PIPE_BUSY || code == ERROR_ALREADY_EXISTS) {
      return Error{ErrorCode::conflict,
                   "cannot listen at " + address + ": another program listens there already"};
    }
    return system_error("cannot listen at " + address, code);
  }
  return LocalListener(std::move(state));
}

Result<std::optional<LocalStream>> LocalListener::accept(const std::stop_token& stop) {
  const StopEvent stop_event(stop);
  for (;;) {
    if (stop_event.requested()) return std::optional<LocalStream>();
    if (!state_->waiting.is_open()) state_->waiting = state_->open_instance(false);
    if (!state_->waiting.is_open()) {
      auto error = system_error("cannot accept a connection at " + state_->address, ::GetLastError());
      error.code = ErrorCode::unavailable;
      return error;
    }
    Overlapped call;
    const HANDLE pipe = state_->waiting.get();
    const bool begun = ::ConnectNamedPipe(pipe, call.get()) != 0;
    const bool is_there = !begun && ::GetLastError() == ERROR_PIPE_CONNECTED;
    if (!is_there) {
      const auto outcome = call.finish(pipe, begun, std::nullopt, stop_event);
      if (outcome.end == Overlapped::End::stopped) return std::optional<LocalStream>();
      if (outcome.code != ERROR_SUCCESS) {  // it came and went
        ::DisconnectNamedPipe(pipe);
        if (outcome.code != ERROR_NO_DATA && outcome.code != ERROR_BROKEN_PIPE) state_->waiting.close();
        continue;
      }
    }
    Handle taken = std::move(state_->waiting);
    // The next client finds an end at once; there is never none, whose name somebody else could take.
    state_->waiting = state_->open_instance(false);
    auto peer = read_client(taken.get());
    if (!peer) continue;
    return std::optional<LocalStream>(
        LocalStream(std::make_unique<LocalStream::State>(std::move(taken), std::move(*peer))));
  }
}

}  // namespace agenttask::os
