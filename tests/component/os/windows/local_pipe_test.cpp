#include <chrono>
#include <optional>
#include <thread>
#include <windows.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "platform/base/encoding.hpp"
#include "platform/base/ids.hpp"
#include "platform/os/host.hpp"
#include "platform/os/local_socket.hpp"
#include "platform/os/windows/accounts.hpp"
#include "platform/os/windows/handle.hpp"
#include "platform/os/windows/wide.hpp"
#include "tests/support/windows/wine.hpp"

namespace agenttask::os {
namespace {

using namespace std::chrono_literals;

class LocalPipe : public ::testing::Test {
 protected:
  struct Pair {
    LocalStream client;
    LocalStream server;
  };
  Pair connect() {
    auto client = LocalStream::connect(address, 5s).value();
    return {std::move(client), listener->accept({}).value().value()};
  }
  void SetUp() override { listener = LocalListener::listen(address, {}).value(); }

  const std::string address = "\\\\.\\pipe\\agenttask-test-" + hex_encode(random_bytes(8));
  std::optional<LocalListener> listener;
};

TEST_F(LocalPipe, CarriesLinesBothWays) {
  auto [client, server] = connect();
  ASSERT_TRUE(client.write_all("first\nsecond\n\nlast", 5s));
  client.finish_writing();
  EXPECT_EQ(server.read_line(100, 5s).value(), "first");
  EXPECT_EQ(server.read_line(100, 5s).value(), "second");
  EXPECT_EQ(server.read_line(100, 5s).value(), "");
  EXPECT_EQ(server.read_line(100, 5s).error().code, ErrorCode::invalid);  // it ended inside a line
  ASSERT_TRUE(server.write_all("answer\n", 5s));
  EXPECT_EQ(client.read_line(100, 5s).value(), "answer");
}

TEST_F(LocalPipe, EndAfterWholeLinesIsNothing) {
  auto [client, server] = connect();
  ASSERT_TRUE(client.write_all("only\n", 5s));
  { const auto gone = std::move(client); }
  EXPECT_EQ(server.read_line(100, 5s).value(), "only") << "what was written before the end is read";
  EXPECT_EQ(server.read_line(100, 5s).value(), std::nullopt);
}

TEST_F(LocalPipe, NothingIsNoMessage) {
  auto [client, server] = connect();
  ASSERT_TRUE(client.write_all("", 5s)) << "an empty message would say that no more comes";
  ASSERT_TRUE(client.write_all("x\n", 5s));
  EXPECT_EQ(server.read_line(100, 5s).value(), "x");
}

TEST_F(LocalPipe, LineHasALimit) {
  auto [client, server] = connect();
  ASSERT_TRUE(client.write_all(std::string(100, 'x') + "\n" + std::string(101, 'y') + "\n", 5s));
  EXPECT_EQ(server.read_line(100, 5s).value(), std::string(100, 'x'));
  EXPECT_EQ(server.read_line(100, 5s).error().code, ErrorCode::limit);
}

TEST_F(LocalPipe, CarriesMuchInBothDirectionsAtOnce) {
  auto [client, server] = connect();
  const std::string big(3 << 20, 'b');
  std::jthread writer([&client = client, &big] { EXPECT_TRUE(client.write_all(big + "\n", 30s)); });
  std::jthread echo([&server = server, &big] {
    const auto line = server.read_line(big.size(), 30s);
    ASSERT_TRUE(line) << line.error().message;
    EXPECT_TRUE(server.write_all(**line + "\n", 30s));
  });
  EXPECT_EQ(client.read_line(big.size(), 30s).value(), big);
}

TEST_F(LocalPipe, ReadAndWriteTimeOut) {
  auto [client, server] = connect();
  EXPECT_EQ(server.read_line(100, 50ms).error().code, ErrorCode::timeout);
  ASSERT_TRUE(client.write_all("half a line", 5s));
  EXPECT_EQ(server.read_line(100, 50ms).error().code, ErrorCode::timeout);
  ASSERT_TRUE(client.write_all(" and the rest\n", 5s));
  EXPECT_EQ(server.read_line(100, 5s).value(), "half a line and the rest");
  EXPECT_EQ(client.write_all(std::string(8 << 20, 'x'), 50ms).error().code, ErrorCode::timeout);
}

TEST_F(LocalPipe, StopWakesReadersAndAcceptors) {
  auto [client, server] = connect();
  std::stop_source stop;
  std::jthread reader([&server = server, &stop] {
    EXPECT_EQ(server.read_line(100, 0ms, stop.get_token()).error().code, ErrorCode::unavailable);
  });
  std::jthread acceptor([&] { EXPECT_FALSE(listener->accept(stop.get_token()).value().has_value()); });
  stop.request_stop();
  reader.join();
  acceptor.join();
  auto [later, found] = connect();
  ASSERT_TRUE(later.write_all("x\n", 5s));
  EXPECT_EQ(found.read_line(10, 5s).value(), "x");
}

TEST_F(LocalPipe, TellsWhenThePeerHasGone) {
  auto [client, server] = connect();
  EXPECT_FALSE(server.peer_gone());
  client.finish_writing();
  EXPECT_FALSE(server.peer_gone());  // it still reads
  { const auto gone = std::move(client); }
  EXPECT_TRUE(server.peer_gone());
  EXPECT_EQ(server.write_all(std::string(1 << 20, 'x'), 5s).error().code, ErrorCode::unavailable);
}

TEST_F(LocalPipe, TellsWhoIsThere) {
  auto [client, server] = connect();
  EXPECT_EQ(server.peer().user_name, current_user_name());
  EXPECT_EQ(server.peer().user_id, user_of_this_process().text());
  EXPECT_EQ(server.peer().pid, current_pid());
  EXPECT_TRUE(server.peer().is_same_user);
  EXPECT_EQ(server.peer().is_administrator, is_administrator());
  EXPECT_FALSE(server.peer().groups.empty());
  EXPECT_EQ(client.peer().pid, current_pid());
}

TEST_F(LocalPipe, ListensOnceAndNowhereElse) {
  if (!test::is_wine()) {  // which has no first instance of a pipe
    EXPECT_EQ(LocalListener::listen(address, {}).error().code, ErrorCode::conflict);
  }
  EXPECT_EQ(LocalListener::listen("C:\\x", {}).error().code, ErrorCode::invalid);
  EXPECT_EQ(LocalListener::listen(address + "-2", {.group = "no such group here"}).error().code,
            ErrorCode::not_found);
  EXPECT_EQ(LocalStream::connect(address + std::string(300, 'x'), 1s).error().code, ErrorCode::invalid);
  listener.reset();
  EXPECT_EQ(LocalStream::connect(address, 1s).error().code, ErrorCode::unavailable);
}

TEST_F(LocalPipe, ServesOneAfterAnotherAndSeveralAtOnce) {
  auto [first, of_first] = connect();
  auto [second, of_second] = connect();
  ASSERT_TRUE(first.write_all("1\n", 5s));
  ASSERT_TRUE(second.write_all("2\n", 5s));
  EXPECT_EQ(of_second.read_line(10, 5s).value(), "2");
  EXPECT_EQ(of_first.read_line(10, 5s).value(), "1");
}

TEST_F(LocalPipe, WhoIsNamelessIsNotLetIn) {
  if (test::is_wine()) GTEST_SKIP() << "Wine gives every client's token away";
  const Handle nameless(::CreateFileW(to_wide(address).c_str(), GENERIC_READ | FILE_WRITE_DATA, 0, nullptr,
                                      OPEN_EXISTING, SECURITY_SQOS_PRESENT | SECURITY_ANONYMOUS, nullptr));
  ASSERT_TRUE(nameless.is_open());
  auto known = LocalStream::connect(address, 5s).value();
  const auto served = listener->accept({}).value().value();
  EXPECT_EQ(served.peer().pid, current_pid());
  ASSERT_TRUE(known.write_all("x\n", 5s));
}

}  // namespace
}  // namespace agenttask::os
