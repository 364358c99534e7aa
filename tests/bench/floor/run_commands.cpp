// What a run of a command costs at least: a durable commit, posix_spawn with the output captured, another
// durable commit. The floor for a run of the agent. usage: floor_run_commands FOLDER COUNT PROGRAM
// [ARGUMENT…]; prints seconds as JSON.
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <string>
#include <sys/wait.h>
#include <unistd.h>

#include <sqlite3.h>

extern char** environ;

namespace {

void require(bool done, const char* what) {
  if (done) return;
  std::perror(what);
  std::exit(1);
}

void execute(sqlite3* database, const std::string& sql) {
  require(sqlite3_exec(database, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK, sql.c_str());
}

sqlite3* open_ledger(const std::string& file) {
  sqlite3* database = nullptr;
  require(sqlite3_open(file.c_str(), &database) == SQLITE_OK, "cannot make the database");
  execute(database, "PRAGMA journal_mode=WAL");
  execute(database, "PRAGMA synchronous=FULL");
  execute(database, "CREATE TABLE runs(number INTEGER PRIMARY KEY, status TEXT, output TEXT)");
  return database;
}

/// Reads both outputs until they end.
std::string capture(int out, int error) {
  std::string output;
  std::array<char, 64 * 1024> buffer;
  std::array<pollfd, 2> ends{{{out, POLLIN, 0}, {error, POLLIN, 0}}};
  for (int open = 2; open > 0;) {
    require(::poll(ends.data(), ends.size(), -1) >= 0, "poll");
    for (auto& end : ends) {
      if (end.fd < 0 || end.revents == 0) continue;
      const auto bytes = ::read(end.fd, buffer.data(), buffer.size());
      if (bytes > 0) {
        output.append(buffer.data(), static_cast<std::size_t>(bytes));
        continue;
      }
      ::close(end.fd);
      end.fd = -1;
      --open;
    }
  }
  return output;
}

std::string run(char** words) {
  std::array<int, 2> out{};
  std::array<int, 2> error{};
  require(::pipe2(out.data(), O_CLOEXEC) == 0 && ::pipe2(error.data(), O_CLOEXEC) == 0, "pipe");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out[1], 1);
  posix_spawn_file_actions_adddup2(&actions, error[1], 2);
  pid_t child = 0;
  require(::posix_spawn(&child, words[0], &actions, nullptr, words, environ) == 0, "posix_spawn");
  posix_spawn_file_actions_destroy(&actions);
  ::close(out[1]);
  ::close(error[1]);
  auto output = capture(out[0], error[0]);
  int status = 0;
  require(::waitpid(child, &status, 0) == child && status == 0, "the program failed");
  return output;
}

}  // namespace

int main(int count, char** words) {
  if (count < 4) {
    std::fputs("usage: floor_run_commands FOLDER COUNT PROGRAM [ARGUMENT...]\n", stderr);
    return 2;
  }
  const int runs = std::atoi(words[2]);
  sqlite3* database = open_ledger(std::string(words[1]) + "/floor.db");
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < runs; ++i) {
    const auto number = std::to_string(i);
    execute(database, "INSERT INTO runs VALUES(" + number + ", 'running', '')");
    const auto output = run(words + 3);
    execute(database, "UPDATE runs SET status = 'complete', output = '" + std::to_string(output.size()) +
                          "' WHERE number = " + number);
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  sqlite3_close(database);
  std::printf("{\"runs\": %d, \"seconds\": %.6f}\n", runs, seconds.count());
}
