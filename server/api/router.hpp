#pragma once
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "platform/base/clock.hpp"
#include "platform/base/commit_point.hpp"
#include "platform/base/log.hpp"
#include "server/api/live_output.hpp"
#include "server/api/outcome.hpp"
#include "server/store/presence.hpp"
#include "server/store/store.hpp"
#include "server/store/writer.hpp"

namespace agenttask::server {

class Authority;

/// Who may call a route.
enum class Access : std::uint8_t {
  open,    ///< anybody
  viewer,  ///< an operator's token of that role or a higher one
  operator_,
  admin,
  device,          ///< a device's certificate that is neither expired nor revoked
  expired_device,  ///< the same, perhaps expired: renewal
};

/// What the route does to the store.
enum class Effect : std::uint8_t {
  reads,
  may_write,  ///< is evaluated on a reader first, and answers NeedsWrite when it has to
};

/// One line of the table; `{…}` stands for one segment.
struct RouteInfo {
  std::string_view method;
  std::string_view path;
  Access access = Access::open;
  Effect effect = Effect::reads;
  std::string_view query;  ///< names of its parameters, apart by a space; `*` after one that may be repeated
  CommitPoint commit_point = {};  ///< of its transaction (server/store/commit_points.hpp), where it writes
};

/// What the handlers work on. Everything outlives the router.
struct ApiContext {
  Store& store;
  Presence& presence;
  LiveOutput& live;
  const Authority& authority;
  const Clock& clock;
  Logger& logger;
  /// Why the server can't serve (`/readyz`); empty: it can.
  std::function<std::string()> why_not_ready = [] { return std::string(); };
  HistoryLimits history = {};
  /// After a batch was accepted, or its cancel: there may be more to do than was done at once. Must be short.
  std::function<void()> carry_batches_on = [] {};
};

/// From a request to an outcome: finds the route, says who asks, calls the handler, turns errors into problem
/// documents. Plain calls without sockets or threads of their own. Threads: `read` any; `write` and `job` as
/// the Writer says.
///
/// The way of every request: `read(request)` on a reader thread. A `Wait` is parked and `read` called again
/// when a key was touched or the time is up; a handler whose time is up (by the clock, or by
/// `Request::may_wait`) never waits again. `NeedsWrite`: submit `job(request, done)` to the writer; what
/// `done` gets is a Response, a Wait or a Stream.
class Router {
 public:
  explicit Router(ApiContext context);
  ~Router();
  Router(const Router&) = delete;
  Router& operator=(const Router&) = delete;

  [[nodiscard]] Outcome read(const Request& request) const;
  /// Inside a transaction of the writer. A response of 400 or more means: undo it.
  [[nodiscard]] Outcome write(const Request& request, WriteStore& store) const;
  /// `write` as a job of the writer. `done` is called after the commit, with 503 where that failed.
  [[nodiscard]] Writer::Job job(std::shared_ptr<const Request> request,
                                std::function<void(Outcome)> done) const;

  /// What to answer when the writer's queue is full: 503 with Retry-After.
  [[nodiscard]] static Response busy();
  /// The peer went away while its request was parked: presence knows at once that a device is offline.
  void peer_gone(const Request& request) const;

  [[nodiscard]] static std::span<const RouteInfo> routes();
  /// The OpenAPI document, as served under /openapi.json.
  [[nodiscard]] static std::string_view openapi();

 private:
  ApiContext context_;
};

}  // namespace agenttask::server
