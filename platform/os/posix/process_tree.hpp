#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "platform/os/posix/process_table.hpp"
#include "platform/os/posix/run_groups.hpp"

namespace agenttask::os {

/// All processes of one run, or of several runs found by their marks. Members are the main process, its group
/// and session, whoever carries a mark or is in a control group of theirs, the descendants of members, and
/// whoever was a member before: an orphan whose parent died stays one. Private to platform/os. Threads: one.
class ProcessTree {
 public:
  /// `main` is a child of ours that nobody reaps while this object is used. When `owns_orphans`, asked
  /// after each look, says so, every orphan that fell to us belongs to it, too. `group`: its control group,
  /// if it has one; outlives this.
  ProcessTree(int main, std::string mark, std::function<bool()> owns_orphans, const RunGroup* group);
  /// Of runs whose main processes are not ours; `leaders` are those, as they were when they began. `groups`
  /// outlive this.
  ProcessTree(std::set<std::string> marks, std::vector<ProcessEntry> leaders,
              std::span<const RunGroup> groups);

  /// Looks again: the members that live now. Zombies are not among them.
  std::vector<ProcessEntry> living();
  /// Whether the last look saw members that none before had seen, be they dead: somebody still forks.
  [[nodiscard]] bool grew() const { return grew_; }
  /// How many looks in a row must find nobody before all are gone: in a storm of forks somebody may be
  /// between two entries of the table each time it is read. A control group misses nobody.
  [[nodiscard]] int quiet_looks() const { return all_grouped_ ? 1 : kQuietLooks; }
  /// Those at the last look that are no members, but in a group or session that has the number of a leader
  /// that is gone: either it left them, or the number is another's now.
  [[nodiscard]] const std::vector<ProcessEntry>& doubtful() const { return doubtful_; }
  /// The same, `quiet_looks` times before there is nobody; who they are.
  std::vector<ProcessInfo> describe_living();
  /// After a kill that did not end it: the same, or the last that was seen, where the living are never
  /// caught.
  std::vector<ProcessInfo> describe_left();
  /// Looks again, and signals each of them. Returns how many there were.
  std::size_t signal(int signal_number);
  /// The same with SIGKILL; control groups first, as that leaves nobody who could fork.
  std::size_t kill();

 private:
  using Identity = std::pair<int, std::uint64_t>;
  static constexpr int kQuietLooks = 4;
  bool carries_mark(const ProcessEntry& entry);
  bool belongs_to_leader(const ProcessEntry& entry) const;
  void find_doubtful(const std::vector<ProcessEntry>& entries, const std::set<int>& member_pids);
  bool belongs_to_main(const ProcessEntry& entry, bool owns_orphans) const;

  int main_ = 0;
  std::function<bool()> owns_orphans_;
  std::uint64_t earliest_ = 0;  // nothing that began before the main process can belong to it
  std::set<std::string> marks_;
  std::set<std::uint64_t> inherited_marks_;
  std::vector<ProcessEntry> leaders_;
  std::vector<const RunGroup*> groups_;
  bool all_grouped_ = false;             ///< each of the runs is in a group of its own
  std::map<int, std::uint64_t> starts_;  // of all processes at this look
  std::vector<ProcessEntry> doubtful_;
  std::set<Identity> members_;
  bool grew_ = false;
  int newest_ = 0;
  std::set<Identity> unmarked_;  // looked at already: a process that has no mark never gets ours
  std::set<int> ourselves_;  // we, and who started us: an agent started by a task carries that task's mark
};

}  // namespace agenttask::os
