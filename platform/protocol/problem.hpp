#pragma once
#include <string>
#include <string_view>

#include "platform/base/error.hpp"

namespace agenttask {

/// A problem document (RFC 9457), `application/problem+json`: the one form of every error over HTTPS and on
/// the console.
struct Problem {
  int status = 500;        ///< HTTP status
  std::string code;        ///< stable: `unknown-node`
  std::string detail;      ///< for people: what was tried, on what, why it failed, what to do next
  std::string field = {};  ///< the field at fault
  std::string extra = {};  ///< JSON object text whose members are added (`candidates`, `task`); empty: none
};

constexpr std::string_view kProblemType = "application/problem+json";

[[nodiscard]] std::string encode(const Problem& problem);
/// Reads one from a peer, at most 4 KiB of its `detail`; where the body is not one, `code` is `http-<status>`
/// and `detail` a bounded excerpt of it.
[[nodiscard]] Problem decode_problem(int status, std::string_view body);
/// The usual mapping of an error: invalid 400, unauthorized 401, denied 403, not_found 404, conflict 409,
/// limit 413 for bodies and 400 for fields, unavailable 503, unsupported 422, others 500.
[[nodiscard]] Problem to_problem(const Error& error);

}  // namespace agenttask
