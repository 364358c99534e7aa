#include "agent/console_api/console_client.hpp"

#include <utility>

#include <nlohmann/json.hpp>

#include "agent/console_api/limits.hpp"
#include "platform/os/local_socket.hpp"
#include "platform/protocol/json.hpp"

namespace agenttask::agent {
namespace {

using nlohmann::json;

constexpr std::chrono::seconds kConnect{5};
constexpr std::chrono::seconds kAnswer{60};
constexpr std::chrono::seconds kLastWords{1};  ///< for the reason why a connection was closed
constexpr std::size_t kAnswerDepth = limits::kJsonDepth + 16;

Answer broken(const std::string& why) {
  return {{}, Problem{503, "agent-unavailable", why + "; look at it with: agenttask status"}};
}

/// A line of the agent, taken apart: an event, the result, or a problem.
struct Line {
  bool is_event = false;
  Answer answer;  ///< of an event: the line itself
};

constexpr std::string_view kResult = R"({"result":)";
constexpr std::string_view kProblem = R"({"problem":)";

/// Told apart by their beginnings (docs/console-protocol.md), so that megabytes of output are not parsed
/// twice: whoever gets an event or a result reads it.
Line read_answer(std::string text) {
  if (text.starts_with(kResult) && text.ends_with('}')) {
    return {false, {text.substr(kResult.size(), text.size() - kResult.size() - 1), std::nullopt}};
  }
  if (!text.starts_with(kProblem)) return {true, {std::move(text), std::nullopt}};
  const auto value = parse_json(text, kAnswerDepth);
  const json* problem = value && value->is_object() ? &value->at("problem") : nullptr;
  if (problem == nullptr || !problem->is_object())
    return {false, broken("the agent's answer makes no sense")};
  const auto status = problem->find("status");
  const bool known = status != problem->end() && status->is_number_integer();
  return {false, {{}, decode_problem(known ? status->get<int>() : 500, encode_json(*problem))}};
}

}  // namespace

struct ConsoleClient::State {
  os::LocalStream stream;
  bool usable = true;  ///< false once an answer was left unread

  Result<void> ask(std::string_view name, std::string_view arguments) {
    std::string line =
        R"({"call":)" + encode_json(name) + R"(,"arguments":)" + std::string(arguments) + "}\n";
    if (!usable)
      return Error{ErrorCode::internal, "the connection to the agent was left in the middle of a call"};
    if (line.size() > kConsoleRequestBytes) {
      return Error{ErrorCode::limit, "the request has " + std::to_string(line.size()) + " bytes; at most " +
                                         std::to_string(kConsoleRequestBytes) + " can be sent to the agent"};
    }
    return stream.write_all(line, kConsoleSend);
  }

  /// Who is turned away gets the reason before it has asked, and then finds the connection closed.
  Answer why_not_sent(const Error& error) {
    if (error.code == ErrorCode::limit) return {{}, to_problem(error)};
    auto line = stream.read_line(kConsoleRequestBytes, kLastWords);
    if (line && *line) {
      Line read = read_answer(std::move(**line));
      if (!read.is_event && !read.answer.ok()) return std::move(read.answer);
    }
    return broken(error.message);
  }
};

ConsoleClient::ConsoleClient(std::unique_ptr<State> state) : state_(std::move(state)) {}
ConsoleClient::~ConsoleClient() = default;
ConsoleClient::ConsoleClient(ConsoleClient&&) noexcept = default;
ConsoleClient& ConsoleClient::operator=(ConsoleClient&&) noexcept = default;

Result<ConsoleClient> ConsoleClient::connect(const std::string& address) {
  auto stream = os::LocalStream::connect(address, kConnect);
  if (!stream) return stream.error();
  return ConsoleClient(std::make_unique<State>(State{std::move(*stream)}));
}

Answer ConsoleClient::call(std::string_view name, std::string_view arguments) {
  if (auto sent = state_->ask(name, arguments); !sent) {
    return state_->why_not_sent(sent.error());
  }
  while (true) {
    auto line = state_->stream.read_line(kConsoleAnswerBytes, kAnswer);
    if (!line) return broken(line.error().message);
    if (!*line) return broken("the agent closed the connection without an answer");
    Line read = read_answer(std::move(**line));
    if (!read.is_event) return std::move(read.answer);
  }
}

Answer ConsoleClient::follow(std::string_view name, std::string_view arguments,
                             std::chrono::milliseconds tick, const OnEvent& on_event) {
  if (auto sent = state_->ask(name, arguments); !sent) {
    return state_->why_not_sent(sent.error());
  }
  const auto leave = [this] {
    state_->usable = false;
    return Answer{};
  };
  while (true) {
    auto line = state_->stream.read_line(kConsoleAnswerBytes, tick);
    if (!line) {
      if (line.error().code != ErrorCode::timeout) return broken(line.error().message);
      if (on_event({}) == Next::leave) return leave();
      continue;
    }
    if (!*line) return broken("the agent closed the connection before the end");
    Line read = read_answer(std::move(**line));
    if (!read.is_event) return std::move(read.answer);
    if (on_event(read.answer.json) == Next::leave) return leave();
  }
}

}  // namespace agenttask::agent
