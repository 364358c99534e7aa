#pragma once
#include <optional>
#include <string_view>

#include "agent/ledger/ledger_write.hpp"

/// When a task runs, and what it asks first: its place in the queues by schedule, pause and question. Steps
/// of a writing transaction; what they change of a row the caller saves and reports, but where said.
namespace agenttask::agent {

/// Puts a task that waits, new or with another schedule, where it belongs.
void place(LedgerWrite& write, TaskRow& row);

/// A task whose time has come (`next_run_at`, by the wall clock): its first occurrence, or the task itself.
/// `just_awoke`: it may have come while the agent was down or the machine slept; otherwise one that is late
/// is so because somebody set the clock.
void arrive(LedgerWrite& write, TaskRow& row, bool just_awoke);

/// Points of its grid have passed while it rested, or while an occurrence was active that the next replaces.
void tick(LedgerWrite& write, TaskRow& row);

/// A run of a recurring task has ended for good: what was due meanwhile is counted, and the next occurrence
/// begins or the task rests.
void after_run(LedgerWrite& write, TaskRow& row);

/// Starts no more of it until resume(); a run goes on.
[[nodiscard]] Result<void> pause(LedgerWrite& write, TaskRow& row);
/// Goes on with the next point of its grid, or waits for its time again.
[[nodiscard]] Result<void> resume(LedgerWrite& write, TaskRow& row);
/// A paused task that would be tried again waits for its resume.
void wait_for_resume(LedgerWrite& write, TaskRow& row);
/// Lets it run now, once, whatever its schedule says. `conflict` while it runs or waits for a choice.
[[nodiscard]] Result<void> run_now(LedgerWrite& write, TaskRow& row);

/// Which question an answer is for; what is absent is not compared.
struct Question {
  std::optional<std::int64_t> occurrence = {};
  std::optional<std::int64_t> runs = {};  ///< how many the task had had
};

/// Takes an answer to the open question, and reports it. `invalid` (field `option`) for a name that is not on
/// the list, `conflict` where nothing is asked, another question than the one that is meant, or somebody was
/// first. Saves the row.
[[nodiscard]] Result<void> choose(LedgerWrite& write, TaskRow& row, ChoiceMade made,
                                  const Question& question);
/// Nobody chose in time: the default counts, or the task, or this occurrence of it, has expired. Saves the
/// row.
void choice_expired(LedgerWrite& write, TaskRow& row);

/// The policy or the worker refuses the occurrence that is due: it counts as missed, and the schedule goes
/// on. Saves the row.
void occurrence_refused(LedgerWrite& write, TaskRow& row, std::string_view reason, std::string_view detail);

/// After a start of the agent: within the same boot the grids stand; after a reboot the wall clock says where
/// they are. No grid is further away than one interval.
void resume_grids(LedgerWrite& write, bool same_boot);
/// The wall clock was moved by `change`: when a grid's next point will be is told anew.
void move_grids(LedgerWrite& write, DurationMilliseconds change);

}  // namespace agenttask::agent
