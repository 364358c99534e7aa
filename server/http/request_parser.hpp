#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "platform/protocol/problem.hpp"
#include "server/api/outcome.hpp"

namespace agenttask::server {

/// Reads one request from bytes as they come, strictly: whatever two readers could understand differently is
/// refused, so that nothing can be smuggled past a proxy in front of us. No socket in sight. Threads: one.
class RequestParser {
 public:
  enum class Progress : std::uint8_t {
    more,      ///< give it more bytes
    header,    ///< the header is there and a body follows: say `limit_body`, then go on
    complete,  ///< `take` the request; what is left of the bytes belongs to the next one
    refused,   ///< see `problem`; the connection can't be used further
  };

  explicit RequestParser(std::size_t header_bytes);
  ~RequestParser();

  /// Takes what it can use from the front of `bytes`.
  [[nodiscard]] Progress put(std::string& bytes);
  /// The largest body that is accepted; `put` refuses what is larger, at once where the length is announced.
  void limit_body(std::size_t bytes);

  [[nodiscard]] const Request& request() const;
  [[nodiscard]] std::shared_ptr<Request> take();
  [[nodiscard]] const Problem& problem() const;
  [[nodiscard]] bool keep_alive() const;        ///< the peer wants to go on with this connection
  [[nodiscard]] bool is_http_1_0() const;       ///< it does not know chunks
  [[nodiscard]] bool is_head() const;           ///< a HEAD, shown to handlers as GET
  [[nodiscard]] bool expects_continue() const;  ///< it waits for 100 before it sends the body

 private:
  class Body;
  std::unique_ptr<Body> body_;
};

}  // namespace agenttask::server
