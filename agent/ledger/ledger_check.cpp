#include <array>
#include <string_view>
#include <system_error>

#include "agent/ledger/ledger_care.hpp"
#include "agent/ledger/ledger_file.hpp"
#include "agent/ledger/ledger_write.hpp"
#include "agent/ledger/schema.hpp"
#include "platform/protocol/chain.hpp"
#include "platform/storage/copy_database.hpp"
#include "platform/storage/salvage.hpp"

namespace agenttask::agent {
namespace {

constexpr std::size_t kMostFindings = 20;

/// What must hold in every ledger, as a question that counts the rows that break it.
struct Rule {
  std::string_view says;
  std::string_view broken;
};
constexpr std::array<Rule, 10> kRules{{
    {"there is one row of cursors", "SELECT abs(count(*) - 1) FROM stream"},
    {"each task has its input", "SELECT count(*) FROM tasks WHERE sequence NOT IN (SELECT task FROM inputs)"},
    {"a task that runs has one run that is open",
     "SELECT count(*) FROM tasks WHERE status = 'running' AND (SELECT count(*) FROM runs WHERE runs.task = "
     "tasks.sequence AND runs.status = 'running') <> 1"},
    {"an open run is of a task that runs",
     "SELECT count(*) FROM runs WHERE status = 'running' AND task NOT IN (SELECT sequence FROM tasks WHERE "
     "status = 'running')"},
    {"a run that is over has an end, and no other",
     "SELECT count(*) FROM runs WHERE (status = 'running') <> (end_time IS NULL)"},
    {"a task that has ended has an end, and no other",
     "SELECT count(*) FROM tasks WHERE (status IN ('complete', 'failed', 'cancelled')) <> (end_time IS NOT "
     "NULL)"},
    {"a task waits in a queue where it neither runs nor has ended, and no other does",
     "SELECT count(*) FROM tasks WHERE (queue IS NULL) <> (status IN ('running', 'complete', 'failed', "
     "'cancelled'))"},
    {"no run has a number that its task has not counted",
     "SELECT count(*) FROM runs JOIN tasks ON sequence = task WHERE number > run_count"},
    {"no id is both of a task and of one that was removed",
     "SELECT count(*) FROM tasks WHERE id IN (SELECT id FROM remembered)"},
    {"kept output is counted",
     "SELECT abs(output_bytes - (SELECT coalesce(sum(length(bytes)), 0) FROM output)) "
     "FROM stream"},
}};

std::int64_t number(storage::Database& database, std::string_view sql) {
  storage::Statement row = database.query(sql);
  return row.step() ? row.integer(0) : 0;
}

void check_rules(storage::Database& database, std::vector<std::string>& findings) {
  for (const Rule& rule : kRules) {
    const std::int64_t broken = number(database, rule.broken);
    if (broken > 0) findings.push_back("broken by " + std::to_string(broken) + ": " + std::string(rule.says));
  }
}

/// The outbox is a chain: from what was acknowledged to what was written last.
void check_outbox(storage::Database& database, std::vector<std::string>& findings) {
  const StreamRow stream = load_stream(database);
  Cursor at = stream.acknowledged;
  std::int64_t reports = 0;
  std::int64_t bytes = 0;
  storage::Statement row = database.query("SELECT sequence, chain, line FROM outbox ORDER BY sequence");
  while (row.step()) {
    const std::string line = row.text(2);
    at = agenttask::advance(at, line);
    ++reports;
    bytes += static_cast<std::int64_t>(line.size());
    if (row.integer(0) != at.sequence || row.text(1) != at.chain) {
      findings.push_back("the outbox is no chain at report " + std::to_string(row.integer(0)));
      return;
    }
  }
  if (at != stream.reports)
    findings.emplace_back("the outbox does not end where the last report was written");
  if (reports != stream.outbox_reports || bytes != stream.outbox_bytes)
    findings.emplace_back("the outbox holds another number of reports or bytes than was counted");
}

}  // namespace

Result<LedgerReport> check_ledger(const std::filesystem::path& file) {
  std::error_code unknown;
  if (!std::filesystem::exists(file, unknown)) {
    return Error{ErrorCode::not_found,
                 "there is no ledger at " + file.string() + "; the agent makes one when it starts"};
  }
  const auto lock = hold_ledger(file);
  if (!lock) return lock.error();
  LedgerReport report;
  report.known_version = static_cast<std::int32_t>(ledger_schema().migrations.size());
  if (const auto header = storage::read_header(file)) report.version = header->version;
  storage::OpenOptions options;
  options.read_only = true;
  auto database = storage::Database::open(file, ledger_schema(), options);
  if (!database) {
    const ErrorCode code = database.error().code;
    if (code != ErrorCode::corrupt && code != ErrorCode::newer && code != ErrorCode::invalid)
      return database.error();
    report.findings.push_back(describe_ledger_problem(database.error()).detail);
    return report;
  }
  auto damage = storage::find_damage(*database, kMostFindings);
  if (!damage) return damage.error();
  report.findings = *std::move(damage);
  report.tasks = number(*database, "SELECT count(*) FROM tasks");
  report.runs = number(*database, "SELECT count(*) FROM runs");
  report.remembered = number(*database, "SELECT count(*) FROM remembered");
  report.outbox_reports = number(*database, "SELECT count(*) FROM outbox");
  // The rules are those of this version's tables.
  if (report.findings.empty() && report.version == report.known_version) {
    check_rules(*database, report.findings);
    check_outbox(*database, report.findings);
  }
  if (auto read = database->check(); !read) report.findings.push_back(read.error().message);
  return report;
}

}  // namespace agenttask::agent
