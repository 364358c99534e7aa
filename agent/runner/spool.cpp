#include "agent/runner/spool.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "platform/base/encoding.hpp"
#include "platform/os/file_stream.hpp"
#include "platform/protocol/limits.hpp"

namespace agenttask::agent {
namespace {

constexpr std::array<char, 8> kMagic = {'A', 'T', 'S', 'P', 'O', 'O', 'L', '1'};

/// The file's first bytes, in the machine's own byte order: it never leaves the machine.
struct Header {
  std::array<char, 8> magic = kMagic;
  std::int64_t keep = 0;
  std::int64_t total = 0;
  std::int64_t pending = 0;  ///< what `total` becomes when the write under way is complete
};
constexpr std::int64_t kHeaderBytes = sizeof(Header);

std::int64_t ring_for(std::int64_t keep) {
  return std::max(keep - keep / 2, Spool::kLiveBytes);
}

bool continues_character(char c) {
  return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U;
}

}  // namespace

Spool::Spool(File file, std::int64_t keep) : file_(std::move(file)), keep_(keep), ring_(ring_for(keep)) {
  if (file_) std::setvbuf(file_.get(), nullptr, _IONBF, 0);
}

Result<std::unique_ptr<Spool>> Spool::create(const std::filesystem::path& file, std::int64_t keep) {
  File handle(os::open_file_stream(file, "w+b"));
  if (!handle) return io_error("cannot make " + file.string() + " for a run's output", errno);
  std::unique_ptr<Spool> spool(new Spool(std::move(handle), keep));
  if (!spool->write_header(0))
    return io_error("cannot write " + file.string() + " for a run's output", errno);
  return spool;
}

std::unique_ptr<Spool> Spool::none() {
  std::unique_ptr<Spool> spool(new Spool(File(), 0));
  spool->broken_ = true;
  return spool;
}

Result<std::unique_ptr<Spool>> Spool::begin(const std::filesystem::path& file) {
  File handle(os::open_file_stream(file, "r+b"));
  if (!handle) return io_error("cannot open " + file.string() + " for a run's output", errno);
  std::unique_ptr<Spool> spool(new Spool(std::move(handle), 0));
  if (!spool->read_header() || spool->overwritten_ != 0)
    return Error{ErrorCode::corrupt, file.string() + " is not the beginning of a run's output"};
  return spool;
}

Result<std::unique_ptr<Spool>> Spool::reopen(const std::filesystem::path& file) {
  File handle(os::open_file_stream(file, "rb"));
  if (!handle) {
    const ErrorCode code = errno == ENOENT ? ErrorCode::not_found : ErrorCode::io;
    return Error{code, io_error("cannot open " + file.string(), errno).message};
  }
  std::unique_ptr<Spool> spool(new Spool(std::move(handle), 0));
  if (!spool->read_header()) return Error{ErrorCode::corrupt, file.string() + " is no output of a run"};
  spool->reopened_ = true;
  return spool;
}

bool Spool::read_header() {
  Header header;
  const bool sound = read_at(0, &header, sizeof header) && header.magic == kMagic && header.keep >= 0 &&
                     header.keep <= limits::kMaxOutputBytes && header.total >= 0 && header.pending >= 0;
  if (!sound) return false;
  keep_ = header.keep;
  ring_ = ring_for(keep_);
  total_ = written_ = header.total;
  overwritten_ = std::max(header.total, header.pending);
  return true;
}

bool Spool::refresh() {
  const std::int64_t before = total_;
  return read_header() && total_ != before;
}

bool Spool::write_at(std::int64_t position, const void* bytes, std::size_t count) {
  return std::fseek(file_.get(), static_cast<long>(position), SEEK_SET) == 0 &&
         std::fwrite(bytes, 1, count, file_.get()) == count;
}

bool Spool::read_at(std::int64_t position, void* bytes, std::size_t count) {
  return std::fseek(file_.get(), static_cast<long>(position), SEEK_SET) == 0 &&
         std::fread(bytes, 1, count, file_.get()) == count;
}

bool Spool::write_header(std::int64_t pending) {
  Header header;
  header.keep = keep_;
  header.total = written_;
  header.pending = pending;
  return write_at(0, &header, sizeof header);
}

std::int64_t Spool::position_of(std::int64_t offset) const {
  if (offset < head()) return kHeaderBytes + offset;
  return kHeaderBytes + head() + (offset - head()) % ring_;
}

/// Writes bytes that stand at `offset` of the stream; those that the ring would overwrite at once are left
/// out.
bool Spool::write_bytes(std::int64_t offset, std::string_view bytes) {
  while (!bytes.empty()) {
    std::int64_t room = head() - offset;
    if (room <= 0) {
      const auto too_many = static_cast<std::int64_t>(bytes.size()) - ring_;
      if (too_many > 0) {
        bytes.remove_prefix(static_cast<std::size_t>(too_many));
        offset += too_many;
      }
      room = ring_ - (offset - head()) % ring_;
    }
    const auto count = std::min(bytes.size(), static_cast<std::size_t>(room));
    if (!write_at(position_of(offset), bytes.data(), count)) return false;
    bytes.remove_prefix(count);
    offset += static_cast<std::int64_t>(count);
  }
  return true;
}

void Spool::append(std::string_view bytes) {
  total_ += static_cast<std::int64_t>(bytes.size());
  if (broken_) return;
  const std::int64_t next = written_ + static_cast<std::int64_t>(bytes.size());
  // Where older bytes are overwritten, the header says so first: a crash in between then hides them.
  if (next > head() + ring_) {
    overwritten_ = next;
    broken_ = !write_header(next);
  }
  broken_ = broken_ || !write_bytes(written_, bytes);
  if (broken_) return;
  written_ = overwritten_ = next;
  broken_ = !write_header(next);
}

std::int64_t Spool::tail_begin() const {
  return std::max(head(), overwritten_ - ring_);
}

Spool::Piece Spool::read_between(std::int64_t offset, std::int64_t end, std::size_t most) {
  Piece piece{offset, {}};
  if (end <= offset) return piece;
  piece.bytes.resize(std::min(most, static_cast<std::size_t>(end - offset)));
  std::size_t done = 0;
  while (done < piece.bytes.size()) {
    const std::int64_t at = offset + static_cast<std::int64_t>(done);
    const std::int64_t room = at < head() ? head() - at : ring_ - (at - head()) % ring_;
    const auto count = std::min(piece.bytes.size() - done, static_cast<std::size_t>(room));
    if (!read_at(position_of(at), piece.bytes.data() + done, count)) break;
    done += count;
  }
  piece.bytes.resize(done);
  return piece;
}

Spool::Piece Spool::read(std::int64_t offset, std::size_t most) {
  if (!reopened_) return read_now(offset, most);
  // What the writer overwrote while it was read is none of it.
  constexpr int kLooks = 3;
  for (int look = 0; look < kLooks; ++look) {
    Piece piece = read_now(offset, most);
    (void)read_header();
    if (piece.offset < head() || piece.offset >= tail_begin()) return piece;
  }
  return {offset, {}};
}

Spool::Piece Spool::read_now(std::int64_t offset, std::size_t most) {
  const std::int64_t tail = tail_begin();
  if (offset >= head() && offset < tail) offset = tail;
  // Head and tail are read as one while nothing is missing between them.
  const bool joined = tail == head();
  return read_between(offset, offset < head() && !joined ? head() : written_, most);
}

Spool::Piece Spool::read_kept(std::int64_t offset, std::size_t most) {
  if (written_ <= keep_) return read(offset, most);
  const std::int64_t tail = std::max(tail_begin(), written_ - (keep_ - head()));
  if (offset < head()) {
    Piece piece = read_between(offset, head(), most);
    const auto end = piece.offset + static_cast<std::int64_t>(piece.bytes.size());
    if (end == head()) piece.bytes.resize(piece.bytes.size() - incomplete_utf8_tail(piece.bytes));
    if (!piece.bytes.empty()) return piece;
  }
  Piece piece = read_between(std::max(offset, tail), written_, most);
  if (offset > tail) return piece;
  std::size_t cut = 0;
  while (cut < 3 && cut < piece.bytes.size() && continues_character(piece.bytes[cut])) ++cut;
  piece.bytes.erase(0, cut);
  piece.offset += static_cast<std::int64_t>(cut);
  return piece;
}

}  // namespace agenttask::agent
