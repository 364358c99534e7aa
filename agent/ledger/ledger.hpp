#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/ledger/ledger_types.hpp"
#include "platform/base/clock.hpp"
#include "platform/base/error.hpp"
#include "platform/protocol/message.hpp"
#include "platform/protocol/task.hpp"

namespace agenttask::agent {

struct LedgerOptions {
  std::string boot_id;  ///< of the host's present boot
  /// Bytes of reports that may wait. Past seven eighths of it kept output is dropped and counted, past all of
  /// it new runs are refused (`outbox-full`); ends always find room.
  std::int64_t outbox_budget = 256LL * 1024 * 1024;
  /// Bytes of kept output on this device. Past it the oldest that the server has is removed.
  std::int64_t output_budget = 1024LL * 1024 * 1024;
  /// Ended tasks whose reports were acknowledged are removed after this long; their ids are remembered twice
  /// as long.
  DurationMilliseconds retention = 30 * limits::kDay;
  /// Of one task; older ones that the server has are removed.
  std::int64_t keep_runs = 100;
  /// On this device; older ones that the server has are removed.
  std::int64_t keep_messages = 10'000;
  std::optional<std::int64_t> max_page_count;  ///< a limit of the file's size, for tests of a full disk
  std::function<double()> fraction;  ///< draws from [0, 1) for the jitter of retries; empty: the system's
};

/// The device's durable record of what it was asked to do, what it started and how it ended: the inbox and
/// outbox of the two streams (docs/protocol.md).
///
/// It works without a server: before the first contact (epoch 0) nothing waits in the outbox, and the
/// snapshot that a server's first epoch asks for tells it everything.
///
/// Threads: every method may be called from any thread; each is one transaction. Subscribers are called on
/// the thread that changed something, after the commit and outside the ledger's lock, so they may call the
/// ledger. Crash: what a method has answered survives power loss. Errors: those of platform/storage;
/// `not_found`, `conflict`, `invalid`, `limit` where said.
class Ledger {
 public:
  /// Opens or creates `file` for this process alone; `unavailable` where another agent holds it. Begins a new
  /// incarnation.
  [[nodiscard]] static Result<std::unique_ptr<Ledger>> open(const std::filesystem::path& file,
                                                            const Clock& clock, LedgerOptions options = {});
  /// The same where the file may be unusable: then every method answers why, until try_again() succeeds.
  [[nodiscard]] static std::unique_ptr<Ledger> open_or_wait(const std::filesystem::path& file,
                                                            const Clock& clock, LedgerOptions options = {});
  /// Why the ledger can't be used: it could not be opened, or the disk refused the last thing that was done
  /// with it. None: it can.
  [[nodiscard]] std::optional<LedgerProblem> problem() const;
  /// Gives back the memory that it keeps for the next use, which then takes a little longer: for
  /// an agent that waits.
  void release_memory();
  /// Opens it where it is not open yet, and writes something: problem() is over when that succeeds.
  /// Subscribers are told.
  [[nodiscard]] Result<void> try_again();
  ~Ledger();
  Ledger(const Ledger&) = delete;
  Ledger& operator=(const Ledger&) = delete;

  /// Calls `listener` after each change, until the returned handle is destroyed (which waits for a call under
  /// way, so don't destroy it from within the call).
  using Listener = std::function<void(const LedgerChange&)>;
  [[nodiscard]] std::shared_ptr<void> subscribe(Listener listener);

  /// Asks `ready` of a task that has just arrived and is due: whether it can be started in the same commit,
  /// as one commit is quicker than two. It takes what the run needs; the run comes with a LedgerChange. Or it
  /// says how the run ended, where that is nothing but computed from the task. Nothing: it waits for start()
  /// like any other. `ready` is called within the write, on any thread, so it must be quick and must not call
  /// the ledger. Set once, before anything arrives.
  using Ready = std::function<std::optional<Admission>(const Task&)>;
  void start_arrivals(Ready ready);

  // ---- the two streams

  /// Applies the directives of an answer in order, each with its cursor, and a resync where it asks for one.
  /// What it has is skipped; what can't be applied is reported as refused and passed; a gap or another chain
  /// ends it (`ignored`).
  [[nodiscard]] Result<Received> receive(const PollAnswer& answer);
  [[nodiscard]] Result<PollCursors> poll_cursors();
  /// The oldest reports that wait, at least one if there is any; `protocol` is filled in.
  [[nodiscard]] Result<ReportBatch> pending_reports(std::size_t most_reports, std::size_t most_bytes);
  /// Forgets what the server stored. A cursor that is not on this device's chain changes nothing.
  [[nodiscard]] Result<Received> acknowledge(const ReportAnswer& answer);
  /// A server answered a poll of this incarnation: those before it need not be named again.
  [[nodiscard]] Result<void> incarnation_acknowledged();
  /// Whose tasks these are, after enrolment. Another node than before: what the former one's server asked for
  /// and has not started is cancelled, what runs goes on but is not run again, and what was not reported yet
  /// goes nowhere. Tasks made on this device stay, and the next server gets a snapshot of them. Those of the
  /// former node stay readable here until retention; no other server hears of them, unless it asks for the
  /// same id, or the device becomes that node again.
  [[nodiscard]] Result<AdoptedNode> adopt_node(std::string_view node_id);
  /// The device belongs to no server: what waited for it goes nowhere, and what happens from now on is told
  /// to the next one in a snapshot. A quarantine, which nobody could end any more, is over; what the server
  /// asked for and has not started is cancelled then, as another device may have it, and what runs is not run
  /// again. Without a quarantine the tasks go on.
  [[nodiscard]] Result<void> leave_server();

  // ---- what people on the device ask

  /// Stores a task. An empty id is made here. The same id with the same request gives the task that is there;
  /// with another request `conflict`. Also after it was removed: then the answer says how it ended, and
  /// little else.
  [[nodiscard]] Result<Created> create(TaskSpec spec);
  /// `changes` is JSON text, as in PATCH. `conflict` when it has ended.
  [[nodiscard]] Result<Task> update(std::string_view id, std::string_view changes);
  /// Ends what waits, asks what runs to stop; what has ended stays as it is.
  [[nodiscard]] Result<Cancelled> cancel(std::string_view id);
  /// As cancel, and marks it deleted.
  [[nodiscard]] Result<Cancelled> remove(std::string_view id);
  /// Starts no more of it until resume(); a run goes on. Pausing twice is once. `conflict` (field `status`)
  /// for this and the next two when it has ended.
  [[nodiscard]] Result<Task> pause(std::string_view id);
  /// Goes on with the next point of its grid, or waits for its time again.
  [[nodiscard]] Result<Task> resume(std::string_view id);
  /// Runs it once, besides its schedule; `conflict` while it runs or waits for a choice.
  [[nodiscard]] Result<Task> run_now(std::string_view id);
  /// Answers its question: the first answer wins. `by` as in ChoiceMade. `invalid` (field `option`) names the
  /// valid choices; `conflict` who was first, or why nothing is asked.
  [[nodiscard]] Result<Task> choose(std::string_view id, std::string_view option, std::string_view by);
  /// Posts a message; its id, node and time are filled in here.
  [[nodiscard]] Result<RoomMessage> post(RoomMessage message);
  /// The newest messages of a room (empty: of all), oldest first.
  [[nodiscard]] Result<std::vector<RoomMessage>> messages(std::string_view room_id, std::size_t most,
                                                          std::string_view world_id = {});
  /// The whole task, with `data` and `result` (without the output).
  [[nodiscard]] Result<Task> get(std::string_view id);
  [[nodiscard]] Result<TaskPage> list(const TaskFilter& filter, std::optional<std::int64_t> cursor,
                                      std::size_t most);
  [[nodiscard]] Result<std::vector<Run>> runs(std::string_view id);
  /// Kept output of a run that ended, in order of stream and offset, from the `skip`-th chunk on: at most
  /// `most` chunks.
  [[nodiscard]] Result<std::vector<OutputChunk>> kept_output(std::string_view id, std::int64_t run,
                                                             std::size_t skip = 0,
                                                             std::size_t most = SIZE_MAX);
  /// The id that `text` means: a whole id, the unique end of one (at least 4 characters; `conflict` names the
  /// candidates), or `@last`, the task created last on this device.
  [[nodiscard]] Result<std::string> resolve(std::string_view text);
  /// From the console of this device; lifts any hold, and leaves to an operator the one that is there.
  /// Returns who held the device before.
  [[nodiscard]] Result<HeldBy> set_hold(bool hold);
  [[nodiscard]] bool held();
  [[nodiscard]] Result<LedgerStatus> status();

  // ---- what the runner does

  /// Commits the start of a run, before its work begins. `outside`: it was made ready to run outside the
  /// agent's service; no run where the task's options say otherwise by now.
  [[nodiscard]] Result<StartAnswer> start(std::string_view id, bool outside = false);
  /// Commits the end of a run: its result, kept output, the task's next state and all reports in one
  /// transaction. Returns the task as it is then: ended, or `sent` again for a retry or a rerun. `next` is
  /// asked, as with start_arrivals, of those that wait, in the order of the queue, until one is started with
  /// the same commit or can't be; a null Readiness: somebody starts it already, and the next one is asked of.
  [[nodiscard]] Result<Task> end(std::string_view id, std::int64_t run, const RunOutcome& outcome,
                                 const ChunkSource& output = {}, const Ready& next = {});
  /// Starts and ends runs in one commit, of those tasks that may start now and for which `compute` says how
  /// it ended. It is called within the write, so it must be quick and must not call the ledger. The ids of
  /// the others, in their order.
  using Compute = std::function<std::optional<RunOutcome>(const Task&)>;
  [[nodiscard]] Result<std::vector<std::string>> run_at_once(std::span<const std::string> ids,
                                                             const Compute& compute);
  /// The policy or the worker refuses a task that is due (`rejected`, `invalid`): it ends without a run. Of a
  /// recurring one this occurrence counts as missed, and the schedule goes on.
  [[nodiscard]] Result<void> refuse(std::string_view id, std::string_view reason, std::string_view detail);
  /// Puts a task that waits off for `wait`, for `validate-false`.
  [[nodiscard]] Result<void> defer(std::string_view id, std::string_view reason, std::string_view detail,
                                   DurationMilliseconds wait);
  /// How far a run is, as the task's detail. Nothing happens when it has ended.
  [[nodiscard]] Result<void> progress(std::string_view id, std::int64_t run, std::string_view text);
  /// Workers for these types appeared: tasks that wait for them are looked at again.
  [[nodiscard]] Result<void> workers_changed(std::span<const std::string> types);
  /// Runs that were started before this incarnation and have not ended.
  [[nodiscard]] Result<std::vector<OpenRun>> open_runs();

  // ---- what the scheduler asks; all of it answered from indexes

  /// Ends what expired and readies what became due, at most 500 of each. Returns whether there may be more.
  [[nodiscard]] Result<bool> advance_time(UnixMilliseconds now);
  /// Tasks in the order of the queue (priority, then arrival), after `after`.
  [[nodiscard]] Result<std::vector<ReadyTask>> ready(const std::optional<ReadyTask>& after, std::size_t most);
  /// Takes tasks out of the queue until a run with their key ends (`key-held`; only where one runs now, as
  /// the end of that run is what brings them back) or a worker for them appears (`no-worker`).
  [[nodiscard]] Result<void> park(std::span<const std::string> ids, std::string_view reason,
                                  std::string_view detail);
  /// Tells the server why ready tasks wait (`reason`), those that have waited a second and were not told so:
  /// at most `most`. Returns how many. `detail`: what is told with it; empty: what the reason means in
  /// general.
  [[nodiscard]] Result<std::int64_t> report_waits(std::string_view reason, UnixMilliseconds now,
                                                  std::size_t most, std::string_view detail = {});
  /// Gives those that were told `reason` with another detail this one, as what is lacking has changed: at
  /// most `most`; returns how many. Looks through all of them: not for each pass.
  [[nodiscard]] Result<std::int64_t> retell_waits(std::string_view reason, std::size_t most,
                                                  std::string_view detail = {});
  /// When to look again. `reason` is why ready tasks wait now.
  [[nodiscard]] Result<LedgerTimes> times(std::string_view reason);
  /// Which task with this key runs, if any.
  [[nodiscard]] Result<std::optional<std::string>> running_with_key(std::string_view key);
  /// Removes what ended for longer than its retention and was acknowledged: at most `most` tasks, and runs
  /// and messages. Their age counts from the first call that found them there, by the time that the ledger
  /// has lived: no setting of the wall clock makes anything old.
  [[nodiscard]] Result<Purged> purge(std::size_t most);

 private:
  class Body;
  explicit Ledger(std::unique_ptr<Body> body);
  std::unique_ptr<Body> body_;
};

}  // namespace agenttask::agent
