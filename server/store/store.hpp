#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "platform/base/clock.hpp"
#include "platform/base/commit_point.hpp"
#include "platform/base/error.hpp"
#include "platform/base/lived_time.hpp"
#include "platform/protocol/task.hpp"
#include "server/store/records.hpp"

/// What the server keeps. One body today (SQLite, `store/sqlite`); PostgreSQL is the second.
///
/// The interface holds rows and queries only. What they mean is written once above it, for every body:
/// streams.hpp (the two streams), tasks.hpp (create, cancel, update, delete), housekeeping.hpp (expiry,
/// retention).
///
/// Failures of the storage are sticky, as in platform/storage: after one, reads find nothing and writes do
/// nothing. Whoever opened the scope (the router for reads, the writer for jobs) asks before anything is
/// answered, so code in between reads like the happy path, and nothing half done or half seen gets out.
namespace agenttask::server {

/// What a page of runs or messages may hold; the row that is past it is the last that is read, and never the
/// first.
constexpr std::size_t kPageBytes = 4 * 1024 * 1024;

enum class WithData : std::uint8_t {
  no,  ///< `data` and `result` stay empty: they may be large
  yes,
};

/// Reading. All reads through one object see one snapshot of what is committed (in a WriteStore: of its own
/// transaction). Threads: one at a time. An optional is empty where there is no such thing.
class ReadStore {
 public:
  virtual ~ReadStore() = default;

  /// The first failure of the storage, cleared by this.
  [[nodiscard]] virtual Result<void> check() const = 0;

  [[nodiscard]] virtual std::optional<OperatorRecord> operator_by_hash(std::string_view token_hash) const = 0;
  [[nodiscard]] virtual std::optional<OperatorRecord> operator_by_id(std::string_view id) const = 0;
  [[nodiscard]] virtual std::vector<OperatorRecord> operators() const = 0;

  [[nodiscard]] virtual std::optional<EnrollmentTokenRecord> enrollment_token_by_hash(
      std::string_view secret_hash) const = 0;
  [[nodiscard]] virtual std::optional<EnrollmentTokenRecord> enrollment_token_by_id(
      std::string_view id) const = 0;
  [[nodiscard]] virtual std::vector<EnrollmentTokenRecord> enrollment_tokens() const = 0;
  [[nodiscard]] virtual std::optional<EnrollmentRecord> enrollment(std::string_view token_id,
                                                                   std::string_view key_digest) const = 0;

  [[nodiscard]] virtual std::optional<NodeRecord> node(std::string_view id) const = 0;
  /// Nodes of that name that were not revoked.
  [[nodiscard]] virtual std::vector<NodeRecord> nodes_by_name(std::string_view name) const = 0;
  /// Newest first: nodes that were not revoked, with an id below `before` (empty: from the newest), at most
  /// `limit`; a name and labels restrict them.
  [[nodiscard]] virtual std::vector<NodeRecord> nodes(std::string_view before, std::size_t limit,
                                                      std::string_view name, const Labels& labels) const = 0;
  /// Ids of all nodes that were not revoked and have these labels, in order.
  [[nodiscard]] virtual std::vector<std::string> nodes_with(const Labels& labels) const = 0;
  /// Those of `ids` that were revoked.
  [[nodiscard]] virtual std::vector<std::string> revoked_among(const std::vector<std::string>& ids) const = 0;
  [[nodiscard]] virtual std::optional<CertificateRecord> certificate(std::string_view fingerprint) const = 0;
  /// Whether a certificate that was issued then may be one that the server knew of before it was put back
  /// from a backup.
  [[nodiscard]] virtual bool is_lost_time(UnixMilliseconds issued) const = 0;
  /// When a start of the node's agent gave way to one that follows it; empty for the last and for unknown
  /// ones.
  [[nodiscard]] virtual std::optional<UnixMilliseconds> incarnation_replaced_at(
      std::string_view node_id, std::string_view incarnation) const = 0;

  [[nodiscard]] virtual std::optional<TaskRecord> task(std::string_view id, WithData with_data) const = 0;
  /// Newest first: tasks with a sequence below `before` (0: from the newest).
  [[nodiscard]] virtual std::vector<TaskRecord> tasks(const TaskFilter& filter, std::int64_t before,
                                                      std::size_t limit, WithData with_data) const = 0;
  /// All tasks of a node that a new epoch concerns: those that have not ended and are not in doubt, and
  /// those cancelled by the server alone. In order of their sequence; ids and statuses.
  [[nodiscard]] virtual std::vector<std::pair<std::string, TaskStatus>> tasks_for_epoch(
      std::string_view node_id) const = 0;
  /// Deleted, and not ended yet, in doubt or not.
  [[nodiscard]] virtual std::vector<std::string> deleted_tasks_going_on(std::string_view node_id) const = 0;
  /// Offered to a ledger that may be lost, and not found in a snapshot since.
  [[nodiscard]] virtual std::vector<std::string> tasks_in_doubt(std::string_view node_id) const = 0;
  /// All tasks of a node that have not ended, in order of their sequence.
  [[nodiscard]] virtual std::vector<std::string> open_tasks(std::string_view node_id) const = 0;
  /// The task whose directive has this number in the node's epoch.
  [[nodiscard]] virtual std::optional<std::string> task_of_directive(std::string_view node_id,
                                                                     std::int64_t directive) const = 0;
  /// The task about which the choose directive has this number, and whose question is still open.
  [[nodiscard]] virtual std::optional<std::string> task_of_choice(std::string_view node_id,
                                                                  std::int64_t directive) const = 0;
  /// Never offered, not ended, and expired at `now`.
  [[nodiscard]] virtual std::vector<std::string> expired_tasks(UnixMilliseconds now,
                                                               std::size_t limit) const = 0;
  /// When the next never-offered task expires.
  [[nodiscard]] virtual std::optional<UnixMilliseconds> next_expiry() const = 0;
  /// Ended and dated before `before` in lived time, and in no directive that the device has not acknowledged.
  [[nodiscard]] virtual std::vector<std::string> purgeable_tasks(DurationMilliseconds before,
                                                                 std::size_t limit) const = 0;
  [[nodiscard]] virtual std::optional<TombstoneRecord> tombstone(std::string_view task_id) const = 0;

  [[nodiscard]] virtual std::optional<BatchRecord> batch(std::string_view id, WithData with_data) const = 0;
  [[nodiscard]] virtual std::optional<BatchRecord> batch_at(std::int64_t sequence) const = 0;
  /// Newest first: batches with a sequence below `before` (0: from the newest). Without `data`.
  [[nodiscard]] virtual std::vector<BatchRecord> batches(std::int64_t before, std::size_t limit) const = 0;
  /// Sequences of batches with targets that have no task yet, or with a cancel that is not carried out yet.
  [[nodiscard]] virtual std::vector<std::int64_t> open_batches() const = 0;
  /// The first part that is left of a batch.
  [[nodiscard]] virtual std::optional<BatchPart> next_part(std::int64_t batch) const = 0;
  /// Tasks of a batch that have not ended, after that sequence, in order.
  [[nodiscard]] virtual std::vector<std::string> open_tasks_of(const BatchRecord& batch, std::int64_t after,
                                                               std::size_t limit) const = 0;
  /// What the ids of the tasks of all batches are made from; the same for the whole life of the store, and in
  /// its backups.
  [[nodiscard]] virtual std::string batch_seed() const = 0;
  /// The id of the batch where all its targets have a task, and all have ended.
  [[nodiscard]] virtual std::optional<std::string> id_if_over(std::int64_t batch) const = 0;

  [[nodiscard]] virtual std::optional<Run> run(std::string_view task_id, std::int64_t number) const = 0;
  [[nodiscard]] virtual std::vector<Run> runs(std::string_view task_id) const = 0;
  /// Newest first: runs with a number below `before` (0: from the newest), up to kPageBytes.
  [[nodiscard]] virtual std::vector<Run> runs_before(std::string_view task_id, std::int64_t before,
                                                     std::size_t limit) const = 0;
  /// Tasks of which more than `keep` runs (at least 1) may be stored.
  [[nodiscard]] virtual std::vector<std::string> tasks_with_many_runs(std::int64_t keep,
                                                                      std::size_t limit) const = 0;
  /// Tasks of a node with an operator's answer that the device has not confirmed.
  [[nodiscard]] virtual std::vector<std::string> tasks_with_choice_requested(
      std::string_view node_id) const = 0;
  [[nodiscard]] virtual std::optional<MessageRecord> message(std::string_view poster,
                                                             std::string_view id) const = 0;
  /// Newest first: messages with a sequence below `before` (0: from the newest), up to kPageBytes.
  [[nodiscard]] virtual std::vector<MessageRecord> messages(const MessageFilter& filter, std::int64_t before,
                                                            std::size_t limit) const = 0;
  /// Kept output of a run in order of stream and offset.
  [[nodiscard]] virtual std::vector<OutputChunk> output(std::string_view task_id, std::int64_t run) const = 0;
  /// What follows the chunk at `offset` of `stream`, in the same order: one chunk and then more until about
  /// `most` bytes; nothing at the end. From the beginning: an offset of -1 of the standard output.
  [[nodiscard]] virtual std::vector<OutputChunk> output_after(std::string_view task_id, std::int64_t run,
                                                              OutputStream stream, std::int64_t offset,
                                                              std::size_t most) const = 0;
  /// What each stream of a run may keep, as it was when the run started; empty: not known, or no such run.
  [[nodiscard]] virtual std::optional<std::int64_t> output_limit(std::string_view task_id,
                                                                 std::int64_t run) const = 0;
  [[nodiscard]] virtual std::int64_t output_bytes(std::string_view task_id, std::int64_t run,
                                                  OutputStream stream) const = 0;

  /// Not offered yet, in order of the queue.
  [[nodiscard]] virtual std::vector<DirectiveRecord> queued_directives(std::string_view node_id,
                                                                       std::size_t limit) const = 0;
  /// Offered, after `sequence`, in order.
  [[nodiscard]] virtual std::vector<DirectiveRecord> offered_directives(std::string_view node_id,
                                                                        std::int64_t after,
                                                                        std::size_t limit) const = 0;
  /// The chain at an offered directive that was not acknowledged yet.
  [[nodiscard]] virtual std::optional<std::string> directive_chain(std::string_view node_id,
                                                                   std::int64_t sequence) const = 0;

  /// Directives of one kind about a task (empty: about the node), offered or not, that the device has not
  /// acknowledged.
  [[nodiscard]] virtual std::vector<DirectiveRecord> waiting_directives(std::string_view node_id,
                                                                        DirectiveKind kind,
                                                                        std::string_view task_id) const = 0;

  /// What was asked of the device about a task and it has not acknowledged, in order: update, cancel, delete,
  /// choose, pause, resume, run; each once.
  [[nodiscard]] virtual std::vector<DirectiveKind> requests_about(std::string_view task_id) const = 0;

  [[nodiscard]] virtual DeviceTotals device_totals(std::string_view node_id) const = 0;
  [[nodiscard]] virtual std::vector<OrphanRecord> orphans(std::string_view node_id) const = 0;
  [[nodiscard]] virtual std::optional<IdempotencyRecord> idempotency(std::string_view operator_id,
                                                                     std::string_view key) const = 0;
  /// How long the store has lived, as it was stored last; empty: nobody looked yet.
  [[nodiscard]] virtual std::optional<LivedTime> lived_time() const = 0;
};

/// Writing, inside a transaction of the Writer. Every change is undone when the job that made it is.
class WriteStore : public virtual ReadStore {
 public:
  virtual void insert_operator(const OperatorRecord& record) = 0;
  virtual void revoke_operator(std::string_view id, UnixMilliseconds now) = 0;

  virtual void insert_enrollment_token(const EnrollmentTokenRecord& record) = 0;
  virtual void use_enrollment_token(std::string_view id) = 0;
  virtual void remove_enrollment_token(std::string_view id) = 0;
  virtual void insert_enrollment(const EnrollmentRecord& record) = 0;

  virtual void insert_node(const NodeRecord& record) = 0;
  /// The whole row but `last_seen` and `clock_offset`.
  virtual void update_node(const NodeRecord& record) = 0;
  virtual void set_last_seen(std::string_view id, UnixMilliseconds last_seen,
                             std::optional<DurationMilliseconds> clock_offset) = 0;
  virtual void insert_certificate(const CertificateRecord& record) = 0;
  virtual void revoke_certificates(std::string_view node_id, UnixMilliseconds now) = 0;
  /// Keeps a past incarnation; the oldest are forgotten.
  virtual void insert_past_incarnation(std::string_view node_id, std::string_view incarnation,
                                       UnixMilliseconds replaced_at) = 0;
  virtual void remove_past_incarnations(std::string_view node_id) = 0;

  /// Its id must be free. Returns its sequence.
  virtual std::int64_t insert_task(const TaskRecord& record) = 0;
  /// State and flags of the task; its result too, unless that is empty.
  virtual void update_task_state(const TaskRecord& record) = 0;
  virtual void clear_result(std::string_view task_id) = 0;
  /// The spec but `data`, id, node and type, which never change.
  virtual void update_task_spec(const TaskSpec& spec) = 0;
  virtual void mark_offered(std::string_view task_id, std::int64_t directive) = 0;
  /// The device has taken it: `sent`, if it was `pending`. False: it was not.
  virtual bool mark_sent(std::string_view task_id, UnixMilliseconds now) = 0;
  /// The choose directive about the task has its number, unless its question is over.
  virtual void mark_choice_offered(std::string_view task_id, std::int64_t directive) = 0;
  /// From now on the device decides about all tasks of the node; their directives have no numbers yet.
  virtual void mark_all_offered(std::string_view node_id) = 0;
  /// The same without the offer.
  virtual void clear_directive_numbers(std::string_view node_id) = 0;
  /// All tasks of the node that the device acknowledged and that have not ended; with `also_offered` those
  /// that it may have got, too.
  virtual void mark_in_doubt(std::string_view node_id, bool also_offered) = 0;
  /// To what a task that was made on the device takes; its runs, results and output count by themselves.
  virtual void add_device_bytes(std::string_view task_id, std::int64_t bytes) = 0;
  /// The task with its tags, runs and output.
  virtual void remove_task(std::string_view id) = 0;
  virtual void insert_tombstone(const TombstoneRecord& record) = 0;

  /// Its id must be free. Returns its sequence. Targets are inserted as parts.
  virtual std::int64_t insert_batch(const BatchRecord& record) = 0;
  /// Where it stands: `made`, the first and last task, and its cancel.
  virtual void update_batch(const BatchRecord& record) = 0;
  virtual void insert_part(std::int64_t batch, const BatchPart& part) = 0;
  virtual void remove_part(std::int64_t batch, std::int64_t number) = 0;
  /// Makes tasks of a batch, pending, and queues their directives. One whose id is there already, as its
  /// device told of it after the batch was lost in a restore, becomes its task as it is. Counts them, and
  /// widens the batch's first and last task.
  virtual void insert_batch_tasks(BatchRecord& batch, const std::vector<BatchTask>& tasks) = 0;
  /// One whose tasks are all gone.
  virtual void remove_batch(std::int64_t sequence) = 0;

  /// `output_limit`: how much of its output may be kept. The first one that a run is put with stays.
  virtual void put_run(const Run& run, std::optional<std::int64_t> output_limit) = 0;
  /// Of a run that is there. One that overlaps what is there already changes nothing.
  virtual void put_output(std::string_view task_id, std::int64_t run, const OutputChunk& chunk) = 0;

  /// Runs below `before` that nobody ended are over: `failed`, `interrupted`.
  virtual void close_runs(std::string_view task_id, std::int64_t before, UnixMilliseconds now) = 0;

  /// Removes all but the newest `keep` runs, with their output; never one that runs. At most `limit` of them
  /// at once: false when there are more.
  virtual bool trim_runs(std::string_view task_id, std::int64_t keep, std::size_t limit) = 0;

  /// False: the poster's message of this id is there already, and stays as it is.
  virtual bool insert_message(const MessageRecord& record) = 0;
  /// Removes the poster's oldest messages that are past the budget; some of them where they are many.
  virtual void trim_messages(std::string_view poster, const MessageBudget& budget) = 0;
  /// Removes messages that were dated before this lived time, at most `limit`; how many it were.
  virtual std::size_t remove_messages_before(DurationMilliseconds before, std::size_t limit) = 0;

  virtual void append_directive(const DirectiveRecord& record) = 0;
  virtual void set_directive_body(std::int64_t position, std::string_view body) = 0;
  virtual void offer_directive(std::int64_t position, const Cursor& cursor) = 0;
  virtual void remove_directive(std::int64_t position) = 0;
  /// Removes what is queued and was not offered about a task.
  virtual void remove_queued(std::string_view task_id) = 0;
  /// Removes what was offered up to `sequence`.
  virtual void remove_acknowledged(std::string_view node_id, std::int64_t sequence) = 0;
  virtual void remove_directives(std::string_view node_id) = 0;

  virtual void insert_orphan(const OrphanRecord& record) = 0;
  virtual void insert_idempotency(const IdempotencyRecord& record) = 0;
  /// Writes `lived` as the date of what is over and has none: ended tasks, tombstones, idempotency keys,
  /// orphans, messages, and tokens and certificates that are past their end at `now`. At most `limit` of
  /// each; whether there may be more.
  virtual bool date_what_is_over(DurationMilliseconds lived, UnixMilliseconds now, std::size_t limit) = 0;
  /// Removes idempotency keys, tombstones and orphans dated before these lived times, and enrolment tokens
  /// dated before the last that are past their end at `now`. Also certificates of that age that were revoked,
  /// or whose device was seen later than their end: then it holds another one. Any other may still renew,
  /// however old it is.
  virtual void forget_before(DurationMilliseconds idempotency, DurationMilliseconds tombstones,
                             DurationMilliseconds orphans, UnixMilliseconds now) = 0;

  virtual void set_lived_time(const LivedTime& lived) = 0;

  /// Whoever waits for `key` is woken after the commit. `node:<id>`, `task:<id>`, `output:<task id>`,
  /// `operator:<id>`, `batch:<id>`.
  virtual void touch(std::string key) = 0;
  /// Does `action` on the writer's thread once this is on disk, before anybody is woken; never where the job
  /// or its group was undone. For the log, which must not tell of what did not happen. It must be short.
  virtual void after_commit(std::function<void()> action) = 0;
  /// Names what the job makes durable (commit_points.hpp).
  virtual void commits(CommitPoint point) = 0;
};

/// The writing connection's transactions. Only the Writer calls it, from its thread.
class WriteSession {
 public:
  virtual ~WriteSession() = default;
  virtual Result<void> begin() = 0;
  /// On disk when it answers well; otherwise nothing of the group is.
  virtual Result<void> commit() = 0;
  virtual void rollback() = 0;
  virtual Result<void> begin_job() = 0;
  /// Keeps or undoes what the job did, its touched keys and actions included. An error: it failed and was
  /// undone.
  virtual Result<void> end_job(bool keep) = 0;
  [[nodiscard]] virtual WriteStore& store() = 0;
  /// What was touched since the last call.
  [[nodiscard]] virtual std::vector<std::string> take_touched() = 0;
  /// What is to be done after the commit, since the last call.
  [[nodiscard]] virtual std::vector<std::function<void()>> take_actions() = 0;
};

/// Goes back to the store's pool by itself.
using ReadLease = std::unique_ptr<const ReadStore, std::function<void(const ReadStore*)>>;

/// One database. Threads: any.
class Store {
 public:
  virtual ~Store() = default;
  /// A reading connection with a snapshot of what is committed now. Hold it for one evaluation, not longer.
  /// Connections are kept and lent again; there are as many as were ever out at once.
  [[nodiscard]] virtual Result<ReadLease> read() = 0;
  /// The writing connection: one at a time.
  [[nodiscard]] virtual Result<std::unique_ptr<WriteSession>> write_session() = 0;
};

/// Opens or makes the embedded database. `newer` and `corrupt` files are refused and left as they are. Must
/// outlive its leases and its session.
[[nodiscard]] Result<std::unique_ptr<Store>> open_sqlite_store(const std::filesystem::path& file);

}  // namespace agenttask::server
