#include "platform/os/local_socket.hpp"

#include <filesystem>
#include <fstream>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include <gmock/gmock.h>

#include "platform/base/encoding.hpp"
#include "platform/base/ids.hpp"
#include "platform/os/host.hpp"

namespace agenttask::os {
namespace {

using namespace std::chrono_literals;
using ::testing::Contains;
using ::testing::HasSubstr;

class LocalSocket : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directory(folder); }
  void TearDown() override { std::filesystem::remove_all(folder); }

  struct Pair {
    LocalStream client;
    LocalStream server;
  };
  Pair connect() {
    auto client = LocalStream::connect(address, 5s).value();
    return {std::move(client), listener->accept({}).value().value()};
  }
  void listen(const LocalAccess& access = {}) { listener = LocalListener::listen(address, access).value(); }
  mode_t mode() const {
    struct stat facts {};
    EXPECT_EQ(::stat(address.c_str(), &facts), 0);
    return facts.st_mode & 07777;
  }

  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("socket-" + hex_encode(random_bytes(6)));
  const std::string address = folder / "agent.sock";
  std::optional<LocalListener> listener;
};

TEST_F(LocalSocket, CarriesLinesBothWays) {
  listen();
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

TEST_F(LocalSocket, EndAfterWholeLinesIsNothing) {
  listen();
  auto [client, server] = connect();
  ASSERT_TRUE(client.write_all("only\n", 5s));
  client.finish_writing();
  EXPECT_EQ(server.read_line(100, 5s).value(), "only");
  EXPECT_EQ(server.read_line(100, 5s).value(), std::nullopt);
}

TEST_F(LocalSocket, LineHasALimit) {
  listen();
  auto [client, server] = connect();
  ASSERT_TRUE(client.write_all(std::string(100, 'x') + "\n" + std::string(101, 'y') + "\n", 5s));
  EXPECT_EQ(server.read_line(100, 5s).value(), std::string(100, 'x'));
  EXPECT_EQ(server.read_line(100, 5s).error().code, ErrorCode::limit);
}

TEST_F(LocalSocket, EndlessLineIsRefusedWithoutKeepingIt) {
  listen();
  auto [client, server] = connect();
  std::jthread writer(
      [&client = client] { static_cast<void>(client.write_all(std::string(1 << 20, 'x'), 200ms)); });
  EXPECT_EQ(server.read_line(1000, 5s).error().code, ErrorCode::limit);
}

TEST_F(LocalSocket, CarriesMuchInBothDirectionsAtOnce) {
  listen();
  auto [client, server] = connect();
  const std::string big(3 << 20, 'b');
  std::jthread writer([&client = client, &big] { EXPECT_TRUE(client.write_all(big + "\n", 30s)); });
  std::jthread echo([&server = server, &big] {
    const auto line = server.read_line(big.size(), 30s);
    ASSERT_TRUE(line);
    EXPECT_TRUE(server.write_all(**line + "\n", 30s));
  });
  EXPECT_EQ(client.read_line(big.size(), 30s).value(), big);
}

TEST_F(LocalSocket, ReadAndWriteTimeOut) {
  listen();
  auto [client, server] = connect();
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(server.read_line(100, 50ms).error().code, ErrorCode::timeout);
  ASSERT_TRUE(client.write_all("half a line", 5s));
  EXPECT_EQ(server.read_line(100, 50ms).error().code, ErrorCode::timeout);
  EXPECT_EQ(client.write_all(std::string(8 << 20, 'x'), 50ms).error().code, ErrorCode::timeout);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 150ms);
}

TEST_F(LocalSocket, StopWakesReadersAndWriters) {
  listen();
  auto [client, server] = connect();
  std::stop_source stop;
  std::jthread reader([&server = server, &stop] {
    EXPECT_EQ(server.read_line(100, 0ms, stop.get_token()).error().code, ErrorCode::unavailable);
  });
  stop.request_stop();
  reader.join();
  stop = {};
  std::jthread writer([&client = client, &stop] {
    EXPECT_EQ(client.write_all(std::string(8 << 20, 'x'), 0ms, stop.get_token()).error().code,
              ErrorCode::unavailable);
  });
  EXPECT_EQ(server.read_line(100, 5s, stop.get_token()).error().code,
            ErrorCode::limit);  // the writer is at work
  stop.request_stop();
  writer.join();
  EXPECT_EQ(server.read_line(1 << 30, 5s, stop.get_token()).error().code, ErrorCode::unavailable);
}

TEST_F(LocalSocket, AcceptEndsAtAStop) {
  listen();
  std::stop_source stop;
  std::jthread acceptor([&] { EXPECT_EQ(listener->accept(stop.get_token()).value(), std::nullopt); });
  stop.request_stop();
  acceptor.join();
  EXPECT_FALSE(listener->accept(stop.get_token()).value().has_value());
}

TEST_F(LocalSocket, TellsWhenThePeerHasGone) {
  listen();
  auto [client, server] = connect();
  EXPECT_FALSE(server.peer_gone());
  client.finish_writing();
  EXPECT_FALSE(server.peer_gone());  // it still reads
  { const auto gone = std::move(client); }
  EXPECT_TRUE(server.peer_gone());
  EXPECT_EQ(server.write_all(std::string(1 << 20, 'x'), 5s).error().code, ErrorCode::unavailable);
}

TEST_F(LocalSocket, TellsWhoIsThere) {
  listen();
  auto [client, server] = connect();
  for (const auto* peer : {&client.peer(), &server.peer()}) {
    EXPECT_EQ(peer->user_name, current_user_name());
    EXPECT_EQ(peer->user_id, std::to_string(::geteuid()));
    EXPECT_EQ(peer->pid, current_pid());
    EXPECT_TRUE(peer->is_same_user);
    EXPECT_EQ(peer->is_administrator, is_administrator());
    EXPECT_FALSE(peer->groups.empty());
  }
}

// Connects as another user, in a process of its own, and waits for one line.
void connect_as_nobody(const std::string& address) {
  if (::setgid(65534) != 0 || ::setuid(65534) != 0) ::_exit(99);
  auto stream = LocalStream::connect(address, 5s);
  if (!stream) ::_exit(stream.error().code == ErrorCode::denied ? 13 : 98);
  static_cast<void>(stream->read_line(100, 5s));
  ::_exit(0);
}

TEST_F(LocalSocket, AccessDecidesWhoMayConnect) {
  if (!is_administrator()) GTEST_SKIP() << "becoming another user needs root";
  std::filesystem::permissions(folder, std::filesystem::perms(0755));
  listen();
  EXPECT_EQ(mode(), 0600U);
  int status = 0;
  pid_t child = ::fork();
  if (child == 0) connect_as_nobody(address);
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 13);

  listener.reset();
  listen({.everyone = true});
  EXPECT_EQ(mode(), 0666U);
  child = ::fork();
  if (child == 0) connect_as_nobody(address);
  auto server = listener->accept({}).value().value();
  EXPECT_EQ(server.peer().user_name, "nobody");
  EXPECT_EQ(server.peer().pid, child);
  EXPECT_FALSE(server.peer().is_administrator);
  EXPECT_FALSE(server.peer().is_same_user);
  EXPECT_THAT(server.peer().groups, Contains("nogroup"));
  ASSERT_TRUE(server.write_all("\n", 5s));
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);

  listener.reset();
  listen({.group = "nogroup"});
  EXPECT_EQ(mode(), 0660U);
  child = ::fork();
  if (child == 0) connect_as_nobody(address);
  auto member = listener->accept({}).value().value();
  ASSERT_TRUE(member.write_all("\n", 5s));
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(LocalSocket, UnknownGroupIsAnErrorAndLeavesNoSocket) {
  const auto refused = LocalListener::listen(address, {.group = "no-such-group"});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::not_found);
  EXPECT_FALSE(std::filesystem::exists(address));
}

TEST_F(LocalSocket, SaysThatNobodyListens) {
  const auto missing = LocalStream::connect(address, 5s);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::unavailable);
  EXPECT_THAT(missing.error().message, HasSubstr(address));
  listen();
  listener.reset();
  EXPECT_FALSE(std::filesystem::exists(address)) << "the socket file stays";
}

TEST_F(LocalSocket, ReplacesAStaleSocketOnly) {
  const int abandoned = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  address.copy(name.sun_path, sizeof name.sun_path - 1);
  ASSERT_EQ(::bind(abandoned, reinterpret_cast<sockaddr*>(&name), sizeof name), 0);
  ::close(abandoned);  // as after kill -9: the file stays
  EXPECT_EQ(LocalStream::connect(address, 5s).error().code, ErrorCode::unavailable);
  listen();
  const auto second = LocalListener::listen(address, {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::conflict);
  EXPECT_TRUE(std::filesystem::exists(address));
  listener.reset();
  std::ofstream(address) << "a file";
  EXPECT_EQ(LocalListener::listen(address, {}).error().code, ErrorCode::conflict);
  EXPECT_TRUE(std::filesystem::is_regular_file(address));
}

TEST_F(LocalSocket, DoesNotRemoveTheSocketOfAnother) {
  listen();
  std::filesystem::rename(address, address + ".old");
  auto second = LocalListener::listen(address, {}).value();
  listener.reset();
  EXPECT_TRUE(LocalStream::connect(address, 5s));
}

TEST_F(LocalSocket, PathHasALimit) {
  const auto base = folder.string() + "/";
  const std::string longest = base + std::string(107 - base.size(), 's');
  auto listening = LocalListener::listen(longest, {});
  ASSERT_TRUE(listening) << listening.error().message;
  EXPECT_TRUE(LocalStream::connect(longest, 5s));
  const auto refused = LocalListener::listen(longest + "s", {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::invalid);
  EXPECT_THAT(refused.error().message, HasSubstr("107"));
  EXPECT_EQ(LocalStream::connect(longest + "s", 5s).error().code, ErrorCode::invalid);
}

TEST_F(LocalSocket, FullQueueTimesOut) {
  listen();
  std::vector<LocalStream> waiting;
  for (int tries = 0; tries < 200; ++tries) {
    auto stream = LocalStream::connect(address, 30ms);
    if (!stream) {
      EXPECT_EQ(stream.error().code, ErrorCode::timeout);
      return;
    }
    waiting.push_back(std::move(*stream));
  }
  FAIL() << "the queue is never full";
}

}  // namespace
}  // namespace agenttask::os
