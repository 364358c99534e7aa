#pragma once
#include <cstddef>
#include <functional>
#include <memory>

#include "platform/base/clock.hpp"
#include "platform/base/log.hpp"
#include "server/http/exchange.hpp"
#include "server/mailboxes/mailboxes.hpp"

namespace agenttask::server {

/// How requests are evaluated; `server/main` fills it with the router, the readers' connections and the
/// writer.
struct Evaluation {
  using Done = std::function<void(Outcome)>;
  /// On a reader thread; several at once.
  std::function<Outcome(const Request& request)> read;
  /// Hands the request to the writer. `done` is called once, after the commit, on any thread; the outcome is
  /// never NeedsWrite. False: the writer's queue is full, and `done` is never called.
  std::function<bool(std::shared_ptr<const Request> request, Done done)> write;
  /// The peer of a parked request went away. On a network thread: must be short.
  std::function<void(const Request& request)> gone = [](const Request&) {};
};

struct DispatcherOptions {
  std::size_t readers = 2;
  std::size_t queued = 1024;    ///< requests that wait for a reader; the next gets 503
  std::size_t parked = 20'000;  ///< requests that wait for a touch; the next gets 503
};

/// Brings requests to the readers and the writer and their outcomes back; parks those that wait.
///
/// Threads: `handle` any; evaluation on its own reader threads, never on network threads. Waiting costs no
/// thread. Nothing survives a crash, and nothing needs to: a request that was not answered is asked again.
class Dispatcher : public RequestHandler {
 public:
  Dispatcher(DispatcherOptions options, Evaluation evaluation, Mailboxes& mailboxes, const Clock& clock,
             Logger& logger);
  /// As `stop`. The exchanges that are left are let go.
  ~Dispatcher() override;

  void handle(std::shared_ptr<Exchange> exchange) override;

  /// First step of a graceful stop: whoever waits is answered at once with what there is, and nobody waits
  /// any more.
  void release_waiting();
  /// After the transport has stopped: waits for the evaluations under way and joins the readers.
  void stop();

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace agenttask::server
