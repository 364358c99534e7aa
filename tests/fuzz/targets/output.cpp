// What processes print: any bytes, which have to come through as they are, and must not deceive who reads
// them.
#include <nlohmann/json.hpp>

#include "agent/console/text.hpp"
#include "agent/runner/spool.hpp"
#include "platform/base/encoding.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/task_json.hpp"
#include "tests/fuzz/target.hpp"
#include "tests/fuzz/targets.hpp"
#include "tests/support/temporary_folder.hpp"

namespace agenttask::fuzz {
namespace {

using nlohmann::json;

void hold_encodings(std::string_view bytes) {
  const auto decoded = base64_decode(base64_encode(bytes));
  hold(decoded && *decoded == bytes, "base64 keeps all bytes");
  const auto from_hex = hex_decode(hex_encode(bytes));
  hold(from_hex && *from_hex == bytes, "hexadecimal keeps all bytes");
  if (const auto given = base64_decode(bytes))
    hold(given->size() <= bytes.size(), "base64 makes nothing longer");
  const auto tail = incomplete_utf8_tail(bytes);
  hold(tail <= 3 && tail <= bytes.size(), "a cut-off character is shorter than a character");
  if (is_utf8(bytes)) {
    hold(tail == 0, "text has no cut-off character");
    for (std::size_t end = 0; end < std::min<std::size_t>(bytes.size(), 64); ++end) {
      const auto part = bytes.substr(0, end);
      hold(is_utf8(part.substr(0, part.size() - incomplete_utf8_tail(part))),
           "text cut before a tail is text");
    }
  }
}

void hold_chunks(std::string_view bytes, std::size_t step) {
  std::vector<OutputChunk> chunks;
  for (std::size_t at = 0; at < bytes.size(); at += step) {
    const OutputChunk chunk{OutputStream::standard_output, static_cast<std::int64_t>(at),
                            std::string(bytes.substr(at, step))};
    const auto value = parse_json(encode_json(chunk_to_json(chunk)));
    hold(static_cast<bool>(value), "a chunk is JSON");
    const auto again = chunk_from_json(*value);
    hold(again && *again == chunk, "a chunk keeps all bytes");
    chunks.push_back(chunk);
  }
  json result = {{"success", true}};
  add_output(result, chunks);
  const auto& data = result["data"];
  const auto text = data["stdout"].get<std::string>();
  if (!data.contains("stdoutEncoding")) return hold(text == bytes, "output that is text is shown as it is");
  const auto decoded = base64_decode(text);
  hold(decoded && *decoded == bytes && !is_utf8(bytes), "output that is no text is kept as bytes");
}

/// What a run keeps of its output: the head and the tail, each whole characters where all of it was text.
void hold_spool(std::string_view bytes, std::size_t step, std::int64_t keep) {
  static const test::TemporaryFolder folder;
  auto spool = agent::Spool::create(folder.path() / "spool", keep);
  hold(static_cast<bool>(spool), "a spool can be made");
  for (std::size_t at = 0; at < bytes.size(); at += step) (*spool)->append(bytes.substr(at, step));
  hold((*spool)->total() == static_cast<std::int64_t>(bytes.size()), "all output is counted");
  std::int64_t kept = 0;
  std::int64_t offset = 0;
  while (true) {
    const auto piece = (*spool)->read_kept(offset, 1024);
    if (piece.bytes.empty()) break;
    hold(piece.offset >= offset, "pieces come in order");
    hold(piece.bytes == bytes.substr(static_cast<std::size_t>(piece.offset), piece.bytes.size()),
         "what is kept is what was there");
    kept += static_cast<std::int64_t>(piece.bytes.size());
    offset = piece.offset + static_cast<std::int64_t>(piece.bytes.size());
  }
  hold(kept <= keep, "no more is kept than was asked");
  hold((*spool)->truncated() || kept == (*spool)->total(), "what is not truncated is all there");
  const auto live = (*spool)->read(0, bytes.size() + 1);
  hold(live.bytes == bytes.substr(static_cast<std::size_t>(live.offset), live.bytes.size()),
       "what is shown live is what was there");
}

}  // namespace

void process_output(std::string_view bytes) {
  if (bytes.size() < 2) return;
  const std::size_t step = std::max<std::size_t>(1 + static_cast<unsigned char>(bytes[0]), bytes.size() / 64);
  const auto keep = std::int64_t{4} * static_cast<unsigned char>(bytes[1]);
  bytes.remove_prefix(2);
  hold_encodings(bytes);
  hold_chunks(bytes, step);
  hold_spool(bytes, step, keep);
}

void terminal_text(std::string_view bytes) {
  const auto safe = [](std::string_view text, bool lines) {
    hold(is_utf8(text), "what is printed is UTF-8");
    for (const char letter : text) {
      const auto byte = static_cast<unsigned char>(letter);
      hold((byte >= 0x20 && byte != 0x7f) || (lines && (letter == '\n' || letter == '\t')),
           "what is printed has no control characters");
    }
    hold(text.find("\xe2\x80\xae") == std::string_view::npos, "what is printed turns no direction");
  };
  const std::string line = console::printable(bytes);
  safe(line, false);
  safe(console::printable_lines(bytes), true);
  for (const std::size_t columns : {0U, 1U, 2U, 7U, 40U}) {
    const auto cut = console::shorten(line, columns);
    safe(cut, false);
    hold(console::display_width(cut) <= columns, "what is shortened fits", cut);
  }
  if (console::display_width(line) <= 40)
    hold(console::shorten(line, 40) == line, "what fits is not shortened");
  const auto quoted = console::shell_quoted(bytes);
  hold(quoted.size() >= bytes.size() && !quoted.empty(), "a quoted word keeps its letters");
}

}  // namespace agenttask::fuzz
