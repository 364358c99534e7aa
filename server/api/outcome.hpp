#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "platform/base/clock.hpp"
#include "platform/protocol/problem.hpp"

/// What goes into a handler and what comes out, with no socket in sight.
namespace agenttask::server {

/// Who is at the other end of the TLS connection, as the handshake proved it.
struct PeerCertificate {
  std::string fingerprint;         ///< SHA-256 of the certificate, hexadecimal
  std::string node_id;             ///< from its subject
  UnixMilliseconds issued_at = 0;  ///< as near as the certificate tells
  UnixMilliseconds expires_at = 0;
};

/// What a handler has read out of a request, for its next evaluation.
struct Prepared {
  Prepared() = default;
  virtual ~Prepared() = default;
  Prepared(const Prepared&) = delete;
  Prepared& operator=(const Prepared&) = delete;
};

/// One request, read whole and within the limits.
struct Request {
  std::string method;                 ///< GET, POST, …
  std::string path;                   ///< percent-decoded segments joined, no query; begins with /
  std::vector<std::string> segments;  ///< percent-decoded
  std::vector<std::pair<std::string, std::string>> query;   ///< percent-decoded, in order
  std::map<std::string, std::string, std::less<>> headers;  ///< names in lower case
  std::string body;
  std::shared_ptr<const PeerCertificate> certificate;  ///< the connection's; null: it showed none
  bool certificate_expired = false;  ///< when the request arrived: only renewal is allowed then
  std::string remote_address;
  MonotonicTime received;  ///< waits count from here
  bool may_wait = true;    ///< false: the wait is over, or the server stops; answer now with what there is
  std::shared_ptr<const Prepared> prepared = {};  ///< from `NeedsWrite` or `Wait`; none: it was not read yet
};

struct Response {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
};

[[nodiscard]] Response to_response(const Problem& problem);

/// Evaluate the request again when one of `keys` is touched by a commit, at the latest at `until`; then
/// `may_wait` is false and it must not wait again. Keys: `node:<id>`, `task:<id>`, `output:<task id>`,
/// `batch:<id>`.
struct Wait {
  std::vector<std::string> keys;
  MonotonicTime until;
  /// For the evaluation after that, in its request; body and headers, for which it stands, are let go of.
  std::shared_ptr<const Prepared> prepared = {};
  /// A touch most likely means that it has to write: it goes to the writer then, and no reader looks first.
  bool then_writes = false;
};

/// A response whose body goes on. `next` is called on a reader thread when one of `keys` was touched or
/// `until` passed; it returns what to send now (may be empty) and whether the body is complete.
struct Stream {
  struct Piece {
    std::string bytes;
    bool complete = false;
    bool more = false;  ///< there is more at hand: called again as soon as the peer has taken this
  };
  Response head;  ///< its body is the first piece
  std::vector<std::string> keys;
  MonotonicTime until;
  std::function<Piece(bool timed_out)> next;
};

/// The handler has to write: run it again on the writer, with `prepared` in its request. Only handlers
/// evaluated on a reader answer so.
struct NeedsWrite {
  std::shared_ptr<const Prepared> prepared = {};
};

using Outcome = std::variant<Response, Wait, Stream, NeedsWrite>;

}  // namespace agenttask::server
