#include "tests/fuzz/target.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include <nlohmann/json.hpp>

#include "platform/base/encoding.hpp"
#include "platform/protocol/json.hpp"
#include "tests/fuzz/targets.hpp"

namespace agenttask::fuzz {
namespace {

/// A refusal may quote the sender, but not at any length.
constexpr std::size_t kLongestMessage = 64 * 1024;

}  // namespace

const std::vector<Target>& targets() {
  static const std::vector<Target> all{
      {"addresses", "server and proxy URLs, listen addresses", addresses, 512},
      {"certificate-request", "a device's request for a certificate (PEM, DER), and what is issued for it",
       certificate_request, 2048},
      {"certificates", "certificates and keys that a peer or a file shows (PEM, DER)", certificates, 4096},
      {"configuration", "the lines of configuration files", configuration, 1024},
      {"console-call", "request lines on the local socket, by peers of every right", console_call, 2048},
      {"data-schema", "the schema of a worker's data, and data held against it", data_schema, 2048},
      {"directive", "a directive's line", directive},
      {"enrollment-token", "the text of an enrolment token", enrollment_token, 128},
      {"http-request", "HTTP requests, in pieces of any size, and several on one connection", http_request},
      {"human-times", "times, durations and intervals as people type them", human_times, 64},
      {"json", "JSON: the grammar, limits, and what can't be kept exactly", json_text},
      {"numbers", "numbers in JSON, from their bits", numbers, 64},
      {"policy", "the policy file, and commands held against it", policy, 2048},
      {"printed-answer", "tasks, runs and messages of an answer, as the console prints them", printed_answer},
      {"problem-answer", "answers that are no success: problem documents, Retry-After", problem_answer, 2048},
      {"process-output", "output of processes: UTF-8, chunks, what is kept of it", process_output},
      {"report", "a report's line", report},
      {"request-target", "a request's path and query", request_target, 512},
      {"server-call", "whole requests to every route, by whoever may ask", server_call},
      {"setting-values", "numbers, durations, sizes and lists among the settings", setting_values, 256},
      {"settings", "the settings of agent and server, as files give them", settings, 1024},
      {"stream-bodies", "polls, their answers, batches of reports, their answers", stream_bodies},
      {"task-change", "the changes of an update", task_change},
      {"task-object", "task objects, runs, choices, messages and chunks on the wire", task_object},
      {"task-request", "the body of addTask, and data of commands", task_request},
      {"terminal-text", "text made safe for a terminal and a shell", terminal_text, 512},
      {"worker-calls", "what a running worker asks of the agent", worker_calls, 2048},
      {"worker-line", "lines of a worker's process, and how its output is cut into them", worker_line},
      {"worker-manifest", "a worker's manifest", worker_manifest, 2048},
  };
  return all;
}

const Target* find_target(std::string_view name) {
  const auto& all = targets();
  const auto found =
      std::find_if(all.begin(), all.end(), [&](const Target& target) { return target.name == name; });
  return found == all.end() ? nullptr : &*found;
}

void hold(bool holds, std::string_view promise, std::string_view detail) {
  if (holds) return;
  std::fprintf(stderr, "fuzz: broken: %.*s\n", static_cast<int>(promise.size()), promise.data());
  if (!detail.empty()) std::fprintf(stderr, "fuzz: %.*s\n", static_cast<int>(detail.size()), detail.data());
  std::abort();
}

void hold_refusal(const Error& error) {
  hold(!error.message.empty(), "a refusal says why");
  hold(error.message.size() <= kLongestMessage, "a refusal quotes little of what was sent");
  hold(is_utf8(error.message) && is_utf8(error.field), "a refusal is UTF-8", error.message);
  hold(error.code == ErrorCode::invalid || error.code == ErrorCode::limit ||
           error.code == ErrorCode::unsupported,
       "a refusal says that the input is at fault", to_string(error.code));
}

void hold_refusal_names_field(const Error& error) {
  hold_refusal(error);
  hold(!error.field.empty(), "a refusal names the field at fault", error.message);
}

Result<nlohmann::json> read_json(std::string_view text) {
  auto value = parse_json(text);
  if (!value) hold_refusal(value.error());
  return value;
}

std::string_view take_line(std::string_view& rest) {
  const auto end = std::min(rest.find('\n'), rest.size());
  const auto line = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return line;
}

}  // namespace agenttask::fuzz
