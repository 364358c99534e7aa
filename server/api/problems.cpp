#include "server/api/problems.hpp"

namespace agenttask::server {

const CodeInfo& info(Code code) {
  for (const auto& each : kCodes) {
    if (each.code == code) return each;
  }
  return kCodes.back();
}

Response to_response(const Problem& problem) {
  Response response{problem.status, std::string(kProblemType), encode(problem), {}};
  if (problem.status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  if (problem.status == 503) response.headers.emplace_back("Retry-After", "2");
  return response;
}

Response refuse(Code code, std::string detail, std::string field, std::string extra) {
  const CodeInfo& known = info(code);
  return to_response(
      {known.status, std::string(known.name), std::move(detail), std::move(field), std::move(extra)});
}

Response refuse(const Error& error) {
  switch (error.code) {
    case ErrorCode::invalid:
      return refuse(Code::invalid, error.message, error.field);
    case ErrorCode::limit:
      return refuse(Code::limit, error.message, error.field);
    case ErrorCode::unsupported:
      return refuse(Code::unsupported, error.message, error.field);
    default:
      return refuse(Code::internal, error.message, error.field);
  }
}

Response refuse_storage(const Error& error) {
  return refuse(Code::storage_failed, "the server's database failed: " + error.message);
}

}  // namespace agenttask::server
