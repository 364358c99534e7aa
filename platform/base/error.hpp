#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include <boost/system/result.hpp>

namespace agenttask {

/// What kind of failure this is: what a caller can act on. The message is for people.
enum class ErrorCode : std::uint8_t {
  invalid,       ///< the input is wrong: the caller must change it
  not_found,     ///< no such thing
  conflict,      ///< it clashes with what is there
  denied,        ///< not allowed, by rights or by policy
  unauthorized,  ///< it is not known who asks
  limit,         ///< past a limit: too large, too many, too deep
  unavailable,   ///< not now: the other side or a resource is away; trying later may work
  timeout,       ///< it took too long
  unsupported,   ///< understood, but this version does not do it
  corrupt,       ///< stored data is damaged
  newer,         ///< stored data was written by a newer version
  io,            ///< the operating system failed a call
  internal,      ///< a fault of ours
};

/// The one error type. `message` says what was tried, on what, why it failed and what to do next.
/// `field` is the path of the field at fault where there is one (`options.timeout`).
struct Error {
  ErrorCode code = ErrorCode::internal;
  std::string message;
  std::string field = {};
};

/// A value, or why there is none.
template <class T>
using Result = boost::system::result<T, Error>;

/// The stable name of a code, as used in logs and on the console: `not-found`.
[[nodiscard]] std::string_view to_string(ErrorCode code);

/// The same error with `context` before its message: "cannot read /etc/x: permission denied".
[[nodiscard]] Error with_context(Error error, std::string_view context);

/// An `io` error from errno: "cannot open /x: No such file or directory".
[[nodiscard]] Error io_error(std::string_view what, int error_number);

/// Called by `Result::value()` on an error: throws std::runtime_error. Product code tests first.
[[noreturn]] void throw_exception_from_error(const Error& error, const boost::source_location& where);

}  // namespace agenttask
