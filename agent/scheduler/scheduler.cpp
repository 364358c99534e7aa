#include "agent/scheduler/scheduler.hpp"

#include <algorithm>

namespace agenttask::agent {
namespace {

constexpr std::size_t kMostLookedAtOnce = 64;
/// Their runs are one commit, for which others wait.
constexpr std::size_t kMostAtOnce = 64;
/// A fleet of waiting tasks is told bit by bit, so that it delays nothing else.
constexpr std::size_t kToldAtOnce = 100;
constexpr DurationMilliseconds kWorthTelling = 1000;

/// Why those wait that are ready and were not picked.
std::string_view wait_reason(const Occupancy& occupancy, const Plan& plan, bool held) {
  if (held) return reason::kHeld;
  if (!occupancy.blocked.empty()) return occupancy.blocked;
  return plan.start.size() >= occupancy.free_slots ? reason::kNoSlot : std::string_view();
}

}  // namespace

Result<void> Scheduler::pick(const Occupancy& occupancy, Plan& plan) {
  std::set<std::string> keys = occupancy.keys;
  std::vector<std::string> behind_key;
  std::vector<std::string> without_worker;
  std::set<std::string> unknown_types;
  std::optional<ReadyTask> last;
  // Those that are being started stand in the queue until their start is on disk.
  const std::size_t at_once = std::min(occupancy.free_slots + occupancy.tasks.size(), kMostLookedAtOnce);
  const auto is_full = [&] {
    return plan.start.size() == occupancy.free_slots || plan.at_once.size() == kMostAtOnce;
  };
  while (!is_full()) {
    auto tasks = ledger_.ready(last, at_once);
    if (!tasks) return tasks.error();
    for (ReadyTask& task : *tasks) {
      if (is_full()) break;
      if (occupancy.tasks.contains(task.id)) continue;
      if (occupancy.has_worker && !occupancy.has_worker(task.type)) {
        without_worker.push_back(task.id);
        unknown_types.insert(task.type);
      } else if (!task.concurrency_key.empty() && !keys.insert(task.concurrency_key).second) {
        behind_key.push_back(task.id);
      } else if (occupancy.only_computes && occupancy.only_computes(task.type)) {
        plan.at_once.push_back(task);
      } else {
        plan.start.push_back(task);
      }
    }
    if (tasks->size() < at_once) break;
    last = std::move(tasks->back());
  }
  if (auto parked = ledger_.park(behind_key, reason::kKeyHeld, ""); !parked) return parked;
  if (auto parked = ledger_.park(without_worker, reason::kNoWorker,
                                 "no worker on this device knows tasks of this type");
      !parked)
    return parked;
  // A worker that came between the look and the ledger's word has woken nobody.
  std::vector<std::string> known_now;
  for (const auto& type : unknown_types) {
    if (occupancy.has_worker(type)) known_now.push_back(type);
  }
  return known_now.empty() ? Result<void>() : ledger_.workers_changed(known_now);
}

Result<bool> Scheduler::retell(std::string_view reason, const std::string& lacking) {
  if (reason != reason::kNoSlot || told_lack_ == !lacking.empty()) return false;
  const auto told = ledger_.retell_waits(reason, kToldAtOnce, lacking);
  if (!told) return told.error();
  const bool more = *told == static_cast<std::int64_t>(kToldAtOnce);
  if (!more) told_lack_ = !lacking.empty();
  return more;
}

Result<Plan> Scheduler::plan(const Occupancy& occupancy) {
  const UnixMilliseconds now = clock_.wall();
  for (bool more = true; more;) {
    const auto advanced = ledger_.advance_time(now);
    if (!advanced) return advanced.error();
    more = *advanced;
  }
  Plan plan;
  const bool held = ledger_.held();
  if (!held && occupancy.blocked.empty()) {
    if (auto picked = pick(occupancy, plan); !picked) return picked.error();
  }
  const std::string_view reason = wait_reason(occupancy, plan, held);
  auto times = ledger_.times(reason);
  if (!times) return times.error();
  const auto worth_telling = [&](const LedgerTimes& t) {
    return t.waiting_since && *t.waiting_since + kWorthTelling <= now;
  };
  if (worth_telling(*times)) {
    // Slots may be free while the system lacks something else: then that is told.
    const bool lacking =
        reason == reason::kNoSlot || (!occupancy.blocked.empty() && reason == occupancy.blocked);
    const std::string_view detail = lacking ? occupancy.blocked_detail : std::string_view();
    if (auto told = ledger_.report_waits(reason, now, kToldAtOnce, detail); !told) return told.error();
    times = ledger_.times(reason);
    if (!times) return times.error();
  }
  const auto left_over = retell(reason, occupancy.blocked_detail);
  if (!left_over) return left_over.error();
  for (const auto& time : {times->due, times->expires}) {
    if (time) plan.look_again = std::min(*time, plan.look_again.value_or(*time));
  }
  plan.look_again_since_boot = times->delay_ends;
  const auto after = [&](DurationMilliseconds wait) {
    const DurationMilliseconds then = clock_.since_boot() + wait;
    plan.look_again_since_boot = std::min(then, plan.look_again_since_boot.value_or(then));
  };
  if (times->waiting_since) {
    const DurationMilliseconds left = *times->waiting_since + kWorthTelling - now;
    after(left > 0 ? std::min(left, kWorthTelling) : kWorthTelling);  // those left over: a second later
  }
  if (*left_over) after(kWorthTelling);
  return plan;
}

}  // namespace agenttask::agent
