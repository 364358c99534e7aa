#include "platform/os/posix/run_groups.hpp"

#include <cerrno>

// The system has no groups that a process can't leave: runs are held together by marks, descent, group and
// session, and whoever asks for groups is told so.
namespace agenttask::os {

RunGroup::~RunGroup() = default;

Descriptor RunGroup::open_folder() const {
  errno = ENOTSUP;
  return {};
}

std::vector<int> RunGroup::members() const {
  return {};
}

void RunGroup::kill() const {}

std::unique_ptr<RunGroups> RunGroups::of_this_process() {
  return std::make_unique<RunGroups>(std::filesystem::path(), std::filesystem::path(),
                                     "macOS has no groups that hold the processes of a run");
}

RunGroups::RunGroups(std::filesystem::path top, std::filesystem::path folder, std::string problem)
    : top_(std::move(top)), folder_(std::move(folder)), problem_(std::move(problem)) {}

std::optional<RunGroup> RunGroups::make(std::string_view) {
  return std::nullopt;
}

void RunGroups::note_entry(int) {}

std::vector<RunGroup> RunGroups::find(std::span<const std::string>) {
  return {};
}

void RunGroups::remove_empty() {}

ContainmentStatus RunGroups::status() const {
  return {Containment::marks, problem_.empty() ? "groups were not asked for" : problem_};
}

Descriptor open_group_beside_ours() {
  return {};
}

}  // namespace agenttask::os
