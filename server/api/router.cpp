#include "server/api/router.hpp"

#include <algorithm>
#include <array>
#include <exception>
#include <utility>

#include "server/api/auth.hpp"
#include "server/api/handlers.hpp"
#include "server/api/problems.hpp"
#include "server/store/commit_points.hpp"

namespace agenttask::server {
namespace {

constexpr std::array<RouteInfo, 39> kRoutes{{
    {"GET", "/healthz", Access::open, Effect::reads, ""},
    {"GET", "/readyz", Access::open, Effect::reads, ""},
    {"GET", "/openapi.json", Access::open, Effect::reads, ""},
    {"POST", "/v1/nodes/{node}/tasks", Access::operator_, Effect::may_write, "", commit_point::kTaskCreated},
    {"GET", "/v1/nodes/{node}/tasks", Access::viewer, Effect::reads,
     "type status tag* roomId worldId deleted cursor limit full"},
    {"GET", "/v1/tasks", Access::viewer, Effect::reads,
     "type status tag* roomId worldId deleted node batch cursor limit full"},
    {"POST", "/v1/tasks", Access::operator_, Effect::may_write, "cursor limit", commit_point::kBatchCreated},
    {"GET", "/v1/batches", Access::viewer, Effect::reads, "cursor limit"},
    {"GET", "/v1/batches/{id}", Access::viewer, Effect::reads, "wait status cursor limit full"},
    {"POST", "/v1/batches/{id}/cancel", Access::operator_, Effect::may_write, "wait",
     commit_point::kBatchCancelAsked},
    {"GET", "/v1/tasks/{id}", Access::viewer, Effect::reads, "wait"},
    {"PATCH", "/v1/tasks/{id}", Access::operator_, Effect::may_write, "", commit_point::kTaskUpdated},
    {"DELETE", "/v1/tasks/{id}", Access::operator_, Effect::may_write, "", commit_point::kTaskDeleted},
    {"POST", "/v1/tasks/{id}/cancel", Access::operator_, Effect::may_write, "wait",
     commit_point::kCancelAsked},
    {"POST", "/v1/tasks/{id}/choose", Access::operator_, Effect::may_write, "", commit_point::kChoiceAsked},
    {"POST", "/v1/tasks/{id}/pause", Access::operator_, Effect::may_write, "", commit_point::kPauseAsked},
    {"POST", "/v1/tasks/{id}/resume", Access::operator_, Effect::may_write, "", commit_point::kResumeAsked},
    {"POST", "/v1/tasks/{id}/run", Access::operator_, Effect::may_write, "", commit_point::kRunAsked},
    {"GET", "/v1/tasks/{id}/runs", Access::viewer, Effect::reads, "cursor limit full"},
    {"GET", "/v1/tasks/{id}/output", Access::viewer, Effect::reads, "follow from run"},
    {"GET", "/v1/messages", Access::viewer, Effect::reads, "roomId worldId node taskId cursor limit"},
    {"POST", "/v1/messages", Access::operator_, Effect::may_write, "", commit_point::kMessagePosted},
    {"GET", "/v1/nodes", Access::viewer, Effect::reads, "name label* presence cursor limit"},
    {"GET", "/v1/nodes/{node}", Access::viewer, Effect::reads, ""},
    {"PATCH", "/v1/nodes/{node}", Access::operator_, Effect::may_write, "", commit_point::kNodeChanged},
    {"DELETE", "/v1/nodes/{node}", Access::admin, Effect::may_write, "", commit_point::kNodeRevoked},
    {"POST", "/v1/nodes/{node}/release", Access::operator_, Effect::may_write, "",
     commit_point::kNodeReleased},
    {"POST", "/v1/enrollment-tokens", Access::admin, Effect::may_write, "", commit_point::kTokenCreated},
    {"GET", "/v1/enrollment-tokens", Access::admin, Effect::reads, ""},
    {"DELETE", "/v1/enrollment-tokens/{id}", Access::admin, Effect::may_write, "",
     commit_point::kTokenRemoved},
    {"POST", "/v1/operators", Access::admin, Effect::may_write, "", commit_point::kOperatorCreated},
    {"GET", "/v1/operators", Access::admin, Effect::reads, ""},
    {"DELETE", "/v1/operators/{id}", Access::admin, Effect::may_write, "", commit_point::kOperatorRevoked},
    {"GET", "/v1/authority", Access::open, Effect::reads, ""},
    {"POST", "/v1/enroll", Access::open, Effect::may_write, "", commit_point::kDeviceEnrolled},
    {"POST", "/v1/device/renew", Access::expired_device, Effect::may_write, "",
     commit_point::kCertificateRenewed},
    {"POST", "/v1/device/poll", Access::device, Effect::may_write, "", commit_point::kPollApplied},
    {"POST", "/v1/device/reports", Access::device, Effect::may_write, "", commit_point::kReportsApplied},
    {"POST", "/v1/device/output", Access::device, Effect::reads, ""},
}};

/// A route that writes has the name of what it makes durable, and no other has one.
constexpr bool routes_have_names() {
  return std::all_of(kRoutes.begin(), kRoutes.end(), [](const RouteInfo& route) {
    return (route.effect == Effect::may_write) != route.commit_point.name.empty();
  });
}
static_assert(routes_have_names());

/// In the order of kRoutes.
constexpr std::array<Handler, kRoutes.size()> kHandlers{get_health,
                                                        get_readiness,
                                                        get_openapi,
                                                        add_task,
                                                        list_node_tasks,
                                                        list_tasks,
                                                        add_batch,
                                                        list_batches,
                                                        get_batch,
                                                        cancel_batch,
                                                        get_task,
                                                        change_task,
                                                        remove_task,
                                                        cancel,
                                                        choose,
                                                        pause,
                                                        resume,
                                                        run_now,
                                                        list_runs,
                                                        get_output,
                                                        list_messages,
                                                        post_message,
                                                        list_nodes,
                                                        get_node,
                                                        change_node,
                                                        revoke_node,
                                                        release_node,
                                                        add_enrollment_token,
                                                        list_enrollment_tokens,
                                                        remove_enrollment_token,
                                                        add_operator,
                                                        list_operators,
                                                        revoke_operator,
                                                        get_authority,
                                                        enroll,
                                                        renew,
                                                        poll,
                                                        take_reports,
                                                        take_live_output};

/// The segments of a path pattern against those of a request; what stands for `{…}` goes to `bound`.
bool matches(std::string_view pattern, const std::vector<std::string>& segments,
             std::vector<std::string>& bound) {
  bound.clear();
  std::size_t count = 0;
  while (!pattern.empty()) {
    pattern.remove_prefix(1);  // the slash
    const auto end = std::min(pattern.find('/'), pattern.size());
    const auto segment = pattern.substr(0, end);
    pattern.remove_prefix(end);
    if (count == segments.size()) return false;
    if (segment.front() == '{') {
      if (segments[count].empty()) return false;
      bound.push_back(segments[count]);
    } else if (segment != segments[count]) {
      return false;
    }
    ++count;
  }
  return count == segments.size();
}

struct Match {
  std::optional<std::size_t> route;
  std::vector<std::string> bound;
  std::string allowed;  ///< methods of the path, where the request's is none of them
};

Match find_route(const Request& request) {
  Match match;
  for (std::size_t i = 0; i < kRoutes.size(); ++i) {
    if (!matches(kRoutes[i].path, request.segments, match.bound)) continue;
    if (kRoutes[i].method == request.method) {
      match.route = i;
      return match;
    }
    match.allowed += (match.allowed.empty() ? "" : ", ") + std::string(kRoutes[i].method);
  }
  return match;
}

/// Only what the route knows, once unless it may repeat, and never empty: a filter that was misspelt or left
/// empty must not show everything.
std::optional<Response> check_query(const Request& request, std::string_view known) {
  const auto find = [&](std::string_view name) -> std::optional<bool> {
    std::string_view rest = known;
    while (!rest.empty()) {
      const auto end = std::min(rest.find(' '), rest.size());
      auto word = rest.substr(0, end);
      rest.remove_prefix(std::min(end + 1, rest.size()));
      const bool repeats = word.back() == '*';
      if (repeats) word.remove_suffix(1);
      if (word == name) return repeats;
    }
    return std::nullopt;
  };
  for (std::size_t i = 0; i < request.query.size(); ++i) {
    const std::string& name = request.query[i].first;
    const std::string& value = request.query[i].second;
    const auto repeats = find(name);
    if (!repeats) return refuse(Code::invalid, "this call has no query parameter " + quote(name), name);
    if (value.empty()) return refuse(Code::invalid, name + " must not be empty", name);
    const bool again =
        std::any_of(request.query.begin(), request.query.begin() + static_cast<std::ptrdiff_t>(i),
                    [&](const auto& other) { return other.first == name; });
    if (again && !*repeats) return refuse(Code::invalid, name + " is given twice", name);
  }
  return std::nullopt;
}

Outcome evaluate(const ApiContext& context, const Request& request, const ReadStore& store,
                 WriteStore* writes) {
  auto match = find_route(request);
  if (!match.route) {
    if (match.allowed.empty())
      return refuse(Code::unknown_route, "there is nothing at " + quote(request.path));
    auto response = refuse(Code::method_not_allowed, "the methods of this path are " + match.allowed);
    response.headers.emplace_back("Allow", match.allowed);
    return response;
  }
  const RouteInfo& route = kRoutes[*match.route];
  Call call{context, request, store, writes, std::move(match.bound), {}, {}, context.clock.wall()};
  if (auto refusal = authenticate(call, route.access)) return *refusal;
  if (auto refusal = check_query(request, route.query)) return *refusal;
  if (writes != nullptr) writes->commits(route.commit_point);
  return kHandlers[*match.route](call);
}

/// No exception leaves the router: it is a fault of ours, and the others go on.
Outcome evaluate_safely(const ApiContext& context, const Request& request, const ReadStore& store,
                        WriteStore* writes) {
  try {
    return evaluate(context, request, store, writes);
  } catch (const std::exception& fault) {
    context.logger.error("a handler threw",
                         {{"method", request.method}, {"path", request.path}, {"error", fault.what()}});
    return refuse(Code::internal, "the server failed on this request; its log says more");
  }
}

bool is_refusal(const Outcome& outcome) {
  const auto* response = std::get_if<Response>(&outcome);
  return response != nullptr && response->status >= 400;
}

}  // namespace

Router::Router(ApiContext context) : context_(std::move(context)) {}
Router::~Router() = default;

Outcome Router::read(const Request& request) const {
  const auto lease = context_.store.read();
  if (!lease) return refuse_storage(lease.error());
  Outcome outcome = evaluate_safely(context_, request, **lease, nullptr);
  if (const auto failed = (*lease)->check(); !failed) {
    context_.logger.error("cannot read the database",
                          {{"path", request.path}, {"error", failed.error().message}});
    return refuse_storage(failed.error());
  }
  return outcome;
}

Outcome Router::write(const Request& request, WriteStore& store) const {
  return evaluate_safely(context_, request, store, &store);
}

Writer::Job Router::job(std::shared_ptr<const Request> request, std::function<void(Outcome)> done) const {
  auto outcome = std::make_shared<Outcome>();
  return {[this, request = std::move(request), outcome](WriteStore& store) {
            *outcome = write(*request, store);
            return !is_refusal(*outcome);
          },
          [outcome, done = std::move(done)](const Result<void>& committed) {
            done(committed ? std::move(*outcome) : Outcome(refuse_storage(committed.error())));
          }};
}

Response Router::busy() {
  return refuse(Code::unavailable, "the server has too many writes waiting; try again");
}

void Router::peer_gone(const Request& request) const {
  if (!request.certificate || request.path != "/v1/device/poll") return;
  context_.presence.gone(request.certificate->node_id, request.received);
}

std::span<const RouteInfo> Router::routes() {
  return kRoutes;
}

}  // namespace agenttask::server
