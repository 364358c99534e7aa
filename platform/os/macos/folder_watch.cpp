#include "platform/os/folder_watch.hpp"

#include <cerrno>
#include <fcntl.h>
#include <map>
#include <poll.h>
#include <sys/event.h>
#include <system_error>

#include "platform/os/posix/descriptor.hpp"
#include "platform/os/posix/wait.hpp"

namespace agenttask::os {
namespace {

using std::filesystem::path;

constexpr unsigned kChanges =
    NOTE_WRITE | NOTE_EXTEND | NOTE_ATTRIB | NOTE_DELETE | NOTE_RENAME | NOTE_REVOKE;
// The system tells that a folder changed, not what in it; and of a file that is written to, only who has it
// open. So each entry takes a descriptor.
constexpr std::size_t kMostEntries = 1000;

}  // namespace

struct FolderWatch::State {
  explicit State(Descriptor queue_) : queue(std::move(queue_)) {}

  // A place that is open, so that the queue tells of it. One that stands for a name that is not there yet
  // counts only once there is one.
  struct Place {
    Descriptor descriptor;
    path awaited = {};
  };
  Descriptor queue;
  std::map<int, Place> places;  // by descriptor

  bool open(const path& place, path awaited);
  Result<void> await(const path& missing);
  Result<void> add_file(const path& file);
  Result<void> add_folder(const path& folder);
  bool take_events();
};

// False: errno says why.
bool FolderWatch::State::open(const path& place, path awaited) {
  Descriptor descriptor(::open(place.c_str(), O_EVTONLY | O_CLOEXEC));
  if (!descriptor.is_open()) return false;
  const int number = descriptor.get();
  struct kevent wanted {};
  EV_SET(&wanted, static_cast<uintptr_t>(number), EVFILT_VNODE, EV_ADD | EV_CLEAR, kChanges, 0, nullptr);
  if (::kevent(queue.get(), &wanted, 1, nullptr, 0, nullptr) != 0) return false;
  places.emplace(number, Place{std::move(descriptor), std::move(awaited)});
  return true;
}

// The nearest folder above it that is there, for the step towards it.
Result<void> FolderWatch::State::await(const path& missing) {
  path awaited = missing;
  while (awaited.has_parent_path() && awaited.parent_path() != awaited) {
    if (open(awaited.parent_path(), awaited)) return {};
    if (errno != ENOENT && errno != ENOTDIR) break;
    awaited = awaited.parent_path();
  }
  auto error = io_error("cannot watch for " + missing.string(), errno);
  error.code = ErrorCode::unavailable;
  return error;
}

Result<void> FolderWatch::State::add_file(const path& file) {
  if (open(file, {})) return {};
  if (errno == ENOENT || errno == ENOTDIR) return await(file);
  auto error = io_error("cannot watch " + file.string(), errno);
  error.code = ErrorCode::unavailable;
  return error;
}

Result<void> FolderWatch::State::add_folder(const path& folder) {
  if (auto added = add_file(folder); !added) return added;
  std::error_code failed;
  for (std::filesystem::directory_iterator entry(folder, failed), end; !failed && entry != end;
       entry.increment(failed)) {
    if (places.size() >= kMostEntries) {
      return Error{ErrorCode::unavailable, "cannot watch the folder " + folder.string() + ": more than " +
                                               std::to_string(kMostEntries) + " entries are watched already"};
    }
    std::error_code unknown;
    const auto status = entry->status(unknown);
    if (unknown || (!is_regular_file(status) && !is_directory(status))) continue;  // a pipe would be opened
    if (!open(entry->path(), {}) && errno != ENOENT) {
      auto error = io_error("cannot watch " + entry->path().string(), errno);
      error.code = ErrorCode::unavailable;
      return error;
    }
  }
  return {};
}

bool FolderWatch::State::take_events() {
  bool changed = false;
  struct kevent event {};
  const timespec now{};
  while (::kevent(queue.get(), nullptr, 0, &event, 1, &now) == 1) {
    const auto place = places.find(static_cast<int>(event.ident));
    if (place == places.end()) continue;
    std::error_code unknown;
    const auto& awaited = place->second.awaited;
    const bool gone = (event.fflags & (NOTE_DELETE | NOTE_RENAME | NOTE_REVOKE)) != 0;
    changed = changed || awaited.empty() || gone || std::filesystem::exists(awaited, unknown);
  }
  return changed;
}

FolderWatch::FolderWatch(std::unique_ptr<State> state) : state_(std::move(state)) {}
FolderWatch::~FolderWatch() = default;

Result<std::unique_ptr<FolderWatch>> FolderWatch::create() {
  Descriptor queue(::kqueue());
  if (!queue.is_open() || ::fcntl(queue.get(), F_SETFD, FD_CLOEXEC) != 0) {
    auto error = io_error("cannot watch folders", errno);
    error.code = ErrorCode::unavailable;
    return error;
  }
  return std::unique_ptr<FolderWatch>(new FolderWatch(std::make_unique<State>(std::move(queue))));
}

// What the queue has to say of the earlier places goes with their descriptors: whoever calls this looks at
// what is there afterwards.
Result<void> FolderWatch::watch(const std::vector<path>& folders, const std::vector<path>& files) {
  auto before = std::exchange(state_->places, {});
  Result<void> result;
  for (const path& folder : folders) {
    if (auto added = state_->add_folder(folder); !added && result) result = added;
  }
  for (const path& file : files) {
    if (auto added = state_->add_file(file); !added && result) result = added;
  }
  return result;
}

FolderWatch::Event FolderWatch::wait(std::chrono::milliseconds at_most, const std::stop_token& stop) {
  const StopSignal stop_signal(stop);
  const auto deadline = deadline_after(at_most);
  for (;;) {
    if (stop_signal.requested()) return Event::stopped;
    if (state_->take_events()) return Event::changed;
    switch (wait_ready(state_->queue.get(), POLLIN, deadline, stop_signal)) {
      case Wait::stopped:
        return Event::stopped;
      case Wait::timed_out:
        return Event::quiet;
      case Wait::ready:
        break;
    }
  }
}

}  // namespace agenttask::os
