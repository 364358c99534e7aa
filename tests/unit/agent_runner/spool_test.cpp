#include "agent/runner/spool.hpp"

#include <fstream>

#include <gtest/gtest.h>

#include "tests/support/temporary_folder.hpp"

namespace agenttask::agent {
namespace {

constexpr std::size_t kAll = 1 << 20;

class SpoolTest : public testing::Test {
 protected:
  std::unique_ptr<Spool> create(std::int64_t keep) {
    auto spool = Spool::create(file_, keep);
    EXPECT_TRUE(spool);
    return std::move(*spool);
  }
  /// Everything kept, each gap marked with its size.
  static std::string kept(Spool& spool, std::size_t most = kAll) {
    std::string text;
    for (std::int64_t offset = 0;;) {
      const auto piece = spool.read_kept(offset, most);
      if (piece.bytes.empty()) return text;
      if (piece.offset > offset) text += "[" + std::to_string(piece.offset - offset) + "]";
      text += piece.bytes;
      offset = piece.offset + static_cast<std::int64_t>(piece.bytes.size());
    }
  }

  test::TemporaryFolder folder_;
  const std::filesystem::path file_ = folder_.path() / "run.stdout";
};

TEST_F(SpoolTest, WhoeverReopenedItBeforeItsWriterBeganReadsWhatComes) {
  create(10).reset();
  const auto reader = Spool::reopen(file_);
  ASSERT_TRUE(reader);
  const auto writer = Spool::begin(file_);
  ASSERT_TRUE(writer) << writer.error().message;
  EXPECT_FALSE((*reader)->refresh());
  (*writer)->append("0123456789ab");
  EXPECT_TRUE((*reader)->refresh());
  EXPECT_EQ("01234[2]789ab", kept(**reader)) << "with the limit that it was made with";
  EXPECT_EQ(ErrorCode::corrupt, Spool::begin(file_).error().code) << "it has taken something";
  EXPECT_FALSE(Spool::begin(folder_.path() / "none"));
}

TEST_F(SpoolTest, KeepsAllUpToTheLimitAndHeadAndTailPastIt) {
  auto spool = create(10);
  EXPECT_EQ("", kept(*spool));
  spool->append("0123456789");
  EXPECT_EQ("0123456789", kept(*spool));
  EXPECT_FALSE(spool->truncated());
  spool->append("A");
  EXPECT_TRUE(spool->truncated());
  EXPECT_EQ(11, spool->total());
  EXPECT_EQ("01234[1]6789A", kept(*spool));
  EXPECT_EQ("01234[1]6789A", kept(*spool, 3)) << "in pieces too";
}

TEST_F(SpoolTest, IsReadWhileAnotherWritesIt) {
  auto writer = create(10);
  auto reader = std::move(*Spool::reopen(file_));
  EXPECT_FALSE(reader->refresh());
  writer->append("0123456789AB");
  EXPECT_EQ("", reader->read(0, 0).bytes);
  EXPECT_TRUE(reader->refresh() || reader->total() == 12);
  EXPECT_EQ(12, reader->total());
  EXPECT_TRUE(reader->truncated());
  EXPECT_EQ("0123456789AB", reader->read(0, kAll).bytes) << "what is there for who watches";
  EXPECT_FALSE(reader->refresh());
  // Past the ring the beginning is gone, and is not taken for what was written over it.
  writer->append(std::string(Spool::kLiveBytes, 'x') + "end");
  EXPECT_TRUE(reader->refresh());
  const auto tail = reader->read(7, kAll);
  EXPECT_GT(tail.offset, 7);
  EXPECT_EQ(tail.bytes.find_first_not_of("xend"), std::string::npos);
  EXPECT_EQ("01234", reader->read_kept(0, kAll).bytes);
}

TEST_F(SpoolTest, AnOddLimitIsNotALittleMore) {
  auto spool = create(7);
  spool->append("0123456789");
  EXPECT_EQ("012[3]6789", kept(*spool));
  auto nothing = create(0);
  nothing->append("0123");
  EXPECT_EQ("", kept(*nothing));
  EXPECT_EQ(4, nothing->total());
  EXPECT_TRUE(nothing->truncated());
}

TEST_F(SpoolTest, TheFileStaysSmallWhateverComes) {
  auto spool = create(1000);
  std::string block(64 * 1024, '.');
  for (int i = 0; i < 640; ++i) {
    block.replace(0, 8, std::to_string(10'000'000 + i));
    spool->append(block);
  }
  EXPECT_EQ(640 * 64 * 1024, spool->total());
  EXPECT_LT(std::filesystem::file_size(file_), 2U * 1024 * 1024);
  const std::string text = kept(*spool);
  EXPECT_EQ("10000000", text.substr(0, 8));
  EXPECT_EQ(std::string(500, '.'), text.substr(text.size() - 500));
  // Live, the last megabyte is there.
  const auto live = spool->read(600, kAll);
  EXPECT_EQ(spool->total() - Spool::kLiveBytes, live.offset);
  EXPECT_EQ("10000624", live.bytes.substr(0, 8)) << "sixteen blocks before the end";
}

TEST_F(SpoolTest, OneWriteLargerThanTheRing) {
  auto spool = create(100);
  std::string huge(3 * 1024 * 1024, 'a');
  huge.replace(0, 5, "BEGIN");
  huge.replace(huge.size() - 3, 3, "END");
  spool->append(huge);
  const std::string text = kept(*spool);
  EXPECT_EQ("BEGIN", text.substr(0, 5));
  EXPECT_EQ("END", text.substr(text.size() - 3));
}

TEST_F(SpoolTest, LiveReadersSeeAllWhileItIsThere) {
  auto spool = create(4);
  std::string all;
  std::int64_t offset = 0;
  for (int i = 0; i < 3000; ++i) {
    const std::string line = "line " + std::to_string(i) + "\n";
    spool->append(line);
    all += line;
  }
  std::string seen;
  while (true) {
    const auto piece = spool->read(offset, 1000);
    if (piece.bytes.empty()) break;
    EXPECT_EQ(offset, piece.offset);
    seen += piece.bytes;
    offset += static_cast<std::int64_t>(piece.bytes.size());
  }
  EXPECT_EQ(all, seen);
}

TEST_F(SpoolTest, CutsBetweenCharacters) {
  auto spool = create(8);
  spool->append(
      "abc\u20ac\u20ac\u20ac\u20acxy");  // 3 + 4 * 3 + 2 bytes; head ends in a character, tail begins in one
  const std::string text = kept(*spool);
  EXPECT_EQ("abc[12]xy", text);
}

TEST_F(SpoolTest, SurvivesItsWriter) {
  {
    auto spool = create(10);
    spool->append("0123456789ABCDEF");
  }
  auto again = Spool::reopen(file_);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(16, (*again)->total());
  EXPECT_EQ("01234[6]BCDEF", kept(**again));
  EXPECT_TRUE((*again)->truncated());
}

TEST_F(SpoolTest, AWriteThatWasCutOffHidesWhatItOverwrote) {
  std::string block(Spool::kLiveBytes, 'o');
  {
    auto spool = create(2'000'000);
    spool->append(block);
    spool->append(block);
  }
  {
    // As if the process had died in an append of 10 more bytes, after the announcement and half of the bytes.
    std::fstream file(file_, std::ios::binary | std::ios::in | std::ios::out);
    const std::int64_t pending = 2 * Spool::kLiveBytes + 10;
    file.seekp(24);
    file.write(reinterpret_cast<const char*>(&pending), sizeof pending);
  }
  auto again = *Spool::reopen(file_);
  EXPECT_EQ(2 * Spool::kLiveBytes, again->total());
  const auto tail = again->read(1'000'000, kAll);
  EXPECT_EQ(2 * Spool::kLiveBytes + 10 - Spool::kLiveBytes, tail.offset);
}

TEST_F(SpoolTest, RefusesWhatIsNoSpool) {
  EXPECT_EQ(ErrorCode::not_found, Spool::reopen(file_).error().code);
  std::ofstream(file_) << "short";
  EXPECT_EQ(ErrorCode::corrupt, Spool::reopen(file_).error().code);
  std::ofstream(file_) << std::string(200, 'x');
  EXPECT_EQ(ErrorCode::corrupt, Spool::reopen(file_).error().code);
}

}  // namespace
}  // namespace agenttask::agent
