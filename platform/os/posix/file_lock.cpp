#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <fcntl.h>
#include <string>
#include <sys/file.h>
#include <thread>

#include "platform/os/posix/descriptor.hpp"
#include "platform/os/secure_file.hpp"

namespace agenttask::os {

namespace {

/// A child of a killed holder keeps the lock until it has called exec, which takes a moment.
constexpr std::chrono::seconds kLeftOver{2};
constexpr std::chrono::milliseconds kLookAgain{5};

/// The pid that the holder wrote; empty where it has not yet.
std::string read_holder(int file) {
  std::array<char, 32> text{};
  const auto count = ::pread(file, text.data(), text.size() - 1, 0);
  const std::string holder(text.data(), count > 0 ? static_cast<std::size_t>(count) : 0);
  return holder.substr(0, holder.find_first_not_of("0123456789"));
}

bool is_gone(const std::string& holder) {
  pid_t pid = 0;
  const auto parsed = std::from_chars(holder.data(), holder.data() + holder.size(), pid);
  return parsed.ec == std::errc() && pid > 0 && ::kill(pid, 0) != 0 && errno == ESRCH;
}

/// 0, or the errno of the last try: EWOULDBLOCK when a process that runs holds it.
int lock_at_last(int file) {
  const auto until = std::chrono::steady_clock::now() + kLeftOver;
  while (::flock(file, LOCK_EX | LOCK_NB) != 0) {
    const int problem = errno;
    if (problem == EINTR) continue;
    if (problem != EWOULDBLOCK || !is_gone(read_holder(file))) return problem;
    if (std::chrono::steady_clock::now() >= until) return problem;
    std::this_thread::sleep_for(kLookAgain);
  }
  return 0;
}

}  // namespace

struct FileLock::State {
  Descriptor file;
};

FileLock::FileLock(std::unique_ptr<State> state) : state_(std::move(state)) {}
FileLock::FileLock(FileLock&&) noexcept = default;
FileLock& FileLock::operator=(FileLock&&) noexcept = default;
FileLock::~FileLock() = default;

Result<FileLock> FileLock::acquire(const std::filesystem::path& file) {
  const auto name = file.string();
  Descriptor descriptor(::open(file.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  bool writable = true;
  if (!descriptor.is_open() && (errno == EROFS || errno == EACCES)) {
    // A file that is there can be locked where nothing can be written: on a file system that failed.
    const int problem = errno;
    writable = false;
    descriptor = Descriptor(::open(file.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
    if (!descriptor.is_open()) errno = problem;
  }
  if (!descriptor.is_open()) {
    auto error = io_error("cannot open the lock " + name, errno);
    if (errno == EACCES || errno == EPERM) error.code = ErrorCode::denied;
    if (errno == ENOENT) error.code = ErrorCode::not_found;
    return error;
  }
  if (const int problem = lock_at_last(descriptor.get()); problem != 0) {
    if (problem != EWOULDBLOCK) return io_error("cannot lock " + name, problem);
    const std::string holder = read_holder(descriptor.get());
    return Error{ErrorCode::conflict,
                 "the folder " + file.parent_path().string() + " is in use by another process" +
                     (holder.empty() ? "" : ", pid " + holder) + " (it holds " + name + ")"};
  }
  if (!writable) return FileLock(std::make_unique<State>(State{std::move(descriptor)}));
  // The pid is for the message above only; the lock is what counts, also on a full disk.
  const auto pid = std::to_string(::getpid()) + "\n";
  const bool written = ::pwrite(descriptor.get(), pid.data(), pid.size(), 0) >= 0 &&
                       ::ftruncate(descriptor.get(), static_cast<off_t>(pid.size())) == 0;
  if (!written && errno != ENOSPC && errno != EDQUOT) return io_error("cannot write " + name, errno);
  return FileLock(std::make_unique<State>(State{std::move(descriptor)}));
}

}  // namespace agenttask::os
