#include "platform/os/memory.hpp"

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <malloc.h>
#include <memory>
#include <sys/mman.h>

namespace agenttask::os {
namespace {

struct CloseFile {
  void operator()(std::FILE* file) const {
    std::fclose(file);  // NOLINT(cppcoreguidelines-owning-memory): this is how the owner ends it
  }
};

/// One mapping as /proc/self/smaps tells of it (proc_pid_smaps(5)): a line with its place, then what it
/// takes, and its flags last.
class Mapping {
 public:
  /// Whether it is the first line of one.
  bool begin(const char* line) {
    std::array<char, 5> access{};
    std::uintptr_t begin = 0;
    std::uintptr_t end = 0;
    unsigned long inode = 0;
    if (std::sscanf(line, "%lx-%lx %4s %*x %*s %lu", &begin, &end, access.data(), &inode) != 4) return false;
    begin_ = begin;
    bytes_ = end - begin;
    is_of_file_ = inode != 0 && access[1] != 'w';
    changed_ = 0;
    return true;
  }
  /// Pages that differ from the file, also those that were swapped out, would be lost.
  void add(const char* line) {
    unsigned long kilobytes = 0;
    if (std::sscanf(line, "Anonymous: %lu", &kilobytes) == 1 ||
        std::sscanf(line, "Swap: %lu", &kilobytes) == 1)
      changed_ += kilobytes;
  }
  void let_go() const {
    if (!is_of_file_ || changed_ != 0) return;
    ::madvise(reinterpret_cast<void*>(begin_), bytes_, MADV_DONTNEED);  // NOLINT(performance-no-int-to-ptr)
  }

 private:
  std::uintptr_t begin_ = 0;
  std::size_t bytes_ = 0;
  bool is_of_file_ = false;
  unsigned long changed_ = 0;
};

}  // namespace

void give_back_memory() {
  ::malloc_trim(0);
}

void let_go_of_files() {
  const std::unique_ptr<std::FILE, CloseFile> file(std::fopen("/proc/self/smaps", "re"));
  if (!file) return;
  Mapping mapping;
  std::array<char, 512> line{};
  while (std::fgets(line.data(), line.size(), file.get()) != nullptr) {
    if (std::strncmp(line.data(), "VmFlags:", 8) == 0) {
      mapping.let_go();
    } else if (!mapping.begin(line.data())) {
      mapping.add(line.data());
    }
  }
}

void use_one_heap() {
  ::mallopt(M_ARENA_MAX, 1);
}

}  // namespace agenttask::os
