#pragma once
#include <chrono>
#include <functional>
#include <optional>
#include <string>

#include "platform/base/backoff.hpp"
#include "platform/base/clock.hpp"
#include "platform/net/http_client.hpp"

namespace agenttask::agent {

/// Why a call came to nothing, and how soon to try again.
struct CallFailure {
  std::string code;        ///< stable: `cannot-resolve`, or the problem's code
  std::string message;     ///< for people
  bool refused = false;    ///< the server said no: trying again soon changes nothing
  bool transport = false;  ///< nobody answered: as soon as anybody does, all calls may be tried
  bool certificate_expired = false;
  std::chrono::milliseconds retry_after{0};
};

/// None where the call succeeded (2xx). `now`: the wall clock, for a Retry-After that is a date.
[[nodiscard]] std::optional<CallFailure> failure_of(const net::HttpResult& result, UnixMilliseconds now);
/// The answer makes no sense, or our own ledger refuses it.
[[nodiscard]] CallFailure failure_of(const Error& error);

/// When one kind of call is due. Threads: one owner.
class RetryTimer {
 public:
  RetryTimer(std::chrono::milliseconds first, std::chrono::milliseconds longest,
             std::function<double()> fraction);

  [[nodiscard]] bool due(MonotonicTime now) const { return now >= next_; }
  [[nodiscard]] MonotonicTime next() const { return next_; }
  void at(MonotonicTime next) { next_ = next; }
  /// Due now, and the next failure begins from the shortest wait.
  void reset();
  void succeeded() { backoff_.reset(); }
  /// Full jitter; when the server said no, within the later half of the longest wait.
  void failed(MonotonicTime now, const CallFailure& failure);

 private:
  std::chrono::milliseconds longest_;
  std::function<double()> fraction_;
  Backoff backoff_;
  MonotonicTime next_ = MonotonicTime::min();
};

}  // namespace agenttask::agent
