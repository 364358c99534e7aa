#include "platform/os/memory.hpp"

#include <malloc.h>

namespace agenttask::os {

void give_back_memory() {
  ::_heapmin();
}

}  // namespace agenttask::os
