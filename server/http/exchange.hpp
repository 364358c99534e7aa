#pragma once
#include <memory>
#include <string>

#include "server/api/outcome.hpp"

/// What passes between the transport and whoever answers; no socket in sight.
namespace agenttask::server {

/// What the transport tells about an exchange. Called on its network thread: must be short and must not
/// block.
class ExchangeObserver {
 public:
  virtual ~ExchangeObserver() = default;
  /// The peer went away, or was dropped: whatever is answered now goes nowhere.
  virtual void gone() = 0;
  /// All that was sent of a stream has been taken by the network.
  virtual void drained() = 0;
};

/// One request that waits for its answer: either `respond`, or `start`, any number of `send`, and `finish`.
/// Threads: any, one at a time. Letting go of it unanswered answers 500.
class Exchange {
 public:
  virtual ~Exchange() = default;
  [[nodiscard]] virtual const std::shared_ptr<Request>& request() const = 0;
  /// Told about the peer from now on; at once when it has gone already.
  virtual void observe(std::weak_ptr<ExchangeObserver> observer) = 0;

  virtual void respond(Response response) = 0;
  /// The head of a stream, and its body as the first piece.
  virtual void start(Response head) = 0;
  virtual void send(std::string bytes) = 0;
  virtual void finish() = 0;
};

/// Takes requests from the network.
class RequestHandler {
 public:
  virtual ~RequestHandler() = default;
  /// On a network thread: must not block. The request is whole, within the limits, with path and query
  /// decoded.
  virtual void handle(std::shared_ptr<Exchange> exchange) = 0;
};

}  // namespace agenttask::server
