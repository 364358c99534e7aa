// What a server, or whoever stands in its place, answers: to the agent, and to the console that prints it.
#include <nlohmann/json.hpp>

#include "agent/console/explanation.hpp"
#include "agent/console/health.hpp"
#include "agent/console/message_view.hpp"
#include "agent/console/task_view.hpp"
#include "agent/sync/retry_timer.hpp"
#include "platform/base/encoding.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/problem.hpp"
#include "tests/fuzz/target.hpp"
#include "tests/fuzz/targets.hpp"
#include "tests/support/manual_clock.hpp"

namespace agenttask::fuzz {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

constexpr UnixMilliseconds kNow = test::ManualClock::kStart;
constexpr std::size_t kProblemBytes = 8 * 1024;

/// Nothing that a terminal obeys.
void hold_printable(std::string_view text) {
  hold(is_utf8(text), "what is printed is UTF-8", text);
  for (const char letter : text) {
    const auto byte = static_cast<unsigned char>(letter);
    hold((byte >= 0x20 && byte != 0x7f) || letter == '\n' || letter == '\t',
         "what is printed has no control characters", text);
  }
}

}  // namespace

/// A status in two bytes, a line with Retry-After, the body.
void problem_answer(std::string_view bytes) {
  if (bytes.size() < 2) return;
  net::HttpResponse response;
  const unsigned given = static_cast<unsigned char>(bytes[0]) * 256U + static_cast<unsigned char>(bytes[1]);
  response.status = 100 + static_cast<int>(given % 500);
  bytes.remove_prefix(2);
  response.headers.emplace_back("retry-after", take_line(bytes));
  response.body = bytes;
  const auto wait = response.retry_after(kNow);
  hold(!wait || (*wait >= 0ms && *wait <= 24h), "a wait is bounded");
  const Problem problem = decode_problem(response.status, response.body);
  hold(!problem.code.empty() && is_utf8(problem.code), "a problem has a code");
  hold(is_utf8(problem.detail) &&
           problem.code.size() + problem.detail.size() + problem.field.size() <= kProblemBytes,
       "what is said of a problem is bounded");
  const auto again = decode_problem(problem.status, encode(problem));
  hold(again.code == problem.code && again.detail == problem.detail && again.field == problem.field,
       "a problem is passed on as it is", encode(problem));
  const auto failure = agent::failure_of(net::HttpResult(response), kNow);
  hold(static_cast<bool>(failure) != response.ok(), "what is no success is a failure");
  if (!failure) return;
  hold(!failure->message.empty() && !failure->code.empty(), "a failure says why");
  agent::RetryTimer timer(1s, 60s, [] { return 0.999; });
  const MonotonicTime start{};
  timer.failed(start, *failure);
  hold(timer.next() >= start && timer.next() <= start + 24h + 60s, "the next attempt comes in time");
}

void printed_answer(std::string_view bytes) {
  const auto value = parse_json(bytes, limits::kJsonDepth + 16);
  if (!value) return hold_refusal(value.error());
  const console::Screen screen(true, true, 80, false);
  if (const auto task = console::read_task(*value)) {
    for (const bool node : {false, true}) hold_printable(console::render_tasks({*task}, screen, node, kNow));
    hold_printable(console::render_task(*task, kNow));
    hold_printable(console::render_questions({*task}, kNow));
    hold_printable(console::describe_work(task->task.spec));
    hold_printable(console::describe_status(task->task));
    hold_printable(console::announce(task->task, kNow));
  }
  if (const auto run = console::read_run(*value)) hold_printable(console::render_runs({*run}, screen, kNow));
  if (!value->is_object()) return;
  if (const auto message = console::render_message(*value, console::Author::shown)) hold_printable(*message);
  if (const auto messages = console::render_messages(*value)) hold_printable(*messages);
  if (value->contains("task")) {
    if (const auto explained = console::explain(*value, kNow)) hold_printable(*explained);
  }
  const auto health = console::read_status(*value, kNow);
  hold_printable(health.page);
  for (const auto& problem : health.problems) hold_printable(problem);
}

}  // namespace agenttask::fuzz
