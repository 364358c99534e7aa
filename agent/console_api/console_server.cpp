#include "agent/console_api/console_server.hpp"

#include <algorithm>
#include <atomic>
#include <list>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include "agent/console_api/console_calls.hpp"
#include "agent/console_api/limits.hpp"
#include "agent/console_api/rights.hpp"
#include "platform/os/local_socket.hpp"
#include "platform/protocol/problem.hpp"

namespace agenttask::agent {
namespace {

std::string problem_line(const Error& error) {
  return R"({"problem":)" + encode(to_problem(error)) + "}\n";
}

}  // namespace

struct ConsoleServer::State {
  /// One connection and the thread that serves it. The thread sets `done` last.
  struct Connection {
    std::atomic<bool> done{false};
    bool only_chooses = false;
    std::string chooser;  ///< the id of such a person; empty: somebody with more rights
    std::jthread thread;
  };

  State(ConsoleSettings settings_in, ConsoleControls controls_in, Ledger& ledger, Runner& runner,
        const Clock& clock, Logger& logger_in, os::LocalListener listener_in)
      : settings(std::move(settings_in)),
        controls(std::move(controls_in)),
        logger(logger_in),
        calls(settings, controls, ledger, runner, clock),
        listener(std::move(listener_in)) {}

  void accept_all(const std::stop_token& stop);
  void admit(os::LocalStream stream);
  void serve(os::LocalStream& stream, const std::stop_token& stop) const;
  void reap();

  const ConsoleSettings settings;
  const ConsoleControls controls;
  Logger& logger;
  const ConsoleCalls calls;
  std::optional<os::LocalListener> listener;  ///< none once it was stopped
  std::list<Connection>
      connections;  ///< touched by the accepting thread only, and by stop() once that has ended
  std::jthread acceptor;
};

void ConsoleServer::State::reap() {
  connections.remove_if([](const Connection& connection) { return connection.done.load(); });
}

void ConsoleServer::State::accept_all(const std::stop_token& stop) {
  constexpr std::chrono::milliseconds kPause{100};
  bool said = false;  // one line for each time that it lasts
  while (!stop.stop_requested()) {
    auto accepted = listener->accept(stop);
    reap();
    if (!accepted) {
      if (!std::exchange(said, true))
        logger.warning("cannot accept a console", {{"error", accepted.error().message}});
      std::this_thread::sleep_for(kPause);  // out of descriptors: let some be closed
      continue;
    }
    if (!*accepted) break;
    said = false;
    admit(std::move(**accepted));
  }
}

void ConsoleServer::State::admit(os::LocalStream stream) {
  // What is written here fits the socket's buffer, so it never waits for the other side.
  constexpr std::chrono::milliseconds kAtOnce{100};
  const Right right = right_of(stream.peer(), settings);
  if (right == Right::none) {
    (void)stream.write_all(problem_line(denied(stream.peer(), Right::choose, settings)), kAtOnce);
    return;
  }
  const bool only_chooses = right == Right::choose;
  const std::string chooser = only_chooses ? stream.peer().user_id : std::string();
  const auto count = [&](auto which) {
    return static_cast<std::size_t>(std::count_if(connections.begin(), connections.end(), which));
  };
  const bool is_too_many =
      connections.size() >= kConsoleConnections ||
      (only_chooses && (count([](const auto& one) { return one.only_chooses; }) >= kConsoleChoosers ||
                        count([&](const auto& one) { return one.chooser == chooser; }) >= kConsoleOfChooser));
  if (is_too_many) {
    const std::size_t most = only_chooses ? kConsoleOfChooser : kConsoleConnections;
    (void)stream.write_all(problem_line({ErrorCode::unavailable,
                                         "the agent serves " + std::to_string(most) + " consoles already" +
                                             (only_chooses ? " for you or for others who choose" : "") +
                                             "; end one, or try again later"}),
                           kAtOnce);
    return;
  }
  Connection& connection = connections.emplace_back();
  connection.only_chooses = only_chooses;
  connection.chooser = chooser;
  auto shared = std::make_shared<os::LocalStream>(std::move(stream));
  try {
    connection.thread = std::jthread([this, &connection, shared](const std::stop_token& stop) {
      try {
        serve(*shared, stop);
      } catch (const std::exception& fault) {
        logger.error("a console's thread failed", {{"error", fault.what()}});
      }
      connection.done.store(true);
    });
  } catch (const std::system_error& shortage) {
    connections.pop_back();
    logger.warning("no thread for a console", {{"error", shortage.what()}});
    (void)shared->write_all(
        problem_line({ErrorCode::unavailable, std::string("the system has no thread for another console (") +
                                                  shortage.what() + "); try again later"}),
        kAtOnce);
  }
}

void ConsoleServer::State::serve(os::LocalStream& stream, const std::stop_token& stop) const {
  const auto send = [&](std::string_view line) {
    const std::string bytes = std::string(line) + "\n";
    // The last words of an agent that stops must not wait for a reader, nor be cut off by the stop itself.
    if (stop.stop_requested()) return stream.write_all(bytes, kConsoleLastWords);
    return stream.write_all(bytes, kConsoleSend, stop);
  };
  const ConsoleCalls::Caller caller{stream.peer(), send, [&] { return stream.peer_gone(); }, stop};
  while (!stop.stop_requested()) {
    auto line = stream.read_line(kConsoleRequestBytes, kConsoleIdle, stop);
    if (!line) {
      const ErrorCode code = line.error().code;
      if (code == ErrorCode::limit || code == ErrorCode::invalid) {
        (void)stream.write_all(problem_line(with_context(line.error(), "cannot read the request")),
                               kConsoleSend, stop);
      }
      return;
    }
    if (!*line) return;
    if (const auto answered = calls.answer(**line, caller); !answered) return;
  }
}

Result<std::unique_ptr<ConsoleServer>> ConsoleServer::start(ConsoleSettings settings,
                                                            ConsoleControls controls, Ledger& ledger,
                                                            Runner& runner, const Clock& clock,
                                                            Logger& logger) {
  // Anyone may be logged in: everybody may connect, and each call is judged by its peer.
  auto listener = os::LocalListener::listen(settings.address, {.everyone = true});
  if (!listener) return with_context(listener.error(), "cannot open the console's socket");
  auto state = std::make_unique<State>(std::move(settings), std::move(controls), ledger, runner, clock,
                                       logger, std::move(*listener));
  State* running = state.get();
  running->acceptor = std::jthread([running](const std::stop_token& stop) { running->accept_all(stop); });
  return std::unique_ptr<ConsoleServer>(new ConsoleServer(std::move(state)));  // the constructor is private
}

ConsoleServer::ConsoleServer(std::unique_ptr<State> state) : state_(std::move(state)) {}

ConsoleServer::~ConsoleServer() {
  stop();
}

void ConsoleServer::stop() {
  if (state_->acceptor.joinable()) {
    state_->acceptor.request_stop();
    state_->acceptor.join();
  }
  state_->listener.reset();
  for (State::Connection& connection : state_->connections) connection.thread.request_stop();
  state_->connections.clear();  // joins
}

}  // namespace agenttask::agent
