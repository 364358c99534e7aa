#include "platform/os/file_stream.hpp"

#include <cerrno>
#include <fcntl.h>
#include <io.h>
#include <string_view>
#include <windows.h>

#include "platform/os/windows/handle.hpp"

namespace agenttask::os {
namespace {

int to_errno(DWORD code) {
  switch (code) {
    case ERROR_FILE_NOT_FOUND:
    case ERROR_PATH_NOT_FOUND:
      return ENOENT;
    case ERROR_ACCESS_DENIED:
    case ERROR_SHARING_VIOLATION:
      return EACCES;
    case ERROR_DISK_FULL:
    case ERROR_HANDLE_DISK_FULL:
      return ENOSPC;
    case ERROR_TOO_MANY_OPEN_FILES:
      return EMFILE;
    default:
      return EIO;
  }
}

}  // namespace

std::FILE* open_file_stream(const std::filesystem::path& file, const char* mode) {
  const std::string_view wanted(mode);
  const bool both = wanted.find('+') != std::string_view::npos;
  const bool creates = wanted.front() == 'w';
  const DWORD access = both ? GENERIC_READ | GENERIC_WRITE : creates ? GENERIC_WRITE : GENERIC_READ;
  const HANDLE handle =
      ::CreateFileW(file.c_str(), access, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, nullptr,
                    creates ? CREATE_ALWAYS : OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, nullptr);
  if (handle == INVALID_HANDLE_VALUE) {
    errno = to_errno(::GetLastError());
    return nullptr;
  }
  const int descriptor =
      ::_open_osfhandle(reinterpret_cast<intptr_t>(handle), _O_BINARY | (both      ? _O_RDWR
                                                                         : creates ? _O_WRONLY
                                                                                   : _O_RDONLY));
  if (descriptor < 0) {
    ::CloseHandle(handle);
    errno = EMFILE;
    return nullptr;
  }
  std::FILE* stream = ::_fdopen(descriptor, mode);
  if (stream == nullptr) ::_close(descriptor);
  return stream;
}

}  // namespace agenttask::os
