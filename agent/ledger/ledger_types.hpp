#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "platform/base/clock.hpp"
#include "platform/protocol/chain.hpp"
#include "platform/protocol/task.hpp"

namespace agenttask::agent {

/// What happened to an answer to a poll.
struct Received {
  std::int64_t applied = 0;  ///< directives taken, those refused among them
  std::int64_t refused = 0;  ///< directives that could not be applied and were reported so
  bool resynced = false;     ///< a new epoch was adopted and a snapshot put into the outbox
  std::string ignored;       ///< why the answer, or its rest, was dropped; empty when it was not
};

/// Who set the hold under which a device starts nothing new. The numbers are stored.
enum class HeldBy : std::uint8_t {
  nobody = 0,
  unknown = 1,  ///< set by a version that did not note it
  device = 2,   ///< somebody at the console
  server = 3    ///< somebody at the server
};

/// Everything that a poll says about this device's past.
struct PollCursors {
  std::int64_t epoch = 0;
  Cursor directives;
  Cursor reports;
  std::string incarnation;
  std::vector<std::string> predecessors;  ///< newest first, back to the last that a server acknowledged
  bool hold = false;
  bool quarantined = false;  ///< the server said so, and nothing is started
  bool incomplete = false;   ///< it was saved from a damaged one, and no server has had its snapshot since
};

/// What became of the past of a device that is another node now.
struct AdoptedNode {
  std::string former_node;      ///< whose device this was; empty: nobody's, or it is the same node still
  std::int64_t cancelled = 0;   ///< its tasks that had not started
  std::int64_t running = 0;     ///< its tasks that run: they go on, once, and end here
  std::int64_t unreported = 0;  ///< reports for it that were not sent any more
};

/// What is left of a node that this device was.
struct FormerNode {
  std::string node_id;
  std::int64_t tasks = 0;    ///< that its server gave to this device, those that run among them
  std::int64_t running = 0;  ///< of these
};

struct Created {
  Task task;
  bool existed = false;  ///< the same request came before: nothing was created
};

struct Cancelled {
  Task task;
  bool stopping = false;  ///< it runs and was asked to stop; its end will say what became of it
};

/// Which tasks a list shows. Empty fields match all; several match together (AND).
struct TaskFilter {
  std::string type;
  std::optional<TaskStatus> status;
  std::vector<std::string> tags;  ///< all of them, whole and case-sensitive
  std::string room_id;
  std::string world_id;
  bool deleted = false;  ///< those that were deleted, and no others
};

struct TaskPage {
  std::vector<Task> tasks;                  ///< newest first, without `data` and `result`
  std::optional<std::int64_t> next_cursor;  ///< pass it for the next page; none: this was the last
};

/// How the ledger is doing, for `status` and `doctor`.
struct LedgerStatus {
  std::map<TaskStatus, std::int64_t> tasks;
  std::int64_t outbox_reports = 0;
  std::int64_t outbox_bytes = 0;
  std::int64_t outbox_budget = 0;
  std::int64_t file_bytes = 0;
  std::int64_t epoch = 0;
  Cursor directives;  ///< applied
  Cursor reports;     ///< written; those after `acknowledged` wait
  Cursor acknowledged;
  HeldBy held_by = HeldBy::nobody;
  std::string last_created;  ///< id of the task created last on this device; empty: none yet
  std::string node_id;       ///< empty before enrolment
  std::string quarantine;    ///< why the server wants nothing started; empty: it does not
  std::vector<FormerNode> former_nodes;
};

/// A run whose start is on disk.
struct StartedRun {
  Task task;  ///< with `data`, as it is run
  std::int64_t number = 1;
  std::string run_id;  ///< marks the processes of this run, also across a crash of the agent
};

/// What a run needs beside the ledger (a slot, files), taken before its start is committed. Where all have
/// let go of it and no such start came, there was none.
using Readiness = std::shared_ptr<void>;

/// A run whose start and end were one commit.
struct PassedRun {
  std::string task_id;
  std::int64_t number = 1;
  std::string type;
  RunStatus status = RunStatus::complete;
  std::string reason;
};

/// What a method of the ledger changed, told to those who subscribed after it is on disk.
struct LedgerChange {
  bool work = false;                  ///< something may be due: the scheduler should look again
  bool reports = false;               ///< the outbox has more to send
  bool hold = false;                  ///< the hold was switched
  bool health = false;                ///< the ledger can't be used any more, or can be again
  std::vector<std::string> stop;      ///< tasks that run and shall stop: somebody cancelled them
  std::vector<std::string> replaced;  ///< tasks that run and shall stop, as their next occurrence is due
  std::vector<std::string> tasks;     ///< tasks whose state changed
  /// Runs whose starts were committed with it, each with what was taken for it (Ledger::start_arrivals).
  std::vector<std::pair<StartedRun, Readiness>> begun;
  /// Runs that were started and ended with it.
  std::vector<PassedRun> passed;
};

/// The answer to start(): either `run`, or the reason why not.
struct StartAnswer {
  std::optional<StartedRun> run;
  std::string reason;  ///< outbox-full, held; empty where the task is simply not startable any more
};

/// A run that was started and has no end on disk: what a crash leaves.
struct OpenRun {
  std::string task_id;
  std::int64_t number = 1;
  std::string run_id;
  std::string boot_id;  ///< the boot it was started in
  OnInterrupt on_interrupt = OnInterrupt::fail;
  std::int64_t max_output_bytes = 0;
  bool outside = false;    ///< outside the agent's service: it may still be going on
  bool cancelled = false;  ///< somebody asked it to stop
  bool replaced = false;   ///< its next occurrence is due, and the schedule says that it shall stop for it
};

/// What a run asks for: applied with its successful end in one transaction, or dropped with any other. What
/// can't be applied any more (the task has ended meanwhile) is left out and noted in the result.
struct CreateWish {
  TaskSpec spec;  ///< with its id
};
struct UpdateWish {
  std::string task_id;
  std::string changes;  ///< JSON text, as in PATCH
};
struct DeleteWish {
  std::string task_id;  ///< may be the run's own task: it ends with this run
};
struct MessageWish {
  RoomMessage message;
};
using Wish = std::variant<CreateWish, UpdateWish, DeleteWish, MessageWish>;

/// How a run ended.
struct RunOutcome {
  RunStatus status = RunStatus::complete;  ///< complete, failed or cancelled
  std::string reason;                      ///< of a failure: one of `reason`
  std::string detail;                      ///< for people
  std::string result;                      ///< JSON text: success, data, error; without the output
  bool may_rerun = true;          ///< false: something of the run survived, so it must not run beside it
  std::vector<Wish> wishes = {};  ///< in the order they were made
  std::optional<UnixMilliseconds> ended_at = {};  ///< where it ended before now, while the agent was away
};

/// What becomes of a task that arrives and is due: it is started now with this, or is started and ends at
/// once.
using Admission = std::variant<Readiness, RunOutcome>;

/// Gives the kept output of a run piece by piece, each at most limits::kOutputChunkBytes, in order of stream
/// and offset; nothing at the end. Called within the transaction that records the end, so it must not call
/// the ledger.
using ChunkSource = std::function<std::optional<OutputChunk>()>;

/// One task that could start now, as far as the ledger knows.
struct ReadyTask {
  std::string id;
  std::string type;
  std::string concurrency_key;
  std::int64_t priority = 0;
  std::int64_t sequence = 0;  ///< order of arrival; with `priority` the place in the queue
};

/// What one call of Ledger::purge did.
struct Purged {
  std::int64_t tasks = 0;
  bool more = false;  ///< there may be more to do at once
};

/// When the ledger itself has something to do next, by the wall clock but where said.
struct LedgerTimes {
  std::optional<UnixMilliseconds> due;  ///< the next task becomes due
  /// The next wait that is a duration ends, or the next point of a grid comes, on the clock since boot.
  std::optional<DurationMilliseconds> delay_ends;
  std::optional<UnixMilliseconds> expires;  ///< the next waiting task expires
  std::optional<UnixMilliseconds>
      waiting_since;  ///< the oldest ready task whose present reason was not told yet
};

}  // namespace agenttask::agent
