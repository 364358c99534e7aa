#include "platform/os/service.hpp"

#include "platform/os/windows/service_session.hpp"

namespace agenttask::os {

// The service manager of Windows has no watchdog, and shows no words about a state.
ServiceNotifier::ServiceNotifier() = default;

void ServiceNotifier::ready(std::string_view) const {
  if (ServiceSession* const session = ServiceSession::current()) session->running();
}

void ServiceNotifier::reloading() const {}

void ServiceNotifier::stopping(std::string_view, std::chrono::microseconds most) const {
  if (ServiceSession* const session = ServiceSession::current()) {
    session->stopping(std::chrono::ceil<std::chrono::milliseconds>(most));
  }
}

void ServiceNotifier::status(std::string_view) const {}

void ServiceNotifier::alive() const {}

// Of the frame of Linux: here the session speaks.
void ServiceNotifier::send(std::string_view, std::string_view) const {}

}  // namespace agenttask::os
