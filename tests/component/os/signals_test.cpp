#include "platform/os/signals.hpp"

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <mutex>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>

#include "platform/base/encoding.hpp"
#include "platform/base/ids.hpp"
#include "platform/os/process.hpp"
#include "platform/os/service.hpp"

namespace agenttask::os {
namespace {

// Signals change a whole process, so each test does it in a child of its own; its exit code is the answer.
int in_child(const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body());
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

TEST(ServiceEvents, TellsEachSignal) {
  EXPECT_EQ(in_child([] {
              ServiceEvents events;
              for (const auto& [number, event] :
                   {std::pair{SIGTERM, ServiceEvent::terminate}, std::pair{SIGINT, ServiceEvent::interrupt},
                    std::pair{SIGHUP, ServiceEvent::reload}}) {
                ::kill(::getpid(), number);
                if (events.wait({}) != event) return 1;
              }
              ::kill(::getpid(), SIGPIPE);  // ignored
              return 0;
            }),
            0);
}

TEST(ServiceEvents, WaitEndsAtAStop) {
  EXPECT_EQ(in_child([] {
              ServiceEvents events;
              std::stop_source stop;
              auto waiting = std::async(std::launch::async, [&] { return events.wait(stop.get_token()); });
              stop.request_stop();
              return waiting.get() ? 1 : 0;
            }),
            0);
}

// Sends each signal once the one before was counted and `apart` has passed; how many were counted.
int count_after(const std::vector<int>& signals, std::chrono::milliseconds apart) {
  return in_child([&] {
    std::mutex mutex;
    std::condition_variable changed;
    int counted = 0;
    InterruptWatcher watcher([&](int count) {
      const std::lock_guard lock(mutex);
      counted = count;
      changed.notify_all();
    });
    for (const int number : signals) {
      ::kill(::getpid(), number);
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return counted > 0; });
      lock.unlock();
      std::this_thread::sleep_for(apart);
    }
    const std::lock_guard lock(mutex);
    return counted;
  });
}

TEST(InterruptWatcher, CountsWhatAPersonPressed) {
  constexpr std::chrono::milliseconds kPerson{150};
  EXPECT_EQ(count_after({SIGINT, SIGINT}, kPerson), 2);
  EXPECT_EQ(count_after({SIGTERM, SIGINT}, kPerson), 2);
  EXPECT_EQ(count_after({SIGTERM, SIGTERM}, kPerson), 1) << "a terminate twice is one wish";
  EXPECT_EQ(count_after({SIGINT, SIGTERM, SIGHUP}, kPerson), 1);
}

TEST(InterruptWatcher, WhatIsToldTwiceAtOnceIsOneWish) {
  constexpr std::chrono::milliseconds kProgram{1};
  EXPECT_EQ(count_after({SIGINT, SIGINT}, kProgram), 1);
  EXPECT_EQ(count_after({SIGTERM, SIGTERM}, kProgram), 1);
}

TEST(RunProgram, GivesArgumentsAndExitCode) {
  std::array<char*, 3> argv{const_cast<char*>("name"), const_cast<char*>("one"), const_cast<char*>("two")};
  EXPECT_EQ(run_program(3, argv.data(),
                        [](const std::vector<std::string>& arguments) {
                          return arguments == std::vector<std::string>{"one", "two"} ? 7 : 1;
                        }),
            7);
  EXPECT_EQ(in_child([&] {
              ::close(STDERR_FILENO);
              return run_program(1, argv.data(), [](const std::vector<std::string>&) -> int {
                if (::dup(STDIN_FILENO) <= STDERR_FILENO) return 1;  // no stream was left closed
                throw std::runtime_error("broken");
              });
            }),
            125);
}

TEST(ServiceNotifier, TellsTheServiceManager) {
  const auto path =
      (std::filesystem::temp_directory_path() / ("notify-" + hex_encode(random_bytes(6)))).string();
  const int socket = ::socket(AF_UNIX, SOCK_DGRAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(socket, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ::setenv("NOTIFY_SOCKET", path.c_str(), 1);
  const ServiceNotifier notifier;
  EXPECT_EQ(std::getenv("NOTIFY_SOCKET"), nullptr);  // children don't see it
  const auto next = [&] {
    std::array<char, 256> message{};
    const auto count = ::recv(socket, message.data(), message.size(), MSG_DONTWAIT);
    return std::string(message.data(), count > 0 ? static_cast<std::size_t>(count) : 0);
  };
  notifier.ready("serving\nX=1");  // a second line would be another assignment
  EXPECT_EQ(next(), "READY=1\nSTATUS=serving");
  notifier.status("busy");
  EXPECT_EQ(next(), "STATUS=busy");
  notifier.reloading();
  EXPECT_TRUE(next().starts_with("RELOADING=1\nMONOTONIC_USEC="));
  notifier.stopping("");
  EXPECT_EQ(next(), "STOPPING=1");
  ::close(socket);
  ::unlink(path.c_str());
  notifier.ready("nobody listens");  // no harm
  ServiceNotifier().ready("nobody asked");
}

}  // namespace
}  // namespace agenttask::os
