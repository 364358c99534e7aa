#include "platform/os/file_stream.hpp"

#include <string>

namespace agenttask::os {

std::FILE* open_file_stream(const std::filesystem::path& file, const char* mode) {
  return std::fopen(file.c_str(), (std::string(mode) + "e").c_str());
}

}  // namespace agenttask::os
