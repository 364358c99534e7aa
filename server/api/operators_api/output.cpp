#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <map>
#include <memory>
#include <optional>

#include <nlohmann/json.hpp>

#include "platform/protocol/json.hpp"
#include "platform/protocol/task_json.hpp"
#include "server/api/credentials.hpp"
#include "server/api/handlers.hpp"

namespace agenttask::server {
namespace {

using nlohmann::json;

constexpr std::size_t kPieceBytes = 1024 * 1024;
constexpr std::size_t kReadBytes = 256 * 1024;   // of kept output at once
constexpr std::chrono::hours kLongestFollow{1};  // a follower goes on with `from`
/// Live output that leaves more gaps than this in a stream waits until it is kept.
constexpr std::size_t kLiveIntervals = 4096;

/// Which bytes of a stream were sent: intervals, so that kept output fills what live output left out.
class SentBytes {
 public:
  /// The parts of `chunk` that were not sent yet, which count as sent from now on.
  std::vector<OutputChunk> take_new(const OutputChunk& chunk) {
    std::vector<OutputChunk> parts;
    const std::int64_t end = chunk.offset + static_cast<std::int64_t>(chunk.bytes.size());
    std::int64_t at = chunk.offset;
    for (const auto& [from, to] : intervals_) {
      if (to <= at) continue;
      if (from >= end) break;
      if (from > at) parts.push_back(part(chunk, at, from));
      at = std::max(at, to);
    }
    if (at < end) parts.push_back(part(chunk, at, end));
    mark(chunk.offset, end);
    return parts;
  }

  /// Whether live output may come in between: what is sent is remembered for as long as it is followed.
  [[nodiscard]] bool has_room_for(const OutputChunk& chunk) const {
    if (intervals_.size() < kLiveIntervals) return true;
    const auto next = intervals_.upper_bound(chunk.offset);
    return next != intervals_.begin() && std::prev(next)->second >= chunk.offset;
  }

  void mark(std::int64_t from, std::int64_t to) {
    if (from >= to) return;
    auto next = intervals_.lower_bound(from);
    if (next != intervals_.begin() && std::prev(next)->second >= from) --next;
    while (next != intervals_.end() && next->first <= to) {
      from = std::min(from, next->first);
      to = std::max(to, next->second);
      next = intervals_.erase(next);
    }
    intervals_[from] = to;
  }

 private:
  static OutputChunk part(const OutputChunk& chunk, std::int64_t from, std::int64_t to) {
    return {chunk.stream, from,
            chunk.bytes.substr(static_cast<std::size_t>(from - chunk.offset),
                               static_cast<std::size_t>(to - from))};
  }
  std::map<std::int64_t, std::int64_t> intervals_;
};

struct Wanted {
  std::string task_id;
  std::optional<std::int64_t> run;  ///< only this one; else what is the last, and those that follow
  std::array<std::int64_t, 2> from{};
  bool follow = false;
};

/// `STDOUT,STDERR`: how many bytes of each the caller has already.
Result<std::array<std::int64_t, 2>> read_from(const Call& call) {
  std::array<std::int64_t, 2> from{};
  const auto text = call.parameter("from");
  if (!text) return from;
  const char* at = text->data();
  const char* end = at + text->size();
  for (std::size_t i = 0; i < from.size(); ++i) {
    const auto parsed = std::from_chars(at, end, from[i]);
    const bool separated = i == 0 ? parsed.ptr != end && *parsed.ptr == ',' : parsed.ptr == end;
    if (parsed.ec != std::errc() || from[i] < 0 || !separated) {
      return Error{ErrorCode::invalid, "from must be two offsets: bytes of stdout, a comma, bytes of stderr",
                   "from"};
    }
    at = parsed.ptr + 1;
  }
  return from;
}

/// The lines of a task's output, one piece after another: what is kept is read when the piece before it was
/// taken, however much it is. Holds no connection in between.
class OutputLines {
 public:
  OutputLines(const ApiContext& context, Wanted wanted, std::string caller_id)
      : context_(context), wanted_(std::move(wanted)), caller_id_(std::move(caller_id)) {}

  void follow(std::unique_ptr<OutputFollower> follower) { follower_ = std::move(follower); }

  /// Takes what there is now into the lines that wait. After the end it does nothing.
  void collect(const ReadStore& store, const TaskRecord& record, bool timed_out) {
    if (ended_) return;
    // Live output waits where it is bounded until all that was kept before it is in the lines.
    const bool was_behind = reading_.has_value();
    if (!was_behind) take_live();
    const TaskState& state = record.task.state;
    const std::int64_t last = wanted_.run.value_or(std::max<std::int64_t>(state.run_count, 1));
    if (first_ == 0) {
      first_ = last;
      for (const OutputStream stream : {OutputStream::standard_output, OutputStream::standard_error}) {
        sent_[{first_, stream}].mark(0, wanted_.from[index(stream)]);
      }
    }
    // No more of them are kept, whatever number the device gives the last.
    const std::int64_t oldest = last - 2 * context_.history.runs;
    const bool over = has_ended(state.status) || (wanted_.run && run_has_ended(store, *wanted_.run));
    for (std::int64_t run = std::max({first_, done_ + 1, oldest}); run <= last; ++run) {
      if (!add_kept(store, run)) return forget_sent();
      // All runs before the last have ended, and their output came before their end.
      if (run < last) done_ = run;
      if (run == INT64_MAX) break;
    }
    reading_.reset();
    if (was_behind) take_live();
    if (over) done_ = last;
    forget_sent();
    if (over || timed_out || !wanted_.follow) end(record, last);
  }

  Stream::Piece next_piece(std::size_t most) {
    Stream::Piece piece;
    const std::size_t size = std::min(most, lines_.size() - at_);
    piece.bytes = lines_.substr(at_, size);
    at_ += size;
    if (at_ > lines_.size() / 2) lines_.erase(0, std::exchange(at_, 0));
    piece.more = at_ < lines_.size() || (reading_ && !ended_);
    piece.complete = ended_ && !piece.more;
    return piece;
  }

  /// What the transport calls when something was touched.
  Stream::Piece next(bool timed_out) {
    // What a slow reader has not taken stays where it is bounded.
    if (!ended_ && lines_.size() - at_ <= kPieceBytes) read(timed_out);
    return next_piece(kPieceBytes);
  }

 private:
  using Key = std::pair<std::int64_t, OutputStream>;
  static std::size_t index(OutputStream stream) { return stream == OutputStream::standard_output ? 0 : 1; }

  void read(bool timed_out) {
    const auto lease = context_.store.read();
    if (!lease) return cut("unavailable");
    const ReadStore& store = **lease;
    const auto caller = store.operator_by_id(caller_id_);
    const auto record = store.task(wanted_.task_id, WithData::no);
    if (const auto failed = store.check(); !failed) return cut("unavailable");
    if (!caller || !is_valid(*caller, context_.clock.wall())) return cut("unauthorized");
    if (!record) return cut("purged");
    collect(store, *record, timed_out);
    if (const auto failed = store.check(); !failed) cut("unavailable");
  }

  [[nodiscard]] bool run_has_ended(const ReadStore& store, std::int64_t number) const {
    const auto run = store.run(wanted_.task_id, number);
    return run && run->status != RunStatus::running;
  }

  void take_live() {
    if (!follower_) return;
    for (const auto& live : follower_->take()) {
      const auto sent = sent_.find({live.run, live.chunk.stream});
      if (sent == sent_.end() || sent->second.has_room_for(live.chunk)) add(live.run, live.chunk);
    }
  }

  /// Where the reading of a run stands that is not read to its end.
  struct Reading {
    std::int64_t run = 0;
    std::int64_t bytes = 0;  ///< were kept of it when it began
    OutputStream stream = OutputStream::standard_output;
    std::int64_t offset = -1;
  };

  /// False: the lines are full, and there is more of this run.
  bool add_kept(const ReadStore& store, std::int64_t run) {
    const std::int64_t bytes = store.output_bytes(wanted_.task_id, run, OutputStream::standard_output) +
                               store.output_bytes(wanted_.task_id, run, OutputStream::standard_error);
    // What came meanwhile may lie before what was read already: then it is read once more.
    while (bytes != kept_bytes_[run]) {
      if (!reading_ || reading_->run != run) reading_ = Reading{run, bytes};
      if (!read_on(store, *reading_)) return false;
      kept_bytes_[run] = reading_->bytes;
      reading_.reset();
    }
    return true;
  }

  bool read_on(const ReadStore& store, Reading& at) {
    while (lines_.size() - at_ < kPieceBytes) {
      const auto chunks = store.output_after(wanted_.task_id, at.run, at.stream, at.offset, kReadBytes);
      if (chunks.empty()) return true;
      for (const auto& chunk : chunks) add(at.run, chunk);
      at.stream = chunks.back().stream;
      at.offset = chunks.back().offset;
    }
    return false;
  }

  /// What was sent of runs that are whole need not be remembered.
  void forget_sent() {
    sent_.erase(sent_.begin(), sent_.upper_bound({done_, OutputStream::standard_error}));
    kept_bytes_.erase(kept_bytes_.begin(), kept_bytes_.upper_bound(done_));
  }

  void add(std::int64_t run, const OutputChunk& chunk) {
    if (wanted_.run && *wanted_.run != run) return;
    if (run < first_ || run <= done_) return;
    for (const auto& part : sent_[{run, chunk.stream}].take_new(chunk)) {
      json line = chunk_to_json(part);
      line["run"] = run;
      lines_ += encode_json(line) + "\n";
    }
  }

  void end(const TaskRecord& record, std::int64_t run) {
    json how = {{"status", to_string(record.task.state.status)}, {"run", run}};
    if (!record.task.state.reason.empty()) how["reason"] = record.task.state.reason;
    finish(std::move(how));
  }
  /// The stream can't go on; the caller may ask again with `from`.
  void cut(std::string_view why) { finish({{"cut", why}}); }
  void finish(json how) {
    if (std::exchange(ended_, true)) return;
    lines_ += encode_json({{"end", std::move(how)}}) + "\n";
    follower_.reset();
  }

  const ApiContext& context_;
  Wanted wanted_;
  std::string caller_id_;
  std::unique_ptr<OutputFollower> follower_;
  std::map<Key, SentBytes> sent_;
  std::map<std::int64_t, std::int64_t> kept_bytes_;  ///< of each run when it was read to its end
  std::optional<Reading> reading_;                   ///< none: all there was is in the lines
  std::int64_t first_ = 0;                           ///< the run that it began with
  std::int64_t done_ = 0;                            ///< runs up to here are whole
  bool ended_ = false;
  std::string lines_;
  std::size_t at_ = 0;
};

Result<Wanted> read_wanted(const Call& call) {
  Wanted wanted;
  const auto follow = call.flag("follow");
  if (!follow) return follow.error();
  wanted.follow = *follow;
  const auto from = read_from(call);
  if (!from) return from.error();
  wanted.from = *from;
  if (call.parameter("run")) {
    const auto run = call.number("run", 1, INT64_MAX, 1);
    if (!run) return run.error();
    wanted.run = *run;
  }
  return wanted;
}

}  // namespace

Outcome get_output(Call& call) {
  auto wanted = read_wanted(call);
  if (!wanted) return refuse(wanted.error());
  auto found = find_task(call.store, call.path[0], WithData::no);
  if (!found.record) return found.refusal;
  const TaskSpec& spec = found.record->task.spec;
  wanted->task_id = spec.id;
  const bool follow = wanted->follow && !has_ended(found.record->task.state.status) && call.request.may_wait;
  wanted->follow = follow;
  auto lines = std::make_shared<OutputLines>(call.context, std::move(*wanted), call.caller->id);
  if (follow) lines->follow(call.context.live.follow(spec.node_id, spec.id));
  lines->collect(call.store, *found.record, false);
  Stream stream;
  stream.head.content_type = "application/x-ndjson";
  // What follows is asked for at once.
  auto first = lines->next_piece(kPieceBytes);
  stream.head.body = std::move(first.bytes);
  if (first.complete) return stream.head;
  stream.keys = {"output:" + spec.id, "task:" + spec.id, "operator:" + call.caller->id};
  stream.until = follow ? call.request.received + kLongestFollow : call.context.clock.monotonic();
  stream.next = [lines](bool timed_out) { return lines->next(timed_out); };
  return stream;
}

}  // namespace agenttask::server
