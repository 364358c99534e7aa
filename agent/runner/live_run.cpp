#include "agent/runner/live_run.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "agent/ledger/commit_points.hpp"
#include "platform/base/encoding.hpp"
#include "platform/protocol/limits.hpp"

namespace agenttask::agent {

LiveRun::LiveRun(std::int64_t number, std::unique_ptr<Spool> standard_output,
                 std::unique_ptr<Spool> standard_error)
    : number_(number),
      standard_output_(std::move(standard_output)),
      standard_error_(std::move(standard_error)) {}

Spool& LiveRun::spool(OutputStream stream) const {
  return stream == OutputStream::standard_output ? *standard_output_ : *standard_error_;
}

void LiveRun::write(OutputStream stream, std::string_view bytes) {
  std::unique_lock lock(mutex_);
  at_commit_point(commit_point::kOutputKept, CommitMoment::before);
  spool(stream).append(bytes);
  at_commit_point(commit_point::kOutputKept, CommitMoment::after);
  ++changes_;
  changed_.notify_all();
  hold_back(lock, stream);
}

bool LiveRun::refresh() {
  const std::scoped_lock lock(mutex_);
  const bool more = standard_output_->refresh();
  if (!standard_error_->refresh() && !more) return false;
  ++changes_;
  changed_.notify_all();
  return true;
}

std::int64_t LiveRun::lag(OutputStream stream) const {
  std::int64_t most = 0;
  for (const Place* place : waited_for_) {
    const bool out = stream == OutputStream::standard_output;
    most = std::max(most, spool(stream).total() - (out ? place->standard_output : place->standard_error));
  }
  return most;
}

void LiveRun::hold_back(std::unique_lock<std::mutex>& lock, OutputStream stream) {
  constexpr std::int64_t kMostLag = Spool::kLiveBytes / 2;
  constexpr std::chrono::seconds kWithoutProgress{2};
  using std::chrono::steady_clock;
  while (lag(stream) > kMostLag && patience_ > steady_clock::duration::zero()) {
    const std::int64_t before = lag(stream);
    const auto begin = steady_clock::now();
    const auto most = std::min<steady_clock::duration>(patience_, kWithoutProgress);
    const bool moved = caught_up_.wait_for(lock, most, [&] { return lag(stream) < before; });
    patience_ -= steady_clock::now() - begin;
    if (!moved) patience_ = steady_clock::duration::zero();
  }
}

void LiveRun::wait_for(const Place& place) {
  const std::scoped_lock lock(mutex_);
  waited_for_.push_back(&place);
}

void LiveRun::wait_no_more(const Place& place) {
  const std::scoped_lock lock(mutex_);
  std::erase(waited_for_, &place);
  caught_up_.notify_all();
}

RunContext::OutputCount LiveRun::count(OutputStream stream) const {
  const std::scoped_lock lock(mutex_);
  return {spool(stream).total(), spool(stream).truncated()};
}

void LiveRun::end() {
  const std::scoped_lock lock(mutex_);
  ended_ = true;
  ++changes_;
  changed_.notify_all();
}

bool LiveRun::ended() const {
  const std::scoped_lock lock(mutex_);
  return ended_;
}

std::vector<OutputChunk> LiveRun::read(Place& place, std::size_t most) {
  const std::scoped_lock lock(mutex_);
  std::vector<OutputChunk> chunks;
  bool complete = true;
  for (const auto stream : {OutputStream::standard_output, OutputStream::standard_error}) {
    std::int64_t& offset =
        stream == OutputStream::standard_output ? place.standard_output : place.standard_error;
    Spool::Piece piece = spool(stream).read(offset, most);
    const std::size_t cut = incomplete_utf8_tail(piece.bytes);
    if (!ended_ || cut < piece.bytes.size()) piece.bytes.resize(piece.bytes.size() - cut);
    if (piece.bytes.empty()) continue;
    most -= piece.bytes.size();
    offset = piece.offset + static_cast<std::int64_t>(piece.bytes.size());
    chunks.push_back({stream, piece.offset, std::move(piece.bytes)});
    complete = false;
  }
  if (!complete && !waited_for_.empty()) caught_up_.notify_all();
  // Only who has read all there is waits for a change.
  if (complete) place.change = changes_;
  return chunks;
}

bool LiveRun::wait(const Place& place, std::chrono::steady_clock::time_point until,
                   const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  return changed_.wait_until(lock, stop, until, [&] { return changes_ != place.change; });
}

ChunkSource LiveRun::kept() {
  return [this, source = kept_output_of(standard_output_.get(), standard_error_.get())] {
    const std::scoped_lock lock(mutex_);
    return source();
  };
}

ChunkSource kept_output_of(Spool* standard_output, Spool* standard_error) {
  const std::array<Spool*, 2> spools = {standard_output, standard_error};
  return [spools, index = std::size_t{0}, offset = std::int64_t{0}]() mutable -> std::optional<OutputChunk> {
    for (; index < spools.size(); ++index, offset = 0) {
      if (spools[index] == nullptr) continue;
      Spool::Piece piece = spools[index]->read_kept(offset, limits::kOutputChunkBytes);
      if (piece.bytes.empty()) continue;
      // A piece that is cut off by its size ends before a character; bytes that are no text are left alone.
      if (piece.bytes.size() == limits::kOutputChunkBytes) {
        piece.bytes.resize(piece.bytes.size() - incomplete_utf8_tail(piece.bytes));
      }
      offset = piece.offset + static_cast<std::int64_t>(piece.bytes.size());
      const auto stream = index == 0 ? OutputStream::standard_output : OutputStream::standard_error;
      return OutputChunk{stream, piece.offset, std::move(piece.bytes)};
    }
    return std::nullopt;
  };
}

}  // namespace agenttask::agent
