#include "platform/os/open_files.hpp"

namespace agenttask::os {

std::uint64_t raise_open_files_limit() {
  return 16ULL * 1024 * 1024;  // of handles in one process, fixed
}

}  // namespace agenttask::os
