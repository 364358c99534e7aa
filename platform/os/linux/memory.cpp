#include "platform/os/memory.hpp"

#include <malloc.h>

namespace agenttask::os {

void give_back_memory() {
  ::malloc_trim(0);
}

}  // namespace agenttask::os
