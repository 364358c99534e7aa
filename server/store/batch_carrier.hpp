#pragma once
#include <atomic>
#include <thread>

#include "platform/base/clock.hpp"
#include "platform/base/log.hpp"
#include "server/store/bell.hpp"
#include "server/store/store.hpp"
#include "server/store/writer.hpp"

namespace agenttask::server {

/// Carries batches on: makes the tasks of those that were accepted and carries out their cancels, part by
/// part and one of each batch in turn, with others' writes in between. One thread that sleeps until `ring`;
/// at its start it looks for what an earlier server left. Threads: construct and destroy on one, ring from
/// any. Crash: nothing is here that is not in the store.
class BatchCarrier {
 public:
  BatchCarrier(Store& store, Writer& writer, const Clock& clock, Logger& logger);
  ~BatchCarrier();  ///< stop()
  BatchCarrier(const BatchCarrier&) = delete;
  BatchCarrier& operator=(const BatchCarrier&) = delete;

  void start();
  void ring() { bell_.ring(); }
  /// Ends the thread, between two parts. May be called again.
  void stop();
  /// Until nothing is left; what the thread does, public for tests. False: it could not, and tries again
  /// later.
  bool carry_on();

 private:
  /// A part of each batch. Whether more is left.
  Result<bool> carry_each_on();

  Store& store_;
  Writer& writer_;
  const Clock& clock_;
  Logger& logger_;
  Bell bell_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace agenttask::server
