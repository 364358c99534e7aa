#include <charconv>
#include <chrono>
#include <string>
#include <thread>
#include <windows.h>

#include "platform/os/secure_file.hpp"
#include "platform/os/windows/handle.hpp"
#include "platform/os/windows/system_error.hpp"
#include "platform/os/windows/wide.hpp"

namespace agenttask::os {
namespace {

/// The system lets the locks of a killed process go a moment after its end.
constexpr std::chrono::seconds kLeftOver{2};
constexpr std::chrono::milliseconds kLookAgain{5};
/// A byte far behind the pid, which others may read: what is locked nobody else can read.
constexpr DWORD kLockedByte = 0x40000000;

OVERLAPPED at(DWORD offset) {
  OVERLAPPED place{};
  place.Offset = offset;
  return place;
}

/// The pid that the holder wrote; empty where it has not yet.
std::string read_holder(HANDLE file) {
  char text[32] = {};
  DWORD count = 0;
  auto place = at(0);
  if (::ReadFile(file, text, sizeof text - 1, &count, &place) == 0) return {};
  const std::string holder(text, count);
  return holder.substr(0, holder.find_first_not_of("0123456789"));
}

bool is_gone(const std::string& holder) {
  DWORD pid = 0;
  const auto parsed = std::from_chars(holder.data(), holder.data() + holder.size(), pid);
  if (parsed.ec != std::errc() || pid == 0) return false;
  const Handle process(::OpenProcess(SYNCHRONIZE, FALSE, pid));
  if (!process.is_open()) return ::GetLastError() == ERROR_INVALID_PARAMETER;
  return ::WaitForSingleObject(process.get(), 0) == WAIT_OBJECT_0;
}

/// 0, or the code of the last try: ERROR_LOCK_VIOLATION when a process that runs holds it.
DWORD lock_at_last(HANDLE file) {
  const auto until = std::chrono::steady_clock::now() + kLeftOver;
  for (;;) {
    auto place = at(kLockedByte);
    if (::LockFileEx(file, LOCKFILE_EXCLUSIVE_LOCK | LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &place) != 0)
      return 0;
    const DWORD problem = ::GetLastError();
    const bool is_held = problem == ERROR_LOCK_VIOLATION || problem == ERROR_IO_PENDING;
    if (!is_held) return problem;
    if (!is_gone(read_holder(file)) || std::chrono::steady_clock::now() >= until) return ERROR_LOCK_VIOLATION;
    std::this_thread::sleep_for(kLookAgain);
  }
}

Handle open_lock(const std::filesystem::path& file, DWORD access, DWORD how) {
  // Nobody can remove or rename it while we hold it: another one in its place would be another lock.
  return Handle(::CreateFileW(file.c_str(), access, FILE_SHARE_READ | FILE_SHARE_WRITE, nullptr, how,
                              FILE_ATTRIBUTE_NORMAL | FILE_FLAG_OPEN_REPARSE_POINT, nullptr));
}

}  // namespace

struct FileLock::State {
  Handle file;
};

FileLock::FileLock(std::unique_ptr<State> state) : state_(std::move(state)) {}
FileLock::FileLock(FileLock&&) noexcept = default;
FileLock& FileLock::operator=(FileLock&&) noexcept = default;
FileLock::~FileLock() = default;

Result<FileLock> FileLock::acquire(const std::filesystem::path& file) {
  const std::string name = to_utf8(file.native());
  Handle handle = open_lock(file, GENERIC_READ | GENERIC_WRITE, OPEN_ALWAYS);
  DWORD problem = handle.is_open() ? ERROR_SUCCESS : ::GetLastError();
  const bool writable = handle.is_open();
  if (problem == ERROR_WRITE_PROTECT || problem == ERROR_ACCESS_DENIED) {
    // A file that is there can be locked where nothing can be written.
    handle = open_lock(file, GENERIC_READ, OPEN_EXISTING);
  }
  if (!handle.is_open()) return system_error("cannot open the lock " + name, problem);
  problem = lock_at_last(handle.get());
  if (problem == ERROR_LOCK_VIOLATION) {
    const std::string holder = read_holder(handle.get());
    return Error{ErrorCode::conflict,
                 "the folder " + to_utf8(file.parent_path().native()) + " is in use by another process" +
                     (holder.empty() ? "" : ", pid " + holder) + " (it holds " + name + ")"};
  }
  if (problem != ERROR_SUCCESS) return system_error("cannot lock " + name, problem);
  if (!writable) return FileLock(std::make_unique<State>(State{std::move(handle)}));
  // The pid is for the message above only; the lock is what counts, also on a full disk.
  const auto pid = std::to_string(::GetCurrentProcessId()) + "\n";
  DWORD count = 0;
  auto place = at(0);
  const bool written =
      ::WriteFile(handle.get(), pid.data(), static_cast<DWORD>(pid.size()), &count, &place) != 0 &&
      ::SetFilePointer(handle.get(), static_cast<LONG>(pid.size()), nullptr, FILE_BEGIN) !=
          INVALID_SET_FILE_POINTER &&
      ::SetEndOfFile(handle.get()) != 0;
  problem = written ? ERROR_SUCCESS : ::GetLastError();
  if (!written && problem != ERROR_DISK_FULL && problem != ERROR_HANDLE_DISK_FULL)
    return system_error("cannot write " + name, problem);
  return FileLock(std::make_unique<State>(State{std::move(handle)}));
}

}  // namespace agenttask::os
