#include "platform/os/memory.hpp"

#include <malloc.h>

namespace agenttask::os {

void give_back_memory() {
  ::malloc_trim(0);
}

void use_one_heap() {
  ::mallopt(M_ARENA_MAX, 1);
}

}  // namespace agenttask::os
