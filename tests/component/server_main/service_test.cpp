#include "server/main/service.hpp"

#include <atomic>
#include <csignal>
#include <fstream>
#include <sstream>
#include <thread>

#include <gmock/gmock.h>

#include "platform/net/certificate.hpp"
#include "platform/net/http_client.hpp"
#include "platform/os/system_clock.hpp"
#include "server/main/administration.hpp"
#include "tests/support/temporary_folder.hpp"

namespace agenttask::server {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

std::string contents(const std::filesystem::path& file) {
  std::ostringstream text;
  text << std::ifstream(file, std::ios::binary).rdbuf();
  return text.str();
}

std::string last_line(const std::string& text) {
  const auto end = text.find_last_not_of('\n');
  return text.substr(text.rfind('\n', end) + 1, end - text.rfind('\n', end));
}

class ServiceTest : public ::testing::Test {
 protected:
  ServiceTest() {
    std::signal(SIGPIPE, SIG_IGN);
    line.flags = {{"host", "127.0.0.1"}};
    run_sources.flags = {{"listen", "127.0.0.1:0"}};
    const auto made = initialise(line, state, sources(), clock, logger);
    EXPECT_TRUE(made) << made.error().message;
    token = last_line(*made);
  }
  SettingSources sources() const {
    return {state.configuration, false, [](const std::string&) { return std::nullopt; }, line.flags};
  }
  ServerSettings settings() const {
    auto from = sources();
    from.flags = run_sources.flags;
    return read_settings(from).value();
  }
  Result<void> start() {
    auto started = Service::start(settings(), state, clock, logger);
    if (!started) return started.error();
    service = std::move(*started);
    return {};
  }
  net::HttpResult ask(const std::string& method, const std::string& path, const std::string& body = {},
                      const std::string& bearer = {}) const {
    net::HttpClientSettings how;
    how.authority_pem = contents(state.authority() / "authority.pem");
    net::HttpClient client(how);
    net::HttpRequest request;
    request.method = method;
    request.url = "https://127.0.0.1:" + std::to_string(service->port()) + path;
    request.headers = {{"Authorization", "Bearer " + (bearer.empty() ? token : bearer)}};
    request.body = body;
    request.timeout = 60s;
    return client.fetch(std::move(request));
  }
  int status(const std::string& method, const std::string& path, const std::string& body = {},
             const std::string& bearer = {}) const {
    const auto answer = ask(method, path, body, bearer);
    return answer ? answer->status : 0;
  }
  /// A device that exists, so that there are tasks for it; its id.
  std::string enroll(const std::string& enrolment) const {
    const auto key = net::PrivateKey::generate();
    std::string request = net::CertificateRequest::make(key, "device").to_pem();
    for (auto at = request.find('\n'); at != std::string::npos; at = request.find('\n', at + 2))
      request.replace(at, 1, "\\n");
    const auto answer = ask("POST", "/v1/enroll",
                            R"({"token":")" + enrolment + R"(","request":")" + request +
                                R"(","name":"box","version":"0.1","platform":"linux-x86_64"})");
    if (!answer || answer->status != 200) return answer ? answer->body : "no answer";
    const auto at = answer->body.find("\"nodeId\":\"") + 10;
    return answer->body.substr(at, 36);
  }

  os::SystemClock clock;
  Logger logger{LogLevel::error, LogFormat::text};
  test::TemporaryFolder folder;
  StateFolder state = state_folder(folder.path() / "state");
  CommandLine line;
  SettingSources run_sources;
  std::string token;
  std::unique_ptr<Service> service;
};

TEST_F(ServiceTest, TheFirstTokenIsAnAdmins) {
  ASSERT_TRUE(start());
  EXPECT_EQ(status("GET", "/v1/operators"), 200);
  EXPECT_EQ(status("GET", "/v1/operators", "", "agt_wrong"), 401);
  EXPECT_EQ(status("GET", "/readyz"), 200);
}

TEST_F(ServiceTest, NothingIsEverMadeTwice) {
  const auto before = contents(state.database());
  const auto authority = contents(state.authority() / "authority.pem");
  const auto again = initialise(line, state, sources(), clock, logger);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::conflict);
  EXPECT_EQ(contents(state.database()), before);
  EXPECT_EQ(contents(state.authority() / "authority.pem"), authority);
}

TEST_F(ServiceTest, SecretsAreReadableByTheOwnerOnly) {
  ASSERT_TRUE(start());
  for (const auto& file : {state.folder, state.database(), state.ticket_keys(), state.authority(),
                           state.authority() / "authority.key"}) {
    const auto rights = std::filesystem::status(file).permissions();
    EXPECT_EQ(rights & (std::filesystem::perms::group_all | std::filesystem::perms::others_all),
              std::filesystem::perms::none)
        << file;
  }
}

TEST_F(ServiceTest, OneServerHasAFolder) {
  ASSERT_TRUE(start());
  const auto second = Service::start(settings(), state, clock, logger);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::conflict);
  EXPECT_EQ(status("GET", "/healthz"), 200);
}

TEST_F(ServiceTest, AFolderWithoutAServerIsSaidSo) {
  const auto none = Service::start(settings(), state_folder(folder.path() / "none"), clock, logger);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, ErrorCode::not_found);
  EXPECT_THAT(none.error().message, HasSubstr("agenttask-server init"));
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "none"));
}

TEST_F(ServiceTest, ADamagedDatabaseIsRefusedAndLeftAsItIs) {
  for (const std::string& bytes :
       {std::string("this is no database, and not ours to touch"), std::string(8192, '\0') + "x"}) {
    std::filesystem::remove(state.database());
    std::ofstream(state.database(), std::ios::binary) << bytes;
    const auto refused = start();
    ASSERT_FALSE(refused);
    EXPECT_THAT(refused.error().message, HasSubstr("server.db"));
    EXPECT_EQ(contents(state.database()), bytes);
  }
}

TEST_F(ServiceTest, TokensAreMadeBesideARunningServer) {
  ASSERT_TRUE(start());
  line.ttl = 60'000;
  line.uses = 1;
  const auto made = create_token(line, state, sources(), clock, logger);
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(enroll(last_line(*made)).size(), 36U);
  EXPECT_NE(enroll(last_line(*made)).size(), 36U);  // another key, and it was for one use
  line.replace = "nobody";
  EXPECT_EQ(create_token(line, state, sources(), clock, logger).error().code, ErrorCode::not_found);
  line.replace = "box";
  EXPECT_TRUE(create_token(line, state, sources(), clock, logger));
}

TEST_F(ServiceTest, AnOperatorIsMadeBesideARunningServer) {
  ASSERT_TRUE(start());
  const auto made = reset_operator(line, state, sources(), clock, logger);
  ASSERT_TRUE(made);
  EXPECT_EQ(status("GET", "/v1/operators", "", last_line(*made)), 200);
  EXPECT_EQ(status("GET", "/v1/operators"), 200);
}

TEST_F(ServiceTest, AServerThatWasMadeWithoutAnAdminGetsTheFirstFromOperatorReset) {
  line.state_dir = folder.path() / "quiet";
  line.without_admin = true;
  const auto quiet = state_folder(line.state_dir);
  const auto made = initialise(line, quiet, sources(), clock, logger);
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_THAT(*made, ::testing::Not(HasSubstr("token")));
  EXPECT_EQ(list_operators(quiet, clock).value(), "");
  EXPECT_EQ(initialise(line, quiet, sources(), clock, logger).error().code, ErrorCode::conflict);
  line.operator_label = "the first";
  const auto first = reset_operator(line, quiet, sources(), clock, logger);
  ASSERT_TRUE(first) << first.error().message;
  EXPECT_THAT(*first, HasSubstr("agenttask fleet login https://127.0.0.1:8443 --fingerprint "));
  EXPECT_THAT(*first, HasSubstr((quiet.authority() / "authority.pem").string()));
  EXPECT_TRUE(last_line(*first).starts_with("agt_")) << *first;
  EXPECT_THAT(list_operators(quiet, clock).value(), HasSubstr("admin     valid    the first\n"));
}

TEST_F(ServiceTest, AnOperatorIsRevokedBesideARunningServer) {
  ASSERT_TRUE(start());
  line.operator_label = "second";
  const auto second = last_line(reset_operator(line, state, sources(), clock, logger).value());
  line.operator_name = "first admin";
  EXPECT_EQ(status("GET", "/v1/operators"), 200);
  const auto revoked = revoke_operator(line, state, clock, logger);
  ASSERT_TRUE(revoked) << revoked.error().message;
  EXPECT_EQ(status("GET", "/v1/operators"), 401);
  EXPECT_EQ(status("GET", "/v1/operators", "", second), 200);
  const auto list = list_operators(state, clock);
  ASSERT_TRUE(list) << list.error().message;
  EXPECT_THAT(*list, HasSubstr("admin     valid    second\n"));
  EXPECT_THAT(*list, HasSubstr("admin     revoked  first admin\n"));
  // By its id too; never the last; never one that is not there, or one of several.
  line.operator_name = list->substr(0, 36);
  const auto last = revoke_operator(line, state, clock, logger);
  ASSERT_FALSE(last);
  EXPECT_THAT(last.error().message, HasSubstr("last admin"));
  ASSERT_TRUE(reset_operator(line, state, sources(), clock, logger));
  line.operator_name = "second";
  const auto several = revoke_operator(line, state, clock, logger);
  ASSERT_FALSE(several);
  EXPECT_THAT(several.error().message, HasSubstr("several"));
  line.operator_name = "nobody";
  EXPECT_FALSE(revoke_operator(line, state, clock, logger));
  EXPECT_EQ(status("GET", "/v1/operators", "", second), 200);
  line.operator_name = list->substr(0, 36);
  EXPECT_TRUE(revoke_operator(line, state, clock, logger));
  EXPECT_EQ(status("GET", "/v1/operators", "", second), 401);
}

TEST_F(ServiceTest, AStopAnswersWhoWaitsAndLosesNothing) {
  ASSERT_TRUE(start());
  line.ttl = 60'000;
  line.uses = 1;
  const auto node = enroll(last_line(create_token(line, state, sources(), clock, logger).value()));
  const auto task = ask("POST", "/v1/nodes/" + node + "/tasks", R"({"type":"echo","data":{"message":"hi"}})");
  ASSERT_TRUE(task);
  ASSERT_EQ(task->status, 201);
  const auto id = task->body.substr(task->body.find("\"id\":\"") + 6, 36);
  std::atomic<int> waited{0};
  std::thread waiter([&] { waited = status("GET", "/v1/tasks/" + id + "?wait=55000"); });
  // Whether it waits already or still comes: it is answered soon.
  const auto begin = std::chrono::steady_clock::now();
  while (status("GET", "/v1/tasks/" + id) != 200) {
  }
  std::this_thread::sleep_for(100ms);
  service->stop();
  waiter.join();
  EXPECT_EQ(waited, 200);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 20s);
  service.reset();
  ASSERT_TRUE(start());
  EXPECT_EQ(status("GET", "/v1/tasks/" + id), 200);
}

TEST_F(ServiceTest, ReloadTakesLimits) {
  ASSERT_TRUE(start());
  auto fewer = settings();
  fewer.http.body_bytes = 10;
  ASSERT_TRUE(service->reload(fewer));
  EXPECT_EQ(status("POST", "/v1/operators", std::string(11, ' ')), 413);
}

TEST_F(ServiceTest, ACertificateOfOnesOwnIsShown) {
  const auto key = net::PrivateKey::generate();
  const auto now = clock.wall();
  const auto company = net::make_authority(key, "company", now - 1000, now + 3600'000).value();
  const auto own = net::PrivateKey::generate();
  net::CertificateContent content;
  content.common_name = "127.0.0.1";
  content.host_names = {"127.0.0.1"};
  content.purpose = net::CertificatePurpose::server;
  content.not_before = now - 1000;
  content.not_after = now + 3600'000;
  const auto certificate =
      net::issue(company, key, net::CertificateRequest::make(own, "127.0.0.1"), content).value();
  const auto write = [this](const char* name, const std::string& pem) {
    const auto file = folder.path() / name;
    std::ofstream(file) << pem;
    std::filesystem::permissions(file,
                                 std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
    return file.string();
  };
  run_sources.flags["certificate"] = write("own.pem", certificate.to_pem());
  run_sources.flags["private-key"] = write("own.key", own.to_pem());
  run_sources.flags["certificate-authority"] = write("company.pem", company.to_pem());
  auto started = start();
  ASSERT_TRUE(started) << started.error().message;
  EXPECT_EQ(status("GET", "/healthz"), 0);  // our own authority did not issue what is shown
  net::HttpClientSettings how;
  how.authority_pem = company.to_pem();
  const auto answer = net::HttpClient(how).fetch(
      {.url = "https://127.0.0.1:" + std::to_string(service->port()) + "/healthz"});
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 200);
  write("own.pem", "broken");
  EXPECT_FALSE(service->reload(settings()));
  EXPECT_TRUE(net::HttpClient(how).fetch(
      {.url = "https://127.0.0.1:" + std::to_string(service->port()) + "/healthz"}));
}

TEST_F(ServiceTest, SettingsAreCheckedWithTheirFiles) {
  auto from = sources();
  from.flags = run_sources.flags;
  const auto good = check_configuration(from);
  ASSERT_TRUE(good);
  EXPECT_THAT(*good, HasSubstr("listen = 127.0.0.1"));
  from.flags["certificate"] = from.flags["private-key"] = from.flags["certificate-authority"] =
      (folder.path() / "no").string();
  EXPECT_FALSE(check_configuration(from));
}

}  // namespace
}  // namespace agenttask::server
