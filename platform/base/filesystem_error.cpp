#include "platform/base/filesystem_error.hpp"

#include <string>

namespace agenttask {

Error filesystem_error(std::string_view what, const std::error_code& code) {
  return Error{ErrorCode::io, std::string(what) + ": " + code.message()};
}

}  // namespace agenttask
