#include <thread>

#include <gmock/gmock.h>

#include "tests/component/server_http/kit.hpp"

namespace agenttask::server {
namespace {

using namespace std::chrono_literals;
using kit::Client;
using kit::Event;
using kit::get;
using kit::post;
using kit::ServerKit;
using ::testing::HasSubstr;

class TransportTest : public ::testing::Test {
 protected:
  ServerKit& start(HttpLimits limits = {}, bool tls12 = false) {
    server = std::make_unique<ServerKit>(handler, limits, tls12);
    return *server;
  }
  [[nodiscard]] std::uint16_t port() const { return server->http->port(); }
  /// Waits until the server has no connections left.
  [[nodiscard]] bool empties() const {
    const auto end = std::chrono::steady_clock::now() + 20s;
    while (server->http->connections() > 0) {
      if (std::chrono::steady_clock::now() > end) return false;
      std::this_thread::yield();
    }
    return true;
  }
  kit::FunctionHandler handler;
  std::unique_ptr<ServerKit> server;
};

std::string code_of(const kit::Answer& answer) {
  EXPECT_EQ(answer.header("Content-Type"), "application/problem+json");
  const auto at = answer.body.find("\"code\":\"");
  if (at == std::string::npos) return answer.body;
  return answer.body.substr(at + 8, answer.body.find('"', at + 8) - at - 8);
}

TEST_F(TransportTest, AnswersOneRequestAfterAnother) {
  start();
  Client client(port());
  for (int i = 0; i < 3; ++i) {
    const auto answer = client.ask(post("/a/b?c=d", "hello"));
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.body, "POST /a/b 5 nobody");
    EXPECT_EQ(answer.header("Connection"), "keep-alive");
  }
}

TEST_F(TransportTest, AnswersPipelinedRequestsInOrder) {
  start();
  Client client(port());
  std::string all;
  for (int i = 0; i < 300; ++i) all += get("/" + std::to_string(i));
  std::thread sender([&] { client.send(all); });
  sender.join();
  for (int i = 0; i < 300; ++i) EXPECT_EQ(client.receive().body, "GET /" + std::to_string(i) + " 0 nobody");
}

TEST_F(TransportTest, HeadHasTheLengthAndNoBody) {
  start();
  Client client(port());
  client.send("HEAD /x HTTP/1.1\r\nHost: h\r\n\r\n" + get("/y"));
  std::string all;
  while (all.find("/y 0") == std::string::npos) {
    const auto some = client.receive_some();
    ASSERT_FALSE(some.empty()) << all;
    all += some;
  }
  EXPECT_THAT(all, HasSubstr("Content-Length: 15\r\n"));
  EXPECT_EQ(all.find("GET /x"), std::string::npos);
}

TEST_F(TransportTest, OptionsForTheServerNamesTheMethods) {
  start();
  Client client(port());
  const auto answer = client.ask("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(answer.status, 204);
  EXPECT_THAT(answer.header("Allow"), HasSubstr("PATCH"));
}

TEST_F(TransportTest, Http10EndsTheConnectionUnlessAskedNotTo) {
  start();
  Client once(port());
  EXPECT_EQ(once.ask("GET / HTTP/1.0\r\n\r\n").header("Connection"), "close");
  EXPECT_TRUE(once.ended());
  Client kept(port());
  EXPECT_EQ(kept.ask("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").header("Connection"), "keep-alive");
  EXPECT_EQ(kept.ask(get("/")).status, 200);
}

TEST_F(TransportTest, ConnectionCloseIsHeeded) {
  start();
  Client client(port());
  EXPECT_EQ(client.ask(get("/", "Connection: close\r\n")).header("Connection"), "close");
  EXPECT_TRUE(client.ended());
}

TEST_F(TransportTest, ExpectContinueIsInvitedBeforeTheBody) {
  start();
  Client client(port());
  client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.receive().status, 100);
  EXPECT_EQ(client.ask("hello").body, "POST / 5 nobody");
}

TEST_F(TransportTest, ExpectContinueOfTooLargeABodyIsRefusedAtOnce) {
  start();
  Client client(port());
  client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.receive().status, 413);
}

TEST_F(TransportTest, ChunkedBodiesAreTaken) {
  start();
  Client client(port());
  EXPECT_EQ(client
                .ask("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: "
                     "chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
                .body,
            "POST / 5 nobody");
  EXPECT_EQ(client.ask(get("/")).status, 200);
}

TEST_F(TransportTest, HeaderAtTheLimitAndPastIt) {
  HttpLimits limits;
  start(limits);
  const auto overhead = get("/", "X: \r\n").size();
  const std::string fill(limits.header_bytes - overhead, 'x');
  Client client(port());
  EXPECT_EQ(client.ask(get("/", "X: " + fill + "\r\n")).status, 200);
  const auto answer = client.ask(get("/", "X: " + fill + "x\r\n"));
  EXPECT_EQ(answer.status, 431);
  EXPECT_EQ(code_of(answer), "header-too-large");
  EXPECT_TRUE(client.ended());
}

TEST_F(TransportTest, BodyAtTheLimitAndPastIt) {
  start();
  Client client(port());
  EXPECT_EQ(client.ask(post("/", std::string(limits::kBodyBytes, 'b'))).status, 200);
  const auto answer = client.ask(post("/", std::string(limits::kBodyBytes + 1, 'b')));
  EXPECT_EQ(answer.status, 413);
  EXPECT_EQ(code_of(answer), "body-too-large");
  EXPECT_TRUE(client.ended());
}

TEST_F(TransportTest, ABodyOf10MegabytesGetsItsAnswer) {
  start();
  Client client(port());
  std::string body;
  body.resize(10'000'000, 'b');
  client.send(post("/", body));
  EXPECT_EQ(client.receive().status, 413);
}

TEST_F(TransportTest, ReportsOfDevicesMayBeLarger) {
  start();
  const std::string large(limits::kStreamBodyBytes, 'b');
  Client device(port(), {server->issuer.device("node-1"), TLS1_3_VERSION, nullptr, true});
  EXPECT_EQ(device.ask(post("/v1/device/reports", large)).body, "POST /v1/device/reports 8388608 node-1");
  EXPECT_EQ(device.ask(post("/v1/device/reports", large + "b")).status, 413);
  Client other(port(), {server->issuer.device("node-1"), TLS1_3_VERSION, nullptr, true});
  EXPECT_EQ(other.ask(post("/v1/device/output", large)).status, 413);
  Client stranger(port());
  EXPECT_EQ(stranger.ask(post("/v1/device/reports", large)).status, 413);
}

TEST_F(TransportTest, BodiesInMemoryAreBoundedInAll) {
  HttpLimits limits;
  limits.buffered_bytes = 100'000;
  start(limits);
  Client first(port());
  first.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100001\r\n\r\n" + std::string(100'000, 'b'));
  // The server has taken all of it once a second request finds no room.
  kit::Answer answer;
  for (int i = 0; i < 1000 && answer.status != 503; ++i) {
    Client second(port());
    answer = second.ask(post("/", "bb"));
  }
  EXPECT_EQ(answer.status, 503);
  EXPECT_EQ(answer.header("Retry-After"), "1");
  first.hang_up();
  for (int i = 0; i < 1000 && answer.status != 200; ++i) {
    Client third(port());
    answer = third.ask(post("/", "bb"));
  }
  EXPECT_EQ(answer.status, 200);
}

TEST_F(TransportTest, MalformedRequestsGetAProblemAndTheEnd) {
  start();
  for (const char* text :
       {"nonsense\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "GET /%00 HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /../ HTTP/1.1\r\nHost: h\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"}) {
    Client client(port());
    const auto answer = client.ask(text);
    EXPECT_EQ(answer.status, 400) << text;
    EXPECT_EQ(code_of(answer), "malformed-request") << text << answer.body;
    EXPECT_TRUE(client.ended()) << text;
  }
}

TEST_F(TransportTest, NothingIsSmuggledBehindARefusal) {
  std::atomic<int> handled{0};
  const auto echo = handler.function;
  handler.function = [&](const std::shared_ptr<Exchange>& exchange) {
    ++handled;
    echo(exchange);
  };
  start();
  Client client(port());
  client.send(
      "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" +
      get("/secret"));
  EXPECT_EQ(client.receive().status, 400);
  EXPECT_TRUE(client.ended());
  EXPECT_EQ(handled, 0);
}

TEST_F(TransportTest, ASlowHeaderTimesOut) {
  HttpLimits limits;
  limits.header_timeout = 100ms;
  start(limits);
  Client client(port());
  client.send("GET / HT");
  const auto answer = client.receive();
  EXPECT_EQ(answer.status, 408);
  EXPECT_EQ(code_of(answer), "request-timeout");
  EXPECT_TRUE(client.ended());
}

TEST_F(TransportTest, AHeaderThatTricklesTimesOutToo) {
  HttpLimits limits;
  limits.header_timeout = 200ms;
  start(limits);
  Client client(port());
  client.send("GET / HTTP/1.1\r\n");
  for (int i = 0; i < 40; ++i) {
    client.send("A: b\r\n");
    std::this_thread::sleep_for(10ms);
  }
  EXPECT_EQ(client.receive().status, 408);
}

TEST_F(TransportTest, ASlowBodyTimesOut) {
  HttpLimits limits;
  limits.body_timeout = 100ms;
  start(limits);
  Client client(port());
  client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhel");
  EXPECT_EQ(client.receive().status, 408);
}

TEST_F(TransportTest, ATruncatedBodyIsNoRequest) {
  std::atomic<int> handled{0};
  handler.function = [&](const std::shared_ptr<Exchange>&) { ++handled; };
  start();
  {
    Client client(port());
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhel");
  }
  EXPECT_TRUE(empties());
  EXPECT_EQ(handled, 0);
}

TEST_F(TransportTest, ASilentHandshakeTimesOut) {
  HttpLimits limits;
  limits.handshake_timeout = 100ms;
  start(limits);
  Client silent(port(), {std::nullopt, TLS1_3_VERSION, nullptr, false});
  EXPECT_EQ(silent.receive_raw(), "");
  EXPECT_TRUE(empties());
}

TEST_F(TransportTest, AnIdleConnectionIsClosed) {
  HttpLimits limits;
  limits.idle_timeout = 100ms;
  start(limits);
  Client client(port());
  EXPECT_EQ(client.ask(get("/")).status, 200);
  EXPECT_TRUE(client.ended());
}

TEST_F(TransportTest, APeerThatReadsNothingIsDropped) {
  HttpLimits limits;
  limits.write_timeout = 100ms;
  Event gone;
  struct Observer final : ExchangeObserver {
    explicit Observer(Event& event) : gone_event(event) {}
    void gone() override { gone_event.set(); }
    void drained() override {}
    Event& gone_event;
  };
  const auto observer = std::make_shared<Observer>(gone);
  handler.function = [&](const std::shared_ptr<Exchange>& exchange) {
    exchange->observe(observer);
    std::string body;
    body.resize(50'000'000, 'x');
    exchange->respond({200, "text/plain", std::move(body), {}});
  };
  start(limits);
  Client client(port());
  client.send(get("/"));
  EXPECT_TRUE(gone.wait());
  EXPECT_TRUE(empties());
}

TEST_F(TransportTest, PlainHttpIsToldToUseHttps) {
  start();
  Client client(port(), {std::nullopt, TLS1_3_VERSION, nullptr, false});
  client.send_raw("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_THAT(client.receive_raw(), HasSubstr("https-required"));
}

TEST_F(TransportTest, ConnectionsAreBoundedInAll) {
  HttpLimits limits;
  limits.connections = 2;
  limits.turned_away = 0;
  start(limits);
  Client first(port());
  Client second(port());
  EXPECT_EQ(first.ask(get("/")).status, 200);
  EXPECT_EQ(second.ask(get("/")).status, 200);
  Client third(port());
  EXPECT_FALSE(third.connected());
  EXPECT_EQ(first.ask(get("/")).status, 200);
}

TEST_F(TransportTest, AFewOfThoseThatAreTooManyAreToldSo) {
  HttpLimits limits;
  limits.connections = 1;
  limits.turned_away = 1;
  limits.header_timeout = 300ms;
  start(limits);
  Client first(port());
  EXPECT_EQ(first.ask(get("/")).status, 200);
  // The place is free once the server has seen the one before go.
  const auto next = [&] {
    auto client = std::make_unique<Client>(port());
    for (int i = 0; i < 1000 && !client->connected(); ++i) client = std::make_unique<Client>(port());
    EXPECT_TRUE(client->connected());
    return client;
  };
  for (const auto& request : {get("/"), post("/", "small"), post("/", std::string(100'000, 'b'))}) {
    const auto client = next();
    const auto answer = client->ask(request);
    EXPECT_EQ(answer.status, 503);
    EXPECT_EQ(answer.header("Retry-After"), "10");
    EXPECT_THAT(answer.body, HasSubstr("overloaded"));
    EXPECT_TRUE(client->ended());
  }
  {
    const auto silent = next();
    EXPECT_FALSE(Client(port()).connected()) << "nor are more than a few told";
    EXPECT_TRUE(silent->ended()) << "one that says nothing does not keep the place";
  }
  EXPECT_EQ(server->http->connections(), 1U);
  EXPECT_EQ(first.ask(get("/")).status, 200);
}

TEST_F(TransportTest, ConnectionsAreBoundedForAnAddress) {
  HttpLimits limits;
  limits.connections_per_address = 1;
  limits.turned_away = 0;
  start(limits);
  Client first(port());
  EXPECT_EQ(first.ask(get("/")).status, 200);
  EXPECT_FALSE(Client(port()).connected());
  limits.connections_per_address = 2;
  server->http->use(limits);
  EXPECT_TRUE(Client(port()).connected());
}

TEST_F(TransportTest, APeerThatGoesAwayIsNoticed) {
  Event parked;
  Event gone;
  struct Observer final : ExchangeObserver {
    explicit Observer(Event& event) : gone_event(event) {}
    void gone() override { gone_event.set(); }
    void drained() override {}
    Event& gone_event;
  };
  const auto observer = std::make_shared<Observer>(gone);
  std::shared_ptr<Exchange> kept;
  handler.function = [&](std::shared_ptr<Exchange> exchange) {
    exchange->observe(observer);
    kept = std::move(exchange);
    parked.set();
  };
  start();
  auto client = std::make_unique<Client>(port());
  client->send(get("/"));
  ASSERT_TRUE(parked.wait());
  client.reset();
  EXPECT_TRUE(gone.wait());
  kept.reset();
  EXPECT_TRUE(empties());
}

TEST_F(TransportTest, ARequestThatNobodyAnswersGets500) {
  handler.function = [](const std::shared_ptr<Exchange>&) {};
  start();
  Client client(port());
  EXPECT_EQ(client.ask(get("/")).status, 500);
}

TEST_F(TransportTest, AnswersMayComeFromAnyThread) {
  std::vector<std::thread> threads;
  std::mutex mutex;
  handler.function = [&](std::shared_ptr<Exchange> exchange) {
    const std::lock_guard lock(mutex);
    threads.emplace_back([exchange = std::move(exchange)] {
      exchange->respond({200, "text/plain", exchange->request()->path, {}});
    });
  };
  start();
  std::vector<std::unique_ptr<Client>> clients;
  clients.reserve(20);
  for (int i = 0; i < 20; ++i) clients.push_back(std::make_unique<Client>(port()));
  for (int i = 0; i < 20; ++i) clients[static_cast<std::size_t>(i)]->send(get("/" + std::to_string(i)));
  for (int i = 0; i < 20; ++i)
    EXPECT_EQ(clients[static_cast<std::size_t>(i)]->receive().body, "/" + std::to_string(i));
  for (auto& thread : threads) thread.join();
}

TEST_F(TransportTest, AStreamComesPieceByPiece) {
  std::shared_ptr<Exchange> kept;
  Event started;
  handler.function = [&](std::shared_ptr<Exchange> exchange) {
    kept = std::move(exchange);
    kept->start({200, "application/x-ndjson", "one\n", {}});
    started.set();
  };
  start();
  Client client(port());
  client.send(get("/"));
  ASSERT_TRUE(started.wait());
  std::string all;
  while (all.find("one\n") == std::string::npos) all += client.receive_some();
  EXPECT_THAT(all, HasSubstr("Transfer-Encoding: chunked"));
  kept->send("two\n");
  while (all.find("two\n") == std::string::npos) all += client.receive_some();
  kept->finish();
  while (!all.ends_with("0\r\n\r\n")) all += client.receive_some();
}

TEST_F(TransportTest, AStreamForHttp10EndsWithTheConnection) {
  handler.function = [&](const std::shared_ptr<Exchange>& exchange) {
    exchange->start({200, "text/plain", "one,", {}});
    exchange->send("two");
    exchange->finish();
  };
  start();
  Client client(port());
  const auto answer = client.ask("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_EQ(answer.body, "one,two");
  EXPECT_EQ(answer.header("Connection"), "close");
}

TEST_F(TransportTest, ADrainingServerClosesIdleConnectionsAndFinishesTheOthers) {
  std::shared_ptr<Exchange> kept;
  Event parked;
  handler.function = [&](std::shared_ptr<Exchange> exchange) {
    if (exchange->request()->path != "/park") return exchange->respond({200, "text/plain", "now", {}});
    kept = std::move(exchange);
    parked.set();
  };
  start();
  Client idle(port());
  EXPECT_EQ(idle.ask(get("/")).status, 200);
  Client busy(port());
  busy.send(get("/park"));
  ASSERT_TRUE(parked.wait());
  server->http->stop_accepting();
  EXPECT_TRUE(idle.ended());
  std::thread stopper([&] { server->http->stop(20s); });
  kept->respond({200, "text/plain", "late", {}});
  kept.reset();
  const auto answer = busy.receive();
  EXPECT_EQ(answer.body, "late");
  EXPECT_EQ(answer.header("Connection"), "close");
  stopper.join();
  EXPECT_EQ(server->http->connections(), 0U);
  EXPECT_THROW(Client{port()}, std::runtime_error);
}

TEST_F(TransportTest, AStopCutsWhatDoesNotEnd) {
  std::shared_ptr<Exchange> kept;
  Event parked;
  handler.function = [&](std::shared_ptr<Exchange> exchange) {
    kept = std::move(exchange);
    parked.set();
  };
  start();
  Client client(port());
  client.send(get("/"));
  ASSERT_TRUE(parked.wait());
  server->http->stop(50ms);
  EXPECT_TRUE(client.ended());
  kept->respond({200, "text/plain", "too late", {}});
  kept.reset();
  server.reset();
}

TEST_F(TransportTest, TwoServersCanNotListenOnOnePort) {
  start();
  HttpServerOptions options;
  options.address = "127.0.0.1";
  options.port = port();
  const auto second = HttpServer::start(options, server->identity(), std::make_shared<TicketKeys>(), handler,
                                        server->clock, server->logger);
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message, HasSubstr("cannot listen on 127.0.0.1"));
}

}  // namespace
}  // namespace agenttask::server
