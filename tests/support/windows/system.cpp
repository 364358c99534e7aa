#include "tests/support/system.hpp"

#include <cstdlib>
#include <winsock2.h>

#include "tests/support/windows/wine.hpp"

namespace agenttask::test {

bool is_wine() {
  const HMODULE library = ::GetModuleHandleW(L"ntdll.dll");
  return library != nullptr && ::GetProcAddress(library, "wine_get_version") != nullptr;
}

void set_variable(const char* name, const std::string& value) {
  ::_putenv_s(name, value.c_str());
}

void unset_variable(const char* name) {
  ::_putenv_s(name, "");
}

void ignore_broken_pipes() {}  // there is no such signal

void end_socket(int socket) {
  const auto handle = static_cast<SOCKET>(socket);
  // A listening socket can't be shut down here: only closing it wakes who waits.
  if (::shutdown(handle, SD_BOTH) != 0) ::closesocket(handle);
}

void stop_sending(int socket) {
  ::shutdown(static_cast<SOCKET>(socket), SD_SEND);
}

void finish_socket(int socket) {
  const auto handle = static_cast<SOCKET>(socket);
  stop_sending(socket);
  char rest[4096];
  while (::recv(handle, rest, sizeof rest, 0) > 0) {
  }
}

}  // namespace agenttask::test
