#include "agent/ledger/schema.hpp"

#include <array>

namespace agenttask::agent {
namespace {

// "ATLg". Anything that is not ours has another number here, or none.
constexpr std::int32_t kApplicationId = 0x41544C67;

// `queue`: null while a task runs and after it ended; 0 it waits for next_run_at; 1 ready; 2 no worker knows
// its type; 3 another task with its key runs; 4 it waits a while, until `delay_until`; 5 it rests: between
// two occurrences, or paused; 6 it waits for somebody to choose. Each kind has an index of its own, so that
// what waits costs nothing. `reported`: the number of the last report about a task in this epoch. `reason` of
// a waiting task is what was told. `hold`: 0 none,
// otherwise who set it (HeldBy).
constexpr std::string_view kVersion1 = R"sql(
CREATE TABLE stream (
  only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
  node_id TEXT NOT NULL DEFAULT '',
  hold INTEGER NOT NULL DEFAULT 0,
  epoch INTEGER NOT NULL DEFAULT 0,
  directive_sequence INTEGER NOT NULL DEFAULT 0,
  directive_chain TEXT NOT NULL DEFAULT '',
  report_sequence INTEGER NOT NULL DEFAULT 0,
  report_chain TEXT NOT NULL DEFAULT '',
  acknowledged_sequence INTEGER NOT NULL DEFAULT 0,
  acknowledged_chain TEXT NOT NULL DEFAULT '',
  outbox_reports INTEGER NOT NULL DEFAULT 0,
  outbox_bytes INTEGER NOT NULL DEFAULT 0,
  last_created TEXT NOT NULL DEFAULT ''
) STRICT;
INSERT INTO stream (only_row) VALUES (1);

CREATE TABLE tasks (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  node_id TEXT NOT NULL,
  type TEXT NOT NULL,
  description TEXT NOT NULL,
  tags TEXT NOT NULL,
  room_id TEXT NOT NULL,
  world_id TEXT NOT NULL,
  metadata TEXT NOT NULL,
  timeout INTEGER NOT NULL,
  expires_at INTEGER,
  retry_attempts INTEGER,
  retry_backoff INTEGER,
  retry_most INTEGER,
  rerun INTEGER NOT NULL,
  max_output_bytes INTEGER NOT NULL,
  priority INTEGER NOT NULL,
  concurrency_key TEXT NOT NULL,
  scheduled_for INTEGER,
  status TEXT NOT NULL,
  reason TEXT NOT NULL,
  detail TEXT NOT NULL,
  add_time INTEGER NOT NULL,
  sent_time INTEGER,
  start_time INTEGER,
  end_time INTEGER,
  updated_at INTEGER NOT NULL,
  next_run_at INTEGER,
  run_count INTEGER NOT NULL,
  cancel_requested_at INTEGER,
  deleted_at INTEGER,
  result TEXT NOT NULL,
  queue INTEGER,
  ready_at INTEGER NOT NULL,
  reruns INTEGER NOT NULL,
  reported INTEGER NOT NULL
) STRICT;
CREATE INDEX tasks_by_status ON tasks (status);
CREATE INDEX tasks_timed ON tasks (next_run_at) WHERE queue = 0;
CREATE INDEX tasks_ready ON tasks (priority DESC, sequence) WHERE queue = 1;
CREATE INDEX tasks_told ON tasks (reason, ready_at) WHERE queue = 1;
CREATE INDEX tasks_without_worker ON tasks (type) WHERE queue = 2;
CREATE INDEX tasks_behind_key ON tasks (concurrency_key, priority DESC, sequence) WHERE queue = 3;
CREATE INDEX tasks_behind_key_told ON tasks (reason, ready_at) WHERE queue = 3;
CREATE INDEX tasks_expiring ON tasks (expires_at) WHERE queue IS NOT NULL AND expires_at IS NOT NULL;
CREATE INDEX tasks_running ON tasks (concurrency_key) WHERE status = 'running';
CREATE INDEX tasks_ended ON tasks (end_time) WHERE end_time IS NOT NULL;

CREATE TABLE inputs (
  task INTEGER PRIMARY KEY REFERENCES tasks (sequence) ON DELETE CASCADE,
  digest BLOB NOT NULL,
  data TEXT NOT NULL
) STRICT;

CREATE TABLE runs (
  task INTEGER NOT NULL REFERENCES tasks (sequence) ON DELETE CASCADE,
  number INTEGER NOT NULL,
  run_id TEXT NOT NULL,
  boot_id TEXT NOT NULL,
  incarnation TEXT NOT NULL,
  status TEXT NOT NULL,
  reason TEXT NOT NULL,
  start_time INTEGER NOT NULL,
  end_time INTEGER,
  result TEXT NOT NULL,
  PRIMARY KEY (task, number)
) STRICT;
CREATE INDEX runs_open ON runs (task) WHERE status = 'running';

CREATE TABLE output (
  task INTEGER NOT NULL,
  run INTEGER NOT NULL,
  stream INTEGER NOT NULL,
  offset INTEGER NOT NULL,
  bytes BLOB NOT NULL,
  PRIMARY KEY (task, run, stream, offset),
  FOREIGN KEY (task, run) REFERENCES runs (task, number) ON DELETE CASCADE
) STRICT;

CREATE TABLE outbox (
  sequence INTEGER PRIMARY KEY,
  chain TEXT NOT NULL,
  line TEXT NOT NULL
) STRICT;

CREATE TABLE remembered (
  id TEXT PRIMARY KEY,
  digest BLOB NOT NULL,
  status TEXT NOT NULL,
  reason TEXT NOT NULL,
  end_time INTEGER NOT NULL,
  until INTEGER NOT NULL
) STRICT;
CREATE INDEX remembered_until ON remembered (until);

CREATE TABLE incarnations (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  began INTEGER NOT NULL
) STRICT;
)sql";

constexpr std::string_view kVersion2 = R"sql(
ALTER TABLE stream ADD COLUMN output_bytes INTEGER NOT NULL DEFAULT 0;
UPDATE stream SET output_bytes = (SELECT coalesce(sum(length(bytes)), 0) FROM output);
)sql";

// Tasks that were made on this device. Of older ones a server's has, but for a coincidence, other times.
constexpr std::string_view kVersion3 = R"sql(
CREATE TABLE local_tasks (
  task INTEGER PRIMARY KEY REFERENCES tasks (sequence) ON DELETE CASCADE
) STRICT;
INSERT INTO local_tasks SELECT sequence FROM tasks WHERE node_id = '' OR add_time = sent_time;
)sql";

// `delay_until`: the end of a wait that is a duration, in milliseconds since the boot `delays_boot_id`, so
// that nothing that sets the wall clock stretches or cuts it. `clocks`, the rest: gone in version 8.
constexpr std::string_view kVersion4 = R"sql(
ALTER TABLE tasks ADD COLUMN delay_until INTEGER;
CREATE INDEX tasks_delayed ON tasks (delay_until) WHERE queue = 4;
UPDATE tasks SET queue = 4, delay_until = 0 WHERE queue = 0 AND reason IN ('retry-backoff', 'validate-false');
CREATE TABLE clocks (
  only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
  delays_boot_id TEXT NOT NULL DEFAULT '',
  look_boot_id TEXT NOT NULL DEFAULT '',
  look_wall INTEGER NOT NULL DEFAULT 0,
  look_since_boot INTEGER NOT NULL DEFAULT 0,
  latest_wall INTEGER NOT NULL DEFAULT 0,
  keep_until INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO clocks (only_row) VALUES (1);
)sql";

// Its one row: why the server wants nothing started; none while it does not.
constexpr std::string_view kVersion5 = R"sql(
CREATE TABLE quarantine (
  only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
  reason TEXT NOT NULL
) STRICT;
)sql";

// Whose the removed task was: no other server is told of it.
constexpr std::string_view kVersion6 = R"sql(
ALTER TABLE remembered ADD COLUMN node_id TEXT NOT NULL DEFAULT '';
UPDATE remembered SET node_id = (SELECT node_id FROM stream);
)sql";

// Schedules, questions, messages. Of a recurring task: `first_due` where its grid begins on the wall clock;
// `grid_due` the grid's next point in milliseconds since the boot `delays_boot_id`, and `grid_at` the same on
// the wall clock, for after a reboot; `tick` is `grid_due` where something has to happen then;
// `last_occurrence` the number of the last that was due, `waiting` how many of the newest wait behind the
// active one. `base_runs`: runs before the present occurrence. `question`: choices and what belongs to them,
// JSON. `reported` of runs and messages: the last report about them in this epoch.
constexpr std::string_view kVersion7 = R"sql(
ALTER TABLE tasks ADD COLUMN update_interval INTEGER;
ALTER TABLE tasks ADD COLUMN jitter INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN overlap TEXT NOT NULL DEFAULT '';
ALTER TABLE tasks ADD COLUMN catch_up TEXT NOT NULL DEFAULT '';
ALTER TABLE tasks ADD COLUMN question TEXT NOT NULL DEFAULT '';
ALTER TABLE tasks ADD COLUMN chosen TEXT NOT NULL DEFAULT '';
ALTER TABLE tasks ADD COLUMN choice_due INTEGER;
ALTER TABLE tasks ADD COLUMN paused INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN missed_count INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN occurrence INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN last_occurrence INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN waiting INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN base_runs INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN first_due INTEGER;
ALTER TABLE tasks ADD COLUMN grid_due INTEGER;
ALTER TABLE tasks ADD COLUMN grid_at INTEGER;
ALTER TABLE tasks ADD COLUMN tick INTEGER;
CREATE INDEX tasks_ticking ON tasks (tick) WHERE tick IS NOT NULL;
CREATE INDEX tasks_to_be_chosen ON tasks (choice_due) WHERE queue = 6 AND choice_due IS NOT NULL;

ALTER TABLE runs ADD COLUMN occurrence INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN option TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN reported INTEGER NOT NULL DEFAULT 0;
UPDATE runs SET reported = (SELECT reported FROM tasks WHERE sequence = runs.task) WHERE end_time IS NOT NULL;
CREATE INDEX runs_ended ON runs (end_time) WHERE end_time IS NOT NULL;
CREATE INDEX tasks_awaiting ON tasks (sequence) WHERE queue = 6;

CREATE TABLE messages (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  node_id TEXT NOT NULL,
  room_id TEXT NOT NULL,
  world_id TEXT NOT NULL,
  task_id TEXT NOT NULL,
  run INTEGER NOT NULL,
  content TEXT NOT NULL,
  time INTEGER NOT NULL,
  reported INTEGER NOT NULL
) STRICT;
CREATE INDEX messages_by_room ON messages (room_id, sequence);
)sql";

// How long things are kept counts by the time that the ledger has lived, not by the wall clock:
// `kept_since` is that time when a look first found them over; null until then.
constexpr std::string_view kVersion8 = R"sql(
CREATE TABLE lived_time (
  only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
  total INTEGER NOT NULL,
  boot_id TEXT NOT NULL,
  since_boot INTEGER NOT NULL,
  wall INTEGER NOT NULL,
  latest_wall INTEGER NOT NULL,
  at_latest INTEGER NOT NULL,
  absence INTEGER NOT NULL
) STRICT;
ALTER TABLE clocks DROP COLUMN look_boot_id;
ALTER TABLE clocks DROP COLUMN look_wall;
ALTER TABLE clocks DROP COLUMN look_since_boot;
ALTER TABLE clocks DROP COLUMN latest_wall;
ALTER TABLE clocks DROP COLUMN keep_until;

ALTER TABLE tasks ADD COLUMN kept_since INTEGER;
DROP INDEX tasks_ended;
CREATE INDEX tasks_not_dated ON tasks (sequence)
  WHERE kept_since IS NULL AND status IN ('complete', 'failed', 'cancelled');
CREATE INDEX tasks_by_age ON tasks (kept_since) WHERE kept_since IS NOT NULL;
ALTER TABLE runs ADD COLUMN kept_since INTEGER;
CREATE INDEX runs_not_dated ON runs (task) WHERE kept_since IS NULL AND end_time IS NOT NULL;
CREATE INDEX runs_by_age ON runs (kept_since) WHERE kept_since IS NOT NULL;
ALTER TABLE messages ADD COLUMN kept_since INTEGER;
CREATE INDEX messages_not_dated ON messages (sequence) WHERE kept_since IS NULL;
CREATE INDEX messages_by_age ON messages (kept_since) WHERE kept_since IS NOT NULL;
DROP INDEX remembered_until;
ALTER TABLE remembered DROP COLUMN until;
ALTER TABLE remembered ADD COLUMN kept_since INTEGER;
CREATE INDEX remembered_not_dated ON remembered (id) WHERE kept_since IS NULL;
CREATE INDEX remembered_by_age ON remembered (kept_since) WHERE kept_since IS NOT NULL;
)sql";

// Saved from a damaged ledger: what it was given may be missing, until a server has its snapshot.
constexpr std::string_view kVersion9 = R"sql(
ALTER TABLE stream ADD COLUMN incomplete INTEGER NOT NULL DEFAULT 0;
)sql";

// Runs that a server asked for and this device has answered: run_requests.hpp.
constexpr std::string_view kVersion10 = R"sql(
CREATE TABLE run_requests (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  task INTEGER NOT NULL REFERENCES tasks (sequence) ON DELETE CASCADE,
  id TEXT NOT NULL,
  UNIQUE (task, id)
) STRICT;
)sql";

// `alone`: the device left its server. `untold`: tasks of which the server has not heard the newest word, as
// it had not heard the one before.
constexpr std::string_view kVersion11 = R"sql(
ALTER TABLE stream ADD COLUMN alone INTEGER NOT NULL DEFAULT 0;
CREATE TABLE untold (
  task INTEGER PRIMARY KEY REFERENCES tasks (sequence) ON DELETE CASCADE
) STRICT;
)sql";

// `outside`: the run was started outside the agent's service, and may go on while the agent is away.
constexpr std::string_view kVersion12 = R"sql(
ALTER TABLE tasks ADD COLUMN outlives_agent INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN outside INTEGER NOT NULL DEFAULT 0;
)sql";

constexpr std::array kMigrations{kVersion1, kVersion2, kVersion3, kVersion4,  kVersion5,  kVersion6,
                                 kVersion7, kVersion8, kVersion9, kVersion10, kVersion11, kVersion12};

}  // namespace

const storage::Schema& ledger_schema() {
  static constexpr storage::Schema kSchema{"the agent's ledger", kApplicationId, kMigrations};
  return kSchema;
}

}  // namespace agenttask::agent
