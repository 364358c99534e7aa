#include "agent/runner/run_threads.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

namespace agenttask::agent {
namespace {

constexpr std::chrono::seconds kIdle{2};

}  // namespace

RunThreads::~RunThreads() {
  {
    const std::scoped_lock lock(mutex_);
    closing_ = true;
    woken_.notify_all();
  }
  threads_.clear();
}

void RunThreads::start(std::function<void()> work) {
  const std::scoped_lock lock(mutex_);
  join_ended();
  waiting_.push_back(std::move(work));
  if (waiting_.size() <= idle_) return woken_.notify_one();
  try {
    threads_.emplace_back([this] { serve(); });
  } catch (...) {
    waiting_.pop_back();
    throw;
  }
}

void RunThreads::join_ended() {
  for (const auto id : ended_) {
    std::erase_if(threads_, [id](const std::jthread& thread) { return thread.get_id() == id; });
  }
  ended_.clear();
}

void RunThreads::serve() {
  std::unique_lock lock(mutex_);
  for (;;) {
    ++idle_;
    woken_.wait_for(lock, kIdle, [&] { return !waiting_.empty() || closing_; });
    --idle_;
    if (waiting_.empty()) break;
    auto work = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    work();
    work = nullptr;
    lock.lock();
  }
  ended_.push_back(std::this_thread::get_id());
}

}  // namespace agenttask::agent
