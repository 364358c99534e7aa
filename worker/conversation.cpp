#include "worker/conversation.hpp"

#include <agenttask/worker.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>
#include <utility>

namespace agenttask::worker {
namespace {

std::string text_of(const Json& object, const char* member) {
  const auto found = object.find(member);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

/// The value that the agent answered, or the problem, thrown.
Json value_of(const Json& answer) {
  if (const auto problem = answer.find("problem"); problem != answer.end() && problem->is_object())
    throw Problem(text_of(*problem, "code"), text_of(*problem, "message"), text_of(*problem, "field"));
  return answer.value("result", Json());
}

std::size_t depth_of(const Json& value) {
  std::size_t deepest = 0;
  if (value.is_structured())
    for (const Json& part : value) deepest = std::max(deepest, depth_of(part));
  return value.is_structured() ? deepest + 1 : 0;
}

/// The line as text. What the agent could not read it would take for output, and answer nothing.
std::string encode(const Json& line) {
  if (depth_of(line) > Conversation::kDeepest)
    throw Problem("invalid", "a line for the agent is nested deeper than " +
                                 std::to_string(Conversation::kDeepest) + " levels");
  try {
    return line.dump();
  } catch (const Json::exception&) {
    throw Problem("not-utf-8",
                  "text for the agent is not UTF-8: encode it (base64 is usual), or leave it out");
  }
}

}  // namespace

Conversation::Conversation()
    : reader_([this] {
        try {
          read_lines();
        } catch (const std::exception& exception) {  // no memory
          (void)std::fprintf(stderr, "agenttask worker: can't read the agent's lines: %s\n",
                             exception.what());
          end();
        }
      }) {}

Conversation::~Conversation() {
  pipe_.wake();
  reader_.join();
}

std::optional<Json> Conversation::request() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return request_ || ended_ || !stop_cause_.empty(); });
  return std::exchange(request_, std::nullopt);
}

Json Conversation::call(std::string_view name, Json arguments) {
  std::unique_lock lock(mutex_);
  const std::int64_t id = ++last_call_;
  lock.unlock();
  send({{"call", {{"id", id}, {"name", name}, {"arguments", std::move(arguments)}}}});
  lock.lock();
  changed_.wait(lock, [&] { return answers_.contains(id) || ended_; });
  const auto found = answers_.find(id);
  if (found == answers_.end())
    throw Problem("agent-gone", "the agent ended before it answered " + std::string(name));
  const Json answer = std::move(found->second);
  answers_.erase(found);
  lock.unlock();
  return value_of(answer);
}

void Conversation::send(const Json& line) {
  std::string text = encode(line);
  if (text.size() > kLongestLine)
    throw Problem("too-large", "a line for the agent has " + std::to_string(text.size()) +
                                   " bytes; at most " + std::to_string(kLongestLine) + " fit");
  const std::lock_guard lock(output_);
  // What printf and its like hold back belongs before this line, never into it.
  (void)std::fflush(stdout);
  text.insert(0, line_is_open_ ? "\n" : "");
  text += '\n';
  line_is_open_ = false;
  if (!pipe_.write(text)) throw Problem("agent-gone", "nobody reads the standard output of this worker");
}

bool Conversation::print(std::string_view text) {
  if (text.empty()) return true;
  const std::lock_guard lock(output_);
  (void)std::fflush(stdout);  // what printf wrote before goes before
  line_is_open_ = text.back() != '\n';
  return pipe_.write(text);
}

std::string Conversation::stop_cause() const {
  const std::lock_guard lock(mutex_);
  return stop_cause_;
}

void Conversation::read_lines() {
  std::string received;
  std::string bytes;
  for (;;) {
    switch (pipe_.wait(bytes)) {
      case AgentPipe::Event::bytes:
        break;
      case AgentPipe::Event::signal:
        request_stop("signal");
        continue;
      case AgentPipe::Event::woken:
        return;
      case AgentPipe::Event::end:
        return end();
    }
    std::size_t begin = 0;
    std::size_t searched = received.size();
    received += bytes;
    for (std::size_t newline; (newline = received.find('\n', searched)) != std::string::npos;
         begin = searched = newline + 1)
      take_line(std::string_view(received).substr(begin, newline - begin));
    received.erase(0, begin);
    if (received.size() > kLongestAnswer) return end();
  }
}

void Conversation::take_line(std::string_view line) {
  Json said = Json::parse(line, nullptr, false);
  if (!said.is_object()) {
    (void)std::fputs("agenttask worker: the agent wrote a line that is no JSON object; it is left out\n",
                     stderr);
    return;
  }
  if (const auto stop = said.find("stop"); stop != said.end()) return request_stop(text_of(*stop, "cause"));
  const std::lock_guard lock(mutex_);
  if (const auto answer = said.find("answer"); answer != said.end()) {
    const auto id = answer->find("id");
    if (id == answer->end() || !id->is_number_integer()) return;
    const auto number = id->get<std::int64_t>();  // on its own: what follows empties `answer` first
    answers_[number] = std::move(*answer);
  } else if (!request_) {
    request_ = std::move(said);
  }
  changed_.notify_all();
}

void Conversation::request_stop(std::string_view cause) {
  {
    const std::lock_guard lock(mutex_);
    // The first that says why counts; a signal alone does not say it.
    if (stop_cause_.empty() || stop_cause_ == "signal") stop_cause_ = cause.empty() ? "signal" : cause;
  }
  changed_.notify_all();
  stop_.request_stop();  // without the lock: callbacks may ask for the cause
}

void Conversation::end() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  request_stop("agent-gone");
}

}  // namespace agenttask::worker
