#include "agent/console/output_printer.hpp"

#include <string>
#include <string_view>

#include "agent/console/time_text.hpp"

namespace agenttask::console {

bool OutputPrinter::print(std::int64_t run, const OutputChunk& chunk) {
  if (run != run_) {
    if (run_ != 0) screen_.say("run " + std::to_string(run) + " begins");
    run_ = run;
    next_.clear();
  }
  std::int64_t& next = next_[chunk.stream];
  std::string_view bytes = chunk.bytes;
  if (chunk.offset > next) {
    missing_ += chunk.offset - next;
    screen_.say(format_bytes(chunk.offset - next) + " of " + std::string(to_string(chunk.stream)) +
                " are missing here; --max-output keeps more");
  } else if (chunk.offset < next) {
    // Seen before: a follower that was reconnected begins a little earlier.
    const auto seen = static_cast<std::size_t>(next - chunk.offset);
    if (seen >= bytes.size()) return true;
    bytes.remove_prefix(seen);
  }
  next = chunk.offset + static_cast<std::int64_t>(chunk.bytes.size());
  return chunk.stream == OutputStream::standard_output ? screen_.print(bytes) : screen_.print_error(bytes);
}

}  // namespace agenttask::console
