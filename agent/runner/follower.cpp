#include "agent/runner/follower.hpp"

#include <utility>

#include "agent/runner/runner_body.hpp"
#include "platform/protocol/limits.hpp"

namespace agenttask::agent {
namespace {

/// From run to run: live where one is under way, from the ledger where it has ended.
template <class Body>
class TaskFollower final : public Follower {
 public:
  TaskFollower(Body& body, std::string task_id, Pace pace, std::int64_t after)
      : body_(body), task_id_(std::move(task_id)), pace_(pace), last_run_(after) {}
  ~TaskFollower() override { leave(); }
  TaskFollower(const TaskFollower&) = delete;
  TaskFollower& operator=(const TaskFollower&) = delete;

  Result<FollowedOutput> next(std::chrono::milliseconds at_most, std::stop_token stop) override {
    const auto until = std::chrono::steady_clock::now() + at_most;
    while (true) {
      if (live_) {
        auto output = from_live();
        if (output) return std::move(*output);
        if (!live_->wait(place_, until, stop)) return FollowedOutput{live_->number(), {}, false, false};
        continue;
      }
      if (kept_run_ > 0) return from_ledger();
      // Counted before looking, so that what changes meanwhile ends the wait.
      const std::uint64_t seen = body_.changes();
      if ((live_ = body_.live_run(task_id_, last_run_))) {
        place_ = {};
        if (pace_ == Pace::shared) live_->wait_for(place_);
        continue;
      }
      auto ended = look_into_ledger();
      if (!ended) return ended.error();
      if (*ended) return FollowedOutput{last_run_, {}, false, true};
      if (kept_run_ > 0) continue;
      if (stop.stop_requested() || std::chrono::steady_clock::now() >= until) {
        return FollowedOutput{last_run_, {}, false, false};
      }
      body_.wait_for_change(seen, until, stop);
    }
  }

 private:
  std::optional<FollowedOutput> from_live() {
    // Asked first: what was written before the end is there when it is read after.
    const bool ended = live_->ended();
    FollowedOutput output{live_->number(), live_->read(place_, limits::kOutputChunkBytes), false, false};
    if (!output.chunks.empty()) return output;
    if (!ended) return std::nullopt;
    output.run_ended = true;
    last_run_ = live_->number();
    leave();
    return output;
  }

  void leave() {
    if (live_ && pace_ == Pace::shared) live_->wait_no_more(place_);
    live_.reset();
  }

  Result<FollowedOutput> from_ledger() {
    auto chunks = body_.ledger().kept_output(task_id_, kept_run_, kept_chunks_, 1);
    if (!chunks) return chunks.error();
    kept_chunks_ += chunks->size();
    FollowedOutput output{kept_run_, std::move(*chunks), false, false};
    if (output.chunks.empty()) {
      output.run_ended = true;
      last_run_ = std::exchange(kept_run_, 0);
      kept_chunks_ = 0;
    }
    return output;
  }

  /// Finds the next run that has ended and was not followed yet; true where there is none and none will come.
  Result<bool> look_into_ledger() {
    const auto task = body_.ledger().get(task_id_);
    if (!task) return task.error();
    const auto runs = body_.ledger().runs(task_id_);
    if (!runs) return runs.error();
    for (const Run& run : *runs) {
      if (run.number <= last_run_ || run.status == RunStatus::running) continue;
      kept_run_ = run.number;
      return false;
    }
    return has_ended(task->state.status);
  }

  Body& body_;
  const std::string task_id_;
  const Pace pace_;
  std::shared_ptr<LiveRun> live_;
  LiveRun::Place place_;
  std::int64_t last_run_;      ///< followed to its end, or left out
  std::int64_t kept_run_ = 0;  ///< being read from the ledger; 0: none
  std::size_t kept_chunks_ = 0;
};

}  // namespace

Result<std::unique_ptr<Follower>> Runner::follow(std::string_view task_id, Pace pace, std::int64_t after) {
  return body_->follow(task_id, pace, after);
}

Result<std::unique_ptr<Follower>> Runner::Body::follow(std::string_view task_id, Pace pace,
                                                       std::int64_t after) {
  const auto task = ledger_.get(task_id);
  if (!task) return task.error();
  return std::unique_ptr<Follower>(std::make_unique<TaskFollower<Body>>(*this, task->spec.id, pace, after));
}

std::shared_ptr<LiveRun> Runner::Body::live_run(std::string_view task_id, std::int64_t after) const {
  const std::scoped_lock lock(mutex_);
  const auto found = active_.find(task_id);
  if (found == active_.end() || !found->second->live) return nullptr;
  return found->second->live->number() > after ? found->second->live : nullptr;
}

std::uint64_t Runner::Body::changes() const {
  const std::scoped_lock lock(follow_mutex_);
  return changes_;
}

void Runner::Body::wait_for_change(std::uint64_t seen, std::chrono::steady_clock::time_point until,
                                   const std::stop_token& stop) {
  std::unique_lock lock(follow_mutex_);
  followed_.wait_until(lock, stop, until, [&] { return changes_ != seen; });
}

void Runner::Body::announce_change() {
  const std::scoped_lock lock(follow_mutex_);
  ++changes_;
  followed_.notify_all();
}

}  // namespace agenttask::agent
