#include "platform/os/memory.hpp"

#include <malloc.h>

namespace agenttask::os {

void give_back_memory() {
  ::_heapmin();
}

void let_go_of_files() {}

void use_one_heap() {}  // it is so already

}  // namespace agenttask::os
