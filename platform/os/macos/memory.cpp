#include "platform/os/memory.hpp"

#include <malloc/malloc.h>

namespace agenttask::os {

void give_back_memory() {
  ::malloc_zone_pressure_relief(nullptr, 0);
}

void let_go_of_files() {}

void use_one_heap() {}  // it is so already

}  // namespace agenttask::os
