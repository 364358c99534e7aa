#include "platform/os/posix/run_groups.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sstream>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "platform/os/linux/group_place.hpp"

namespace agenttask::os {
namespace {

using std::filesystem::path;

constexpr std::string_view kPrefix = "agenttask-run-";
constexpr std::size_t kMostFacts = 16 * 1024 * 1024;
constexpr std::size_t kLongestName = 200;
constexpr int kMostSameNames = 8;
constexpr int kDeepest = 32;
constexpr std::size_t kMostGroups = 100'000;  // looked at in search of those of a run
constexpr int kFreezeLooks = 10;
constexpr int kFreezeLookMilliseconds = 20;

// What a file of the system says now; empty when it can't be read. Such files tell no size.
std::string read_facts(const path& file) {
  std::string text;
  const Descriptor descriptor(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!descriptor.is_open()) return text;
  std::array<char, 4096> chunk{};
  while (text.size() < kMostFacts) {
    const auto count = ::read(descriptor.get(), chunk.data(), chunk.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    text.append(chunk.data(), static_cast<std::size_t>(count));
  }
  return text;
}

bool write_fact(const path& file, std::string_view text) {
  const Descriptor descriptor(::open(file.c_str(), O_WRONLY | O_CLOEXEC));
  return descriptor.is_open() &&
         ::write(descriptor.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

/// "name 1" in a file of such lines.
bool says(const std::string& events, std::string_view line) {
  std::istringstream lines(events);
  for (std::string one; std::getline(lines, one);) {
    if (one == line) return true;
  }
  return false;
}

std::vector<int> pids_in(const path& group) {
  std::vector<int> pids;
  std::istringstream lines(read_facts(group / "cgroup.procs"));
  for (std::string line; std::getline(lines, line);) {
    int pid = 0;  // stays 0 for one that is in another pid namespace
    std::from_chars(line.data(), line.data() + line.size(), pid);
    if (pid > 0) pids.push_back(pid);
  }
  return pids;
}

std::vector<path> groups_inside(const path& group) {
  std::vector<path> inside;
  std::error_code gone;
  for (std::filesystem::directory_iterator entry(group, gone), last; !gone && entry != last;
       entry.increment(gone)) {
    std::error_code unknown;
    if (entry->is_directory(unknown) && !entry->is_symlink(unknown)) inside.push_back(entry->path());
  }
  return inside;
}

template <class Visit>
void visit_groups(const path& group, int depth, std::size_t& left, const Visit& visit) {
  if (left == 0) return;
  --left;
  visit(group);
  if (depth >= kDeepest) return;
  for (const auto& inside : groups_inside(group)) visit_groups(inside, depth + 1, left, visit);
}

/// Whether `folder` is `other` or lies below it.
bool is_within(const path& folder, const path& other) {
  const auto [end, rest] = std::mismatch(other.begin(), other.end(), folder.begin(), folder.end());
  return end == other.end();
}

bool is_ours(const path& group) {
  struct stat facts {};
  return ::lstat(group.c_str(), &facts) == 0 && S_ISDIR(facts.st_mode) && facts.st_uid == ::geteuid();
}

bool is_populated_group(const path& group) {
  return !says(read_facts(group / "cgroup.events"), "populated 0");
}

/// Removes a group in which nothing runs, with the empty ones inside it.
bool remove_group(const path& group, int depth = 0) {
  if (::rmdir(group.c_str()) == 0 || errno == ENOENT) return true;
  if (depth >= kDeepest || is_populated_group(group)) return false;
  for (const auto& inside : groups_inside(group)) remove_group(inside, depth + 1);
  return ::rmdir(group.c_str()) == 0;
}

/// Makes the group under its name, or under one with a number behind it while that of an earlier one of the
/// same name is still in use.
path make_group(const path& wanted) {
  for (int number = 1; number <= kMostSameNames; ++number) {
    auto folder = wanted;
    if (number > 1) folder += "." + std::to_string(number);
    if (::mkdir(folder.c_str(), 0755) == 0) return folder;
    if (errno != EEXIST) return {};
    if (remove_group(folder) && ::mkdir(folder.c_str(), 0755) == 0) return folder;
    errno = EEXIST;
  }
  return {};
}

std::string unescape(std::string_view text) {
  std::string plain;
  for (std::size_t at = 0; at < text.size(); ++at) {
    int value = 0;
    if (text[at] == '\\' && at + 3 < text.size() &&
        std::from_chars(text.data() + at + 1, text.data() + at + 4, value, 8).ptr == text.data() + at + 4) {
      plain.push_back(static_cast<char>(value));
      at += 3;
    } else {
      plain.push_back(text[at]);
    }
  }
  return plain;
}

/// The signal reaches that very process only while it is in the group.
void kill_member(int pid, const std::string& group_name) {
  const Descriptor handle(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  const auto place = read_facts("/proc/" + std::to_string(pid) + "/cgroup");
  if (place.find("/" + group_name) == std::string::npos) return;
  if (handle.is_open()) {
    ::syscall(SYS_pidfd_send_signal, handle.get(), SIGKILL, nullptr, 0);
  } else {
    ::kill(pid, SIGKILL);
  }
}

std::string why(std::string_view what, const path& where, int error_number) {
  return io_error(std::string(what) + " " + where.string(), error_number).message;
}

}  // namespace

RunGroup::~RunGroup() {
  if (maker_ != nullptr) maker_->give_back(std::move(folder_));
}

Descriptor RunGroup::open_folder() const {
  return Descriptor(::open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

std::vector<int> RunGroup::members() const {
  std::vector<int> pids;
  std::size_t left = kMostGroups;
  visit_groups(folder_, 0, left, [&](const path& group) {
    const auto here = pids_in(group);
    pids.insert(pids.end(), here.begin(), here.end());
  });
  return pids;
}

void RunGroup::kill() const {
  if (!write_fact(folder_ / "cgroup.kill", "1")) kill_frozen();
}

// Frozen, nobody forks; a frozen process can be killed all the same.
void RunGroup::kill_frozen() const {
  const auto freezer = folder_ / "cgroup.freeze";
  if (write_fact(freezer, "1")) {
    const auto events = folder_ / "cgroup.events";
    const Descriptor changes(::open(events.c_str(), O_RDONLY | O_CLOEXEC));
    pollfd watched{changes.get(), POLLPRI, 0};
    // One that waits for its disk freezes only when that answers.
    for (int look = 0; look < kFreezeLooks && !says(read_facts(events), "frozen 1"); ++look) {
      ::poll(&watched, 1, kFreezeLookMilliseconds);
    }
  }
  const auto parent = folder_.parent_path().filename().string();
  const auto name = folder_.filename().string();
  const bool is_part = parent.starts_with(kPrefix);
  for (const int pid : members()) kill_member(pid, is_part ? parent + "/" + name : name);
  write_fact(freezer, "0");
}

bool RunGroup::is_populated() const {
  return is_populated_group(folder_);
}

std::unique_ptr<RunGroups> RunGroups::of_this_process() {
  const auto place = find_group_place(read_facts("/proc/self/cgroup"), read_facts("/proc/self/mountinfo"));
  if (!place) return std::make_unique<RunGroups>(path(), path(), place.error().message);
  // A file system that is read-only is not writable for root either.
  for (const auto& wanted : {place->folder, place->folder / "cgroup.procs"}) {
    if (::access(wanted.c_str(), W_OK) == 0) continue;
    return std::make_unique<RunGroups>(place->top, path(),
                                       why("cannot make control groups in", wanted, errno));
  }
  return std::make_unique<RunGroups>(place->top, place->folder);
}

RunGroups::RunGroups(path top, path folder, std::string problem)
    : top_(std::move(top)), folder_(std::move(folder)), problem_(std::move(problem)) {
  if (folder_.empty()) return;
  // Left by runs that ended in an earlier life of ours, with something in the background perhaps.
  for (auto& group : groups_inside(folder_)) {
    if (group.filename().string().starts_with(kPrefix) && is_ours(group)) left_.push_back(std::move(group));
  }
}

std::optional<RunGroup> RunGroups::make(std::string_view run_id) {
  const auto name = group_name(run_id);
  if (folder_.empty() || name.empty()) return std::nullopt;
  const auto wanted = folder_ / name;
  // Of a part: that of its run is there as long as the run.
  if (wanted.parent_path() != folder_ && ::mkdir(wanted.parent_path().c_str(), 0755) == 0) {
    const std::lock_guard lock(mutex_);
    left_.push_back(wanted.parent_path());
  }
  path made;
  {
    // One of the same name that was left is ours again: nobody must remove it while it is still empty.
    const std::lock_guard lock(mutex_);
    std::erase(left_, wanted);
    made = make_group(wanted);
  }
  if (made.empty()) {
    note(why("cannot make the control group", wanted, errno));
    return std::nullopt;
  }
  return RunGroup(made, this);
}

void RunGroups::note_entry(int error_number) {
  note(error_number == 0 ? std::string()
                         : why("a run could not enter its control group in", folder_, error_number));
}

void RunGroups::note(std::string problem) {
  const std::lock_guard lock(mutex_);
  problem_ = std::move(problem);
}

std::vector<RunGroup> RunGroups::find(std::span<const std::string> run_ids) {
  std::vector<RunGroup> found;
  std::vector<std::string> names;
  for (const auto& id : run_ids) {
    if (const auto name = group_name(id); !name.empty()) names.push_back(name.string());
  }
  if (names.empty() || top_.empty()) return found;
  const auto place = find_group_place(read_facts("/proc/self/cgroup"), read_facts("/proc/self/mountinfo"));
  std::size_t left = kMostGroups;
  visit_groups(top_, 0, left, [&](const path& group) {
    const auto last = group.filename().string();
    if (!last.starts_with(kPrefix)) return;
    const bool wanted = std::any_of(names.begin(), names.end(),
                                    [&](const std::string& name) { return is_group_called(last, name); });
    if (!wanted || !is_ours(group)) return;
    // A task may have started us: then its group is ours, too.
    if (place && is_within(place->folder, group)) return;
    found.emplace_back(group, this);
  });
  return found;
}

void RunGroups::give_back(path folder) {
  if (remove_group(folder)) return;
  const std::lock_guard lock(mutex_);
  left_.push_back(std::move(folder));
}

void RunGroups::remove_empty() {
  const std::lock_guard lock(mutex_);
  std::erase_if(left_, [](const path& group) { return remove_group(group); });
}

ContainmentStatus RunGroups::status() const {
  const std::lock_guard lock(mutex_);
  if (!problem_.empty()) return {Containment::marks, problem_};
  if (folder_.empty()) return {Containment::marks, "control groups were not asked for"};
  return {Containment::groups, folder_.string()};
}

Descriptor open_group_beside_ours() {
  const auto place = find_group_place(read_facts("/proc/self/cgroup"), read_facts("/proc/self/mountinfo"));
  if (!place) return {};
  const auto above = place->folder == place->top ? place->top : place->folder.parent_path();
  const auto beside = above / "agenttask-outliving";
  if (::mkdir(beside.c_str(), 0755) != 0 && (errno != EEXIST || !is_ours(beside))) return {};
  return Descriptor(::open(beside.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

bool is_held_by_service() {
  std::error_code unknown;
  if (!std::filesystem::is_directory("/run/systemd/system", unknown)) return false;
  const auto place = find_group_place(read_facts("/proc/self/cgroup"), read_facts("/proc/self/mountinfo"));
  if (!place || place->folder == place->top) return false;
  const bool serves = std::any_of(place->folder.begin(), place->folder.end(),
                                  [](const path& part) { return part.string().ends_with(".service"); });
  if (!serves) return false;
  // Who leaves a group needs to write the one above both.
  const auto above = place->folder.parent_path();
  return ::access(above.c_str(), W_OK) != 0 || ::access((above / "cgroup.procs").c_str(), W_OK) != 0;
}

Result<GroupPlace> find_group_place(std::string_view self_cgroup, std::string_view mountinfo) {
  const auto none = [](std::string text) { return Error{ErrorCode::unsupported, std::move(text)}; };
  std::optional<path> own;
  std::istringstream groups{std::string(self_cgroup)};
  for (std::string line; std::getline(groups, line);) {
    if (line.starts_with("0::/")) own = path(line.substr(3));
  }
  if (!own) return none("this system has no control groups of version 2");
  if (std::find(own->begin(), own->end(), "..") != own->end() || own->string().ends_with(" (deleted)")) {
    return none("our own control group " + own->string() + " is not to be seen from here");
  }
  std::istringstream mounts{std::string(mountinfo)};
  for (std::string line; std::getline(mounts, line);) {
    const auto dash = line.find(" - ");
    if (dash == std::string::npos || !line.substr(dash + 3).starts_with("cgroup2 ")) continue;
    std::istringstream fields(line);
    std::string skipped;
    std::string root;
    std::string mount_point;
    if (!(fields >> skipped >> skipped >> skipped >> root >> mount_point) || !mount_point.starts_with('/'))
      continue;
    const path seen = unescape(root);
    if (!is_within(*own, seen)) continue;
    const path top = unescape(mount_point);
    const auto below = own->lexically_relative(seen);
    return GroupPlace{top, below == "." ? top : top / below};
  }
  return none("control groups of version 2 are not mounted where our own can be seen");
}

path group_name(std::string_view run_id) {
  const auto is_name = [](std::string_view text) {
    return !text.empty() && text.size() <= kLongestName && text != "." && text != ".." &&
           std::all_of(text.begin(), text.end(), [](unsigned char c) {
             return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
                    c == '_';
           });
  };
  const auto slash = run_id.find('/');
  const auto run = run_id.substr(0, slash);
  if (!is_name(run)) return {};
  path name = std::string(kPrefix) + std::string(run);
  if (slash == std::string_view::npos) return name;
  const auto part = run_id.substr(slash + 1);
  return is_name(part) ? name / std::string(part) : path();
}

bool is_group_called(std::string_view folder, std::string_view group) {
  if (!folder.starts_with(group)) return false;
  folder.remove_prefix(group.size());
  if (folder.empty()) return true;
  return folder.size() > 1 && folder.front() == '.' &&
         folder.find_first_not_of("0123456789", 1) == std::string_view::npos;
}

}  // namespace agenttask::os
