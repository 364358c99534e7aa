#include "server/store/sqlite/schema.hpp"

#include <array>

namespace agenttask::server::sqlite {
namespace {

constexpr std::string_view kFirst = R"sql(
CREATE TABLE operators(
  id TEXT PRIMARY KEY, label TEXT NOT NULL, role TEXT NOT NULL, token_hash TEXT NOT NULL UNIQUE,
  created_at INTEGER NOT NULL, created_by TEXT NOT NULL, expires_at INTEGER, revoked_at INTEGER) STRICT;

CREATE TABLE nodes(
  id TEXT PRIMARY KEY, name TEXT NOT NULL, name_fixed INTEGER NOT NULL, version TEXT NOT NULL, platform TEXT NOT NULL,
  labels TEXT NOT NULL, enrolled_at INTEGER NOT NULL, last_seen INTEGER, clock_offset INTEGER,
  hold_wanted INTEGER, hold_reported INTEGER NOT NULL, revoked_at INTEGER,
  incarnation TEXT NOT NULL, quarantined_at INTEGER, quarantine_reason TEXT NOT NULL,
  epoch INTEGER NOT NULL, forked INTEGER NOT NULL, snapshot INTEGER NOT NULL,
  offered_sequence INTEGER NOT NULL, offered_chain TEXT NOT NULL,
  acknowledged_sequence INTEGER NOT NULL, acknowledged_chain TEXT NOT NULL,
  report_sequence INTEGER NOT NULL, report_chain TEXT NOT NULL) STRICT;
CREATE INDEX nodes_by_name ON nodes(name);

CREATE TABLE certificates(
  fingerprint TEXT PRIMARY KEY, node_id TEXT NOT NULL REFERENCES nodes(id),
  issued_at INTEGER NOT NULL, expires_at INTEGER NOT NULL, revoked_at INTEGER) STRICT;
CREATE INDEX certificates_by_node ON certificates(node_id);

CREATE TABLE enrollment_tokens(
  id TEXT PRIMARY KEY, label TEXT NOT NULL, secret_hash TEXT NOT NULL UNIQUE, uses INTEGER NOT NULL, used INTEGER NOT NULL,
  labels TEXT NOT NULL, replace_node TEXT NOT NULL, created_at INTEGER NOT NULL, created_by TEXT NOT NULL,
  expires_at INTEGER NOT NULL) STRICT;
CREATE TABLE enrollments(
  token_id TEXT NOT NULL REFERENCES enrollment_tokens(id) ON DELETE CASCADE, key_digest TEXT NOT NULL,
  node_id TEXT NOT NULL REFERENCES nodes(id), certificate TEXT NOT NULL, time INTEGER NOT NULL,
  PRIMARY KEY(token_id, key_digest)) STRICT;

-- spec: the spec's JSON without data. expires_at repeats options.expiresAt for the index of what the server expires alone.
CREATE TABLE tasks(
  sequence INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, node_id TEXT NOT NULL REFERENCES nodes(id),
  type TEXT NOT NULL, room_id TEXT NOT NULL, world_id TEXT NOT NULL, spec TEXT NOT NULL, expires_at INTEGER,
  status TEXT NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL, paused INTEGER NOT NULL,
  add_time INTEGER NOT NULL, sent_time INTEGER, start_time INTEGER, end_time INTEGER, updated_at INTEGER NOT NULL,
  next_run_at INTEGER, run_count INTEGER NOT NULL, missed_count INTEGER NOT NULL,
  cancel_requested_at INTEGER, deleted_at INTEGER,
  digest TEXT NOT NULL, created_by TEXT NOT NULL, offered INTEGER NOT NULL, decided_alone INTEGER NOT NULL,
  directive INTEGER NOT NULL) STRICT;
CREATE INDEX tasks_by_node ON tasks(node_id, sequence);
CREATE INDEX tasks_to_expire ON tasks(expires_at) WHERE offered = 0 AND status = 'pending' AND expires_at IS NOT NULL;
CREATE INDEX tasks_ended ON tasks(updated_at) WHERE status IN ('complete', 'failed', 'cancelled');
-- What may be large and never changes with the state: apart, so that a change of state does not write it again.
CREATE TABLE task_payloads(
  sequence INTEGER PRIMARY KEY REFERENCES tasks(sequence) ON DELETE CASCADE, data TEXT NOT NULL, result TEXT NOT NULL) STRICT;
CREATE TABLE task_tags(
  tag TEXT NOT NULL, sequence INTEGER NOT NULL REFERENCES tasks(sequence) ON DELETE CASCADE,
  PRIMARY KEY(tag, sequence)) STRICT, WITHOUT ROWID;
CREATE INDEX task_tags_by_task ON task_tags(sequence);

CREATE TABLE runs(
  task_id TEXT NOT NULL REFERENCES tasks(id) ON DELETE CASCADE, number INTEGER NOT NULL,
  status TEXT NOT NULL, reason TEXT NOT NULL, start_time INTEGER NOT NULL, end_time INTEGER, result TEXT NOT NULL,
  PRIMARY KEY(task_id, number)) STRICT;
-- stream: 0 standard output, 1 standard error.
CREATE TABLE output(
  task_id TEXT NOT NULL REFERENCES tasks(id) ON DELETE CASCADE, run INTEGER NOT NULL,
  stream INTEGER NOT NULL, offset INTEGER NOT NULL, bytes BLOB NOT NULL,
  PRIMARY KEY(task_id, run, stream, offset)) STRICT;

-- Order of the queue is the position. Sequence and chain are set when the directive is offered.
CREATE TABLE directives(
  position INTEGER PRIMARY KEY AUTOINCREMENT, node_id TEXT NOT NULL REFERENCES nodes(id), kind TEXT NOT NULL,
  task_id TEXT NOT NULL, body TEXT NOT NULL, sequence INTEGER, chain TEXT) STRICT;
CREATE INDEX directives_by_node ON directives(node_id, sequence, position);
CREATE INDEX directives_by_task ON directives(task_id);

CREATE TABLE orphans(
  id INTEGER PRIMARY KEY, node_id TEXT NOT NULL REFERENCES nodes(id), task_id TEXT NOT NULL, kind TEXT NOT NULL,
  line TEXT NOT NULL, time INTEGER NOT NULL) STRICT;
CREATE INDEX orphans_by_node ON orphans(node_id);
CREATE TABLE idempotency_keys(
  operator_id TEXT NOT NULL, key TEXT NOT NULL, digest TEXT NOT NULL, task_id TEXT NOT NULL, time INTEGER NOT NULL,
  PRIMARY KEY(operator_id, key)) STRICT;
CREATE INDEX idempotency_keys_by_time ON idempotency_keys(time);
CREATE TABLE tombstones(
  task_id TEXT PRIMARY KEY, node_id TEXT NOT NULL, digest TEXT NOT NULL, summary TEXT NOT NULL,
  purged_at INTEGER NOT NULL) STRICT;
CREATE INDEX tombstones_by_time ON tombstones(purged_at);
)sql";

// What tells a copied or old ledger from the last one, and what becomes of its tasks.
constexpr std::string_view kLineage = R"sql(
ALTER TABLE nodes ADD COLUMN released INTEGER NOT NULL DEFAULT 0;
ALTER TABLE nodes ADD COLUMN ledger_lost INTEGER NOT NULL DEFAULT 0;
ALTER TABLE nodes ADD COLUMN progressed_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN in_doubt INTEGER NOT NULL DEFAULT 0;
CREATE INDEX tasks_in_doubt ON tasks(node_id) WHERE in_doubt = 1;
CREATE TABLE past_incarnations(
  number INTEGER PRIMARY KEY AUTOINCREMENT, node_id TEXT NOT NULL REFERENCES nodes(id), id TEXT NOT NULL,
  replaced_at INTEGER NOT NULL, UNIQUE(node_id, id)) STRICT;
CREATE INDEX past_incarnations_by_node ON past_incarnations(node_id, number);
)sql";

constexpr std::string_view kWallClock = R"sql(
CREATE TABLE wall_clock(
  only_row INTEGER PRIMARY KEY CHECK(only_row = 1), seen_at INTEGER NOT NULL, keep_until INTEGER NOT NULL) STRICT;
CREATE INDEX certificates_by_end ON certificates(expires_at);
)sql";

// What a run keeps of its limit and its output, and totals that bound what a device can make the server keep.
constexpr std::string_view kBounds = R"sql(
CREATE INDEX tasks_by_directive ON tasks(node_id, directive) WHERE directive <> 0;
ALTER TABLE runs ADD COLUMN output_limit INTEGER;
ALTER TABLE runs ADD COLUMN stdout_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN stderr_bytes INTEGER NOT NULL DEFAULT 0;
UPDATE runs SET
  output_limit = (SELECT coalesce(json_extract(spec, '$.options.maxOutputBytes'), 1048576) FROM tasks
    WHERE tasks.id = runs.task_id),
  stdout_bytes = (SELECT coalesce(sum(length(bytes)), 0) FROM output
    WHERE output.task_id = runs.task_id AND run = number AND stream = 0),
  stderr_bytes = (SELECT coalesce(sum(length(bytes)), 0) FROM output
    WHERE output.task_id = runs.task_id AND run = number AND stream = 1);

CREATE TABLE device_totals(
  node_id TEXT PRIMARY KEY, orphans INTEGER NOT NULL DEFAULT 0, orphan_bytes INTEGER NOT NULL DEFAULT 0,
  tasks INTEGER NOT NULL DEFAULT 0, task_bytes INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID;
INSERT INTO device_totals(node_id) SELECT id FROM nodes;
UPDATE device_totals SET
  orphans = (SELECT count(*) FROM orphans WHERE orphans.node_id = device_totals.node_id),
  orphan_bytes = (SELECT coalesce(sum(length(CAST(line AS BLOB))), 0) FROM orphans
    WHERE orphans.node_id = device_totals.node_id),
  tasks = (SELECT count(*) FROM tasks WHERE tasks.node_id = device_totals.node_id AND created_by = 'device');
CREATE TRIGGER orphan_counted AFTER INSERT ON orphans BEGIN
  INSERT INTO device_totals(node_id, orphans, orphan_bytes) VALUES(NEW.node_id, 1, length(CAST(NEW.line AS BLOB)))
    ON CONFLICT(node_id) DO UPDATE SET orphans = orphans + 1, orphan_bytes = orphan_bytes + excluded.orphan_bytes;
END;
CREATE TRIGGER orphan_forgotten AFTER DELETE ON orphans BEGIN
  UPDATE device_totals SET orphans = orphans - 1, orphan_bytes = orphan_bytes - length(CAST(OLD.line AS BLOB))
    WHERE node_id = OLD.node_id;
END;
ALTER TABLE tasks ADD COLUMN device_bytes INTEGER NOT NULL DEFAULT 0;
CREATE TRIGGER device_task_counted AFTER INSERT ON tasks WHEN NEW.created_by = 'device' BEGIN
  INSERT INTO device_totals(node_id, tasks) VALUES(NEW.node_id, 1)
    ON CONFLICT(node_id) DO UPDATE SET tasks = tasks + 1;
END;
CREATE TRIGGER device_task_grown AFTER UPDATE OF device_bytes ON tasks BEGIN
  UPDATE device_totals SET task_bytes = task_bytes + NEW.device_bytes - OLD.device_bytes WHERE node_id = NEW.node_id;
END;
CREATE TRIGGER device_task_forgotten AFTER DELETE ON tasks WHEN OLD.created_by = 'device' BEGIN
  UPDATE device_totals SET tasks = tasks - 1, task_bytes = task_bytes - OLD.device_bytes WHERE node_id = OLD.node_id;
END;
)sql";

// Occurrences, choices, and messages. chosen and choice_requested: JSON text, or empty. trimmed_runs: up to
// which number runs were removed for their number.
constexpr std::string_view kTaskModel = R"sql(
ALTER TABLE tasks ADD COLUMN occurrence INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN chosen TEXT NOT NULL DEFAULT '';
ALTER TABLE tasks ADD COLUMN choice_requested TEXT NOT NULL DEFAULT '';
ALTER TABLE tasks ADD COLUMN choice_occurrence INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN choice_directive INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN trimmed_runs INTEGER NOT NULL DEFAULT 0;
CREATE INDEX tasks_with_choice_requested ON tasks(node_id) WHERE choice_requested <> '';
CREATE INDEX tasks_with_many_runs ON tasks(run_count - trimmed_runs) WHERE run_count - trimmed_runs > 1;
ALTER TABLE runs ADD COLUMN occurrence INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN option TEXT NOT NULL DEFAULT '';

-- poster: the node or the operator. kept_from: gone with kLivedTime.
CREATE TABLE messages(
  sequence INTEGER PRIMARY KEY AUTOINCREMENT, poster TEXT NOT NULL, id TEXT NOT NULL, node_id TEXT NOT NULL, posted_by TEXT NOT NULL,
  room_id TEXT NOT NULL, world_id TEXT NOT NULL, task_id TEXT NOT NULL, run INTEGER NOT NULL, content TEXT NOT NULL,
  time INTEGER NOT NULL, kept_from INTEGER NOT NULL, bytes INTEGER NOT NULL, UNIQUE(poster, id)) STRICT;
CREATE INDEX messages_by_room ON messages(room_id, sequence);
CREATE INDEX messages_by_poster ON messages(poster, sequence);
CREATE INDEX messages_by_task ON messages(task_id, sequence) WHERE task_id <> '';
CREATE INDEX messages_by_age ON messages(kept_from);
CREATE TABLE message_totals(
  poster TEXT PRIMARY KEY, count INTEGER NOT NULL, bytes INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TRIGGER message_counted AFTER INSERT ON messages BEGIN
  INSERT INTO message_totals(poster, count, bytes) VALUES(NEW.poster, 1, NEW.bytes)
    ON CONFLICT(poster) DO UPDATE SET count = count + 1, bytes = bytes + excluded.bytes;
END;
CREATE TRIGGER message_forgotten AFTER DELETE ON messages BEGIN
  UPDATE message_totals SET count = count - 1, bytes = bytes - OLD.bytes WHERE poster = OLD.poster;
END;
)sql";

// Which question an answer is for (choice_occurrence -1: not known), and the rest of what a device can make
// the server keep: of its own tasks the specs, the results, and 256 bytes for each run.
constexpr std::string_view kQuestions = R"sql(
ALTER TABLE tasks ADD COLUMN choice_runs INTEGER;
CREATE INDEX tasks_by_choice ON tasks(node_id, choice_directive) WHERE choice_directive <> 0;
CREATE INDEX runs_open ON runs(task_id, number) WHERE status = 'running';

UPDATE tasks SET device_bytes = device_bytes + (SELECT coalesce(sum(256 + length(CAST(result AS BLOB))), 0) FROM runs
    WHERE runs.task_id = tasks.id) WHERE created_by = 'device';
CREATE TRIGGER device_task_changed AFTER UPDATE OF spec ON tasks WHEN NEW.created_by = 'device' BEGIN
  UPDATE tasks SET device_bytes = max(0, device_bytes + length(CAST(NEW.spec AS BLOB)) - length(CAST(OLD.spec AS BLOB)))
    WHERE sequence = NEW.sequence;
END;
CREATE TRIGGER device_result_counted AFTER UPDATE OF result ON task_payloads BEGIN
  UPDATE tasks SET device_bytes = max(0, device_bytes + length(CAST(NEW.result AS BLOB)) - length(CAST(OLD.result AS BLOB)))
    WHERE sequence = NEW.sequence AND created_by = 'device';
END;
CREATE TRIGGER device_run_counted AFTER INSERT ON runs BEGIN
  UPDATE tasks SET device_bytes = device_bytes + 256 + length(CAST(NEW.result AS BLOB))
    WHERE id = NEW.task_id AND created_by = 'device';
END;
CREATE TRIGGER device_run_grown AFTER UPDATE OF result, stdout_bytes, stderr_bytes ON runs BEGIN
  UPDATE tasks SET device_bytes = max(0, device_bytes + length(CAST(NEW.result AS BLOB)) - length(CAST(OLD.result AS BLOB))
      + NEW.stdout_bytes - OLD.stdout_bytes + NEW.stderr_bytes - OLD.stderr_bytes)
    WHERE id = NEW.task_id AND created_by = 'device';
END;
CREATE TRIGGER device_run_forgotten AFTER DELETE ON runs BEGIN
  UPDATE tasks SET device_bytes =
      max(0, device_bytes - 256 - length(CAST(OLD.result AS BLOB)) - OLD.stdout_bytes - OLD.stderr_bytes)
    WHERE id = OLD.task_id AND created_by = 'device';
END;
)sql";

// What devices can do, as JSON text, and lists of deleted tasks.
constexpr std::string_view kWorkers = R"sql(
ALTER TABLE nodes ADD COLUMN workers TEXT NOT NULL DEFAULT '';
CREATE INDEX tasks_deleted ON tasks(sequence) WHERE deleted_at IS NOT NULL;
)sql";

constexpr std::string_view kWorlds = R"sql(
CREATE INDEX messages_by_world ON messages(world_id, sequence) WHERE world_id <> '';
)sql";

// How long things are kept counts by the time that the store has lived, not by the wall clock: kept_since is
// that time when a look first found them over; null until then. A task that changes once more is dated anew.
constexpr std::string_view kLivedTime = R"sql(
DROP TABLE wall_clock;
CREATE TABLE lived_time(
  only_row INTEGER PRIMARY KEY CHECK(only_row = 1), total INTEGER NOT NULL, boot_id TEXT NOT NULL,
  since_boot INTEGER NOT NULL, wall INTEGER NOT NULL, latest_wall INTEGER NOT NULL, at_latest INTEGER NOT NULL,
  absence INTEGER NOT NULL) STRICT;

ALTER TABLE tasks ADD COLUMN kept_since INTEGER;
DROP INDEX tasks_ended;
CREATE INDEX tasks_not_dated ON tasks(sequence) WHERE kept_since IS NULL AND status IN ('complete', 'failed', 'cancelled');
CREATE INDEX tasks_by_age ON tasks(kept_since) WHERE kept_since IS NOT NULL;
CREATE TRIGGER task_kept_anew AFTER UPDATE OF updated_at ON tasks WHEN OLD.kept_since IS NOT NULL BEGIN
  UPDATE tasks SET kept_since = NULL WHERE sequence = NEW.sequence;
END;
ALTER TABLE idempotency_keys ADD COLUMN kept_since INTEGER;
DROP INDEX idempotency_keys_by_time;
CREATE INDEX idempotency_keys_not_dated ON idempotency_keys(time) WHERE kept_since IS NULL;
CREATE INDEX idempotency_keys_by_age ON idempotency_keys(kept_since) WHERE kept_since IS NOT NULL;
ALTER TABLE tombstones ADD COLUMN kept_since INTEGER;
DROP INDEX tombstones_by_time;
CREATE INDEX tombstones_not_dated ON tombstones(purged_at) WHERE kept_since IS NULL;
CREATE INDEX tombstones_by_age ON tombstones(kept_since) WHERE kept_since IS NOT NULL;
ALTER TABLE orphans ADD COLUMN kept_since INTEGER;
CREATE INDEX orphans_not_dated ON orphans(id) WHERE kept_since IS NULL;
CREATE INDEX orphans_by_age ON orphans(kept_since) WHERE kept_since IS NOT NULL;
DROP INDEX messages_by_age;
ALTER TABLE messages DROP COLUMN kept_from;
ALTER TABLE messages ADD COLUMN kept_since INTEGER;
CREATE INDEX messages_not_dated ON messages(sequence) WHERE kept_since IS NULL;
CREATE INDEX messages_by_age ON messages(kept_since) WHERE kept_since IS NOT NULL;
ALTER TABLE enrollment_tokens ADD COLUMN kept_since INTEGER;
ALTER TABLE certificates ADD COLUMN kept_since INTEGER;
)sql";

// What a restore lost: devices that have not come since, and certificates that were issued in that time. And
// what devices say of their ledgers: JSON text while one can't be used.
constexpr std::string_view kRecovery = R"sql(
ALTER TABLE nodes ADD COLUMN restored INTEGER NOT NULL DEFAULT 0;
ALTER TABLE nodes ADD COLUMN ledger_problem TEXT NOT NULL DEFAULT '';
CREATE TABLE restores(
  number INTEGER PRIMARY KEY AUTOINCREMENT, taken_at INTEGER NOT NULL, restored_at INTEGER NOT NULL) STRICT;
)sql";

// One task for many devices: what it is stands once, in batch_bodies, and its tasks have an empty spec,
// digest and created_by until somebody changes one. batch_seed: what the ids of all such tasks are made from.
// batch_parts: targets whose tasks are not made yet, as a JSON array of nodes; number is that of the first.
// batch_counts: its tasks by status, also those that were purged since, and how many were (status 'purged').
constexpr std::string_view kBatches = R"sql(
CREATE TABLE batch_seed(only_row INTEGER PRIMARY KEY CHECK(only_row = 1), seed TEXT NOT NULL) STRICT;
INSERT INTO batch_seed VALUES(1, hex(randomblob(16)));
CREATE TABLE batches(
  sequence INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, digest TEXT NOT NULL,
  created_by TEXT NOT NULL, add_time INTEGER NOT NULL, targets INTEGER NOT NULL, made INTEGER NOT NULL,
  first_task INTEGER NOT NULL, last_task INTEGER NOT NULL,
  cancel_requested_at INTEGER, cancelled_up_to INTEGER) STRICT;
CREATE INDEX batches_open ON batches(sequence) WHERE made < targets OR cancelled_up_to IS NOT NULL;
CREATE TABLE batch_bodies(
  sequence INTEGER PRIMARY KEY REFERENCES batches(sequence) ON DELETE CASCADE,
  target TEXT NOT NULL, spec TEXT NOT NULL, data TEXT NOT NULL) STRICT;
CREATE TABLE batch_parts(
  batch INTEGER NOT NULL REFERENCES batches(sequence) ON DELETE CASCADE, number INTEGER NOT NULL, nodes TEXT NOT NULL,
  PRIMARY KEY(batch, number)) STRICT;
CREATE TABLE batch_counts(
  batch INTEGER NOT NULL REFERENCES batches(sequence) ON DELETE CASCADE, status TEXT NOT NULL, count INTEGER NOT NULL,
  PRIMARY KEY(batch, status)) STRICT, WITHOUT ROWID;
ALTER TABLE tasks ADD COLUMN batch INTEGER;
CREATE INDEX nodes_revoked ON nodes(id) WHERE revoked_at IS NOT NULL;
CREATE TRIGGER batch_task_changed AFTER UPDATE OF status ON tasks
WHEN NEW.batch IS NOT NULL AND NEW.status <> OLD.status BEGIN
  UPDATE batch_counts SET count = count - 1 WHERE batch = NEW.batch AND status = OLD.status;
  INSERT INTO batch_counts(batch, status, count) VALUES(NEW.batch, NEW.status, 1)
    ON CONFLICT(batch, status) DO UPDATE SET count = count + 1;
END;
CREATE TRIGGER batch_task_purged AFTER DELETE ON tasks WHEN OLD.batch IS NOT NULL BEGIN
  INSERT INTO batch_counts(batch, status, count) VALUES(OLD.batch, 'purged', 1)
    ON CONFLICT(batch, status) DO UPDATE SET count = count + 1;
END;
)sql";

constexpr std::array<std::string_view, 11> kMigrations{kFirst,     kLineage,   kWallClock, kBounds,
                                                       kTaskModel, kQuestions, kWorkers,   kWorlds,
                                                       kLivedTime, kRecovery,  kBatches};

}  // namespace

const storage::Schema& schema() {
  static const storage::Schema schema{"the server's database", 0x41475356 /* AGSV */, kMigrations};
  return schema;
}

}  // namespace agenttask::server::sqlite
