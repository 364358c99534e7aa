#include "agent/ledger/clocks.hpp"

#include <string>

#include "platform/base/lived_time.hpp"

namespace agenttask::agent {

bool resume_delays(LedgerWrite& write, std::string_view boot_id) {
  std::string measured_in;
  {
    auto statement = write.database.query("SELECT delays_boot_id FROM clocks");
    if (statement.step()) measured_in = statement.text(0);
  }
  if (measured_in == boot_id && !measured_in.empty()) return true;
  write.database.execute(
      "UPDATE tasks SET delay_until = CASE WHEN ?1 BETWEEN ready_at AND next_run_at"
      " THEN ?2 + next_run_at - ?1 ELSE 0 END WHERE queue = 4",
      {write.now, write.since_boot});
  write.database.execute("UPDATE clocks SET delays_boot_id = ?1", {boot_id});
  return false;
}

void wait_since_now(LedgerWrite& write) {
  write.database.execute("UPDATE tasks SET ready_at = ?1 WHERE queue = 1 AND ready_at > ?1", {write.now});
  write.database.execute("UPDATE tasks SET ready_at = ?1 WHERE queue = 3 AND ready_at > ?1", {write.now});
}

DurationMilliseconds look_at_clocks(LedgerWrite& write, const Clock& clock, std::string_view boot_id) {
  LivedTime lived;
  {
    auto statement = write.database.query(
        "SELECT total, boot_id, since_boot, wall, latest_wall, at_latest, absence FROM lived_time");
    if (statement.step()) {
      lived = {statement.integer(0), statement.text(1),    statement.integer(2), statement.integer(3),
               statement.integer(4), statement.integer(5), statement.integer(6)};
    }
  }
  (void)lived.look(clock, boot_id);
  write.database.execute(
      "INSERT OR REPLACE INTO lived_time (only_row, total, boot_id, since_boot, wall, latest_wall, at_latest,"
      " absence) VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7)",
      {lived.total, lived.boot_id, lived.since_boot, lived.wall, lived.latest_wall, lived.at_latest,
       lived.absence});
  return lived.total;
}

}  // namespace agenttask::agent
