#include "platform/os/posix/process_tree.hpp"

#include <algorithm>
#include <signal.h>
#include <unistd.h>

namespace agenttask::os {
namespace {

std::set<int> own_line() {
  std::set<int> line;
  for (int pid = ::getpid(); pid > 0 && line.insert(pid).second;) {
    const auto entry = read_process(pid);
    if (!entry) break;
    pid = entry->parent;
  }
  return line;
}

}  // namespace

ProcessTree::ProcessTree(int main, std::string mark, std::function<bool()> owns_orphans,
                         const RunGroup* group)
    : main_(main), owns_orphans_(std::move(owns_orphans)), ourselves_(own_line()) {
  if (!mark.empty()) {
    inherited_marks_.insert(inherited_mark(mark));
    marks_.insert(std::move(mark));
  }
  if (const auto entry = read_process(main)) {
    earliest_ = entry->start;
    members_.insert({main, entry->start});
  }
  if (group != nullptr) groups_.push_back(group);
  all_grouped_ = group != nullptr;
}

ProcessTree::ProcessTree(std::set<std::string> marks, std::vector<ProcessEntry> leaders,
                         std::span<const RunGroup> groups)
    : marks_(std::move(marks)), leaders_(std::move(leaders)), ourselves_(own_line()) {
  for (const auto& mark : marks_) inherited_marks_.insert(inherited_mark(mark));
  for (const auto& group : groups) groups_.push_back(&group);
  all_grouped_ = !groups_.empty() && groups_.size() >= marks_.size();
}

bool ProcessTree::carries_mark(const ProcessEntry& entry) {
  if (marks_.empty() || unmarked_.contains({entry.pid, entry.start})) return false;
  if (const auto mark = read_inherited_mark(entry.pid);
      mark && (inherited_marks_.contains(*mark) || inherited_marks_.contains(inherited_mark_of_whole(*mark))))
    return true;
  const auto mark = read_run_mark(entry.pid);
  if (!mark) return false;
  // A part of a run (`RUN/service-1`) belongs to the run, and not the other way round.
  if (marks_.contains(*mark) || marks_.contains(mark->substr(0, mark->find('/')))) return true;
  unmarked_.insert({entry.pid, entry.start});
  return false;
}

bool ProcessTree::belongs_to_main(const ProcessEntry& entry, bool owns_orphans) const {
  if (main_ == 0) return false;
  return entry.pid == main_ || entry.group == main_ || entry.session == main_ ||
         (owns_orphans && entry.parent == ::getpid());
}

// A group or session is a leader's for sure as long as that very process is there: a number is not given
// away while anybody is in its group or session, but it may be afterwards.
bool ProcessTree::belongs_to_leader(const ProcessEntry& entry) const {
  return std::any_of(leaders_.begin(), leaders_.end(), [&](const ProcessEntry& leader) {
    const auto now = starts_.find(leader.pid);
    if (now == starts_.end() || now->second != leader.start) return false;
    return entry.pid == leader.pid ||
           ((entry.group == leader.pid || entry.session == leader.pid) && entry.start >= leader.start);
  });
}

void ProcessTree::find_doubtful(const std::vector<ProcessEntry>& entries, const std::set<int>& member_pids) {
  doubtful_.clear();
  for (const auto& entry : entries) {
    if (entry.is_zombie() || member_pids.contains(entry.pid)) continue;
    const bool doubtful = std::any_of(leaders_.begin(), leaders_.end(), [&](const ProcessEntry& leader) {
      return !starts_.contains(leader.pid) && entry.start >= leader.start &&
             (entry.group == leader.pid || entry.session == leader.pid);
    });
    if (doubtful) doubtful_.push_back(entry);
  }
}

std::vector<ProcessEntry> ProcessTree::living() {
  std::vector<ProcessEntry> candidates;
  std::set<int> member_pids;
  const auto entries = read_processes();
  // After the table: a number that passed to a member in between comes with the start of its former owner,
  // whom no signal of ours reaches.
  std::set<int> grouped;
  for (const auto* group : groups_) {
    for (const int pid : group->members()) grouped.insert(pid);
  }
  starts_.clear();
  for (const auto& entry : entries) starts_[entry.pid] = entry.start;
  const bool owns_orphans = owns_orphans_ && owns_orphans_();
  for (const auto& entry : entries) {
    if (entry.start < earliest_ || ourselves_.contains(entry.pid)) continue;
    candidates.push_back(entry);
    if (members_.contains({entry.pid, entry.start}) || belongs_to_main(entry, owns_orphans) ||
        grouped.contains(entry.pid) || belongs_to_leader(entry) || carries_mark(entry)) {
      member_pids.insert(entry.pid);
    }
  }
  for (bool grew = true; grew;) {
    grew = false;
    for (const auto& entry : candidates) {
      if (member_pids.contains(entry.parent)) grew = member_pids.insert(entry.pid).second || grew;
    }
  }
  std::vector<ProcessEntry> result;
  grew_ = false;
  for (const auto& entry : candidates) {
    if (!member_pids.contains(entry.pid)) continue;
    // Also one that is dead already: nobody collects it as long as we don't, and somebody has forked it.
    if (members_.insert({entry.pid, entry.start}).second) {
      grew_ = true;
      newest_ = entry.pid;
    }
    if (!entry.is_zombie()) result.push_back(entry);
  }
  find_doubtful(candidates, member_pids);
  return result;
}

std::size_t ProcessTree::signal(int signal_number) {
  const auto members = living();
  for (const auto& entry : members) signal_process(entry.pid, entry.start, signal_number);
  return members.size();
}

std::vector<ProcessInfo> ProcessTree::describe_living() {
  std::vector<ProcessInfo> described;
  for (int look = 0; look < quiet_looks() && described.empty(); ++look) {
    for (const auto& entry : living()) described.push_back(describe_process(entry.pid));
  }
  return described;
}

std::vector<ProcessInfo> ProcessTree::describe_left() {
  auto left = describe_living();
  if (left.empty() && grew_) left.push_back(describe_process(newest_));
  return left;
}

std::size_t ProcessTree::kill() {
  for (const auto* group : groups_) group->kill();
  return signal(SIGKILL);
}

}  // namespace agenttask::os
