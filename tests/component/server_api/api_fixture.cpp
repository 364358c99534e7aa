#include "tests/component/server_api/api_fixture.hpp"

namespace agenttask::server::test {
namespace {

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::size_t from = 0;
  while (from <= text.size()) {
    const auto end = std::min(text.find(separator, from), text.size());
    parts.push_back(text.substr(from, end - from));
    from = end + 1;
  }
  return parts;
}

std::string route_of(const Request& request) {
  for (const auto& route : Router::routes()) {
    if (route.method != request.method) continue;
    const auto pattern = split(std::string(route.path).substr(1), '/');
    if (pattern.size() != request.segments.size()) continue;
    bool fits = true;
    for (std::size_t i = 0; i < pattern.size(); ++i) {
      fits = fits &&
             (pattern[i].front() == '{' ? !request.segments[i].empty() : pattern[i] == request.segments[i]);
    }
    if (fits) return std::string(route.path);
  }
  return {};
}

}  // namespace

ApiTest::ApiTest() {
  const auto authority_folder = folder.path() / "authority";
  if (!Authority::create(authority_folder, clock)) throw std::runtime_error("no authority");
  AuthoritySettings settings;
  settings.folder = authority_folder;
  settings.server_names = {"localhost"};
  authority = Authority::open(settings, clock).value();
  open_store();
  admin = make_operator(Role::admin);
}

void ApiTest::open_store() {
  store = open_sqlite_store(folder.path() / "server.db").value();
  writer = std::make_unique<Writer>(
      store->write_session().value(),
      [this](const std::vector<std::string>& keys) {
        touched.insert(touched.end(), keys.begin(), keys.end());
      },
      logger);
  route();
}

void ApiTest::close_store() {
  router.reset();
  writer.reset();
  store.reset();
}

void ApiTest::route(const HistoryLimits& limits) {
  router = std::make_unique<Router>(
      ApiContext{*store, presence, live, *authority, clock, logger, [] { return std::string(); }, limits});
}

std::shared_ptr<Request> ApiTest::request(const std::string& method, const std::string& path,
                                          std::string body, const Options& options) const {
  auto asked = std::make_shared<Request>();
  asked->method = method;
  asked->path = path;
  asked->segments = split(path.substr(1), '/');
  asked->query = options.query;
  asked->headers = options.headers;
  if (!options.token.empty()) asked->headers["authorization"] = "Bearer " + options.token;
  asked->body = std::move(body);
  if (options.certificate) {
    asked->certificate = std::make_shared<const PeerCertificate>(*options.certificate);
    const auto ends = options.certificate->expires_at;
    asked->certificate_expired = ends != 0 && ends < clock.wall();
  }
  asked->received = clock.monotonic();
  asked->may_wait = options.may_wait;
  return asked;
}

Outcome ApiTest::evaluate(const std::shared_ptr<Request>& asked) {
  Outcome outcome = router->read(*asked);
  if (auto* needed = std::get_if<NeedsWrite>(&outcome)) {
    asked->prepared = std::move(needed->prepared);
    const auto promise = std::make_shared<std::promise<Outcome>>();
    auto answer = promise->get_future();
    if (!writer->submit(
            router->job(asked, [promise](Outcome written) { promise->set_value(std::move(written)); }))) {
      return Router::busy();
    }
    outcome = answer.get();
  }
  if (const auto* response = std::get_if<Response>(&outcome)) check(*asked, *response);
  return outcome;
}

void ApiTest::check(const Request& asked, const Response& response) {
  const std::string route = route_of(asked);
  if (route.empty()) return;  // 404 or 405: not of a documented call
  for (const auto& fault :
       openapi.faults(asked.method, route, response.status, response.content_type, response.body)) {
    ADD_FAILURE() << asked.method << " " << route << " → " << response.status << ": " << fault;
  }
}

Response ApiTest::call(const std::string& method, const std::string& path, std::string body,
                       const Options& options) {
  auto outcome = evaluate(request(method, path, std::move(body), options));
  if (auto* response = std::get_if<Response>(&outcome)) return *response;
  ADD_FAILURE() << method << " " << path << " did not answer at once";
  return {};
}

json ApiTest::ok(const std::string& method, const std::string& target, const json& body, int status) {
  Options options{.token = admin};
  const auto question = target.find('?');
  if (question != std::string::npos) {
    for (const auto& pair : split(target.substr(question + 1), '&')) {
      const auto equals = pair.find('=');
      options.query.emplace_back(pair.substr(0, equals), pair.substr(equals + 1));
    }
  }
  const auto response = call(method, target.substr(0, question), body.is_null() ? "" : body.dump(), options);
  EXPECT_EQ(response.status, status) << method << " " << target << ": " << response.body;
  return json::parse(response.body, nullptr, false);
}

json ApiTest::problem(const std::string& method, const std::string& target, const json& body, int status,
                      const std::string& code) {
  auto document = ok(method, target, body, status);
  EXPECT_EQ(document.value("code", ""), code) << document;
  return document;
}

std::string ApiTest::make_operator(Role role, std::optional<UnixMilliseconds> expires_at) {
  std::string token;
  const auto made = writer->run([&](WriteStore& writes) -> Result<void> {
    token = create_operator(writes, "test", role, expires_at, "local", clock.wall()).token;
    return {};
  });
  EXPECT_TRUE(made);
  return token;
}

Response ApiTest::post_enroll(const std::string& token, const net::PrivateKey& key, const std::string& name) {
  const json body = {{"token", token},
                     {"request", net::CertificateRequest::make(key, "ignored").to_pem()},
                     {"name", name},
                     {"version", "0.1.0"},
                     {"platform", "linux-x86_64"}};
  return call("POST", "/v1/enroll", body.dump());
}

EnrolledDevice ApiTest::enroll(const std::string& name, const json& token_request) {
  const auto token = ok("POST", "/v1/enrollment-tokens", token_request, 201)["token"].get<std::string>();
  const auto response = post_enroll(token, net::PrivateKey::generate(), name);
  EXPECT_EQ(response.status, 200) << response.body;
  const auto answer = json::parse(response.body);
  const auto certificate = net::Certificate::from_pem(answer["certificate"].get<std::string>()).value();
  EnrolledDevice device;
  device.id = answer["nodeId"].get<std::string>();
  device.certificate = {certificate.fingerprint(), certificate.common_name()};
  return device;
}

json ApiTest::add_task(const std::string& node, const json& body) {
  return ok("POST", "/v1/nodes/" + node + "/tasks", body, 201);
}

std::size_t ApiTest::task_count() {
  return ok("GET", "/v1/tasks?limit=1000")["tasks"].size();
}

PollRequest ApiTest::poll_of(const EnrolledDevice& device, Cursor cursor, std::int64_t epoch) const {
  PollRequest asked;
  asked.protocol = protocol_version();
  asked.version = "0.1.0";
  asked.platform = "linux-x86_64";
  asked.name = "";
  asked.epoch = epoch;
  asked.directives = std::move(cursor);
  asked.incarnation = "incarnation-" + device.id;
  asked.time = clock.wall();
  return asked;
}

Outcome ApiTest::poll(const EnrolledDevice& device, const PollRequest& asked, bool may_wait) {
  return evaluate(request("POST", "/v1/device/poll", encode(asked),
                          {.certificate = device.certificate, .may_wait = may_wait}));
}

PollAnswer ApiTest::polled(const EnrolledDevice& device, const PollRequest& asked) {
  auto outcome = poll(device, asked);
  const auto& response = std::get<Response>(outcome);
  EXPECT_EQ(response.status, 200) << response.body;
  return decode_poll_answer(response.body).value();
}

Cursor ApiTest::after(const PollAnswer& answer) {
  Cursor cursor = answer.after.value();
  for (const auto& line : answer.lines) cursor = agenttask::advance(cursor, line);
  return cursor;
}

Response ApiTest::report(const EnrolledDevice& device, const std::vector<decltype(Report::body)>& bodies) {
  Cursor& cursor = report_cursors[device.id];
  ReportBatch batch{protocol_version(), 1, "incarnation-" + device.id, cursor, {}};
  Cursor next = cursor;
  for (const auto& body : bodies) {
    batch.lines.push_back(encode(Report{next.sequence + 1, body}));
    next = agenttask::advance(next, batch.lines.back());
  }
  auto response = call("POST", "/v1/device/reports", encode(batch), {.certificate = device.certificate});
  if (response.status == 200) cursor = next;
  return response;
}

}  // namespace agenttask::server::test
