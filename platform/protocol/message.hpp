#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "platform/base/error.hpp"
#include "platform/protocol/chain.hpp"
#include "platform/protocol/task.hpp"
#include "platform/protocol/task_request.hpp"

/// The messages of the two streams: one JSON object a line. docs/protocol.md is the reference. Unknown fields
/// are ignored, unknown kinds come out as `UnknownMessage`, which the receiver records as refused and passes.
namespace agenttask {

/// The version both sides announce; two minor versions back are understood.
constexpr int kProtocolMajor = 1;
constexpr int kProtocolMinor = 0;
[[nodiscard]] std::string protocol_version();  ///< "1.0"
[[nodiscard]] bool understands_protocol(std::string_view version);

struct UnknownMessage {
  std::string kind;
  std::string problem;  ///< why it could not be read
};

// Directives: server to device.
struct TaskDirective {
  TaskSpec spec;
  UnixMilliseconds add_time = 0;
};
struct UpdateDirective {
  std::string task_id;
  std::string changes;
};  ///< `changes`: JSON text, as in PATCH
struct CancelDirective {
  std::string task_id;
};
struct DeleteDirective {
  std::string task_id;
};
/// An operator's answer to a task's question.
struct ChooseDirective {
  std::string task_id;
  ChoiceMade made;
  /// Which question it answers: of a recurring task the occurrence (0: an extra run), and how many runs the
  /// task had had. Absent: the one that is open.
  std::optional<std::int64_t> occurrence = {};
  std::optional<std::int64_t> runs = {};
};
struct PauseDirective {
  std::string task_id;
};
struct ResumeDirective {
  std::string task_id;
};
/// Run it now, besides its schedule.
struct RunDirective {
  std::string task_id;
  /// How many runs the task had had when it was asked for. Absent: not known.
  std::optional<std::int64_t> runs = {};
  /// Which request this is, a UUID: however often it is repeated, it is answered once. Empty: an older server
  /// asks, and it is refused where the task has run since.
  std::string request = {};
};
struct SettingsDirective {
  std::optional<bool> hold;
};

struct Directive {
  std::int64_t sequence = 0;
  std::variant<TaskDirective, UpdateDirective, CancelDirective, DeleteDirective, ChooseDirective,
               PauseDirective, ResumeDirective, RunDirective, SettingsDirective, UnknownMessage>
      body;
};

// Reports: device to server.
/// A run's start is on the device's disk.
struct StartedReport {
  std::string task_id;
  std::int64_t run = 1;
  UnixMilliseconds time = 0;
  std::int64_t occurrence = 0;
  std::string option = {};
};
/// A piece of a run's kept output.
struct OutputReport {
  std::string task_id;
  std::int64_t run = 1;
  OutputChunk chunk;
};
/// A run ended, or a task ended without one (`run` empty: cancelled, expired, rejected before it ran).
/// `status` is the task's status from now on: `sent` again for a retry.
struct EndedReport {
  std::string task_id;
  std::optional<Run> run;
  TaskState state;
};
/// Somebody, or the default, chose: the task waits to run with it.
struct ChosenReport {
  std::string task_id;
  TaskState state;  ///< with `chosen`
};
/// A message that a successful run, or somebody on the device, posted.
struct MessageReport {
  RoomMessage message;
};
/// Something else about the task changed: its spec by an update, its reason, that it was deleted. The whole
/// task, as the device has it now, without `data` and `result`.
struct ChangedReport {
  Task task;
};
/// A task that the device has and the server may not know: created here, or part of a snapshot. Whole, with
/// its runs.
struct CreatedReport {
  Task task;
  std::vector<Run> runs;
  bool snapshot = false;
};
/// The snapshot that a new epoch asks for is complete.
struct SnapshotEndReport {
  std::int64_t tasks = 0;
};
/// A directive could not be applied; the cursor moved on.
struct RefusedReport {
  std::int64_t directive = 0;
  std::string task_id;
  std::string code;
  std::string message;
};

struct Report {
  std::int64_t sequence = 0;
  std::variant<StartedReport, OutputReport, EndedReport, ChosenReport, MessageReport, ChangedReport,
               CreatedReport, SnapshotEndReport, RefusedReport, UnknownMessage>
      body;
};

/// One line, without newline.
[[nodiscard]] std::string encode(const Directive& directive);
[[nodiscard]] std::string encode(const Report& report);
/// An error only where the line is not a JSON object with a `sequence`: then the stream itself is broken.
[[nodiscard]] Result<Directive> decode_directive(std::string_view line);
[[nodiscard]] Result<Report> decode_report(std::string_view line);

/// What a device can do.
struct WorkerSummary {
  static constexpr std::size_t kMostNames = 1000;  ///< of types, and of services; further ones are left out
  std::vector<std::string> types;                  ///< task types that have a worker
  std::vector<std::string> services;               ///< that workers offer to each other
  std::int64_t problems = 0;                       ///< workers that can't be used
  bool operator==(const WorkerSummary&) const = default;
};
/// JSON text: `types`, `services`, `problems`.
[[nodiscard]] std::string encode(const WorkerSummary& workers);

/// Why a device's ledger can't be used now: it starts nothing and acknowledges nothing until it can.
struct LedgerProblem {
  std::string code;    ///< stable: an ErrorCode as it is written
  std::string detail;  ///< for people: what is wrong, and what mends it
  bool operator==(const LedgerProblem&) const = default;
};
/// JSON text: `problem`, `detail`.
[[nodiscard]] std::string encode(const LedgerProblem& problem);

/// What a device sends to ask for directives. It acknowledges all directives up to `directives`, and says
/// which of its reports it saw acknowledged.
struct PollRequest {
  std::string protocol;
  std::string version;   ///< of the agent
  std::string platform;  ///< linux-x86_64
  std::string name;      ///< the host's name
  std::int64_t epoch = 0;
  Cursor directives;
  Cursor reports;
  std::string incarnation;                ///< random, new at each start
  std::vector<std::string> predecessors;  ///< those before it, back to the last that a server acknowledged
  DurationMilliseconds wait = 0;
  UnixMilliseconds time = 0;                  ///< the device's wall clock, for `clockOffset`
  bool hold = false;                          ///< whether the device starts nothing new
  std::vector<std::string> watching;          ///< tasks whose live output the device is sending
  bool quarantined = false;                   ///< whether the device knows that it is in quarantine
  std::optional<WorkerSummary> workers = {};  ///< after a start, and when it has changed; none: as before
  /// Set: the rest says nothing of the device's past, and it is given nothing to store.
  std::optional<LedgerProblem> ledger = {};
  bool incomplete = false;  ///< the ledger was saved from a damaged one, and may have lost what it was given
};
[[nodiscard]] std::string encode(const PollRequest& request);
[[nodiscard]] Result<PollRequest> decode_poll_request(std::string_view text);

/// The first line of the answer to a poll; directives follow, one a line.
struct PollAnswer {
  std::string protocol;
  std::int64_t epoch = 0;
  bool resync = false;      ///< adopt `epoch`, begin at sequence 0, send a snapshot
  std::string quarantined;  ///< not empty: start nothing until an answer no longer says so; the reason
  UnixMilliseconds time = 0;
  std::string name;                ///< what the device is called, where that is not what its poll said
  std::vector<std::string> watch;  ///< tasks whose live output somebody follows
  std::optional<Cursor>
      after;  ///< the server's cursor before the first of `lines`; the device checks its chain
  std::vector<std::string> lines;  ///< the directives' lines, verbatim: the chain runs over them
};
[[nodiscard]] std::string encode(const PollAnswer& answer);
[[nodiscard]] Result<PollAnswer> decode_poll_answer(std::string_view text);

/// A batch of reports: a first line with `epoch`, `incarnation` and `after`, the cursor before the first of
/// them.
struct ReportBatch {
  std::string protocol;
  std::int64_t epoch = 0;
  std::string incarnation;
  Cursor after;
  std::vector<std::string> lines;
};
[[nodiscard]] std::string encode(const ReportBatch& batch);
[[nodiscard]] Result<ReportBatch> decode_report_batch(std::string_view text);

struct ReportAnswer {
  std::int64_t epoch = 0;
  bool resync = false;
  Cursor reports;  ///< all up to here are stored
};
[[nodiscard]] std::string encode(const ReportAnswer& answer);
[[nodiscard]] Result<ReportAnswer> decode_report_answer(std::string_view text);

}  // namespace agenttask
