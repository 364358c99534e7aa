#pragma once
#include <cstdint>
#include <map>
#include <mutex>
#include <shared_mutex>

#include "platform/os/posix/launch.hpp"
#include "platform/os/posix/process_table.hpp"

namespace agenttask::os {

/// Knows which children are the main processes of runs, so that orphans which fell to us can be collected
/// without ever taking one of those. A main process stays a zombie, its pid and group unused by others, until
/// its run releases it. Private to platform/os. Threads: any.
class ChildRegistry {
 public:
  /// As `check_launch`, beside launches under way.
  Result<void> check_room();
  /// Launches and enters the child.
  Result<Launched> launch(const LaunchRequest& request);
  /// Launches a child that is no run's: it is collected as an orphan is, and makes no run alone.
  Result<Launched> launch_apart(const LaunchRequest& request);
  /// Whether every child that fell to us since this one was launched must be a descendant of it: we had no
  /// child at all before, and launched no other since.
  [[nodiscard]] bool is_alone(pid_t child);
  /// How the child ended, without collecting it; nothing while it lives.
  [[nodiscard]] static std::optional<ProcessEnd> ended(pid_t child);
  /// Collects the child when it has ended; one that can't be killed becomes an orphan among others.
  /// Afterwards its pid may be another's.
  void release(pid_t child);
  /// Collects every ended child that is not the main process of a run. Skipped while a launch is under way.
  void reap_orphans();

 private:
  bool is_main(pid_t child) const { return mains_.contains(child); }
  void reap_orphans_behind_mains();
  bool begin_launch(std::uint64_t& number);

  std::shared_mutex
      launching_;  // shared by launches, exclusive for the collection: a child is not entered at once
  std::mutex mutex_;
  std::map<pid_t, bool> mains_;  // and whether they are alone
  int launches_under_way_ = 0;
  std::uint64_t launches_ = 0;
};

}  // namespace agenttask::os
