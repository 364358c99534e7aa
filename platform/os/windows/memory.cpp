#include "platform/os/memory.hpp"

#include <malloc.h>

namespace agenttask::os {

void give_back_memory() {
  ::_heapmin();
}

void use_one_heap() {}  // it is so already

}  // namespace agenttask::os
