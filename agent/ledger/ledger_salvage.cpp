#include <algorithm>
#include <array>
#include <set>
#include <system_error>
#include <utility>

#include "agent/ledger/clocks.hpp"
#include "agent/ledger/ledger_care.hpp"
#include "agent/ledger/ledger_file.hpp"
#include "agent/ledger/ledger_write.hpp"
#include "agent/ledger/occurrences.hpp"
#include "agent/ledger/schema.hpp"
#include "platform/storage/copy_database.hpp"
#include "platform/storage/salvage.hpp"

namespace agenttask::agent {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kFindings = 5;
constexpr std::string_view kWhy =
    "the device's ledger was damaged: what is left of it does not tell whether this was started";
/// In an order in which rows come after those that they name. The outbox is not among them: the server gets a
/// snapshot.
constexpr std::array<std::string_view, 13> kTables{
    "stream",      "tasks",      "inputs",   "runs",   "output",       "remembered", "incarnations",
    "local_tasks", "quarantine", "messages", "clocks", "run_requests", "lived_time"};

fs::path with_suffix(const fs::path& file, std::string_view suffix) {
  return file.string() + std::string(suffix);
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

/// Both files under another name, the database first: a log alone is nothing.
Result<void> move_database(const fs::path& from, const fs::path& to) {
  if (is_there(from)) {
    if (auto moved = os::move_durably(from, to); !moved) return moved;
  }
  if (is_there(with_suffix(from, "-wal"))) {
    if (auto moved = os::move_durably(with_suffix(from, "-wal"), with_suffix(to, "-wal")); !moved)
      return moved;
  }
  std::error_code ignored;
  fs::remove(with_suffix(from, "-shm"), ignored);
  return {};
}

/// A copy to look at, as looking may change it.
Result<void> copy_to_read(const fs::path& file, const fs::path& copy) {
  remove_database(copy);
  for (const char* part : {"", "-wal"}) {
    const fs::path from = with_suffix(file, part);
    if (!is_there(from)) continue;
    std::error_code failed;
    fs::copy_file(from, with_suffix(copy, part), failed);
    if (failed) return io_error("cannot copy " + from.string(), failed.value());
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
  }
  return ids;
}

class LedgerSalvage {
 public:
  LedgerSalvage(storage::Database& database, const Clock& clock, SalvageReport& report)
      : database_(database), clock_(clock), report_(report) {}

  /// All rows, with the tables as they were; and the ids that only an index still has.
  Result<void> copy(const fs::path& damaged);
  /// What holds in every ledger holds again, and nothing that may have started waits to start.
  Result<void> put_right(const std::set<std::string>& spooled, std::string_view boot_id);

 private:
  void drop_strays();
  void mend_stream();
  void mend_time();
  void remember_lost();
  void give_inputs();
  void mend_runs();
  void settle(LedgerWrite& write, const std::set<std::string>& spooled);
  void pass_by(LedgerWrite& write, TaskRow& row);
  [[nodiscard]] bool is_whole(std::string_view table) const;
  [[nodiscard]] bool has_table(std::string_view name);
  [[nodiscard]] std::vector<std::string> ids_of(std::string_view query);

  storage::Database& database_;
  const Clock& clock_;
  SalvageReport& report_;
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

std::vector<std::string> LedgerSalvage::ids_of(std::string_view query) {
  std::vector<std::string> ids;
  storage::Statement row = database_.query(query);
  while (row.step()) ids.push_back(row.text(0));
  return ids;
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

void LedgerSalvage::settle(LedgerWrite& write, const std::set<std::string>& spooled) {
  const auto end = [&](TaskRow& row) {
    write.end_without_run(row, TaskStatus::failed, reason::kInterrupted, kWhy);
    report_.ended.push_back(row.task.spec.id);
  };
  // Without its run, nothing would ever end it.
  for (auto& row :
       load_tasks(database_,
                  "WHERE status = 'running' AND sequence NOT IN (SELECT task FROM runs WHERE status = "
                  "'running') ORDER BY sequence",
                  {}))
    end(row);
  const bool is_sure = is_whole("tasks") && is_whole("runs") && report_.lost.empty();
  for (auto& row : load_tasks(database_, "WHERE queue IS NOT NULL ORDER BY sequence", {})) {
    const std::string& id = row.task.spec.id;
    const bool lacks_input = load_digest(database_, row.sequence).empty();
    const bool was_cut_off = !ids_of("SELECT 'x' FROM runs WHERE task = " + std::to_string(row.sequence) +
                                     " AND number > " + std::to_string(row.task.state.run_count))
                                  .empty();
    if (is_sure && !lacks_input && !was_cut_off && !spooled.contains(id)) continue;
    if (row.recurs() && !lacks_input) {
      pass_by(write, row);
    } else {
      end(row);
    }
  }
}

Result<void> LedgerSalvage::put_right(const std::set<std::string>& spooled, std::string_view boot_id) {
  storage::Transaction transaction(database_);
  drop_strays();
  mend_stream();
  mend_time();
  remember_lost();
  give_inputs();
  LedgerWrite write(database_, clock_, clock_.since_boot(), 0);
  // Grids and waits are measured since a boot: in this one, if there was another since, by the wall clock.
  resume_grids(write, resume_delays(write, boot_id));
  settle(write, spooled);
  mend_runs();
  write.finish();
  return transaction.commit();
}

/// The saved ledger as `part`, complete and closed.
Result<void> save(const fs::path& scratch, const fs::path& part, const std::set<std::string>& spooled,
                  const Clock& clock, std::string_view boot_id, SalvageReport& report) {
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
    if (auto copied = LedgerSalvage(*database, clock, report).copy(scratch); !copied) return copied;
  }
  {
    auto database = storage::Database::open(part, present);
    if (!database) return database.error();
    if (auto done = LedgerSalvage(*database, clock, report).put_right(spooled, boot_id); !done) return done;
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
  auto saved = copy_to_read(file, scratch);
  if (saved) saved = save(scratch, part, started_in(spool), clock, boot_id, report);
  remove_database(scratch);
  if (!saved) {
    remove_database(part);
    return with_context(saved.error(), "the ledger " + file.string() + " was left as it is");
  }
  report.kept = free_name(file, "damaged", clock.wall());
  if (auto moved = os::move_durably(part, saved_ledger(file)); !moved) return moved.error();
  if (auto moved = move_database(file, report.kept); !moved) return moved.error();
  if (auto finished = finish_salvage(file); !finished) return finished.error();
  return report;
}

Result<fs::path> put_ledger_away(const fs::path& file, const Clock& clock) {
  const auto lock = hold_ledger(file);
  if (!lock) return lock.error();
  if (!is_there(file)) return Error{ErrorCode::not_found, "there is no ledger at " + file.string()};
  // A saved one that never took its place must not do so now.
  std::error_code ignored;
  fs::remove(saved_ledger(file), ignored);
  const fs::path kept = free_name(file, "reset", clock.wall());
  if (auto moved = move_database(file, kept); !moved) return moved.error();
  return kept;
}

}  // namespace agenttask::agent
