#include "platform/os/windows/stream_pipe.hpp"

#include <algorithm>
#include <sddl.h>
#include <utility>

#include "platform/base/encoding.hpp"
#include "platform/base/ids.hpp"
#include "platform/os/windows/system_error.hpp"
#include "platform/os/windows/wide.hpp"

namespace agenttask::os {
namespace {

constexpr std::size_t kBufferBytes = 64 * 1024;
constexpr std::size_t kMostInput = 16 * 1024 * 1024;

Error shortage(std::string_view what, DWORD code) {
  auto error = system_error(what, code);
  error.code = ErrorCode::unavailable;
  return error;
}

/// SYSTEM, Administrators and whoever made the object.
class OwnersOnly {
 public:
  OwnersOnly() {
    ::ConvertStringSecurityDescriptorToSecurityDescriptorW(L"D:P(A;;GA;;;SY)(A;;GA;;;BA)(A;;GA;;;OW)",
                                                           SDDL_REVISION_1, &descriptor_, nullptr);
  }
  ~OwnersOnly() { ::LocalFree(descriptor_); }
  OwnersOnly(const OwnersOnly&) = delete;
  OwnersOnly& operator=(const OwnersOnly&) = delete;
  [[nodiscard]] bool is_made() const { return descriptor_ != nullptr; }
  [[nodiscard]] SECURITY_ATTRIBUTES attributes() const {
    return {sizeof(SECURITY_ATTRIBUTES), descriptor_, FALSE};
  }

 private:
  PSECURITY_DESCRIPTOR descriptor_ = nullptr;
};

Result<Handle> make_event() {
  Handle event(::CreateEventW(nullptr, TRUE, FALSE, nullptr));
  if (!event.is_open()) return shortage("cannot make an event", ::GetLastError());
  return event;
}

Handle event_or_none() {
  auto event = make_event();
  return event ? *std::move(event) : Handle();
}

}  // namespace

Result<StreamEnds> open_stream(StreamDirection direction) {
  const bool to_child = direction == StreamDirection::to_child;
  const std::wstring name = L"\\\\.\\pipe\\agenttask-stream-" + std::to_wstring(::GetCurrentProcessId()) +
                            L"-" + to_wide(hex_encode(random_bytes(16)));
  const OwnersOnly owners;
  if (!owners.is_made()) return shortage("cannot restrict a pipe for a stream", ::GetLastError());
  auto attributes = owners.attributes();
  const DWORD access = (to_child ? PIPE_ACCESS_OUTBOUND : PIPE_ACCESS_INBOUND) | FILE_FLAG_OVERLAPPED |
                       FILE_FLAG_FIRST_PIPE_INSTANCE;
  constexpr DWORD kMode = PIPE_TYPE_BYTE | PIPE_READMODE_BYTE | PIPE_WAIT | PIPE_REJECT_REMOTE_CLIENTS;
  StreamEnds ends;
  ends.ours =
      Handle(::CreateNamedPipeW(name.c_str(), access, kMode, 1, kBufferBytes, kBufferBytes, 0, &attributes));
  if (!ends.ours.is_open()) return shortage("cannot open a pipe for a stream", ::GetLastError());
  SECURITY_ATTRIBUTES inherited{sizeof(SECURITY_ATTRIBUTES), nullptr, TRUE};
  // Programs ask what their streams are, for which they need the right to read attributes.
  const DWORD wanted = to_child ? GENERIC_READ | FILE_WRITE_ATTRIBUTES : GENERIC_WRITE | FILE_READ_ATTRIBUTES;
  ends.childs = Handle(::CreateFileW(name.c_str(), wanted, 0, &inherited, OPEN_EXISTING, 0, nullptr));
  if (!ends.childs.is_open()) return shortage("cannot open a pipe for a stream", ::GetLastError());
  return ends;
}

Result<Handle> open_nothing() {
  SECURITY_ATTRIBUTES inherited{sizeof(SECURITY_ATTRIBUTES), nullptr, TRUE};
  Handle nothing(::CreateFileW(L"NUL", GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_WRITE, &inherited,
                               OPEN_EXISTING, 0, nullptr));
  if (!nothing.is_open()) return shortage("cannot open NUL as the input", ::GetLastError());
  return nothing;
}

OutputPipe::OutputPipe(Handle ours) : ours_(std::move(ours)), event_(event_or_none()), buffer_(kBufferBytes) {
  if (!event_.is_open()) ours_.close();
}

OutputPipe::~OutputPipe() {
  if (!pending_) return;
  // The system writes into our buffer until it says that it is done.
  ::CancelIoEx(ours_.get(), &operation_);
  DWORD count = 0;
  ::GetOverlappedResult(ours_.get(), &operation_, &count, TRUE);
}

void OutputPipe::begin() {
  if (pending_ || !ours_.is_open()) return;
  operation_ = {};
  operation_.hEvent = event_.get();
  const BOOL done =
      ::ReadFile(ours_.get(), buffer_.data(), static_cast<DWORD>(buffer_.size()), nullptr, &operation_);
  if (done == 0 && ::GetLastError() != ERROR_IO_PENDING) {
    ours_.close();
    return;
  }
  pending_ = true;
}

std::string_view OutputPipe::take() {
  if (!pending_) return {};
  DWORD count = 0;
  if (::GetOverlappedResult(ours_.get(), &operation_, &count, FALSE) == 0) {
    if (::GetLastError() == ERROR_IO_INCOMPLETE) return {};
    pending_ = false;
    ours_.close();
    return {};
  }
  pending_ = false;
  ::ResetEvent(event_.get());
  return {buffer_.data(), count};
}

InputPipe::InputPipe(Handle ours, std::string_view first)
    : ours_(std::move(ours)), event_(event_or_none()), waiting_(first) {
  if (!event_.is_open()) ours_.close();
  advance();
}

InputPipe::~InputPipe() {
  if (!pending_) return;
  ::CancelIoEx(ours_.get(), &operation_);
  finish_operation(true);
}

Result<void> InputPipe::write(std::string_view bytes) {
  if (!ours_.is_open() || closing_) return {};
  if (waiting_.size() + sending_.size() + bytes.size() > kMostInput) {
    return Error{ErrorCode::limit, "the process does not read its standard input, and " +
                                       std::to_string(kMostInput) + " bytes wait there for it"};
  }
  waiting_.append(bytes);
  advance();
  return {};
}

void InputPipe::close() {
  closing_ = true;
  advance();
}

void InputPipe::finish_operation(bool wait) {
  DWORD count = 0;
  if (::GetOverlappedResult(ours_.get(), &operation_, &count, wait ? TRUE : FALSE) != 0) {
    pending_ = false;
    sending_.erase(0, count);
  } else if (::GetLastError() != ERROR_IO_INCOMPLETE) {
    pending_ = false;
    sending_.clear();
    waiting_.clear();
    ours_.close();  // the child has closed its end
  }
}

void InputPipe::advance() {
  while (ours_.is_open()) {
    if (pending_) finish_operation(false);
    if (pending_ || !ours_.is_open()) return;
    if (sending_.empty()) {
      if (waiting_.empty()) break;
      // Pieces as large as the pipe: a child that reads slowly holds up one of them, not a copy of
      // everything.
      sending_ =
          waiting_.size() <= kBufferBytes ? std::exchange(waiting_, {}) : waiting_.substr(0, kBufferBytes);
      if (!waiting_.empty()) waiting_.erase(0, sending_.size());
    }
    operation_ = {};
    operation_.hEvent = event_.get();
    const BOOL done =
        ::WriteFile(ours_.get(), sending_.data(), static_cast<DWORD>(sending_.size()), nullptr, &operation_);
    if (done == 0 && ::GetLastError() != ERROR_IO_PENDING) {
      sending_.clear();
      waiting_.clear();
      ours_.close();
      return;
    }
    pending_ = true;
  }
  if (closing_) ours_.close();
}

}  // namespace agenttask::os
