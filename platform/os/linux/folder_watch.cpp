#include "platform/os/folder_watch.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <poll.h>
#include <sys/inotify.h>

#include "platform/os/posix/descriptor.hpp"
#include "platform/os/posix/wait.hpp"

namespace agenttask::os {
namespace {

using std::filesystem::path;

constexpr std::uint32_t kChanges = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_CLOSE_WRITE |
                                   IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;
constexpr std::uint32_t kAppearances = IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;

// What counts in one watched folder: everything, or what happens to some names.
struct Watched {
  bool all = false;
  std::vector<std::string> names;
};

}  // namespace

struct FolderWatch::State {
  explicit State(Descriptor inotify_) : inotify(std::move(inotify_)) {}

  Descriptor inotify;
  std::map<int, Watched> watched;

  Result<void> add(const path& folder, std::string only = {});
  [[nodiscard]] bool counts(const inotify_event& event) const;
  bool take_events();
};

Result<void> FolderWatch::State::add(const path& folder, std::string only) {
  // The folder itself, or the nearest one above it that is there, for the step towards it.
  path place = folder;
  std::uint32_t events = kChanges;
  for (;;) {
    const int watch = ::inotify_add_watch(inotify.get(), place.c_str(), events | IN_MASK_ADD);
    if (watch >= 0) {
      Watched& entry = watched[watch];
      if (only.empty()) {
        entry.all = true;
      } else {
        entry.names.push_back(only);
      }
      return {};
    }
    const bool missing = errno == ENOENT || errno == ENOTDIR;
    if (!missing || !place.has_parent_path() || place.parent_path() == place) {
      auto error = io_error("cannot watch the folder " + folder.string(), errno);
      error.code = ErrorCode::unavailable;
      return error;
    }
    only = place.filename().string();
    place = place.parent_path();
    events = kAppearances;
  }
}

bool FolderWatch::State::counts(const inotify_event& event) const {
  if ((event.mask & IN_Q_OVERFLOW) != 0) return true;
  const auto found = watched.find(event.wd);
  if (found == watched.end() || (event.mask & IN_IGNORED) != 0) return false;
  if (found->second.all || (event.mask & (IN_DELETE_SELF | IN_MOVE_SELF)) != 0) return true;
  if (event.len == 0) return false;
  const std::string name(static_cast<const char*>(event.name));
  for (const std::string& awaited : found->second.names) {
    if (name == awaited) return true;
  }
  return false;
}

bool FolderWatch::State::take_events() {
  alignas(inotify_event) std::array<char, 16 * 1024> buffer;
  bool changed = false;
  for (;;) {
    const auto count = ::read(inotify.get(), buffer.data(), buffer.size());
    if (count <= 0) return changed;
    for (std::size_t at = 0; at < static_cast<std::size_t>(count);) {
      const auto* event = reinterpret_cast<const inotify_event*>(buffer.data() + at);
      changed = changed || counts(*event);
      at += sizeof(inotify_event) + event->len;
    }
  }
}

FolderWatch::FolderWatch(std::unique_ptr<State> state) : state_(std::move(state)) {}
FolderWatch::~FolderWatch() = default;

Result<std::unique_ptr<FolderWatch>> FolderWatch::create() {
  Descriptor descriptor(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!descriptor.is_open()) {
    auto error = io_error("cannot watch folders", errno);
    error.code = errno == ENOSYS ? ErrorCode::unsupported : ErrorCode::unavailable;
    return error;
  }
  return std::unique_ptr<FolderWatch>(new FolderWatch(std::make_unique<State>(std::move(descriptor))));
}

Result<void> FolderWatch::watch(const std::vector<path>& folders, const std::vector<path>& files) {
  auto before = std::exchange(state_->watched, {});
  Result<void> result;
  for (const path& folder : folders) {
    if (auto added = state_->add(folder); !added && result) result = added;
  }
  for (const path& file : files) {
    if (auto added = state_->add(file.parent_path(), file.filename().string()); !added && result)
      result = added;
  }
  // The same folder keeps its number, so only what is not wanted any more goes.
  for (const auto& [watch, entry] : before) {
    if (!state_->watched.contains(watch)) ::inotify_rm_watch(state_->inotify.get(), watch);
  }
  return result;
}

FolderWatch::Event FolderWatch::wait(std::chrono::milliseconds at_most, const std::stop_token& stop) {
  const StopSignal stop_signal(stop);
  const auto deadline = deadline_after(at_most);
  for (;;) {
    if (stop_signal.requested()) return Event::stopped;
    if (state_->take_events()) return Event::changed;
    switch (wait_ready(state_->inotify.get(), POLLIN, deadline, stop_signal)) {
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
