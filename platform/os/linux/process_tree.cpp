#include "platform/os/linux/process_tree.hpp"

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

ProcessTree::ProcessTree(int main, std::string mark, std::function<bool()> owns_orphans)
    : main_(main), owns_orphans_(std::move(owns_orphans)), ourselves_(own_line()) {
  if (!mark.empty()) marks_.insert(std::move(mark));
  if (const auto entry = read_process(main)) {
    earliest_ = entry->start;
    members_.insert({main, entry->start});
  }
}

ProcessTree::ProcessTree(std::set<std::string> marks) : marks_(std::move(marks)), ourselves_(own_line()) {}

bool ProcessTree::carries_mark(const ProcessEntry& entry) {
  if (marks_.empty() || unmarked_.contains({entry.pid, entry.start})) return false;
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

std::vector<ProcessEntry> ProcessTree::living() {
  std::vector<ProcessEntry> candidates;
  std::set<int> member_pids;
  const auto entries = read_processes();
  const bool owns_orphans = owns_orphans_ && owns_orphans_();
  for (const auto& entry : entries) {
    if (entry.start < earliest_ || ourselves_.contains(entry.pid)) continue;
    candidates.push_back(entry);
    if (members_.contains({entry.pid, entry.start}) || belongs_to_main(entry, owns_orphans) ||
        (!entry.is_zombie() && carries_mark(entry))) {
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
  for (const auto& entry : candidates) {
    if (!member_pids.contains(entry.pid)) continue;
    members_.insert({entry.pid, entry.start});
    if (!entry.is_zombie()) result.push_back(entry);
  }
  return result;
}

std::size_t ProcessTree::signal(int signal_number) {
  const auto members = living();
  for (const auto& entry : members) signal_process(entry.pid, entry.start, signal_number);
  return members.size();
}

}  // namespace agenttask::os
