#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "platform/base/clock.hpp"
#include "platform/protocol/chain.hpp"
#include "platform/protocol/task.hpp"

/// The rows of the store, as values. Times are wall times of the server unless they say otherwise.
namespace agenttask::server {

inline constexpr std::size_t kTaskStatuses = static_cast<std::size_t>(TaskStatus::cancelled) + 1;

enum class Role : std::uint8_t { viewer, operator_, admin };  ///< each may what those before it may
[[nodiscard]] std::string_view to_string(Role role);          ///< viewer, operator, admin
[[nodiscard]] Result<Role> parse_role(std::string_view name);

using Labels = std::map<std::string, std::string>;

/// Somebody who may call the operators' API.
struct OperatorRecord {
  std::string id;
  std::string label;  ///< for people: who or what holds the token
  Role role = Role::viewer;
  std::string token_hash;  ///< SHA-256 of the token's text, hexadecimal
  UnixMilliseconds created_at = 0;
  std::string created_by;
  std::optional<UnixMilliseconds> expires_at;
  std::optional<UnixMilliseconds> revoked_at;
};

/// With what devices may enrol. Its secret is shown once and not kept.
struct EnrollmentTokenRecord {
  std::string id;
  std::string label;        ///< for people
  std::string secret_hash;  ///< net::secret_digest
  std::int64_t uses = 1;    ///< how many keys may enrol with it
  std::int64_t used = 0;
  Labels labels;             ///< what nodes that enrol with it get
  std::string replace_node;  ///< id of the node whose place the device takes; empty: a new node
  UnixMilliseconds created_at = 0;
  std::string created_by;
  UnixMilliseconds expires_at = 0;
};

/// An enrolment that happened: the same token with the same key gets the same answer.
struct EnrollmentRecord {
  std::string token_id;
  std::string key_digest;  ///< of the device's public key
  std::string node_id;
  std::string certificate_pem;
  UnixMilliseconds time = 0;
};

/// A device, what it said of itself, and where the two streams with it stand.
struct NodeRecord {
  std::string id;
  std::string name;
  std::string version;   ///< of the agent
  std::string platform;  ///< linux-x86_64
  std::string workers;   ///< JSON text of the WorkerSummary; empty: it has not said
  Labels labels;
  UnixMilliseconds enrolled_at = 0;
  std::optional<UnixMilliseconds> last_seen;  ///< flushed lazily; `Presence` knows better
  std::optional<DurationMilliseconds>
      clock_offset;                 ///< the device's wall clock minus the server's; as last_seen
  std::optional<bool> hold_wanted;  ///< what an operator asked for and the device has not taken yet
  bool hold_reported = false;       ///< what the device said
  std::optional<UnixMilliseconds> revoked_at;
  bool name_fixed = false;  ///< an operator gave the name: what the device calls itself no longer changes it

  std::string incarnation;  ///< the last that was acknowledged
  std::optional<UnixMilliseconds> quarantined_at;
  std::string quarantine_reason;
  bool released = false;  ///< an operator ended the quarantine: the next start of an agent is taken as it is
  /// The epoch began with a ledger that is not, or not wholly, the one that took the tasks. Until its
  /// snapshot is complete, the device is offered nothing and starts nothing.
  bool ledger_lost = false;
  UnixMilliseconds progressed_at = 0;  ///< when the device last moved on in this epoch
  /// The server was put back from a backup and has not heard of the device since: its next poll opens an
  /// epoch.
  bool restored = false;
  std::string ledger_problem;  ///< JSON text of the LedgerProblem that it reports; empty: none

  std::int64_t epoch = 1;
  bool forked =
      false;  ///< some epoch of this node was opened because the pasts differed: the device's truth stands
  bool snapshot = true;  ///< the snapshot that the epoch began with is not complete yet
  Cursor offered;        ///< the last directive that was numbered
  Cursor acknowledged;   ///< the last directive that the device has applied
  Cursor reports;        ///< the last report that is stored
};

/// A device's certificate: not secret, and known only to be revoked or not.
struct CertificateRecord {
  std::string fingerprint;
  std::string node_id;
  UnixMilliseconds issued_at = 0;
  UnixMilliseconds expires_at = 0;
  std::optional<UnixMilliseconds> revoked_at;
};

/// A task with what only the server knows of it.
struct TaskRecord {
  std::int64_t sequence = 0;  ///< the server's own, in order of arrival: lists go by it
  Task task;
  std::string digest;      ///< request_digest of the original request; empty where it is not known
  std::string created_by;  ///< operator's id; `device` for tasks made there; empty: its batch says it
  std::int64_t batch = 0;  ///< the sequence of the batch that it is of; 0: of none
  std::string batch_id;
  bool offered = false;  ///< its directive was numbered, or may have been in a lost time: the device decides
  bool decided_alone = false;  ///< the server ended it without the device
  bool in_doubt = false;       ///< offered to a ledger that may be lost: ends unless the snapshot has it
  std::int64_t directive = 0;  ///< number of its task directive in this epoch; 0: none
  /// Which question `choice_requested` answers: of which occurrence (0: an extra run, or a task that runs
  /// once), and after how many runs. Empty: not known, as the device was not heard to ask.
  std::optional<std::int64_t> choice_occurrence;
  std::optional<std::int64_t> choice_runs;
  std::int64_t choice_directive = 0;  ///< number of the choose directive that carries it; 0: not offered
  std::int64_t trimmed_runs = 0;      ///< runs up to this number were removed, as there were many
};

/// One task for many devices: each target gets a task of its own, with all that is here. The targets are
/// fixed when it is accepted.
struct BatchRecord {
  std::int64_t sequence = 0;  ///< the server's own, in order of arrival: lists go by it
  std::string id;
  TaskSpec spec;       ///< of each task, without id and node
  std::string target;  ///< JSON text of what was asked for; of named nodes only how many
  std::string digest;  ///< of the original request
  std::string created_by;
  UnixMilliseconds add_time = 0;
  std::int64_t targets = 0;
  std::int64_t made = 0;        ///< targets that have their task; the others get it soon, whatever happens
  std::int64_t first_task = 0;  ///< sequence of the first task; others lie between first and last, too
  std::int64_t last_task = 0;
  std::optional<UnixMilliseconds> cancel_requested_at;
  /// While a cancel is carried out: the sequence of the last task that it has come to.
  std::optional<std::int64_t> cancelled_up_to;
  /// Its tasks by status (index: TaskStatus), those that were purged since included.
  std::array<std::int64_t, kTaskStatuses> counts{};
  std::int64_t purged = 0;  ///< tasks that ended and were removed after their retention
};

/// Some targets of a batch whose tasks are not made yet.
struct BatchPart {
  std::int64_t number = 0;  ///< of the first one among all targets
  std::vector<std::string> nodes;
};

/// A task of a batch that is to be made.
struct BatchTask {
  std::string id;
  std::string node_id;
};

/// What somebody posted to a room.
struct MessageRecord {
  std::int64_t sequence = 0;  ///< the server's own, in order of arrival: lists go by it
  RoomMessage message;        ///< `node_id` is empty where an operator posted it
  std::string poster;         ///< id of the node or of the operator; a message's id is unique to it
  std::string by;             ///< `operator:LABEL`; empty: a device
};

/// How much is kept of one poster; what is older goes first.
struct MessageBudget {
  std::int64_t count = 10'000;
  std::int64_t bytes = 64 * 1024 * 1024;
};

/// What is left of a task that was purged, so that it can't run again.
struct TombstoneRecord {
  std::string task_id;
  std::string node_id;
  std::string digest;
  std::string summary;  ///< JSON text of the task, without data and result
  UnixMilliseconds purged_at = 0;
};

/// How much one device can make the server keep: of the tasks that it made, with their runs, results and
/// output, and of reports about tasks that the server does not know. What is past it is counted in the log.
struct DeviceBudget {
  std::int64_t tasks = 100'000;
  std::int64_t bytes = 4LL * 1024 * 1024 * 1024;
  std::int64_t orphans = 10'000;
  std::int64_t orphan_bytes = 64LL * 1024 * 1024;
};

/// What is kept of a history however young it is.
struct HistoryLimits {
  std::int64_t runs = 200;  ///< of a task
  MessageBudget messages;
  DeviceBudget device;
};

enum class DirectiveKind : std::uint8_t {
  task,
  update,
  cancel,
  delete_,
  choose,
  pause,
  resume,
  run,
  settings,
};
inline constexpr std::array kDirectiveKinds{
    DirectiveKind::task,    DirectiveKind::update, DirectiveKind::cancel,
    DirectiveKind::delete_, DirectiveKind::choose, DirectiveKind::pause,
    DirectiveKind::resume,  DirectiveKind::run,    DirectiveKind::settings};
[[nodiscard]] std::string_view to_string(DirectiveKind kind);  ///< as on the wire: task, update, …

/// A place in a node's queue of directives. It has a sequence and a chain only once it was offered.
struct DirectiveRecord {
  std::int64_t position = 0;  ///< order of the queue
  std::string node_id;
  DirectiveKind kind = DirectiveKind::task;
  std::string task_id;
  /// JSON text. update: the changes; settings: the settings; choose: the answer, with the occurrence and the
  /// runs of the question it is for; run: how many runs were known when it was asked for, and the request's
  /// own id. Else empty.
  std::string body;
  std::int64_t sequence = 0;
  std::string chain;
};

/// What of a node's rows only its device made: bounded, as a device may be hostile.
struct DeviceTotals {
  std::int64_t orphans = 0;
  std::int64_t orphan_bytes = 0;
  std::int64_t tasks = 0;       ///< made on the device
  std::int64_t task_bytes = 0;  ///< of those, their runs, results and output included
};

/// A report about a task that the server does not know, kept as it came.
struct OrphanRecord {
  std::string node_id;
  std::string task_id;
  std::string kind;
  std::string line;
  UnixMilliseconds time = 0;
};

struct IdempotencyRecord {
  std::string operator_id;
  std::string key;
  std::string digest;  ///< of the request
  std::string task_id;
  UnixMilliseconds time = 0;
};

/// What a list of tasks shows: all that are set must fit. Deleted tasks are not listed.
enum class Deleted : std::uint8_t { hidden, only, shown };

struct TaskFilter {
  Deleted deleted = Deleted::hidden;
  std::string node_id;
  std::string type;
  std::optional<TaskStatus> status;
  std::vector<std::string> tags;  ///< all of them, whole words
  std::string room_id;
  std::string world_id;
  std::optional<BatchRecord> batch = {};  ///< of this one only
};

/// What a list of messages shows: all that are set must fit.
struct MessageFilter {
  std::string room_id;
  std::string node_id;
  std::string task_id;
  std::string world_id = {};
};

}  // namespace agenttask::server
