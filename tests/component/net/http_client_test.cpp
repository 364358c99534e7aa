#include "platform/net/http_client.hpp"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <thread>

#include <gtest/gtest.h>

#include "tests/support/tls_server.hpp"

namespace agenttask::net {
namespace {

using std::chrono::milliseconds;
using test::Credentials;
using test::TestAuthority;
using test::TlsServer;

constexpr UnixMilliseconds kDay = TestAuthority::kDay;

UnixMilliseconds now() {
  return std::chrono::duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

struct HttpClientTest : testing::Test {
  TestAuthority authority{now()};

  TlsServer::Settings settings() const { return {.credentials = authority.server(now())}; }
  HttpClientSettings trusting() const {
    HttpClientSettings trust;
    trust.authority_pem = authority.pem();
    return trust;
  }
  static TlsServer::Handler says(int status, std::string body, std::string headers = "") {
    return [=](const TlsServer::Request&) { return TlsServer::answer(status, body, headers); };
  }
  static HttpFailure failure(const HttpResult& result) {
    EXPECT_FALSE(result);
    if (result) return HttpFailure::stopped;
    EXPECT_FALSE(result.error().error.message.empty());
    return result.error().failure;
  }
};

TEST_F(HttpClientTest, AsksAndGetsTheAnswerWhole) {
  TlsServer server(settings(),
                   says(201, "hello", "X-Thing: a\r\nDate: Sun, 22 Nov 2026 05:00:00 GMT\r\nx-thing: b\r\n"));
  HttpClient client(trusting());
  const auto answer = client.fetch({.url = server.url("/v1/x")});
  ASSERT_TRUE(answer) << answer.error().error.message;
  EXPECT_EQ(answer->status, 201);
  EXPECT_EQ(answer->body, "hello");
  EXPECT_EQ(answer->header("x-thing"), "a");
  EXPECT_EQ(answer->header("date"), "Sun, 22 Nov 2026 05:00:00 GMT");
  EXPECT_EQ(answer->header("nothing"), "");
}

TEST_F(HttpClientTest, SendsMethodHeadersAndBody) {
  TlsServer::Request seen;
  TlsServer server(settings(), [&](const TlsServer::Request& request) {
    seen = request;
    return TlsServer::answer(200, "");
  });
  HttpClient client(trusting());
  const std::string body(300'000, 'b');
  ASSERT_TRUE(client.fetch({.method = "PATCH",
                            .url = server.url("/p?q=1"),
                            .headers = {{"Authorization", "Bearer t"}},
                            .body = body}));
  EXPECT_EQ(seen.line, "PATCH /p?q=1 HTTP/1.1");
  EXPECT_EQ(seen.body, body);
  EXPECT_NE(seen.headers.find("Authorization: Bearer t\r\n"), std::string::npos);
  EXPECT_NE(seen.headers.find("Content-Type: application/json\r\n"), std::string::npos);
  EXPECT_EQ(seen.headers.find("Expect"), std::string::npos);
  ASSERT_TRUE(client.fetch({.method = "DELETE", .url = server.url("/d")}));
  EXPECT_EQ(seen.line, "DELETE /d HTTP/1.1");
  ASSERT_TRUE(client.fetch({.method = "POST", .url = server.url("/e")}));
  EXPECT_NE(seen.headers.find("Content-Length: 0"), std::string::npos);
  EXPECT_EQ(server.connections(), 1U);  // one connection for all of it
}

TEST_F(HttpClientTest, RedirectsAreAnswersLikeOthers) {
  TlsServer server(settings(), says(302, "", "Location: https://elsewhere.invalid/\r\n"));
  const auto answer = HttpClient(trusting()).fetch({.url = server.url()});
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 302);
}

TEST_F(HttpClientTest, TrustsOneAuthorityAndNoOther) {
  TlsServer server(settings(), says(200, "x"));
  HttpClientSettings trust;
  EXPECT_EQ(failure(HttpClient(trust).fetch({.url = server.url()})), HttpFailure::tls_untrusted);
  trust.authority_pem = TestAuthority(now()).pem();  // the same name, another key
  EXPECT_EQ(failure(HttpClient(trust).fetch({.url = server.url()})), HttpFailure::tls_untrusted);
  trust.system_authorities = true;
  EXPECT_EQ(failure(HttpClient(trust).fetch({.url = server.url()})), HttpFailure::tls_untrusted);
  trust = {};
  trust.authority_pem = "not a certificate";
  EXPECT_NE(failure(HttpClient(trust).fetch({.url = server.url()})), HttpFailure::stopped);
}

TEST_F(HttpClientTest, SaysWhatIsWrongWithAServersCertificate) {
  const auto with = [&](const CertificateContent& content) {
    TlsServer server({.credentials = authority.issue(content)}, says(200, "x"));
    return failure(HttpClient(trusting()).fetch({.url = server.url()}));
  };
  EXPECT_EQ(with({"s", {"localhost"}, CertificatePurpose::server, now() - 2 * kDay, now() - kDay}),
            HttpFailure::tls_expired);
  EXPECT_EQ(with({"s", {"localhost"}, CertificatePurpose::server, now() + kDay, now() + 2 * kDay}),
            HttpFailure::tls_expired);
  EXPECT_EQ(with({"s", {"other.example"}, CertificatePurpose::server, now() - kDay, now() + kDay}),
            HttpFailure::tls_name);
  // A device's certificate, even one with the right name in it, is no server's.
  EXPECT_EQ(with({"s", {"localhost"}, CertificatePurpose::client, now() - kDay, now() + kDay}),
            HttpFailure::tls_untrusted);
}

TEST_F(HttpClientTest, SpeaksTls13AndOlderOnlyWhenTold) {
  auto old = settings();
  old.newest_tls = TLS1_2_VERSION;
  TlsServer server(old, says(200, "x"));
  EXPECT_EQ(failure(HttpClient(trusting()).fetch({.url = server.url()})), HttpFailure::tls);
  auto trust = trusting();
  trust.tls_minimum = TlsVersion::tls_1_2;
  EXPECT_TRUE(HttpClient(trust).fetch({.url = server.url()}));
}

TEST_F(HttpClientTest, ShowsItsCertificateAndSaysWhenItIsNotAccepted) {
  auto strict = settings();
  strict.client_authority = authority.pem();
  TlsServer server(strict,
                   [](const TlsServer::Request& request) { return TlsServer::answer(200, request.client); });
  HttpClient client(trusting());
  EXPECT_EQ(failure(client.fetch({.url = server.url()})), HttpFailure::tls_client_refused);
  const auto use = [&](const Credentials& credentials) {
    auto trust = trusting();
    trust.certificate_pem = credentials.certificate;
    trust.key_pem = credentials.key;
    client.configure(trust);
  };
  use(TestAuthority(now()).device(now()));
  EXPECT_EQ(failure(client.fetch({.url = server.url()})), HttpFailure::tls_client_refused);
  use(authority.device(now(), "one"));
  const auto one = client.fetch({.url = server.url()});
  ASSERT_TRUE(one) << one.error().error.message;
  EXPECT_EQ(one->body, "one");
  use(authority.device(now(), "two"));  // after a renewal no old connection is used
  EXPECT_EQ(client.fetch({.url = server.url()}).value().body, "two");
}

TEST_F(HttpClientTest, SaysWhyItCannotConnect) {
  int port = 0;
  {
    TlsServer gone(settings(), says(200, ""));
    port = gone.port();
  }
  HttpClient client(trusting());
  EXPECT_EQ(failure(client.fetch({.url = "https://localhost:" + std::to_string(port)})),
            HttpFailure::cannot_connect);
  EXPECT_EQ(failure(client.fetch({.url = "https://agenttask-test.invalid"})), HttpFailure::cannot_resolve);
  EXPECT_EQ(failure(client.fetch({.url = "http://localhost:" + std::to_string(port)})),
            HttpFailure::bad_request);
  EXPECT_EQ(failure(client.fetch({.url = "file:///etc/passwd"})), HttpFailure::bad_request);
  EXPECT_EQ(failure(client.fetch({.url = "https://localhost/\r\nX: y"})), HttpFailure::bad_request);
  EXPECT_EQ(failure(client.fetch({.url = "https://localhost", .headers = {{"A", "b\r\nC: d"}}})),
            HttpFailure::bad_request);
}

TEST_F(HttpClientTest, GivesUpInTime) {
  std::mutex mutex;
  std::condition_variable changed;
  bool over = false;
  TlsServer server(settings(), [&](const TlsServer::Request&) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return over; });
    return std::string();
  });
  EXPECT_EQ(failure(HttpClient(trusting()).fetch({.url = server.url(), .timeout = milliseconds(150)})),
            HttpFailure::timeout);
  const std::scoped_lock lock(mutex);
  over = true;
  changed.notify_all();
}

TEST_F(HttpClientTest, TakesBodiesUpToTheLimitAndNotAByteMore) {
  TlsServer server(settings(), [](const TlsServer::Request& request) {
    return TlsServer::answer(200,
                             std::string(request.line.find("/more") == std::string::npos ? 1000 : 1001, 'x'));
  });
  HttpClient client(trusting());
  EXPECT_EQ(client.fetch({.url = server.url("/fits"), .max_response_bytes = 1000}).value().body.size(),
            1000U);
  EXPECT_EQ(failure(client.fetch({.url = server.url("/more"), .max_response_bytes = 1000})),
            HttpFailure::too_large);
  TlsServer wordy(settings(), says(200, "", "X-Long: " + std::string(70'000, 'h') + "\r\n"));
  EXPECT_EQ(failure(client.fetch({.url = wordy.url()})), HttpFailure::too_large);
}

TEST_F(HttpClientTest, ABodyThatIsCutOffIsNoAnswer) {
  TlsServer server(settings(), [](const TlsServer::Request& request) -> std::string {
    if (request.line.find("/silent") != std::string::npos) return {};
    if (request.line.find("/rest") != std::string::npos) return TlsServer::answer(200, "y");
    return "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz";
  });
  HttpClient client(trusting());
  EXPECT_EQ(failure(client.fetch({.url = server.url("/silent")})), HttpFailure::broken);
  EXPECT_EQ(failure(client.fetch({.url = server.url("/cut")})), HttpFailure::broken);
  EXPECT_TRUE(client.fetch({.url = server.url("/rest")}));
}

TEST_F(HttpClientTest, StreamsWhatGoesOnAndCollectsErrors) {
  TlsServer server(settings(), [](const TlsServer::Request& request) {
    return TlsServer::answer(request.line.find("/bad") == std::string::npos ? 200 : 404,
                             std::string(100'000, 's'));
  });
  HttpClient client(trusting());
  std::size_t streamed = 0;
  HttpRequest request{.url = server.url("/good"), .max_response_bytes = 10};
  request.on_body = [&](std::string_view piece) {
    streamed += piece.size();
    return true;
  };
  const auto answer = client.fetch(request);
  ASSERT_TRUE(answer);
  EXPECT_EQ(streamed, 100'000U);
  EXPECT_EQ(answer->body, "");
  request.on_body = [](std::string_view) { return false; };
  EXPECT_EQ(failure(client.fetch(request)), HttpFailure::stopped);
  request.url = server.url("/bad");
  request.max_response_bytes = 200'000;
  const auto problem = client.fetch(request);
  ASSERT_TRUE(problem);
  EXPECT_EQ(problem->status, 404);
  EXPECT_EQ(problem->body.size(), 100'000U);
}

TEST_F(HttpClientTest, SeveralTransfersGoOnAtOnce) {
  std::mutex mutex;
  std::condition_variable changed;
  bool fast_was_here = false;
  TlsServer server(settings(), [&](const TlsServer::Request& request) {
    std::unique_lock lock(mutex);
    if (request.line.find("/fast") != std::string::npos) fast_was_here = true;
    changed.notify_all();
    changed.wait(lock, [&] { return fast_was_here; });
    return TlsServer::answer(200, request.line.substr(4, 5));
  });
  HttpClient client(trusting());
  std::vector<std::string> done;
  client.start({.url = server.url("/slow")}, [&](HttpResult result) {
    done.push_back(result->body);
    client.start({.url = server.url("/more")}, [&](HttpResult more) { done.push_back(more->body); });
  });
  client.start({.url = server.url("/fast")}, [&](HttpResult result) { done.push_back(result->body); });
  while (client.open() > 0) client.wait(std::chrono::seconds(10));
  std::sort(done.begin(), done.end());
  EXPECT_EQ(done, (std::vector<std::string>{"/fast", "/more", "/slow"}));
}

TEST_F(HttpClientTest, CanBeWokenStoppedAndToldToLeave) {
  std::mutex mutex;
  std::condition_variable changed;
  bool over = false;
  int arrived = 0;
  TlsServer server(settings(), [&](const TlsServer::Request&) {
    std::unique_lock lock(mutex);
    ++arrived;
    changed.notify_all();
    changed.wait(lock, [&] { return over; });
    return std::string();
  });
  const auto await_arrivals = [&](int count) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return arrived >= count; });
  };
  HttpClient client(trusting());
  bool called = false;
  const auto transfer = client.start({.url = server.url()}, [&](const HttpResult&) { called = true; });
  std::thread waker([&] {
    await_arrivals(1);
    client.wake();
  });
  client.wait(std::chrono::hours(1));
  waker.join();
  client.cancel(transfer);
  EXPECT_EQ(client.open(), 0U);
  client.wake();  // before the wait: not lost
  client.wait(std::chrono::hours(1));
  EXPECT_FALSE(called);
  std::stop_source stop;
  std::thread stopper([&] {
    await_arrivals(2);
    stop.request_stop();
  });
  EXPECT_EQ(failure(client.fetch({.url = server.url()}, stop.get_token())), HttpFailure::stopped);
  stopper.join();
  const std::scoped_lock lock(mutex);
  over = true;
  changed.notify_all();
}

TEST_F(HttpClientTest, TheAuthorityIsBelievedByItsFingerprintAlone) {
  std::string body = authority.pem();
  TlsServer server({.credentials = TestAuthority(now()).server(now())},  // known to nobody
                   [&](const TlsServer::Request& request) {
                     return TlsServer::answer(request.line == "GET /v1/authority HTTP/1.1" ? 200 : 404, body);
                   });
  const ServerUrl url{"localhost", static_cast<std::uint16_t>(server.port())};
  const auto pem = fetch_authority(url, authority.certificate().fingerprint_bytes(), {});
  ASSERT_TRUE(pem) << pem.error().error.message;
  EXPECT_EQ(*pem, authority.pem());
  const auto other = fetch_authority(url, std::string(32, 'x'), {});
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().failure, HttpFailure::tls_untrusted);
  body = "hello";
  EXPECT_EQ(fetch_authority(url, authority.certificate().fingerprint_bytes(), {}).error().failure,
            HttpFailure::tls_untrusted);
  body = std::string(100'000, 'x');
  EXPECT_EQ(fetch_authority(url, authority.certificate().fingerprint_bytes(), {}).error().failure,
            HttpFailure::too_large);
}

/// Something on loopback that speaks no TLS: reads a little, says one thing and closes.
class PlainServer {
 public:
  explicit PlainServer(std::string answer) : answer_(std::move(answer)) {
    acceptor_ = BIO_new_accept("127.0.0.1:0");
    EXPECT_GT(BIO_do_accept(acceptor_), 0);
    port_ = std::stoi(BIO_get_accept_port(acceptor_));
    thread_ = std::thread([this] {
      while (BIO_do_accept(acceptor_) > 0) {
        BIO* connection = BIO_pop(acceptor_);
        char bytes[4096];
        if (BIO_read(connection, bytes, sizeof bytes) > 0)
          BIO_write(connection, answer_.data(), static_cast<int>(answer_.size()));
        BIO_free_all(connection);
      }
    });
  }
  ~PlainServer() {
    int fd = -1;
    BIO_get_fd(acceptor_, &fd);
    test::end_socket(fd);
    thread_.join();
    BIO_free_all(acceptor_);
  }
  [[nodiscard]] std::string address() const { return "localhost:" + std::to_string(port_); }

 private:
  std::string answer_;
  BIO* acceptor_ = nullptr;
  int port_ = 0;
  std::thread thread_;
};

TEST_F(HttpClientTest, NoticesAPortWithoutTls) {
  const PlainServer server("HTTP/1.1 400 Bad Request\r\n\r\n");
  EXPECT_EQ(failure(HttpClient(trusting()).fetch({.url = "https://" + server.address()})), HttpFailure::tls);
}

TEST_F(HttpClientTest, TellsTroubleWithTheProxyFromTroubleWithTheServer) {
  const auto through = [&](const std::string& proxy, const std::string& no_proxy = "") {
    auto trust = trusting();
    trust.proxy = proxy;
    trust.no_proxy = no_proxy;
    TlsServer server(settings(), says(200, "x"));
    return HttpClient(trust).fetch({.url = server.url()});
  };
  const PlainServer wants_credentials(
      "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n");
  const PlainServer refuses("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
  const auto unauthorized = through("http://" + wants_credentials.address());
  EXPECT_EQ(failure(unauthorized), HttpFailure::proxy);
  EXPECT_NE(unauthorized.error().error.message.find("password"), std::string::npos);
  EXPECT_EQ(failure(through("http://" + refuses.address())), HttpFailure::proxy);
  EXPECT_EQ(failure(through("http://127.0.0.1:1")), HttpFailure::proxy);
  EXPECT_EQ(failure(through("http://agenttask-test.invalid:3128")), HttpFailure::proxy);
  EXPECT_TRUE(through("http://127.0.0.1:1", "localhost"));
}

/// A proxy that opens the one tunnel it is asked for.
class TunnelProxy {
 public:
  TunnelProxy() {
    acceptor_ = BIO_new_accept("127.0.0.1:0");
    EXPECT_GT(BIO_do_accept(acceptor_), 0);
    address_ = std::string("127.0.0.1:") + BIO_get_accept_port(acceptor_);
    thread_ = std::thread([this] { serve(); });
  }
  ~TunnelProxy() {
    int fd = -1;
    BIO_get_fd(acceptor_, &fd);
    test::end_socket(fd);
    thread_.join();
    BIO_free_all(acceptor_);
  }
  TunnelProxy(const TunnelProxy&) = delete;
  TunnelProxy& operator=(const TunnelProxy&) = delete;
  [[nodiscard]] const std::string& address() const { return address_; }
  std::string asked;

 private:
  void serve() {
    if (BIO_do_accept(acceptor_) <= 0) return;
    BIO* client = BIO_pop(acceptor_);
    char bytes[4096];
    while (asked.find("\r\n\r\n") == std::string::npos) {
      const int count = BIO_read(client, bytes, sizeof bytes);
      if (count <= 0) break;
      asked.append(bytes, static_cast<std::size_t>(count));
    }
    BIO* server = BIO_new_connect(asked.substr(8, asked.find(' ', 8) - 8).c_str());
    if (BIO_do_connect(server) > 0) {
      BIO_puts(client, "HTTP/1.1 200 OK\r\n\r\n");
      std::thread back([&] { pump(server, client); });
      pump(client, server);
      back.join();
    }
    BIO_free_all(server);
    BIO_free_all(client);
  }
  static void pump(BIO* from, BIO* to) {
    char bytes[4096];
    for (int count = 0; (count = BIO_read(from, bytes, sizeof bytes)) > 0;) {
      if (BIO_write(to, bytes, count) != count) break;
    }
    int fd = -1;
    BIO_get_fd(to, &fd);
    test::stop_sending(fd);
  }

  BIO* acceptor_ = nullptr;
  std::string address_;
  std::thread thread_;
};

TEST_F(HttpClientTest, GoesThroughAProxyAndStillTrustsOnlyTheServer) {
  TlsServer server(settings(), says(200, "through"));
  TunnelProxy proxy;
  auto trust = trusting();
  trust.proxy = "http://user:pass@" + proxy.address();
  {
    HttpClient client(trust);
    const auto answer = client.fetch({.url = server.url("/x")});
    ASSERT_TRUE(answer) << answer.error().error.message;
    EXPECT_EQ(answer->body, "through");
    EXPECT_TRUE(answer->header("x-none").empty());
  }
  EXPECT_TRUE(proxy.asked.starts_with("CONNECT localhost:" + std::to_string(server.port()) + " HTTP/1.1"));
  EXPECT_NE(proxy.asked.find("Proxy-Authorization: Basic dXNlcjpwYXNz"), std::string::npos);
  EXPECT_EQ(proxy.asked.find("/x"), std::string::npos);
}

TEST_F(HttpClientTest, TheEnvironmentsProxyIsNotUsed) {
  test::set_variable("https_proxy", "http://127.0.0.1:1");
  TlsServer server(settings(), says(200, "x"));
  EXPECT_TRUE(HttpClient(trusting()).fetch({.url = server.url()}));
  test::unset_variable("https_proxy");
}

TEST(HttpResponseTest, ReadsRetryAfterInBothForms) {
  constexpr UnixMilliseconds at = 1'795'323'600'000;  // Sun, 22 Nov 2026 05:00:00 GMT
  const auto wait = [&](const std::string& value) {
    return HttpResponse{503, {{"retry-after", value}}, ""}.retry_after(at);
  };
  EXPECT_EQ(wait("7"), milliseconds(7000));
  EXPECT_EQ(wait("0"), milliseconds(0));
  EXPECT_EQ(wait("Sun, 22 Nov 2026 05:01:00 GMT"), milliseconds(60'000));
  EXPECT_EQ(wait("Sun, 22 Nov 2026 04:00:00 GMT"), milliseconds(0));
  EXPECT_EQ(wait("99999999999999999999999"), std::chrono::hours(24));
  EXPECT_EQ(wait("86401"), std::chrono::hours(24));
  EXPECT_EQ(wait("soon"), std::nullopt);
  EXPECT_EQ(wait("-5"), std::nullopt);
  EXPECT_EQ((HttpResponse{200, {}, ""}.retry_after(at)), std::nullopt);
}

}  // namespace
}  // namespace agenttask::net
