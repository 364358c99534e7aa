#pragma once
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "platform/base/error.hpp"
#include "platform/os/posix/descriptor.hpp"
#include "platform/os/process.hpp"

namespace agenttask::os {

class RunGroups;

/// The group of the system that holds one run or a part of one, where there are such groups (Linux: control
/// groups, version 2). What is started in it stays in it, whatever
/// else it sheds; only who may write to another group can leave. Private to platform/os. Threads: one at a
/// time.
class RunGroup {
 public:
  RunGroup(std::filesystem::path folder, RunGroups* maker) : folder_(std::move(folder)), maker_(maker) {}
  RunGroup(RunGroup&& other) noexcept
      : folder_(std::move(other.folder_)), maker_(std::exchange(other.maker_, nullptr)) {}
  RunGroup& operator=(RunGroup&&) = delete;
  RunGroup(const RunGroup&) = delete;
  /// Gives it back to whoever made it: it goes as soon as nothing runs in it.
  ~RunGroup();

  /// For a child that shall begin in it. Sets errno where it can't be opened.
  [[nodiscard]] Descriptor open_folder() const;
  /// The processes in it and in groups inside it. One that is forked meanwhile may be missing.
  [[nodiscard]] std::vector<int> members() const;
  /// Kills all of them at once, also those that are being forked; as kill_frozen() where the system is too
  /// old for that (Linux before 5.14).
  void kill() const;
  /// Freezes them first, so that nobody forks meanwhile. One call may miss those that don't freeze in time.
  void kill_frozen() const;
  [[nodiscard]] bool is_populated() const;
  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }

 private:
  std::filesystem::path folder_;
  RunGroups* maker_;
};

/// Where the control groups of runs are: directly below the agent's own. Each is named after its run, so that
/// those of an agent that crashed are found. No controller is switched on, so the agent needs no group beside
/// them. Private to platform/os. Threads: any.
class RunGroups {
 public:
  /// Our own group, found by what the system says of this process.
  static std::unique_ptr<RunGroups> of_this_process();
  /// `folder` is a group below `top`; an empty one: none is usable, and `problem` says why.
  RunGroups(std::filesystem::path top, std::filesystem::path folder, std::string problem = {});

  /// Of a new run; nothing where it can't be made, which status() then tells.
  [[nodiscard]] std::optional<RunGroup> make(std::string_view run_id);
  /// A process could not enter its group, or could again (no error).
  void note_entry(int error_number);
  /// Those of these runs that are there, wherever an earlier start of the agent made them. Never one that we
  /// are in ourselves.
  [[nodiscard]] std::vector<RunGroup> find(std::span<const std::string> run_ids);
  /// Removes groups of ended runs in which nothing runs any more. Cheap.
  void remove_empty();
  [[nodiscard]] ContainmentStatus status() const;

 private:
  friend class RunGroup;
  void give_back(std::filesystem::path folder);
  void note(std::string problem);

  const std::filesystem::path top_;
  const std::filesystem::path folder_;
  mutable std::mutex mutex_;
  std::string problem_;                      // the last; empty: none
  std::vector<std::filesystem::path> left_;  // something ran in them when their run ended
};

/// The folder (as RunGroup::open_folder) of a group beside our own, which is made where it is not there, for
/// what shall not end with ours. Not open where we are at the top or can't make one.
[[nodiscard]] Descriptor open_group_beside_ours();

}  // namespace agenttask::os
