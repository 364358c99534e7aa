#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>
#include <system_error>
#include <utility>

#include "agent/ledger/clocks.hpp"
#include "agent/ledger/commit_points.hpp"
#include "agent/ledger/ledger_care.hpp"
#include "agent/ledger/ledger_file.hpp"
#include "agent/ledger/ledger_write.hpp"
#include "agent/ledger/occurrences.hpp"
#include "agent/ledger/schema.hpp"
#include "platform/base/filesystem_error.hpp"
#include "platform/storage/copy_database.hpp"
#include "platform/storage/salvage.hpp"

namespace agenttask::agent {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kFindings = 5;
constexpr std::string_view kMayHaveStarted =
    "the device's ledger was damaged: what is left of it does not tell whether this was started";
constexpr std::string_view kWithoutData =
    "the device's ledger was damaged: the data of this task could not be read, so it can't be run";
constexpr std::string_view kWithoutItsRun =
    "the device's ledger was damaged: this ran, and how far it came could not be read";
/// In an order in which rows come after those that they name. The outbox is not among them: the server gets a
/// snapshot.
constexpr std::array<std::string_view, 13> kTables{
    "stream",      "tasks",      "inputs",   "runs",   "output",       "remembered", "incarnations",
    "local_tasks", "quarantine", "messages", "clocks", "run_requests", "lived_time"};

fs::path with_suffix(const fs::path& file, std::string_view suffix) {
  fs::path name = file;
  return name += suffix;
}

bool is_there(const fs::path& file) {
  std::error_code ignored;
  return fs::exists(fs::symlink_status(file, ignored));
}

/// `ledger.db.damaged-1763812345678`: files beside the ledger that nothing of ours opens.
fs::path free_name(const fs::path& file, std::string_view what, UnixMilliseconds now) {
  fs::path name;
  do {
    name = with_suffix(file, "." + std::string(what) + "-" + std::to_string(now++));
  } while (is_there(name) || is_there(with_suffix(name, "-wal")));
  return name;
}

void remove_database(const fs::path& file) {
  std::error_code ignored;
  for (const char* part : {"", "-wal", "-shm", "-journal"}) fs::remove(with_suffix(file, part), ignored);
}

/// Gives the database another name, with its log. The log has both names before: so whatever happens, where
/// the database is, all of it is.
Result<void> put_away(const fs::path& file, const fs::path& kept) {
  const fs::path log = with_suffix(file, "-wal");
  if (is_there(log)) {
    std::error_code failed;
    fs::create_hard_link(log, with_suffix(kept, "-wal"), failed);
    if (failed) fs::copy_file(log, with_suffix(kept, "-wal"), failed);
    if (failed) return filesystem_error("cannot keep " + log.string(), failed);
    if (auto synced = os::sync_file(with_suffix(kept, "-wal")); !synced) return synced;
  }
  const auto moved = commit_at(commit_point::kLedgerPutAway, [&] { return os::move_durably(file, kept); });
  if (!moved) return moved;
  return remove_log(file);
}

/// A copy to look at, as looking may change it.
Result<void> copy_to_read(const fs::path& file, const fs::path& copy) {
  remove_database(copy);
  for (const char* part : {"", "-wal"}) {
    const fs::path from = with_suffix(file, part);
    if (!is_there(from)) continue;
    std::error_code failed;
    fs::copy_file(from, with_suffix(copy, part), failed);
    if (failed) return filesystem_error("cannot copy " + from.string(), failed);
    fs::permissions(with_suffix(copy, part), fs::perms::owner_read | fs::perms::owner_write, failed);
  }
  return {};
}

/// Ids of tasks that have files of a run: it was started, whatever the rows say.
std::set<std::string> started_in(const fs::path& spool) {
  std::set<std::string> ids;
  std::error_code failed;
  for (fs::directory_iterator entry(spool, failed), end; !failed && entry != end; entry.increment(failed)) {
    if (entry->path().extension() == ".processes") ids.insert(entry->path().stem().string());
    // Of a run outside the agent's service: TASK.RUN.outliving.
    const std::string name = entry->path().filename().string();
    if (entry->path().extension() == ".outliving") ids.insert(name.substr(0, name.find('.')));
  }
  return ids;
}

/// What tells of starts beside the rows of tasks: numbers of runs by the number of their task.
struct Starts {
  std::set<std::string> spooled;                          ///< ids of tasks that have files of a run
  std::map<std::int64_t, std::int64_t> last_run;          ///< in the index of runs, and in kept output
  std::optional<storage::IndexedNumbers::Range> unknown;  ///< neither the runs nor their index tell of these

  [[nodiscard]] bool tell_of(const TaskRow& row) const {
    const auto last = last_run.find(row.sequence);
    return spooled.contains(row.task.spec.id) ||
           (last != last_run.end() && last->second > row.task.state.run_count);
  }
  [[nodiscard]] bool are_known_of(const TaskRow& row) const {
    return !unknown || row.sequence < unknown->from || row.sequence > unknown->to;
  }
};

class LedgerSalvage {
 public:
  LedgerSalvage(storage::Database& database, const Clock& clock, SalvageReport& report, Starts& starts)
      : database_(database), clock_(clock), report_(report), starts_(starts) {}

  /// All rows, with the tables as they were; the ids that only an index still has; what tells of starts.
  Result<void> copy(const fs::path& damaged);
  /// What holds in every ledger holds again, and nothing that may have started waits to start.
  Result<void> put_right(std::string_view boot_id);

 private:
  void drop_strays();
  void mend_stream();
  void mend_time();
  void remember_lost();
  void give_inputs();
  void mend_runs();
  void settle(LedgerWrite& write);
  [[nodiscard]] bool may_have_started(const TaskRow& row) const;
  void pass_by(LedgerWrite& write, TaskRow& row);
  [[nodiscard]] bool is_whole(std::string_view table) const;
  [[nodiscard]] bool has_table(std::string_view name);

  storage::Database& database_;
  const Clock& clock_;
  SalvageReport& report_;
  Starts& starts_;
};

Result<void> LedgerSalvage::copy(const fs::path& damaged) {
  auto salvage = storage::Salvage::begin(database_, damaged);
  if (!salvage) return salvage.error();
  report_.findings = salvage->findings(kFindings);
  storage::Transaction transaction(database_);
  // What a new ledger begins with gives way to what was there.
  for (const char* table : {"stream", "clocks", "lived_time"}) {
    if (has_table(table)) database_.execute("DELETE FROM " + std::string(table));
  }
  for (const auto name : kTables) {
    auto table = salvage->copy(name);
    if (!table) return table.error();
    report_.tables.push_back({std::string(name), table->saved, table->problem});
  }
  for (auto& id : salvage->indexed_texts("tasks", "id")) {
    storage::Statement row = database_.query("SELECT 1 FROM tasks WHERE id = ?1", {id});
    if (!row.step()) report_.lost.push_back(std::move(id));
  }
  auto runs = salvage->indexed_numbers("runs", "task", "number");
  starts_.last_run = std::move(runs.greatest);
  if (!is_whole("runs")) starts_.unknown = runs.unknown;
  for (const char* query : {"SELECT task, max(number) FROM runs GROUP BY task",
                            "SELECT task, max(run) FROM output GROUP BY task"}) {
    storage::Statement row = database_.query(query);
    while (row.step()) {
      auto& last = starts_.last_run[row.integer(0)];
      last = std::max(last, row.integer(1));
    }
  }
  return transaction.commit();
}

bool LedgerSalvage::has_table(std::string_view name) {
  storage::Statement row =
      database_.query("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1", {name});
  return row.step();
}

bool LedgerSalvage::is_whole(std::string_view table) const {
  const auto found = std::find_if(report_.tables.begin(), report_.tables.end(),
                                  [&](const auto& one) { return one.table == table; });
  return found != report_.tables.end() && found->problem.empty();
}

/// Rows that name a task or run that is gone say nothing any more.
void LedgerSalvage::drop_strays() {
  database_.execute("DELETE FROM inputs WHERE task NOT IN (SELECT sequence FROM tasks)");
  database_.execute("DELETE FROM local_tasks WHERE task NOT IN (SELECT sequence FROM tasks)");
  database_.execute("DELETE FROM runs WHERE task NOT IN (SELECT sequence FROM tasks)");
  database_.execute("DELETE FROM run_requests WHERE task NOT IN (SELECT sequence FROM tasks)");
  database_.execute(
      "DELETE FROM output WHERE NOT EXISTS (SELECT 1 FROM runs WHERE runs.task = output.task AND "
      "runs.number = output.run)");
  database_.execute("DELETE FROM remembered WHERE id IN (SELECT id FROM tasks)");
}

/// It belongs to no epoch until a server has its snapshot.
void LedgerSalvage::mend_stream() {
  const auto begin = [&](const std::string& table) {
    return database_.execute("INSERT INTO " + table +
                             " (only_row) SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM " + table + ")") > 0;
  };
  (void)begin("clocks");
  // Somebody may have said hold: then nothing may start, and only people can tell.
  report_.held = begin("stream");
  if (report_.held) {
    database_.execute("UPDATE stream SET hold = ?1", {static_cast<std::int64_t>(HeldBy::device)});
  }
  database_.execute(
      "UPDATE stream SET epoch = 0, directive_sequence = 0, directive_chain = '', report_sequence = 0, "
      "report_chain = '', acknowledged_sequence = 0, acknowledged_chain = '', outbox_reports = 0, "
      "outbox_bytes = "
      "0, incomplete = 1, output_bytes = (SELECT coalesce(sum(length(bytes)), 0) FROM output)");
  database_.execute("DELETE FROM outbox");
  for (const char* table : {"tasks", "runs", "messages"})
    database_.execute("UPDATE " + std::string(table) + " SET reported = 0");
  storage::Statement past = database_.query("SELECT count(*) FROM incarnations");
  report_.knows_its_past = past.step() && past.integer(0) > 0;
}

/// Without the time that the ledger has lived, what was dated by it would be kept for as long again.
void LedgerSalvage::mend_time() {
  for (const char* table : {"tasks", "runs", "messages", "remembered"}) {
    database_.execute("UPDATE " + std::string(table) +
                      " SET kept_since = NULL WHERE NOT EXISTS (SELECT 1 FROM lived_time)");
  }
}

/// An id runs once, also where nothing else of its task is left.
void LedgerSalvage::remember_lost() {
  for (const auto& id : report_.lost) {
    database_.execute(
        "INSERT OR IGNORE INTO remembered (id, digest, status, reason, end_time, node_id) SELECT ?1, ?2, "
        "'failed', "
        "'interrupted', ?3, node_id FROM stream",
        {id, storage::Blob{""}, clock_.wall()});
  }
}

void LedgerSalvage::give_inputs() {
  database_.execute(
      "INSERT INTO inputs (task, digest, data) SELECT sequence, x'', '' FROM tasks WHERE sequence NOT IN "
      "(SELECT "
      "task FROM inputs)");
}

/// A run that is open is of a task that runs; it ends when the agent starts, after what is left of it was
/// stopped. The others are over.
void LedgerSalvage::mend_runs() {
  database_.execute(
      "UPDATE runs SET status = 'failed', reason = 'interrupted', end_time = ?1 WHERE status = 'running' AND "
      "(task "
      "NOT IN (SELECT sequence FROM tasks WHERE status = 'running') OR number <> (SELECT max(number) FROM "
      "runs "
      "others WHERE others.task = runs.task))",
      {clock_.wall()});
  database_.execute(
      "UPDATE tasks SET run_count = max(run_count, coalesce((SELECT max(number) FROM runs WHERE task = "
      "sequence), "
      "0))");
}

/// Its present occurrence may have started: it goes on with the next.
void LedgerSalvage::pass_by(LedgerWrite& write, TaskRow& row) {
  const bool was_paused = row.task.state.paused;
  (void)pause(write, row);
  if (!was_paused) (void)resume(write, row);
  save_task(database_, row);
  report_.passed.push_back(row.task.spec.id);
}

/// A start changes the row of its task and makes one of its run, in one transaction. So a row that says that
/// its task waits is right, unless the damage brought an older state of it to light; where that may be, as
/// rows of other tasks are gone, the runs have to say the same.
bool LedgerSalvage::may_have_started(const TaskRow& row) const {
  return starts_.tell_of(row) || (!is_whole("tasks") && !starts_.are_known_of(row));
}

void LedgerSalvage::settle(LedgerWrite& write) {
  const auto end = [&](TaskRow& row, std::string_view why) {
    write.end_without_run(row, TaskStatus::failed, reason::kInterrupted, why);
    report_.ended.push_back(row.task.spec.id);
  };
  // Without its run, nothing would ever end it.
  for (auto& row :
       load_tasks(database_,
                  "WHERE status = 'running' AND sequence NOT IN (SELECT task FROM runs WHERE status = "
                  "'running') ORDER BY sequence",
                  {}))
    end(row, kWithoutItsRun);
  for (auto& row : load_tasks(database_, "WHERE queue IS NOT NULL ORDER BY sequence", {})) {
    if (load_digest(database_, row.sequence).empty()) {
      end(row, kWithoutData);
    } else if (!may_have_started(row)) {
      continue;
    } else if (row.recurs()) {
      pass_by(write, row);
    } else {
      end(row, kMayHaveStarted);
    }
  }
}

Result<void> LedgerSalvage::put_right(std::string_view boot_id) {
  storage::Transaction transaction(database_);
  drop_strays();
  mend_stream();
  mend_time();
  remember_lost();
  give_inputs();
  LedgerWrite write(database_, clock_, clock_.since_boot(), 0);
  // Grids and waits are measured since a boot: in this one, if there was another since, by the wall clock.
  resume_grids(write, resume_delays(write, boot_id));
  settle(write);
  mend_runs();
  write.finish();
  return transaction.commit();
}

/// The saved ledger as `part`, complete and closed.
Result<void> save(const fs::path& scratch, const fs::path& part, Starts& starts, const Clock& clock,
                  std::string_view boot_id, SalvageReport& report) {
  const auto header = storage::read_header(scratch);
  if (!header) {
    return Error{ErrorCode::corrupt, "nothing can be read of it: " + header.error().message +
                                         ". To begin anew: agenttaskd ledger reset"};
  }
  const storage::Schema& present = ledger_schema();
  if (header->application_id != present.application_id && header->application_id != 0)
    return Error{ErrorCode::invalid, "it is the database of another program"};
  const auto known = static_cast<std::int32_t>(present.migrations.size());
  if (header->version > known) {
    return Error{ErrorCode::newer, "it was written by a newer version of agenttaskd: use that one"};
  }
  // With the tables as they were, so that what later versions change is changed in what was saved, too.
  const std::int32_t version = header->version > 0 ? header->version : known;
  const storage::Schema former{present.name, present.application_id,
                               present.migrations.first(static_cast<std::size_t>(version))};
  remove_database(part);
  {
    auto database = storage::Database::open(part, former);
    if (!database) return database.error();
    if (auto copied = LedgerSalvage(*database, clock, report, starts).copy(scratch); !copied) return copied;
  }
  {
    auto database = storage::Database::open(part, present);
    if (!database) return database.error();
    if (auto done = LedgerSalvage(*database, clock, report, starts).put_right(boot_id); !done) return done;
    // It is moved: a log that stayed behind would be the end of what is in it.
    if (auto closed = storage::close_as_one_file(*std::move(database)); !closed) return closed;
  }
  return os::sync_file(part);
}

}  // namespace

Result<SalvageReport> salvage_ledger(const fs::path& file, const fs::path& spool, const Clock& clock,
                                     std::string_view boot_id) {
  const auto lock = hold_ledger(file);
  if (!lock) return lock.error();
  // One that was cut off before it had its place is done again; one that was cut off later is finished.
  if (auto finished = finish_salvage(file); !finished) return finished.error();
  if (!is_there(file)) return Error{ErrorCode::not_found, "there is no ledger at " + file.string()};
  const fs::path scratch = with_suffix(file, ".scratch");
  const fs::path part = with_suffix(file, ".part");
  SalvageReport report;
  Starts starts{started_in(spool), {}, {}};
  auto saved = copy_to_read(file, scratch);
  if (saved) saved = save(scratch, part, starts, clock, boot_id, report);
  remove_database(scratch);
  if (!saved) {
    remove_database(part);
    return with_context(saved.error(), "the ledger " + file.string() + " was left as it is");
  }
  report.kept = free_name(file, "damaged", clock.wall());
  const auto moved =
      commit_at(commit_point::kLedgerSaved, [&] { return os::move_durably(part, saved_ledger(file)); });
  if (!moved) return moved.error();
  if (auto away = put_away(file, report.kept); !away) return away.error();
  if (auto finished = finish_salvage(file); !finished) return finished.error();
  return report;
}

Result<bool> finish_cut_off_salvage(const fs::path& file) {
  if (is_there(file) || !is_there(saved_ledger(file))) return false;
  const auto lock = hold_ledger(file);
  if (!lock) return lock.error();
  if (auto finished = finish_salvage(file); !finished) return finished.error();
  return is_there(file);
}

Result<fs::path> put_ledger_away(const fs::path& file, const Clock& clock) {
  const auto lock = hold_ledger(file);
  if (!lock) return lock.error();
  // A saved one of a salvage that was cut off is the ledger, or is none: it must not take this one's place.
  if (auto finished = finish_salvage(file); !finished) return finished.error();
  if (!is_there(file)) return Error{ErrorCode::not_found, "there is no ledger at " + file.string()};
  if (auto removed = os::remove_file(saved_ledger(file)); !removed) return removed.error();
  const fs::path kept = free_name(file, "reset", clock.wall());
  if (auto away = put_away(file, kept); !away) return away.error();
  return kept;
}

}  // namespace agenttask::agent
