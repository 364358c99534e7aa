#include "agent/ledger/clocks.hpp"

#include <algorithm>
#include <string>

namespace agenttask::agent {
namespace {

/// What a clock may gain on another, by corrections and rounding, without having jumped.
constexpr DurationMilliseconds kJump = 3'600'000;

/// The clocks as purge saw them last.
struct ClockLook {
  std::string boot_id;
  UnixMilliseconds wall = 0;  ///< 0: it never looked
  DurationMilliseconds since_boot = 0;
  UnixMilliseconds latest = 0;      ///< the wall clock at its latest
  UnixMilliseconds keep_until = 0;  ///< nothing is removed before
};

ClockLook load_look(storage::Database& database) {
  auto statement =
      database.query("SELECT look_boot_id, look_wall, look_since_boot, latest_wall, keep_until FROM clocks");
  if (!statement.step()) return {};
  return {statement.text(0), statement.integer(1), statement.integer(2), statement.integer(3),
          statement.integer(4)};
}

bool jumped(const ClockLook& last, const ClockLook& now, DurationMilliseconds retention) {
  if (last.wall == 0) return false;
  const DurationMilliseconds moved = now.wall - last.wall;
  const bool same_boot = last.boot_id == now.boot_id;
  // How long a machine was off only the wall clock knows; so long that all would go at once is not believed.
  const DurationMilliseconds lived = same_boot ? now.since_boot - last.since_boot + kJump : retention;
  if (moved <= lived) return false;
  // A machine without a clock of its own begins in the past and is then set right: that is no jump.
  const bool was_behind = last.wall < last.latest - kJump;
  const bool is_set_right = now.wall >= last.latest - kJump && now.wall <= last.latest + retention;
  return !(was_behind && is_set_right);
}

}  // namespace

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

bool clocks_allow_purge(LedgerWrite& write, std::string_view boot_id, UnixMilliseconds wall,
                        DurationMilliseconds retention) {
  const ClockLook last = load_look(write.database);
  ClockLook now{std::string(boot_id), wall, write.since_boot, std::max(wall, last.latest), last.keep_until};
  if (jumped(last, now, retention)) now.keep_until = wall + retention;
  // Set during a jump that is over.
  now.keep_until = std::min(now.keep_until, wall + retention);
  write.database.execute(
      "UPDATE clocks SET look_boot_id = ?1, look_wall = ?2, look_since_boot = ?3, latest_wall = ?4,"
      " keep_until = ?5",
      {now.boot_id, now.wall, now.since_boot, now.latest, now.keep_until});
  return wall >= now.keep_until;
}

}  // namespace agenttask::agent
