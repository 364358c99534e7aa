#include "platform/os/windows/job.hpp"

#include <algorithm>
#include <cstddef>

#include "platform/os/windows/system_error.hpp"

namespace agenttask::os {
namespace {

bool set_limits(HANDLE job, DWORD flags) {
  JOBOBJECT_EXTENDED_LIMIT_INFORMATION limits{};
  limits.BasicLimitInformation.LimitFlags = flags;
  return ::SetInformationJobObject(job, JobObjectExtendedLimitInformation, &limits, sizeof limits) != 0;
}

Error job_error(std::string_view what, DWORD code) {
  auto error = system_error(what, code);
  error.code = ErrorCode::unavailable;
  return error;
}

}  // namespace

Result<Job> Job::create() {
  Handle handle(::CreateJobObjectW(nullptr, nullptr));
  if (!handle.is_open()) return job_error("cannot make a job object", ::GetLastError());
  if (!set_limits(handle.get(), JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE)) {
    return job_error("cannot bind a job object to the agent", ::GetLastError());
  }
  return Job(std::move(handle));
}

std::vector<std::uint32_t> Job::members() const {
  constexpr std::size_t kMost = 1 << 16;
  for (std::size_t room = 64; room <= kMost; room *= 4) {
    const std::size_t bytes =
        offsetof(JOBOBJECT_BASIC_PROCESS_ID_LIST, ProcessIdList) + room * sizeof(ULONG_PTR);
    std::vector<std::max_align_t> buffer(bytes / sizeof(std::max_align_t) + 1);
    auto* list = reinterpret_cast<JOBOBJECT_BASIC_PROCESS_ID_LIST*>(buffer.data());
    const bool read = ::QueryInformationJobObject(handle_.get(), JobObjectBasicProcessIdList, list,
                                                  static_cast<DWORD>(bytes), nullptr) != 0;
    if (!read && ::GetLastError() != ERROR_MORE_DATA) return {};
    if (!read || list->NumberOfProcessIdsInList < list->NumberOfAssignedProcesses) continue;
    std::vector<std::uint32_t> pids;
    for (DWORD at = 0; at < list->NumberOfProcessIdsInList; ++at)
      pids.push_back(static_cast<std::uint32_t>(list->ProcessIdList[at]));
    return pids;
  }
  return {};
}

bool Job::is_empty() const {
  JOBOBJECT_BASIC_ACCOUNTING_INFORMATION counts{};
  return ::QueryInformationJobObject(handle_.get(), JobObjectBasicAccountingInformation, &counts,
                                     sizeof counts, nullptr) != 0 &&
         counts.ActiveProcesses == 0;
}

void Job::kill(unsigned exit_code) const {
  ::TerminateJobObject(handle_.get(), exit_code);
}

void Job::let_go() const {
  set_limits(handle_.get(), 0);
}

bool is_of_run(std::string_view id, std::string_view run_id) {
  return !run_id.empty() && id.starts_with(run_id) &&
         (id.size() == run_id.size() || id[run_id.size()] == '/');
}

Result<std::shared_ptr<Job>> RunJobs::make(const std::string& run_id) {
  auto job = Job::create();
  if (!job) return job.error();
  auto shared = std::make_shared<Job>(*std::move(job));
  const std::lock_guard lock(mutex_);
  if (!run_id.empty()) jobs_.emplace(run_id, shared);
  return shared;
}

std::vector<std::shared_ptr<Job>> RunJobs::find(std::span<const std::string> run_ids) const {
  std::vector<std::shared_ptr<Job>> found;
  const std::lock_guard lock(mutex_);
  for (const auto& [id, job] : jobs_) {
    const auto is_wanted = [&name = id](const std::string& run_id) { return is_of_run(name, run_id); };
    if (std::any_of(run_ids.begin(), run_ids.end(), is_wanted)) found.push_back(job);
  }
  return found;
}

void RunJobs::remove_empty() {
  const std::lock_guard lock(mutex_);
  // One that only this list knows is of a run that has ended.
  std::erase_if(jobs_,
                [](const auto& entry) { return entry.second.use_count() == 1 && entry.second->is_empty(); });
}

}  // namespace agenttask::os
