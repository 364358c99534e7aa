#include "platform/os/paths.hpp"

namespace agenttask::os {

Folders default_folders() {
  return {"/etc/agenttask", "/var/lib/agenttask", "/run/agenttask"};
}

}  // namespace agenttask::os
