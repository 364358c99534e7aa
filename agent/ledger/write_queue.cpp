#include "agent/ledger/write_queue.hpp"

#include <utility>

namespace agenttask::agent {

/// What one thread does for all that wait: those that it took are done when it ends, and one of those that
/// came meanwhile is next.
class WriteQueue::Turn {
 public:
  Turn(WriteQueue& queue, Waiting& own, std::vector<Waiting*> together)
      : queue_(queue), own_(own), together_(std::move(together)) {
    writes_.reserve(together_.size());
    for (const Waiting* one : together_) writes_.push_back(one->write);
  }
  /// Under the lock: who is done is gone as soon as that is free.
  ~Turn() {
    const std::scoped_lock lock(queue_.mutex_);
    for (Waiting* one : together_) {
      one->done = true;
      if (one != &own_) one->woken.notify_one();
    }
    queue_.busy_ = !queue_.waiting_.empty();
    if (!queue_.busy_) return;
    queue_.waiting_.front()->leads = true;
    queue_.waiting_.front()->woken.notify_one();
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  [[nodiscard]] std::span<QueuedWrite* const> writes() const { return writes_; }

 private:
  WriteQueue& queue_;
  Waiting& own_;
  std::vector<Waiting*> together_;
  std::vector<QueuedWrite*> writes_;
};

void WriteQueue::pass(QueuedWrite& write, const CarryOut& carry_out) {
  Waiting own{&write};
  std::vector<Waiting*> together;
  {
    std::unique_lock lock(mutex_);
    waiting_.push_back(&own);
    if (busy_) own.woken.wait(lock, [&] { return own.done || own.leads; });
    if (own.done) return;
    busy_ = true;
    together.swap(waiting_);
  }
  const Turn turn(*this, own, std::move(together));
  carry_out(turn.writes());
}

}  // namespace agenttask::agent
