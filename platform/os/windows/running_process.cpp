#include "platform/os/windows/running_process.hpp"

#include <algorithm>
#include <array>
#include <thread>
#include <utility>

#include "platform/os/windows/polite_stop.hpp"
#include "platform/os/windows/process_facts.hpp"

namespace agenttask::os {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::size_t kMostAtOnce = 64 * 1024;  // what an observer is told at a time
constexpr milliseconds kKillLimit{2000};        // how long killing is repeated before survivors are reported
constexpr milliseconds kFirstLook{2};           // between two looks at the job, doubled up to
constexpr milliseconds kLastLook{100};
// What a process that we kill ends with: 128 + 9, as everywhere.
constexpr unsigned kKilledCode = 137;
constexpr int kKillNumber = 9;

DWORD wait_milliseconds(std::optional<MonotonicTime> until) {
  if (!until) return INFINITE;
  const auto left = std::chrono::ceil<milliseconds>(*until - steady_clock::now());
  return static_cast<DWORD>(std::clamp<std::int64_t>(left.count(), 0, INFINITE - 1));
}

bool is_set(HANDLE event) {
  return event != nullptr && ::WaitForSingleObject(event, 0) == WAIT_OBJECT_0;
}

}  // namespace

RunningProcess::RunningProcess(Launched main, Handle standard_input, Handle standard_output,
                               Handle standard_error, const ProcessSpec& spec, std::shared_ptr<Job> job,
                               const RunJobs& jobs, const std::stop_token& stop, ProcessObserver& observer)
    : main_(std::move(main)),
      spec_(spec),
      job_(std::move(job)),
      jobs_(jobs),
      observer_(observer),
      began_(steady_clock::now()),
      input_(std::move(standard_input), spec.standard_input),
      out_{OutputPipe(std::move(standard_output)), OutputStream::standard_output, OutputText(::GetOEMCP())},
      err_{OutputPipe(std::move(standard_error)), OutputStream::standard_error, OutputText(::GetOEMCP())},
      stop_(stop) {
  outcome_.started = true;
}

RunningProcess::~RunningProcess() {
  if (!finished_) job_->kill(kKilledCode);
}

ProcessOutcome RunningProcess::follow() {
  observer_.started(main_.pid);
  if (spec_.interactive) {
    observer_.opened(input_);
  } else {
    input_.close();
  }
  watch_main();
  const bool to_be_stopped = outcome_.stopped || outcome_.timed_out;
  if (to_be_stopped) {
    observer_.stopping(outcome_.timed_out);
    ask_to_stop();
    await_all_gone(steady_clock::now() + spec_.grace);
    kill_all();
  }
  finished_ = true;
  drain();
  // What runs in the background now was left there on purpose.
  if (!to_be_stopped) job_->let_go();
  fill_outcome();
  return std::move(outcome_);
}

void RunningProcess::watch_main() {
  const auto deadline = spec_.timeout.count() == 0 ? std::optional<MonotonicTime>() : began_ + spec_.timeout;
  while (!end_) {
    if (stop_.requested()) {
      outcome_.stopped = true;
      return;
    }
    if (deadline && steady_clock::now() >= *deadline) {
      outcome_.timed_out = true;
      return;
    }
    take_events(deadline, true);
  }
}

void RunningProcess::take_events(std::optional<MonotonicTime> until, bool watch_stop) {
  for (Stream* stream : {&out_, &err_}) stream->pipe.begin();
  std::array<HANDLE, 5> watched{};
  DWORD count = 0;
  const auto watch = [&](HANDLE handle) {
    if (handle != nullptr) watched[count++] = handle;
  };
  if (!end_) watch(main_.process.get());
  if (watch_stop) watch(stop_.get());
  for (const Stream* stream : {&out_, &err_}) {
    if (stream->pipe.is_open()) watch(stream->pipe.event());
  }
  watch(input_.event());
  if (count == 0) {
    ::Sleep(wait_milliseconds(until));
  } else {
    ::WaitForMultipleObjects(count, watched.data(), FALSE, wait_milliseconds(until));
  }
  for (Stream* stream : {&out_, &err_}) read(*stream);
  if (is_set(input_.event())) input_.advance();
  look_for_end();
}

void RunningProcess::read(Stream& stream) {
  if (const std::string_view bytes = stream.pipe.take(); !bytes.empty())
    tell(stream.name, stream.text.take(bytes));
  if (!stream.pipe.is_open() && !std::exchange(stream.finished, true))
    tell(stream.name, stream.text.finish());
}

void RunningProcess::tell(OutputStream name, std::string_view bytes) {
  for (; !bytes.empty(); bytes.remove_prefix(std::min(bytes.size(), kMostAtOnce))) {
    observer_.output(name, bytes.substr(0, kMostAtOnce));
  }
}

void RunningProcess::look_for_end() {
  if (end_ || ::WaitForSingleObject(main_.process.get(), 0) != WAIT_OBJECT_0) return;
  DWORD code = 0;
  ::GetExitCodeProcess(main_.process.get(), &code);
  end_ = code;
  ended_ = steady_clock::now();
}

std::vector<std::shared_ptr<Job>> RunningProcess::jobs_of_run() const {
  std::vector<std::shared_ptr<Job>> jobs;
  if (!spec_.run_id.empty()) jobs = jobs_.find({&spec_.run_id, 1});
  if (std::find(jobs.begin(), jobs.end(), job_) == jobs.end()) jobs.push_back(job_);
  return jobs;
}

bool RunningProcess::all_gone() const {
  const auto jobs = jobs_of_run();
  return std::all_of(jobs.begin(), jobs.end(), [](const auto& job) { return job->is_empty(); });
}

void RunningProcess::ask_to_stop() const {
  for (const auto& job : jobs_of_run()) {
    const auto pids = job->members();
    // The group of a part has the number of its own first process, which it was started with.
    if (!pids.empty()) ask_to_end(job == job_ ? main_.pid : pids.front(), pids);
  }
}

void RunningProcess::await_all_gone(MonotonicTime until) {
  auto look = kFirstLook;
  while (steady_clock::now() < until) {
    if (!end_) {
      take_events(until, false);
      continue;
    }
    if (all_gone()) return;
    take_events(std::min(until, steady_clock::now() + look), false);
    look = std::min(look * 2, kLastLook);
  }
}

void RunningProcess::kill_all() {
  const auto until = steady_clock::now() + kKillLimit;
  auto look = kFirstLook;
  look_for_end();
  killed_ = !end_;
  for (;;) {
    const auto jobs = jobs_of_run();
    for (const auto& job : jobs) job->kill(kKilledCode);
    look_for_end();
    if (end_ && all_gone()) return;
    if (steady_clock::now() >= until) {
      for (const auto& job : jobs) {
        for (const auto pid : job->members()) outcome_.survivors.push_back(describe_process(pid));
      }
      return;
    }
    std::this_thread::sleep_for(look);
    look = std::min(look * 2, kLastLook);
  }
}

void RunningProcess::drain() {
  const auto until = steady_clock::now() + spec_.drain;
  while (streams_open() && steady_clock::now() < until) take_events(until, false);
  outcome_.streams_left_open = streams_open();
  for (Stream* stream : {&out_, &err_}) {
    if (!std::exchange(stream->finished, true)) tell(stream->name, stream->text.finish());
  }
}

void RunningProcess::fill_outcome() {
  outcome_.duration =
      std::chrono::duration_cast<milliseconds>((end_ ? ended_ : steady_clock::now()) - began_);
  if (!end_) return;
  if (killed_ && *end_ == kKilledCode) {
    outcome_.signal_number = kKillNumber;
    outcome_.signal_name = "SIGKILL";
  } else {
    outcome_.exit_code = static_cast<int>(*end_);
  }
}

}  // namespace agenttask::os
