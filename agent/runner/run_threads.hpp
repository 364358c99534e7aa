#pragma once
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace agenttask::agent {

/// The threads that runs live on: made when they are needed, kept for the next run, and ended when there was
/// none for a while.
///
/// Threads: any.
class RunThreads {
 public:
  RunThreads() = default;
  /// All that was started has to be over: its threads are waited for.
  ~RunThreads();
  RunThreads(const RunThreads&) = delete;
  RunThreads& operator=(const RunThreads&) = delete;

  /// Calls `work` on one of the threads. Throws std::system_error where another is needed and the system has
  /// none.
  void start(std::function<void()> work);

 private:
  void serve();
  void join_ended();

  std::mutex mutex_;
  std::condition_variable woken_;
  std::deque<std::function<void()>> waiting_;
  std::vector<std::jthread> threads_;
  std::vector<std::thread::id> ended_;  ///< have nothing left to do but to be joined
  std::size_t idle_ = 0;
  bool closing_ = false;
};

}  // namespace agenttask::agent
