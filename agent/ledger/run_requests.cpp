#include "agent/ledger/run_requests.hpp"

namespace agenttask::agent {
namespace {

constexpr std::int64_t kRemembered = 100;  ///< of each task

}  // namespace

std::string note_run_request(storage::Database& database, const TaskRow& row, const RunDirective& directive) {
  const bool has_run_since = directive.runs && row.task.state.run_count > *directive.runs;
  const std::string too_late = "it has run since this run was asked for; ask again if it shall run once more";
  if (directive.request.empty()) return has_run_since ? too_late : std::string();
  {
    auto known = database.query("SELECT count(*), max(id), max(id = ?2) FROM run_requests WHERE task = ?1",
                                {row.sequence, directive.request});
    if (known.step() && known.integer(0) > 0) {
      if (known.integer(2) != 0) return "this run was asked for before, and answered then";
      const bool is_new = known.integer(0) < kRemembered || directive.request > known.text(1);
      if (!is_new && has_run_since) return too_late;
    }
  }
  database.execute("INSERT INTO run_requests (task, id) VALUES (?1, ?2)", {row.sequence, directive.request});
  database.execute(
      "DELETE FROM run_requests WHERE task = ?1 AND number <="
      " (SELECT number FROM run_requests WHERE task = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2)",
      {row.sequence, kRemembered});
  return {};
}

}  // namespace agenttask::agent
