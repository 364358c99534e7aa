#include "agent/runner/outliving_recorder.hpp"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include "agent/runner/outcome.hpp"
#include "agent/runner/outliving_folder.hpp"
#include "agent/runner/spool.hpp"
#include "agent/workers/builtin_workers.hpp"
#include "agent/workers/run_wishes.hpp"
#include "platform/os/folder_watch.hpp"
#include "platform/os/process.hpp"
#include "platform/os/signals.hpp"

namespace agenttask::agent {
namespace {

constexpr std::chrono::seconds kBetweenLooks{1};  ///< where no event is missed, nothing is found by it
constexpr std::chrono::milliseconds kWithoutEvents{200};
constexpr std::chrono::seconds kBetweenEndAttempts{1};
constexpr int kEndAttemptsAtShutdown = 5;

/// Commands ask nothing of the device.
class NoTasks final : public TaskReader {
 public:
  [[nodiscard]] Result<Task> get(std::string_view) override { return none(); }
  [[nodiscard]] Result<TaskPage> list(const TaskFilter&, std::optional<std::int64_t>, std::size_t) override {
    return none();
  }
  [[nodiscard]] Result<std::vector<RoomMessage>> messages(std::string_view, std::size_t) override {
    return none();
  }

 private:
  static Error none() { return {ErrorCode::unsupported, "a run outside the agent sees no tasks"}; }
};

/// What the worker sees of the run.
class RecordedRun final : public RunContext {
 public:
  RecordedRun(const OutlivingFolder& folder, const OutlivingRequest& request, const Task& task,
              std::unique_ptr<Spool> standard_output, std::unique_ptr<Spool> standard_error,
              const Clock& clock)
      : folder_(folder),
        request_(request),
        wishes_(no_tasks_, task, request.run, clock),
        standard_output_(std::move(standard_output)),
        standard_error_(std::move(standard_error)) {}

  [[nodiscard]] const std::string& run_id() const override { return request_.run_id; }
  [[nodiscard]] std::filesystem::path process_record() const override { return folder_.processes(); }
  [[nodiscard]] std::stop_token stop() const override { return stop_.get_token(); }
  [[nodiscard]] StopCause stop_cause() const override { return cause_.load(); }
  void output(OutputStream stream, std::string_view bytes) override { spool(stream).append(bytes); }
  [[nodiscard]] OutputCount count(OutputStream stream) const override {
    return {spool(stream).total(), spool(stream).truncated()};
  }
  [[nodiscard]] std::int64_t run_number() const override { return request_.run; }
  [[nodiscard]] RunWishes& wishes() override { return wishes_; }
  void progress(std::string_view) override {}

  /// The first cause counts. Threads: any.
  void ask_to_stop(StopCause why) {
    StopCause none = StopCause::none;
    cause_.compare_exchange_strong(none, why);
    stop_.request_stop();
  }

 private:
  [[nodiscard]] Spool& spool(OutputStream stream) const {
    return stream == OutputStream::standard_output ? *standard_output_ : *standard_error_;
  }

  const OutlivingFolder& folder_;
  const OutlivingRequest& request_;
  NoTasks no_tasks_;
  RunWishes wishes_;
  std::unique_ptr<Spool> standard_output_;
  std::unique_ptr<Spool> standard_error_;
  std::stop_source stop_;
  std::atomic<StopCause> cause_ = StopCause::none;
};

/// Listens to all that may stop the run, for as long as it lives.
class StopWatch {
 public:
  StopWatch(RecordedRun& run, const OutlivingFolder& folder, DurationMilliseconds timeout,
            os::ServiceEvents& events, const Clock& clock)
      : system_([&run, &events](const std::stop_token& stop) {
          while (const auto event = events.wait(stop)) {
            if (*event != os::ServiceEvent::reload) run.ask_to_stop(StopCause::shutdown);
          }
        }),
        folder_([&run, folder, timeout, &clock](const std::stop_token& stop) {
          watch(run, folder, timeout, clock, stop);
        }) {}

 private:
  static void watch(RecordedRun& run, const OutlivingFolder& folder, DurationMilliseconds timeout,
                    const Clock& clock, const std::stop_token& stop) {
    const auto began = clock.monotonic();
    auto changes = os::FolderWatch::create();
    const bool hears = changes && (*changes)->watch({}, {folder.stop_file()});
    std::mutex mutex;
    std::condition_variable_any asked;
    while (!stop.stop_requested()) {
      if (const auto cause = folder.asked_to_stop()) run.ask_to_stop(*cause);
      std::chrono::milliseconds pause = hears ? kBetweenLooks : kWithoutEvents;
      if (timeout > 0) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(
            began + std::chrono::milliseconds(timeout) - clock.monotonic());
        if (left.count() <= 0) run.ask_to_stop(StopCause::timeout);
        if (left.count() > 0) pause = std::min(pause, left);
      }
      if (hears) {
        (void)(*changes)->wait(pause, stop);
      } else {
        std::unique_lock lock(mutex);
        asked.wait_for(lock, stop, pause, [] { return false; });
      }
    }
  }

  std::jthread system_;
  std::jthread folder_;
};

Task task_of(const OutlivingRequest& request) {
  Task task;
  task.spec.id = request.task_id;
  task.spec.type = "command";
  task.spec.data = request.data;
  task.spec.options.timeout = request.timeout;
  task.spec.options.outlives_agent = true;
  if (!request.option.empty()) task.state.chosen = ChoiceMade{request.option, "", 0};
  return task;
}

WorkResult work(const OutlivingFolder& folder, os::ProcessSupervisor& supervisor, os::ServiceEvents& events,
                const Clock& clock) {
  const auto request = folder.request();
  if (!request) return worker_error("the run could not begin outside the agent: " + request.error().message);
  auto standard_output = Spool::begin(folder.stream(OutputStream::standard_output));
  auto standard_error = Spool::begin(folder.stream(OutputStream::standard_error));
  if (!standard_output || !standard_error) {
    return worker_error("the run could not begin outside the agent: " +
                        (standard_output ? standard_error.error() : standard_output.error()).message);
  }
  const Task task = task_of(*request);
  RecordedRun run(folder, *request, task, *std::move(standard_output), *std::move(standard_error), clock);
  // What was asked for before it began is not begun.
  if (const auto cause = folder.asked_to_stop()) run.ask_to_stop(*cause);
  const StopWatch watch(run, folder, request->timeout, events, clock);
  WorkResult result = make_command_worker(supervisor)->execute(run, task);
  // It has stayed while agents came and went: what ended it is the system.
  if (result.reason == reason::kInterrupted)
    result.detail = "stopped because the system was shut down, or told to stop what ran outside the agent";
  return result;
}

/// A run that was claimed has an end, whatever goes wrong: memory and threads are what lacks first.
WorkResult try_to_work(const OutlivingFolder& folder, os::ProcessSupervisor& supervisor,
                       os::ServiceEvents& events, const Clock& clock) {
  try {
    return work(folder, supervisor, events, clock);
  } catch (const std::exception& failure) {
    return worker_error(std::string("the run outside the agent failed: ") + failure.what());
  }
}

}  // namespace

Result<void> record_outliving_run(const std::filesystem::path& path, os::ProcessSupervisor& supervisor,
                                  os::ServiceEvents& events, const Clock& clock) {
  const OutlivingFolder folder(path);
  const auto claimed = folder.claim();
  if (!claimed) return claimed.error();
  if (!*claimed) return {};
  const OutlivingEnd end{try_to_work(folder, supervisor, events, clock), clock.wall()};
  if (folder.write(end)) return {};
  // It waits for room, but not for ever when the system shuts down.
  std::atomic<bool> shut_down = false;
  std::optional<std::jthread> listener;
  try {
    listener.emplace([&](const std::stop_token& stop) {
      while (const auto event = events.wait(stop))
        shut_down = shut_down || *event != os::ServiceEvent::reload;
    });
  } catch (const std::system_error&) {  // NOLINT(bugprone-empty-catch): the end is what counts
  }
  for (int left = kEndAttemptsAtShutdown;;) {
    std::this_thread::sleep_for(kBetweenEndAttempts);
    const auto written = folder.write(end);
    if (written) return {};
    if (shut_down && --left == 0) return written.error();
    std::error_code unknown;
    if (!std::filesystem::exists(path, unknown) && !unknown) return written.error();  // nobody wants to know
  }
}

}  // namespace agenttask::agent
