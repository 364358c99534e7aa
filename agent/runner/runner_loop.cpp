#include <algorithm>
#include <iterator>
#include <system_error>

#include "agent/runner/runner_body.hpp"
#include "platform/os/process.hpp"

namespace agenttask::agent {
namespace {

// A wait for a wall-clock time sleeps on that clock, so a jump forward ends it at once. These bounds cover
// what such a sleep can't see (a clock that something else slews or fakes), and waits that also serve a
// monotonic deadline.
constexpr std::chrono::milliseconds kLongestWallSleep{60'000};
constexpr std::chrono::milliseconds kLongestMixedSleep{5'000};
constexpr std::chrono::hours kBetweenPurges{1};
constexpr std::size_t kPurgedAtOnce = 500;

template <class Time>
bool is_due(const std::optional<Time>& time, Time now) {
  return time && *time <= now;
}

}  // namespace

void Runner::Body::loop() {
  while (true) {
    bool look = false;
    {
      const std::scoped_lock lock(mutex_);
      if (ended_) return;
      const MonotonicTime now = clock_.monotonic();
      look = look_ || is_due(look_again_, clock_.wall()) ||
             is_due(look_again_since_boot_, clock_.since_boot()) || is_due(retry_at_, now);
      look_ = timers_changed_ = false;
    }
    stop_overdue();
    if (look) pass();
    supervisor_.reap_orphans();
    sleep();
  }
}

void Runner::Body::stop_overdue() {
  const MonotonicTime now = clock_.monotonic();
  std::vector<std::shared_ptr<ActiveRun>> overdue;
  {
    const std::scoped_lock lock(mutex_);
    for (const auto& [id, active] : active_) {
      if (!active->deadline || *active->deadline > now) continue;
      active->deadline.reset();
      overdue.push_back(active);
    }
  }
  for (const auto& active : overdue) active->ask_to_stop(StopCause::timeout);
}

Occupancy Runner::Body::occupancy() const {
  Occupancy occupancy;
  const std::scoped_lock lock(mutex_);
  occupancy.free_slots = slots_ > active_.size() ? slots_ - active_.size() : 0;
  for (const auto& [id, active] : active_) {
    occupancy.tasks.insert(id);
    if (!active->task.concurrency_key.empty()) occupancy.keys.insert(active->task.concurrency_key);
  }
  occupancy.has_worker = [this](std::string_view type) { return workers_.find(type) != nullptr; };
  occupancy.only_computes = [this](std::string_view type) {
    const auto worker = workers_.find(type);
    return worker != nullptr && worker->only_computes();
  };
  occupancy.blocked = blocked_;
  occupancy.blocked_detail = blocked_detail_;
  return occupancy;
}

void Runner::Body::pass() {
  {
    const std::scoped_lock lock(mutex_);
    look_again_.reset();
    look_again_since_boot_.reset();
    if (stopping_) return;
    if (is_due(retry_at_, clock_.monotonic())) {
      // What the system lacked is told until something starts (clear_problem).
      if (blocked_ != reason::kNoSlot) blocked_detail_.clear();
      blocked_ = {};
      retry_at_.reset();
    }
  }
  if (!spool_made_) {
    if (auto made = make_spool_folder(); !made) return note_problem(made.error());
  }
  if (!recovered_) {
    if (auto done = recover(); !done) {
      note_problem(done.error());
      return;
    }
    if (!recovered_) return;  // the ledger can't be written; it is tried again
  }
  auto plan = scheduler_.plan(occupancy());
  if (!plan) {
    note_problem(plan.error());
    return;
  }
  if (!plan->at_once.empty() && !run_at_once(*plan)) return;
  for (ReadyTask& task : plan->start) {
    if (!launch(std::move(task))) break;
  }
  {
    const std::scoped_lock lock(mutex_);
    look_again_ = plan->look_again;
    look_again_since_boot_ = plan->look_again_since_boot;
  }
  purge();
}

/// Those of them that something keeps from it come first in what is started: whoever starts them says what it
/// is. False: the ledger can't be written.
bool Runner::Body::run_at_once(Plan& plan) {
  std::vector<std::string> ids;
  for (const ReadyTask& task : plan.at_once) ids.push_back(task.id);
  const auto left = ledger_.run_at_once(ids, [this](const Task& task) { return compute(task); });
  if (!left) {
    note_problem(left.error());
    return false;
  }
  if (left->size() < ids.size()) clear_problem();
  std::erase_if(plan.at_once, [&](const ReadyTask& task) {
    return std::find(left->begin(), left->end(), task.id) == left->end();
  });
  plan.start.insert(plan.start.begin(), std::make_move_iterator(plan.at_once.begin()),
                    std::make_move_iterator(plan.at_once.end()));
  return true;
}

void Runner::Body::purge() {
  const MonotonicTime now = clock_.monotonic();
  if (!is_due(purge_at_, now)) return;
  // As long as there is more, each pass takes a part.
  const auto purged = ledger_.purge(kPurgedAtOnce);
  if (!purged || !purged->more) purge_at_ = now + kBetweenPurges;
}

bool Runner::Body::launch(ReadyTask task) {
  auto active = std::make_shared<ActiveRun>(std::move(task));
  {
    const std::scoped_lock lock(mutex_);
    // Some may have come by themselves since it was planned (take_arrival).
    if (stopping_ || active_.size() >= slots_) return false;
    if (!active_.emplace(active->task.id, active).second) return true;
    try {
      threads_.start([this, active] { run(*active); });
    } catch (const std::system_error& error) {
      active_.erase(active->task.id);
      note_shortage(std::string("the system has no thread for another run: ") + error.what());
      return false;
    }
  }
  return true;
}

std::optional<MonotonicTime> Runner::Body::next_deadline() const {
  std::optional<MonotonicTime> next = retry_at_;
  for (const auto& [id, active] : active_) {
    if (active->deadline) next = std::min(*active->deadline, next.value_or(*active->deadline));
  }
  return next;
}

void Runner::Body::sleep() {
  std::unique_lock lock(mutex_);
  while (!look_ && !timers_changed_ && !ended_) {
    const auto deadline = next_deadline();
    sleeps_until_ = deadline.value_or(MonotonicTime::max());
    const MonotonicTime now = clock_.monotonic();
    if (deadline && *deadline <= now) return;
    // What is due by the wall clock or since boot is waited for on the wall clock, which goes on while the
    // machine sleeps.
    std::optional<std::chrono::milliseconds> until_due;
    if (look_again_) until_due = std::chrono::milliseconds(*look_again_ - clock_.wall());
    if (look_again_since_boot_) {
      const std::chrono::milliseconds left(*look_again_since_boot_ - clock_.since_boot());
      until_due = std::min(left, until_due.value_or(left));
    }
    if (until_due && until_due->count() <= 0) return;
    if (!deadline && !until_due) {
      wake_.wait(lock);
    } else if (!deadline) {
      wake_.wait_until(lock, std::chrono::system_clock::now() + std::min(*until_due, kLongestWallSleep));
    } else {
      auto wait = std::chrono::ceil<std::chrono::milliseconds>(*deadline - now);
      if (until_due) wait = std::min({wait, *until_due, kLongestMixedSleep});
      wake_.wait_until(lock, std::chrono::steady_clock::now() + wait);
    }
  }
}

}  // namespace agenttask::agent
