#pragma once
#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <span>
#include <vector>

#include "agent/ledger/ledger_types.hpp"
#include "agent/ledger/ledger_write.hpp"
#include "platform/base/commit_point.hpp"
#include "platform/base/error.hpp"

namespace agenttask::agent {

/// One write of the ledger, from its caller's asking until it is on disk or undone.
struct QueuedWrite {
  CommitPoint point;
  std::function<bool(LedgerWrite&)> apply;  ///< false: it refused, and nothing of it is to be kept
  LedgerChange change = {};                 ///< what the caller tells of afterwards
  /// The storage's word, where `apply` did not refuse.
  Result<void> stored = Error{ErrorCode::internal, "the write was not carried out"};
  std::exception_ptr thrown = {};  ///< by `apply`
};

/// Lets writes of several threads reach the disk together: what comes while others are being committed waits,
/// and is committed with all that came meanwhile, as a disk takes about as long for many as for one.
///
/// Threads: any. There is no thread of its own: one of those that wait does the work for all.
class WriteQueue {
 public:
  using CarryOut = std::function<void(std::span<QueuedWrite* const>)>;

  /// Returns when `carry_out` has been called with `write` among others, by this thread or another. The order
  /// in which they came is kept.
  void pass(QueuedWrite& write, const CarryOut& carry_out);

 private:
  class Turn;
  struct Waiting {
    QueuedWrite* write;
    std::condition_variable woken = {};
    bool done = false;
    bool leads = false;  ///< it does the work now
  };

  std::mutex mutex_;
  std::vector<Waiting*> waiting_;
  bool busy_ = false;
};

}  // namespace agenttask::agent
