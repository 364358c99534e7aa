// Whole requests, to every route: by nobody, by operators of each role, by a device. The server behind it is
// the real one, down to its database; what a request does is undone afterwards.
#include <memory>

#include <nlohmann/json.hpp>

#include "platform/base/ids.hpp"
#include "platform/base/log.hpp"
#include "platform/net/certificate.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/message.hpp"
#include "server/api/credentials.hpp"
#include "server/api/router.hpp"
#include "server/authority/authority.hpp"
#include "server/http/request_parser.hpp"
#include "server/mailboxes/live_output.hpp"
#include "server/mailboxes/mailboxes.hpp"
#include "server/store/presence.hpp"
#include "server/store/writer.hpp"
#include "tests/fuzz/target.hpp"
#include "tests/fuzz/targets.hpp"
#include "tests/support/manual_clock.hpp"
#include "tests/support/temporary_folder.hpp"

namespace agenttask::fuzz {
namespace {

using namespace server;
using nlohmann::json;

constexpr std::size_t kHeaderBytes = 8192;
constexpr std::size_t kBodyBytes = 64 * 1024;

/// A server with one device, `alpha`, and two tasks for it: one that it has taken, one that asks.
class Site {
 public:
  Site();

  /// What the caller of this number gets.
  Response ask(Request request, unsigned char caller);

 private:
  /// Answers, and undoes what it did: each request finds the same site.
  Outcome tried(const Request& request);
  Response answered(Outcome outcome, const Request& request);
  /// Answers for good.
  json done(const std::string& method, const std::string& path, const std::string& body, int status);
  [[nodiscard]] Request made(const std::string& method, const std::string& path, std::string body) const;

  test::TemporaryFolder folder_;
  test::ManualClock clock_;
  Logger logger_{LogLevel::error, LogFormat::text};
  std::unique_ptr<Authority> authority_;
  std::unique_ptr<Store> store_;
  Presence presence_{clock_, logger_};
  Mailboxes mailboxes_{clock_};
  std::unique_ptr<LiveOutput> live_ = make_live_output(mailboxes_);
  std::unique_ptr<Writer> writer_;
  std::unique_ptr<Router> router_;
  std::string admin_;
  std::string operator_;
  std::string viewer_;
  PeerCertificate device_;
};

constexpr std::string_view kTask = "0192d5a0-0000-7000-8000-000000000001";
constexpr std::string_view kQuestion = "0192d5a0-0000-7000-8000-000000000002";

Site::Site() {
  const auto authority = folder_.path() / "authority";
  hold(static_cast<bool>(Authority::create(authority, clock_)), "an authority can be made");
  AuthoritySettings settings;
  settings.folder = authority;
  settings.server_names = {"localhost"};
  authority_ = Authority::open(std::move(settings), clock_).value();
  store_ = open_sqlite_store(folder_.path() / "server.db").value();
  writer_ = std::make_unique<Writer>(
      store_->write_session().value(), [](const auto&) {}, logger_);
  router_ = std::make_unique<Router>(ApiContext{*store_, presence_, *live_, *authority_, clock_, logger_});
  const auto made_operators = writer_->run([&](WriteStore& writes) -> Result<void> {
    const auto make = [&](Role role) {
      return create_operator(writes, "fuzz", role, std::nullopt, "local", clock_.wall()).token;
    };
    admin_ = make(Role::admin), operator_ = make(Role::operator_), viewer_ = make(Role::viewer);
    return {};
  });
  hold(static_cast<bool>(made_operators), "operators can be made");
  const auto token = done("POST", "/v1/enrollment-tokens", "{}", 201)["token"].get<std::string>();
  const auto request = net::CertificateRequest::make(net::PrivateKey::generate(), "alpha").to_pem();
  const json wish = {{"token", token},
                     {"request", request},
                     {"name", "alpha"},
                     {"version", "1"},
                     {"platform", "linux-x86_64"}};
  const auto enrolled = done("POST", "/v1/enroll", encode_json(wish), 200);
  const auto certificate = net::Certificate::from_pem(enrolled["certificate"].get<std::string>()).value();
  device_ = {certificate.fingerprint(), certificate.common_name(), false};
  done("POST", "/v1/nodes/alpha/tasks",
       encode_json({{"id", kTask}, {"type", "echo"}, {"data", {{"message", "x"}}}, {"tags", {"a"}}}), 201);
  PollRequest poll;
  poll.protocol = protocol_version();
  poll.incarnation = "fuzz";
  poll.epoch = 1;
  poll.time = clock_.wall();
  done("POST", "/v1/device/poll", encode(poll), 200);
  done("POST", "/v1/nodes/alpha/tasks",
       encode_json({{"id", kQuestion}, {"type", "ask"}, {"choices", {{{"name", "yes"}}, {{"name", "no"}}}}}),
       201);
}

Request Site::made(const std::string& method, const std::string& path, std::string body) const {
  Request request;
  request.method = method;
  request.path = path;
  for (std::size_t at = 0; at < path.size();) {
    const auto end = std::min(path.find('/', at + 1), path.size());
    request.segments.push_back(path.substr(at + 1, end - at - 1));
    at = end;
  }
  request.headers["authorization"] = "Bearer " + admin_;
  request.body = std::move(body);
  if (path.starts_with("/v1/device/")) request.certificate = std::make_shared<const PeerCertificate>(device_);
  request.may_wait = false;
  request.received = clock_.monotonic();
  return request;
}

json Site::done(const std::string& method, const std::string& path, const std::string& body, int status) {
  const Request request = made(method, path, body);
  Outcome outcome = router_->read(request);
  if (std::holds_alternative<NeedsWrite>(outcome)) {
    (void)writer_->run([&](WriteStore& writes) -> Result<void> {
      outcome = router_->write(request, writes);
      return {};
    });
  }
  const auto response = answered(std::move(outcome), request);
  hold(response.status == status, "the site can be set up", path + ": " + response.body);
  return json::parse(response.body.substr(0, response.body.find('\n')));
}

Outcome Site::tried(const Request& request) {
  Outcome outcome = router_->read(request);
  if (!std::holds_alternative<NeedsWrite>(outcome)) return outcome;
  const auto undone = writer_->run([&](WriteStore& writes) -> Result<void> {
    outcome = router_->write(request, writes);
    const auto* response = std::get_if<Response>(&outcome);
    if (response != nullptr && response->status < 300) {
      // What was taken can be shown.
      for (const auto& route : Router::routes()) {
        if (route.method != "GET" || route.access != Access::viewer ||
            route.path.find('{') != std::string::npos)
          continue;
        const auto shown = router_->write(made("GET", std::string(route.path), ""), writes);
        const auto* page = std::get_if<Response>(&shown);
        hold(page != nullptr && page->status == 200, "what was taken can be shown", route.path);
      }
    }
    return Error{ErrorCode::conflict, "only tried"};
  });
  hold(!undone, "a request is only tried");
  return outcome;
}

Response Site::answered(Outcome outcome, const Request& request) {
  if (auto* stream = std::get_if<Stream>(&outcome)) {
    Response response = std::move(stream->head);
    const auto piece = stream->next(true);
    response.body += piece.bytes;
    return response;
  }
  hold(!std::holds_alternative<Wait>(outcome), "who may not wait is answered", request.path);
  hold(std::holds_alternative<Response>(outcome), "a request is answered", request.path);
  return std::get<Response>(std::move(outcome));
}

Response Site::ask(Request request, unsigned char caller) {
  switch (caller % 6) {
    case 0:
      break;
    case 1:
    case 2:
      request.headers["authorization"] = "Bearer " + admin_;
      break;
    case 3:
      request.headers["authorization"] = "Bearer " + (caller % 12 == 3 ? viewer_ : operator_);
      break;
    default:
      request.certificate = std::make_shared<const PeerCertificate>(device_);
      request.certificate_expired = caller % 12 == 11;
      break;
  }
  request.may_wait = false;
  request.received = clock_.monotonic();
  return answered(tried(request), request);
}

void hold_response(const Response& response) {
  hold(response.status >= 200 && response.status < 600, "an answer has a status");
  hold(response.status != 500, "no request finds a fault of ours", response.body);
  if (response.status >= 400) hold(response.content_type == kProblemType, "a refusal is a problem document");
  if (response.content_type != "application/json" && response.content_type != kProblemType) return;
  const auto body = parse_json(response.body, limits::kJsonDepth + 16);
  hold(body && body->is_object(), "an answer is JSON that can be read", response.body);
  if (response.status < 400) return;
  for (const char* member : {"code", "detail", "title"}) {
    hold(body->contains(member) && (*body)[member].is_string() && !(*body)[member].get<std::string>().empty(),
         "a problem says what it is", response.body);
  }
}

}  // namespace

void server_call(std::string_view bytes) {
  if (bytes.empty()) return;
  // OpenSSL begins before the site does, and so ends after the site's threads.
  static const std::string before = random_bytes(1);
  static std::unique_ptr<Site> site;
  static std::size_t asked = 0;
  if (asked++ % 20'000 == 0) site = std::make_unique<Site>();  // presence and labels in memory stay bounded
  RequestParser parser(kHeaderBytes);
  std::string rest(bytes.substr(1));
  auto progress = parser.put(rest);
  if (progress == RequestParser::Progress::header) {
    parser.limit_body(kBodyBytes);
    progress = parser.put(rest);
  }
  if (progress != RequestParser::Progress::complete) return;
  hold_response(site->ask(*parser.take(), static_cast<unsigned char>(bytes.front())));
}

}  // namespace agenttask::fuzz
