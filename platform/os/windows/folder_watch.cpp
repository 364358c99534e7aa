#include "platform/os/folder_watch.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <map>
#include <optional>
#include <windows.h>

#include "platform/base/clock.hpp"
#include "platform/os/windows/handle.hpp"
#include "platform/os/windows/system_error.hpp"
#include "platform/os/windows/wide.hpp"

namespace agenttask::os {
namespace {

using std::filesystem::path;

constexpr DWORD kChanges = FILE_NOTIFY_CHANGE_FILE_NAME | FILE_NOTIFY_CHANGE_DIR_NAME |
                           FILE_NOTIFY_CHANGE_LAST_WRITE | FILE_NOTIFY_CHANGE_SIZE |
                           FILE_NOTIFY_CHANGE_ATTRIBUTES | FILE_NOTIFY_CHANGE_SECURITY;
constexpr ULONG_PTR kStopped = 0;  // the key of a packet that says so; folders have numbers from 1 on

/// Files have one name in whatever case it is written.
std::wstring without_case(std::wstring text) {
  ::CharLowerBuffW(text.data(), static_cast<DWORD>(text.size()));
  return text;
}

/// One folder, with a question to the system that is open all the time.
struct Watched {
  Handle folder;
  bool all = false;
  std::vector<std::wstring> names = {};  // or only what happens to these
  OVERLAPPED call{};
  alignas(DWORD) std::array<unsigned char, 16 * 1024> buffer{};

  Watched() = default;
  Watched(const Watched&) = delete;
  Watched& operator=(const Watched&) = delete;
  /// The system writes into the buffer until the question is taken back.
  ~Watched() {
    if (!folder.is_open()) return;
    DWORD count = 0;
    ::CancelIoEx(folder.get(), &call);
    ::GetOverlappedResult(folder.get(), &call, &count, TRUE);
  }

  /// Asks for the next changes; false when the folder is gone.
  bool ask() {
    call = {};
    return ::ReadDirectoryChangesW(folder.get(), buffer.data(), static_cast<DWORD>(buffer.size()), FALSE,
                                   kChanges, nullptr, &call, nullptr) != 0;
  }

  /// Whether what the system answered, `bytes` of it, concerns anybody. None: more happened than there was
  /// room for.
  [[nodiscard]] bool counts(std::size_t bytes) const {
    constexpr std::size_t kFixed = offsetof(FILE_NOTIFY_INFORMATION, FileName);
    if (bytes == 0 || all) return true;
    for (std::size_t at = 0; at + kFixed <= bytes;) {
      FILE_NOTIFY_INFORMATION entry{};
      std::memcpy(&entry, buffer.data() + at, kFixed);
      if (entry.FileNameLength > bytes - at - kFixed) return true;  // not as it should be: look for yourself
      std::wstring name(entry.FileNameLength / sizeof(wchar_t), L'\0');
      std::memcpy(name.data(), buffer.data() + at + kFixed, name.size() * sizeof(wchar_t));
      name = without_case(std::move(name));
      for (const auto& awaited : names) {
        if (name == awaited) return true;
      }
      if (entry.NextEntryOffset == 0) return false;
      at += entry.NextEntryOffset;
    }
    return false;
  }
};

}  // namespace

struct FolderWatch::State {
  explicit State(Handle port_) : port(std::move(port_)) {}

  Handle port;
  ULONG_PTR last = kStopped;
  std::map<ULONG_PTR, std::unique_ptr<Watched>> watched;
  std::map<path, ULONG_PTR> numbers;  // of the folders that are watched

  Result<void> add(const path& folder, std::wstring only);
  Watched* open(const path& place);
  bool take(ULONG_PTR number, bool succeeded, DWORD bytes);
};

/// The folder, asked about already or from now on; null where it is not there (GetLastError tells).
Watched* FolderWatch::State::open(const path& place) {
  if (const auto known = numbers.find(place); known != numbers.end()) return watched[known->second].get();
  auto entry = std::make_unique<Watched>();
  entry->folder = Handle(::CreateFileW(
      place.c_str(), FILE_LIST_DIRECTORY, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, nullptr,
      OPEN_EXISTING, FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OVERLAPPED, nullptr));
  if (!entry->folder.is_open()) return nullptr;
  const ULONG_PTR number = ++last;
  if (::CreateIoCompletionPort(entry->folder.get(), port.get(), number, 0) == nullptr || !entry->ask()) {
    const DWORD code = ::GetLastError();
    entry->folder.close();
    ::SetLastError(code);
    return nullptr;
  }
  numbers.emplace(place, number);
  return watched.emplace(number, std::move(entry)).first->second.get();
}

Result<void> FolderWatch::State::add(const path& folder, std::wstring only) {
  // The folder itself, or the nearest one above it that is there, for the step towards it.
  path place = folder;
  for (;;) {
    if (Watched* entry = open(place); entry != nullptr) {
      if (only.empty()) {
        entry->all = true;
      } else {
        entry->names.push_back(without_case(only));
      }
      return {};
    }
    const DWORD code = ::GetLastError();
    const bool missing = code == ERROR_FILE_NOT_FOUND || code == ERROR_PATH_NOT_FOUND ||
                         code == ERROR_DIRECTORY || code == ERROR_INVALID_PARAMETER ||
                         code == ERROR_DELETE_PENDING;
    if (!missing || !place.has_parent_path() || place.parent_path() == place) {
      auto error = system_error("cannot watch the folder " + to_utf8(folder.native()), code);
      error.code = ErrorCode::unavailable;
      return error;
    }
    only = place.filename().native();
    place = place.parent_path();
  }
}

/// What a folder's answer means, and the next question. A folder that was taken from the list may answer
/// late: it concerns nobody.
bool FolderWatch::State::take(ULONG_PTR number, bool succeeded, DWORD bytes) {
  const auto found = watched.find(number);
  if (found == watched.end()) return false;
  const bool counts = !succeeded || found->second->counts(bytes);
  if (succeeded && found->second->ask()) return counts;
  // The folder is gone. While we hold it, its name can't be used again.
  found->second->folder.close();
  std::erase_if(numbers, [&](const auto& entry) { return entry.second == number; });
  watched.erase(found);
  return true;
}

FolderWatch::FolderWatch(std::unique_ptr<State> state) : state_(std::move(state)) {}
FolderWatch::~FolderWatch() = default;

Result<std::unique_ptr<FolderWatch>> FolderWatch::create() {
  Handle port(::CreateIoCompletionPort(INVALID_HANDLE_VALUE, nullptr, 0, 1));
  if (!port.is_open()) {
    auto error = system_error("cannot watch folders", ::GetLastError());
    error.code = ErrorCode::unavailable;
    return error;
  }
  return std::unique_ptr<FolderWatch>(new FolderWatch(std::make_unique<State>(std::move(port))));
}

Result<void> FolderWatch::watch(const std::vector<path>& folders, const std::vector<path>& files) {
  for (auto& [number, entry] : state_->watched) {
    entry->all = false;
    entry->names.clear();
  }
  Result<void> result;
  const auto add = [&](const path& folder, const std::wstring& only) {
    if (auto added = state_->add(folder, only); !added && result) result = added;
  };
  for (const path& folder : folders) {
    add(folder, {});
    // Only the folder above sees that this one gets another name.
    if (folder.has_parent_path() && folder.parent_path() != folder)
      add(folder.parent_path(), folder.filename().native());
  }
  for (const path& file : files) add(file.parent_path(), file.filename().native());
  // The same folder goes on being asked about, so only what is not wanted any more goes.
  std::erase_if(state_->numbers, [&](const auto& entry) {
    const auto& watched = state_->watched[entry.second];
    if (watched->all || !watched->names.empty()) return false;
    state_->watched.erase(entry.second);
    return true;
  });
  return result;
}

FolderWatch::Event FolderWatch::wait(std::chrono::milliseconds at_most, const std::stop_token& stop) {
  struct Wake {
    HANDLE port;
    void operator()() const { ::PostQueuedCompletionStatus(port, 0, kStopped, nullptr); }
  };
  const HANDLE port = state_->port.get();
  const std::stop_callback<Wake> callback(stop, Wake{port});
  std::optional<MonotonicTime> deadline;
  if (at_most.count() > 0) deadline = std::chrono::steady_clock::now() + at_most;
  for (;;) {
    if (stop.stop_requested()) return Event::stopped;
    DWORD left = INFINITE;
    if (deadline) {
      const auto rest =
          std::chrono::ceil<std::chrono::milliseconds>(*deadline - std::chrono::steady_clock::now());
      left = static_cast<DWORD>(std::max<long long>(0, rest.count()));
    }
    DWORD bytes = 0;
    ULONG_PTR number = kStopped;
    OVERLAPPED* call = nullptr;
    const bool succeeded = ::GetQueuedCompletionStatus(port, &bytes, &number, &call, left) != 0;
    if (!succeeded && call == nullptr) return Event::quiet;
    if (number == kStopped || !state_->take(number, succeeded, bytes)) continue;
    // What came with it is the same change.
    for (;;) {
      call = nullptr;
      const bool more = ::GetQueuedCompletionStatus(port, &bytes, &number, &call, 0) != 0;
      if (!more && call == nullptr) return Event::changed;
      if (number != kStopped) state_->take(number, more, bytes);
    }
  }
}

}  // namespace agenttask::os
