#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "platform/base/clock.hpp"
#include "platform/base/error.hpp"
#include "platform/protocol/limits.hpp"

namespace agenttask {

/// Contract section 3. The last three are ends: a task that reached one never changes again.
enum class TaskStatus : std::uint8_t { pending, sent, awaiting_choice, running, complete, failed, cancelled };

[[nodiscard]] std::string_view to_string(TaskStatus status);
[[nodiscard]] Result<TaskStatus> parse_task_status(std::string_view name);
[[nodiscard]] constexpr bool has_ended(TaskStatus status) {
  return status >= TaskStatus::complete;
}
/// The one transition table of the system: whether a task may go from one status to the other.
[[nodiscard]] bool may_become(TaskStatus from, TaskStatus to);

/// The names of `reason`: why a task that has not ended waits, or why it failed. Stable, part of the API.
namespace reason {
// waits
constexpr std::string_view kDeviceOffline = "device-offline";
constexpr std::string_view kNotDue = "not-due";
constexpr std::string_view kNoWorker = "no-worker";
constexpr std::string_view kNoSlot = "no-slot";
constexpr std::string_view kKeyHeld = "key-held";
constexpr std::string_view kPaused = "paused";
constexpr std::string_view kHeld = "held";
constexpr std::string_view kValidateFalse = "validate-false";
constexpr std::string_view kRetryBackoff = "retry-backoff";
constexpr std::string_view kLedgerUnwritable = "ledger-unwritable";
constexpr std::string_view kOutboxFull = "outbox-full";
constexpr std::string_view kQuarantined = "quarantined";
// failed
constexpr std::string_view kExitStatus = "exit-status";
constexpr std::string_view kTimeout = "timeout";
constexpr std::string_view kInterrupted = "interrupted";
constexpr std::string_view kExpired = "expired";
constexpr std::string_view kRejected = "rejected";
constexpr std::string_view kInvalid = "invalid";
constexpr std::string_view kWorkerError = "worker-error";
}  // namespace reason

enum class OnInterrupt : std::uint8_t { fail, rerun };

/// `options.retry`: attempts after `exit-status`, `timeout` and `worker-error`.
struct RetryPolicy {
  std::int64_t max_attempts = 1;        ///< runs in all, the first included
  DurationMilliseconds backoff = 1000;  ///< before the second attempt; doubles, with jitter
  DurationMilliseconds max_backoff = 3600'000;
  bool operator==(const RetryPolicy&) const = default;
};

/// `options`: how to run it (contract section 4).
struct TaskOptions {
  DurationMilliseconds timeout = limits::kDefaultTimeout;  ///< of one run; 0: none
  std::optional<UnixMilliseconds> expires_at;              ///< not started by then: failed, expired
  std::optional<RetryPolicy> retry;
  OnInterrupt on_interrupt = OnInterrupt::fail;
  std::int64_t max_output_bytes = limits::kDefaultMaxOutputBytes;  ///< of each stream
  std::int64_t priority = 0;                                       ///< higher goes first
  std::string concurrency_key;                                     ///< empty: none
  /// It runs outside the agent's service: a stop, an upgrade and a crash of the agent leave it running. Of
  /// `command` only.
  bool outlives_agent = false;
  bool operator==(const TaskOptions&) const = default;
};

/// What becomes of an occurrence that is due while the one before has not ended.
enum class Overlap : std::uint8_t {
  skip,             ///< it is left out and counted
  queue,            ///< it waits its turn
  cancel_previous,  ///< the one before is stopped for it
};
[[nodiscard]] std::string_view to_string(Overlap overlap);  ///< skip, queue, cancelPrevious
[[nodiscard]] Result<Overlap> parse_overlap(std::string_view name);

/// What becomes of occurrences that were due while the agent was down or the machine slept.
enum class CatchUp : std::uint8_t {
  once,  ///< one run for all of them
  all,   ///< each, in order
  skip,  ///< none
};
[[nodiscard]] std::string_view to_string(CatchUp catch_up);
[[nodiscard]] Result<CatchUp> parse_catch_up(std::string_view name);

/// `schedule` (contract section 5).
struct TaskSchedule {
  std::optional<UnixMilliseconds> scheduled_for;        ///< not before; the first run of a recurring task
  std::optional<DurationMilliseconds> update_interval;  ///< repeats on a fixed grid
  DurationMilliseconds jitter = 0;  ///< a stable part of it is added for each task and device
  Overlap overlap = Overlap::skip;
  CatchUp catch_up = CatchUp::once;
  [[nodiscard]] bool recurs() const { return update_interval.has_value(); }
  bool operator==(const TaskSchedule&) const = default;
};

/// One of the answers that a task waits for (contract section 6).
struct Choice {
  std::string name;
  std::string description;
  bool operator==(const Choice&) const = default;
};

/// Who on the device may choose; operators always may.
enum class Chooser : std::uint8_t {
  operator_,  ///< those who may run tasks
  user,       ///< whoever is logged in
};
[[nodiscard]] std::string_view to_string(Chooser chooser);  ///< operator, user
[[nodiscard]] Result<Chooser> parse_chooser(std::string_view name);

/// A choice that was made, or asked for.
struct ChoiceMade {
  std::string option;  ///< the name of the choice
  std::string by;      ///< `operator:LABEL`, `user:NAME`, `default`
  UnixMilliseconds time = 0;
  bool operator==(const ChoiceMade&) const = default;
};

/// What somebody asked for. `data` and `metadata` are JSON text as encode_json writes it: what arrived is
/// what is kept.
struct TaskSpec {
  std::string id;
  std::string node_id;
  std::string type;
  std::string description;
  std::vector<std::string> tags;
  std::string room_id;
  std::string world_id;
  std::string data = "{}";
  std::string metadata = "{}";
  TaskOptions options;
  TaskSchedule schedule;
  std::vector<Choice> choices;  ///< empty: it asks nobody
  std::string default_choice;   ///< what counts when nobody chose in time; empty: then it fails as expired
  /// Until when it may be chosen. A recurring task asks for each occurrence: the same time after each as
  /// this is after the first.
  std::optional<UnixMilliseconds> choice_expires_at;
  Chooser chooser = Chooser::operator_;
  [[nodiscard]] const Choice* find_choice(std::string_view name) const;
  bool operator==(const TaskSpec&) const = default;
};

/// What happened to it.
struct TaskState {
  TaskStatus status = TaskStatus::pending;
  std::string reason;  ///< one of `reason`, or empty
  std::string detail;  ///< for people
  bool paused = false;
  UnixMilliseconds add_time = 0;
  std::optional<UnixMilliseconds> sent_time;
  std::optional<UnixMilliseconds> start_time;  ///< of the last run
  std::optional<UnixMilliseconds> end_time;
  UnixMilliseconds updated_at = 0;
  std::optional<UnixMilliseconds> next_run_at;
  std::int64_t run_count = 0;
  std::int64_t missed_count = 0;     ///< occurrences that were due and never run
  std::int64_t occurrence = 0;       ///< of a recurring task: the number of the last that was due; else 0
  std::optional<ChoiceMade> chosen;  ///< what the present occurrence, or the task, was answered
  std::optional<ChoiceMade> choice_requested;  ///< an operator's answer that the device has not confirmed
  std::optional<UnixMilliseconds> cancel_requested_at;  ///< asked, and the device has not answered yet
  std::optional<UnixMilliseconds> deleted_at;
  std::string result;  ///< JSON text of the last run's result, empty while there is none
  bool operator==(const TaskState&) const = default;
};

struct Task {
  TaskSpec spec;
  TaskState state;
  bool operator==(const Task&) const = default;
};

enum class RunStatus : std::uint8_t { running, complete, failed, cancelled };
[[nodiscard]] std::string_view to_string(RunStatus status);
[[nodiscard]] Result<RunStatus> parse_run_status(std::string_view name);

/// One run of a task. Numbers count from 1.
struct Run {
  std::string task_id;
  std::int64_t number = 1;
  RunStatus status = RunStatus::running;
  std::string reason;
  UnixMilliseconds start_time = 0;
  std::optional<UnixMilliseconds> end_time;
  std::string result;           ///< JSON text, without the output; empty while it runs
  std::int64_t occurrence = 0;  ///< of a recurring task; 0: one that somebody asked for in between
  std::string option = {};      ///< the choice it ran with; empty: none
  bool operator==(const Run&) const = default;
};

/// What a worker, or somebody on the device, posted to a room.
struct RoomMessage {
  std::string id;
  std::string node_id;
  std::string room_id;
  std::string world_id;
  std::string task_id;         ///< empty: no worker posted it
  std::int64_t run = 0;        ///< of the task
  std::string content = "{}";  ///< JSON text of an object, as a rule with `text`
  UnixMilliseconds time = 0;   ///< of the device
  bool operator==(const RoomMessage&) const = default;
};

enum class OutputStream : std::uint8_t { standard_output, standard_error };
[[nodiscard]] std::string_view to_string(OutputStream stream);  ///< stdout, stderr
[[nodiscard]] Result<OutputStream> parse_output_stream(std::string_view name);

/// Kept output of a run: `bytes` stood at `offset` of the stream. A gap between two chunks was dropped.
struct OutputChunk {
  OutputStream stream = OutputStream::standard_output;
  std::int64_t offset = 0;
  std::string bytes;
  bool operator==(const OutputChunk&) const = default;
};

}  // namespace agenttask
