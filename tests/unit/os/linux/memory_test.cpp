#include "platform/os/memory.hpp"

#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <string>
#include <sys/mman.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "tests/support/temporary_folder.hpp"

namespace agenttask::os {
namespace {

constexpr std::size_t kBytes = 1 << 20;

/// A file that is mapped for this process alone.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& file) {
    std::ofstream(file) << std::string(kBytes, 'f');
    const int descriptor = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
    begin_ = static_cast<char*>(::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, descriptor, 0));
    ::close(descriptor);
  }
  ~MappedFile() { ::munmap(begin_, kBytes); }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  [[nodiscard]] char* bytes() const { return begin_; }
  void make_read_only() const { ASSERT_EQ(0, ::mprotect(begin_, kBytes, PROT_READ)); }
  [[nodiscard]] std::size_t read_all() const {
    std::size_t sum = 0;
    for (std::size_t at = 0; at < kBytes; at += 4096) sum += static_cast<unsigned char>(begin_[at]);
    return sum;
  }
  /// What of it is in this process's pages, in kB.
  [[nodiscard]] long resident() const {
    std::ifstream maps("/proc/self/smaps");
    std::string line;
    char place[32];
    std::snprintf(place, sizeof place, "%lx-", reinterpret_cast<unsigned long>(begin_));
    bool found = false;
    while (std::getline(maps, line)) {
      found = found || line.starts_with(place);
      if (found && line.starts_with("Rss:")) return std::strtol(line.c_str() + 4, nullptr, 10);
    }
    return -1;
  }

 private:
  char* begin_ = nullptr;
};

class MemoryTest : public ::testing::Test {
 protected:
  agenttask::test::TemporaryFolder folder;
};

TEST_F(MemoryTest, WhatAFileHasIsLetGoOfAndComesBack) {
  const MappedFile file(folder.path() / "file");
  file.make_read_only();
  const auto sum = file.read_all();
  ASSERT_GT(file.resident(), 500);
  let_go_of_files();
  EXPECT_EQ(file.resident(), 0);
  EXPECT_EQ(file.read_all(), sum);
}

TEST_F(MemoryTest, WhatWasWrittenStaysAlsoWhereItIsReadOnlyNow) {
  const MappedFile file(folder.path() / "file");
  file.bytes()[5000] = 'x';
  file.make_read_only();
  let_go_of_files();
  EXPECT_EQ(file.bytes()[5000], 'x');
  EXPECT_EQ(file.bytes()[5001], 'f');
}

TEST_F(MemoryTest, WhatMayBeWrittenStays) {
  const MappedFile file(folder.path() / "file");
  (void)file.read_all();
  let_go_of_files();
  EXPECT_GT(file.resident(), 500);
}

}  // namespace
}  // namespace agenttask::os
