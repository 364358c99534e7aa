#include "platform/os/signals.hpp"

namespace agenttask::os {

std::string_view to_string(ServiceEvent event) {
  switch (event) {
    case ServiceEvent::terminate:
      return "terminate";
    case ServiceEvent::interrupt:
      return "interrupt";
    case ServiceEvent::reload:
      return "reload";
  }
  return "terminate";
}

}  // namespace agenttask::os
