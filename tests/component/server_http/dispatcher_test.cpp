#include "server/http/dispatcher.hpp"

#include <atomic>
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

/// A value that requests may wait for and that others change: what a store is to the real server.
class DispatcherTest : public ::testing::Test {
 public:
  ~DispatcherTest() override { stop(); }

 protected:
  DispatcherTest() = default;

  void start(DispatcherOptions options = {}, HttpLimits limits = {}) {
    dispatcher = std::make_unique<Dispatcher>(options, evaluation, mailboxes, clock, logger);
    server = std::make_unique<ServerKit>(*dispatcher, limits);
  }
  void stop() {
    if (!dispatcher) return;
    server->http->stop_accepting();
    dispatcher->release_waiting();
    server->http->stop(20s);
    dispatcher->stop();
  }
  [[nodiscard]] std::uint16_t port() const { return server->http->port(); }
  [[nodiscard]] bool parks(std::size_t count) const {
    const auto end = std::chrono::steady_clock::now() + 20s;
    while (mailboxes.parked() != count) {
      if (std::chrono::steady_clock::now() > end) return false;
      std::this_thread::yield();
    }
    return true;
  }
  void change(int to, const std::string& key = "value") {
    value = to;
    mailboxes.touch(key);
  }
  /// Waits for the value to become more than 0, at most `most`.
  Outcome await_value(const Request& request, std::chrono::milliseconds most = 30s) {
    if (value > 0 || !request.may_wait) return Response{200, "text/plain", std::to_string(value), {}};
    return Wait{{"value"}, request.received + most};
  }

  kit::RealClock clock;
  Logger logger{LogLevel::error, LogFormat::text};
  Mailboxes mailboxes{clock};
  std::atomic<int> value{0};
  std::atomic<int> gone{0};
  Evaluation evaluation{.read = [this](const Request& request) { return await_value(request); },
                        .write = [](const auto&, const auto&) { return false; },
                        .gone = [this](const Request&) { ++gone; }};
  std::unique_ptr<Dispatcher> dispatcher;
  std::unique_ptr<ServerKit> server;
};

TEST_F(DispatcherTest, ATouchWakesWhoWaits) {
  start();
  Client client(port());
  client.send(get("/"));
  ASSERT_TRUE(parks(1));
  change(7);
  EXPECT_EQ(client.receive().body, "7");
}

TEST_F(DispatcherTest, ATouchWithoutAChangeParksAgain) {
  start();
  Client client(port());
  client.send(get("/"));
  ASSERT_TRUE(parks(1));
  mailboxes.touch("value");
  ASSERT_TRUE(parks(1));
  change(8);
  EXPECT_EQ(client.receive().body, "8");
}

TEST_F(DispatcherTest, AWaitEndsAtItsTime) {
  evaluation.read = [this](const Request& request) { return await_value(request, 50ms); };
  start();
  Client client(port());
  EXPECT_EQ(client.ask(get("/")).body, "0");
}

TEST_F(DispatcherTest, AChangeBetweenReadingAndParkingIsNotMissed) {
  evaluation.read = [this](const Request& request) {
    auto outcome = await_value(request);
    if (value == 0) change(9);  // somebody commits while this evaluation is under way
    return outcome;
  };
  start();
  Client client(port());
  EXPECT_EQ(client.ask(get("/")).body, "9");
}

TEST_F(DispatcherTest, ManyWaitAndAllAreWoken) {
  constexpr int kClients = 200;
  start();
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.push_back(std::make_unique<Client>(port()));
    clients.back()->send(get("/"));
  }
  ASSERT_TRUE(parks(kClients));
  change(5);
  for (auto& client : clients) EXPECT_EQ(client->receive().body, "5");
}

TEST_F(DispatcherTest, AStopAnswersWhoWaitsAtOnce) {
  start();
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 20; ++i) {
    clients.push_back(std::make_unique<Client>(port()));
    clients.back()->send(get("/"));
  }
  ASSERT_TRUE(parks(20));
  const auto begin = std::chrono::steady_clock::now();
  stop();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 10s);
  for (auto& client : clients) {
    const auto answer = client->receive();
    EXPECT_EQ(answer.body, "0");
    EXPECT_EQ(answer.header("Connection"), "close");
  }
}

TEST_F(DispatcherTest, APeerThatGoesFreesItsPlace) {
  start();
  auto client = std::make_unique<Client>(port());
  client->send(get("/"));
  ASSERT_TRUE(parks(1));
  client->hang_up();
  EXPECT_TRUE(parks(0));
  while (server->http->connections() > 0) std::this_thread::yield();
  EXPECT_EQ(gone, 1);
}

TEST_F(DispatcherTest, PlacesToWaitAreBounded) {
  start({.readers = 1, .queued = 10, .parked = 1});
  Client first(port());
  first.send(get("/"));
  ASSERT_TRUE(parks(1));
  Client second(port());
  const auto refused = second.ask(get("/"));
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.header("Retry-After"), "1");
  EXPECT_EQ(refused.header("Content-Type"), "application/problem+json");
  change(1);
  EXPECT_EQ(first.receive().status, 200);
  change(0);
  second.send(get("/"));
  EXPECT_TRUE(parks(1));
  change(2);
  EXPECT_EQ(second.receive().body, "2");
}

TEST_F(DispatcherTest, TheQueueToTheReadersIsBounded) {
  Event busy;
  Event go_on;
  evaluation.read = [&](const Request& request) -> Outcome {
    if (request.path == "/slow") {
      busy.set();
      EXPECT_TRUE(go_on.wait());
    }
    return Response{200, "text/plain", request.path, {}};
  };
  start({.readers = 1, .queued = 1, .parked = 10});
  Client slow(port());
  slow.send(get("/slow"));
  ASSERT_TRUE(busy.wait());
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(std::make_unique<Client>(port()));
    clients.back()->send(get("/quick"));
  }
  // Two of the three find the one place taken.
  std::vector<std::thread> readers;
  readers.reserve(clients.size());
  std::atomic<int> full{0};
  std::atomic<int> answered{0};
  for (auto& client : clients) {
    readers.emplace_back([&] {
      const auto status = client->receive().status;
      if (status == 503 && ++full == 2) go_on.set();
      if (status == 200) ++answered;
    });
  }
  for (auto& reader : readers) reader.join();
  EXPECT_EQ(full, 2);
  EXPECT_EQ(answered, 1);
  EXPECT_EQ(slow.receive().body, "/slow");
}

TEST_F(DispatcherTest, AHandlerThatThrowsIsAnError) {
  evaluation.read = [](const Request& request) -> Outcome {
    if (request.path == "/bad") throw std::runtime_error("a fault");
    return Response{};
  };
  start();
  Client client(port());
  testing::internal::CaptureStderr();
  const auto answer = client.ask(get("/bad"));
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("a fault"));
  EXPECT_EQ(answer.status, 500);
  EXPECT_EQ(answer.body.find("a fault"), std::string::npos);
  EXPECT_EQ(client.ask(get("/good")).status, 200);
}

TEST_F(DispatcherTest, WritesGoToTheWriter) {
  std::atomic<int> reads{0};
  evaluation.read = [&](const Request&) -> Outcome {
    ++reads;
    return NeedsWrite{};
  };
  std::jthread writer;
  evaluation.write = [&](const std::shared_ptr<const Request>& request, Evaluation::Done done) {
    if (request->path == "/full") return false;
    writer = std::jthread([request, done = std::move(done)] {
      done(Response{201, "text/plain", request->body, {}});
    });
    return true;
  };
  start();
  Client client(port());
  const auto answer = client.ask(post("/", "kept"));
  EXPECT_EQ(answer.status, 201);
  EXPECT_EQ(answer.body, "kept");
  const auto full = client.ask(post("/full", "lost"));
  EXPECT_EQ(full.status, 503);
  EXPECT_EQ(full.header("Retry-After"), "1");
  EXPECT_EQ(reads, 2);
}

TEST_F(DispatcherTest, AWriteMayWait) {
  evaluation.read = [&](const Request& request) -> Outcome {
    if (value > 0 || !request.may_wait) return await_value(request);
    return NeedsWrite{};
  };
  evaluation.write = [&](const std::shared_ptr<const Request>& request, const Evaluation::Done& done) {
    done(Wait{{"value"}, request->received + 30s});
    return true;
  };
  start();
  Client client(port());
  client.send(get("/"));
  ASSERT_TRUE(parks(1));
  change(3);
  EXPECT_EQ(client.receive().body, "3");
}

TEST_F(DispatcherTest, AStreamFollowsWhatIsTouched) {
  auto seen = std::make_shared<int>(0);
  evaluation.read = [&](const Request& request) -> Outcome {
    Stream stream;
    stream.head = {200, "application/x-ndjson", "begin\n", {}};
    stream.keys = {"value"};
    stream.until = request.received + 30s;
    stream.next = [this, seen](bool) {
      Stream::Piece piece;
      const int now = value;
      for (; *seen < now; ++*seen) piece.bytes += std::to_string(*seen + 1) + "\n";
      piece.complete = now >= 3;
      return piece;
    };
    return stream;
  };
  start();
  Client client(port());
  client.send(get("/"));
  ASSERT_TRUE(parks(1));
  change(1);
  ASSERT_TRUE(parks(1));
  change(3);
  const auto answer = client.receive();
  EXPECT_EQ(answer.body, "begin\n1\n2\n3\n");
  EXPECT_EQ(answer.header("Content-Type"), "application/x-ndjson");
}

TEST_F(DispatcherTest, AStreamWithMoreAtHandGoesOnAsThePeerTakesIt) {
  constexpr int kPieces = 200;
  auto made = std::make_shared<std::atomic<int>>(0);
  evaluation.read = [made](const Request& request) -> Outcome {
    Stream stream;
    stream.head = {200, "text/plain", "", {}};
    stream.until = request.received + 30s;
    stream.next = [made](bool) {
      const int number = ++*made;
      return Stream::Piece{std::string(64 * 1024, 'x'), number == kPieces, number < kPieces};
    };
    return stream;
  };
  start();
  Client client(port());
  client.send(get("/"));
  // Nobody reads yet: what is made is bounded by what the sockets hold.
  std::this_thread::sleep_for(100ms);
  EXPECT_LT(*made, kPieces);
  EXPECT_EQ(client.receive().body.size(), kPieces * 64U * 1024);
}

TEST_F(DispatcherTest, AStreamEndsAtItsTimeAndWithTheServer) {
  evaluation.read = [](const Request& request) -> Outcome {
    Stream stream;
    stream.head = {200, "text/plain", "begin,", {}};
    stream.keys = {"value"};
    stream.until = request.received + (request.path == "/short" ? 50ms : 30'000ms);
    stream.next = [](bool over) { return Stream::Piece{over ? "end" : "", over, false}; };
    return stream;
  };
  start();
  Client brief(port());
  EXPECT_EQ(brief.ask(get("/short")).body, "begin,end");
  Client open(port());
  open.send(get("/long"));
  ASSERT_TRUE(parks(1));
  stop();
  EXPECT_EQ(open.receive().body, "begin,end");
}

TEST_F(DispatcherTest, WhoLeavesAStreamFreesIt) {
  auto held = std::make_shared<int>(0);
  const std::weak_ptr<int> watched = held;
  evaluation.read = [&held](const Request& request) -> Outcome {
    Stream stream;
    stream.head = {200, "text/plain", "begin", {}};
    stream.keys = {"value"};
    stream.until = request.received + 30s;
    stream.next = [kept = std::exchange(held, nullptr)](bool) { return Stream::Piece{}; };
    return stream;
  };
  start();
  auto client = std::make_unique<Client>(port());
  client->send(get("/"));
  ASSERT_TRUE(parks(1));
  client.reset();
  ASSERT_TRUE(parks(0));
  while (!watched.expired()) std::this_thread::yield();
}

TEST_F(DispatcherTest, HeadOfAStreamIsItsHeadOnly) {
  evaluation.read = [](const Request& request) -> Outcome {
    if (request.path == "/next") return Response{200, "text/plain", "next", {}};
    Stream stream;
    stream.head = {200, "text/plain", "begin", {}};
    stream.keys = {"value"};
    stream.until = request.received + 30s;
    stream.next = [](bool) { return Stream::Piece{"more", false, false}; };
    return stream;
  };
  start();
  Client client(port());
  client.send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n" + get("/next"));
  std::string all;
  while (!all.ends_with("next")) {
    const auto some = client.receive_some();
    ASSERT_FALSE(some.empty()) << all;
    all += some;
  }
  EXPECT_EQ(all.find("begin"), std::string::npos);
  EXPECT_EQ(all.find("more"), std::string::npos);
  EXPECT_TRUE(parks(0));
}

TEST_F(DispatcherTest, UnderLoadEveryRequestIsAnswered) {
  evaluation.read = [&](const Request& request) -> Outcome {
    if (request.path == "/write") return NeedsWrite{};
    return await_value(request, 20ms);
  };
  evaluation.write = [&](const auto&, const Evaluation::Done& done) {
    change(1);
    done(Response{200, "text/plain", "written", {}});
    value = 0;
    return true;
  };
  start({.readers = 3, .queued = 1000, .parked = 1000});
  std::vector<std::jthread> clients;
  clients.reserve(8);
  std::atomic<int> answered{0};
  for (int i = 0; i < 8; ++i) {
    clients.emplace_back([&, i] {
      Client client(port());
      for (int n = 0; n < 50; ++n) {
        if (client.ask(get((i + n) % 3 == 0 ? "/write" : "/wait")).status == 200) ++answered;
      }
    });
  }
  clients.clear();
  EXPECT_EQ(answered, 400);
}

struct PreparedNumber final : Prepared {
  explicit PreparedNumber(int read) : number(read) {}
  const int number;
};

/// Waits for the value to become more than 0 with what it read, and would write then.
class ThenWritesTest : public DispatcherTest {
 protected:
  ThenWritesTest() {
    evaluation.read = [this](const Request& request) { return look(request, "read"); };
    evaluation.write = [this](const std::shared_ptr<const Request>& request, const Evaluation::Done& done) {
      ++writes;
      done(look(*request, "written"));
      return true;
    };
  }
  Outcome look(const Request& request, const std::string& how) {
    ++looks;
    const auto prepared = std::dynamic_pointer_cast<const PreparedNumber>(request.prepared);
    if (value > 0 || !request.may_wait) {
      const bool let_go = request.body.empty() && request.headers.empty();
      return Response{
          200, "text/plain", how + (prepared && let_go ? std::to_string(prepared->number) : " anew"), {}};
    }
    return Wait{
        {"value"}, request.received + most, prepared ? prepared : std::make_shared<PreparedNumber>(42), true};
  }

  std::chrono::milliseconds most = 30s;
  std::atomic<int> looks{0};
  std::atomic<int> writes{0};
};

TEST_F(ThenWritesTest, ATouchTakesItToTheWriterAtOnceWithWhatWasRead) {
  start();
  Client client(port());
  client.send(post("/", "forty-two"));
  ASSERT_TRUE(parks(1));
  change(1);
  EXPECT_EQ(client.receive().body, "written42");
  EXPECT_EQ(looks, 2);
}

TEST_F(ThenWritesTest, ATouchInVainParksItAgain) {
  start();
  Client client(port());
  client.send(post("/", "forty-two"));
  ASSERT_TRUE(parks(1));
  mailboxes.touch("value");
  while (writes == 0) std::this_thread::yield();
  ASSERT_TRUE(parks(1));
  change(1);
  EXPECT_EQ(client.receive().body, "written42");
  EXPECT_EQ(writes, 2);
}

TEST_F(ThenWritesTest, AtItsTimeAReaderAnswersIt) {
  most = 50ms;
  start();
  Client client(port());
  EXPECT_EQ(client.ask(post("/", "forty-two")).body, "read42");
  EXPECT_EQ(writes, 0);
}

TEST_F(ThenWritesTest, AStopIsAnsweredByAReader) {
  start();
  Client client(port());
  client.send(post("/", "forty-two"));
  ASSERT_TRUE(parks(1));
  stop();
  EXPECT_EQ(client.receive().body, "read42");
  EXPECT_EQ(writes, 0);
}

TEST_F(ThenWritesTest, AWriterWithoutRoomRefusesIt) {
  evaluation.write = [](const auto&, const auto&) { return false; };
  start();
  Client client(port());
  client.send(post("/", "forty-two"));
  ASSERT_TRUE(parks(1));
  change(1);
  EXPECT_EQ(client.receive().status, 503);
}

}  // namespace
}  // namespace agenttask::server
