#include "agent/console/kept_output.hpp"

#include <nlohmann/json.hpp>

#include "agent/console/agent_link.hpp"
#include "agent/console/exit_code.hpp"
#include "agent/console/interrupts.hpp"
#include "agent/console/json_access.hpp"
#include "agent/console/output_printer.hpp"
#include "agent/console/task_view.hpp"
#include "agent/console/text.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/task_json.hpp"

namespace agenttask::console {
namespace {

constexpr std::size_t kKept = 64 * 1024;  ///< of each stream

}  // namespace

void OutputTail::add(const OutputChunk& chunk) {
  Stream& stream = streams_.at(chunk.stream == OutputStream::standard_output ? 0 : 1);
  stream.bytes += chunk.bytes;
  if (stream.bytes.size() > kKept) stream.bytes.erase(0, stream.bytes.size() - kKept);
  stream.total = chunk.offset + static_cast<std::int64_t>(chunk.bytes.size());
}

void OutputTail::add(std::string_view json_line) {
  const auto value = parse_json(json_line, limits::kJsonDepth + 16);
  if (!value) return;
  if (const auto chunk = chunk_from_json(*value)) add(*chunk);
}

std::string OutputTail::render(std::string_view verbs) const {
  return render_stream("Standard output", streams_[0].bytes, streams_[0].total, verbs) +
         render_stream("Standard error", streams_[1].bytes, streams_[1].total, verbs);
}

bool OutputTail::is_empty() const {
  return streams_[0].total == 0 && streams_[1].total == 0;
}

std::string OutputTail::last_error_line() const {
  std::string_view text = streams_[1].bytes;
  const std::size_t last = text.find_last_not_of(" \t\r\n");
  if (last == std::string_view::npos) return {};
  text = text.substr(0, last + 1);
  const std::size_t before = text.rfind('\n');
  if (before != std::string_view::npos) text.remove_prefix(before + 1);
  constexpr std::size_t kColumns = 300;
  return shorten(printable(text), kColumns);
}

std::string OutputTail::last_words(const std::string& task_id, std::string_view verbs) const {
  if (is_empty()) return {};
  const std::string line = last_error_line();
  return (line.empty() ? std::string() : "The last line of its standard error: " + line + "\n") +
         "All that it wrote: " + std::string(verbs) + " output " + task_id + "\n";
}

OutputTail last_output(agent::ConsoleClient& client, const std::string& id) {
  OutputTail tail;
  constexpr std::chrono::milliseconds kTick{1000};
  (void)client.follow("getOutput", encode_json(nlohmann::json{{"id", id}}), kTick,
                      [&](std::string_view event) {
                        if (!event.empty()) tail.add(event);
                        return agent::ConsoleClient::Next::go_on;
                      });
  return tail;
}

int print_kept_output(const Console& console, const std::string& id, std::int64_t run) {
  using nlohmann::json;
  using Next = agent::ConsoleClient::Next;
  auto client = connect(console);
  if (!client) return console.fail(client.error());
  json arguments{{"id", id}};
  if (run != 0) arguments["run"] = run;
  const Interrupts interrupts;
  OutputPrinter printer(console.screen);
  bool nobody_reads = false;
  constexpr std::chrono::milliseconds kTick{100};
  const agent::Answer answer =
      client->follow("getOutput", encode_json(arguments), kTick, [&](std::string_view text) {
        if (interrupts.count() > 0) return Next::leave;
        if (text.empty()) return Next::go_on;
        if (console.json) {
          nobody_reads = !console.screen.print(std::string(text) + "\n");
        } else if (const auto event = parse_json(text)) {
          const auto chunk = chunk_from_json(*event);
          nobody_reads = chunk && !printer.print(integer_of(*event, "run").value_or(1), *chunk);
        }
        return nobody_reads ? Next::leave : Next::go_on;
      });
  if (nobody_reads) return kNobodyReads;
  if (interrupts.count() > 0) return kInterrupted;
  return answer.ok() ? kSuccess : console.fail(*answer.problem);
}

}  // namespace agenttask::console
