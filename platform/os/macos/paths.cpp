#include "platform/os/paths.hpp"

namespace agenttask::os {

// /var/db is where the system's own daemons keep their databases; there is no /var/lib, and no /run on a
// volume that is sealed.
Folders default_folders() {
  return {"/etc/agenttask", "/var/db/agenttask", "/var/run/agenttask"};
}

}  // namespace agenttask::os
