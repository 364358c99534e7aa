// The two streams between server and device, and the bodies that carry them.
#include <nlohmann/json.hpp>

#include "platform/protocol/json.hpp"
#include "platform/protocol/message.hpp"
#include "tests/fuzz/target.hpp"
#include "tests/fuzz/targets.hpp"

namespace agenttask::fuzz {
namespace {

/// What could not be read is told to the other side, which has to be able to read that.
void hold_refused(std::int64_t sequence, const std::string& problem) {
  hold(!problem.empty(), "a message that could not be read says why");
  const auto line = encode(Report{1, RefusedReport{sequence, "", "invalid", problem}});
  const auto told = decode_report(line);
  hold(told && std::holds_alternative<RefusedReport>(told->body), "a refusal can be reported", problem);
}

template <class Message>
void hold_message(std::string_view line, Result<Message> (*decode)(std::string_view)) {
  const auto message = decode(line);
  if (!message) return hold_refusal(message.error());
  hold(message->sequence >= 1 && message->sequence < INT64_MAX,
       "a message has a number, and there is a next");
  if (const auto* unknown = std::get_if<UnknownMessage>(&message->body))
    return hold_refused(message->sequence, unknown->problem);
  const std::string text = encode(*message);
  hold(text.find('\n') == std::string::npos, "a message is one line");
  const auto again = decode(text);
  hold(static_cast<bool>(again), "what was taken is taken again", text);
  hold(again->sequence == message->sequence && again->body.index() == message->body.index(),
       "a message stays what it is", text);
  hold(encode(*again) == text, "a message is kept exactly", text);
}

template <class Body>
void hold_body(std::string_view text, Result<Body> (*decode)(std::string_view)) {
  const auto body = decode(text);
  if (!body) return hold_refusal(body.error());
  const std::string written = encode(*body);
  const auto again = decode(written);
  hold(static_cast<bool>(again), "what was taken is taken again", written);
  hold(encode(*again) == written, "what was taken is kept exactly", written);
}

void hold_lines(const std::vector<std::string>& lines, std::size_t most) {
  hold(lines.size() <= most, "messages of one body are bounded");
  Cursor cursor;
  for (const auto& line : lines) {
    hold(!line.empty() && line.find('\n') == std::string::npos, "a message is one line");
    const Cursor next = agenttask::advance(cursor, line);
    hold(next.sequence == cursor.sequence + 1 && next.chain.size() == 64 && next.chain != cursor.chain,
         "each line moves the chain on");
    cursor = next;
  }
}

}  // namespace

void directive(std::string_view bytes) {
  hold_message<Directive>(bytes, decode_directive);
}

void report(std::string_view bytes) {
  hold_message<Report>(bytes, decode_report);
}

void stream_bodies(std::string_view bytes) {
  hold_body<PollRequest>(bytes, decode_poll_request);
  hold_body<PollAnswer>(bytes, decode_poll_answer);
  hold_body<ReportBatch>(bytes, decode_report_batch);
  hold_body<ReportAnswer>(bytes, decode_report_answer);
  if (const auto answer = decode_poll_answer(bytes)) hold_lines(answer->lines, limits::kDirectivesInPoll);
  if (const auto batch = decode_report_batch(bytes)) hold_lines(batch->lines, limits::kReportsInPost);
  (void)understands_protocol(bytes);
}

}  // namespace agenttask::fuzz
