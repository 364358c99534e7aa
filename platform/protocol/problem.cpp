#include "platform/protocol/problem.hpp"

#include <nlohmann/json.hpp>

#include "platform/base/encoding.hpp"
#include "platform/base/error_text.hpp"
#include "platform/protocol/json.hpp"

namespace agenttask {
namespace {

int http_status(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid:
      return 400;
    case ErrorCode::limit:
      return 400;
    case ErrorCode::unauthorized:
      return 401;
    case ErrorCode::denied:
      return 403;
    case ErrorCode::not_found:
      return 404;
    case ErrorCode::conflict:
      return 409;
    case ErrorCode::unsupported:
      return 422;
    case ErrorCode::unavailable:
      return 503;
    case ErrorCode::timeout:
      return 504;
    case ErrorCode::corrupt:
    case ErrorCode::newer:
    case ErrorCode::io:
    case ErrorCode::internal:
      return 500;
  }
  return 500;
}

std::string_view title(int status) {
  switch (status) {
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 410:
      return "Gone";
    case 413:
      return "Content Too Large";
    case 415:
      return "Unsupported Media Type";
    case 417:
      return "Expectation Failed";
    case 422:
      return "Unprocessable Content";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return status < 500 ? "Request Refused" : "Internal Server Error";
  }
}

std::string string_member(const nlohmann::json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

}  // namespace

std::string encode(const Problem& problem) {
  nlohmann::json body = nlohmann::json::object();
  if (!problem.extra.empty()) {
    if (auto extra = parse_json(problem.extra); extra && extra->is_object()) body = std::move(*extra);
  }
  body["type"] = "about:blank";
  body["title"] = title(problem.status);
  body["status"] = problem.status;
  body["code"] = problem.code;
  body["detail"] = problem.detail;
  if (!problem.field.empty()) body["field"] = problem.field;
  // A detail may quote what somebody sent: never fail on bytes that are not UTF-8.
  return body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Problem decode_problem(int status, std::string_view body) {
  constexpr std::size_t kCodeBytes = 64;
  constexpr std::size_t kFieldBytes = 256;
  constexpr std::size_t kDetailBytes = 4096;
  constexpr std::size_t kTextBytes = 300;
  auto parsed = parse_json(body);
  if (parsed && parsed->is_object() && !string_member(*parsed, "code").empty()) {
    Problem problem{status, excerpt(string_member(*parsed, "code"), kCodeBytes),
                    excerpt(string_member(*parsed, "detail"), kDetailBytes),
                    excerpt(string_member(*parsed, "field"), kFieldBytes)};
    for (const char* known : {"type", "title", "status", "code", "detail", "field"}) parsed->erase(known);
    if (!parsed->empty()) problem.extra = encode_json(*parsed);
    return problem;
  }
  std::string text;
  for (const char c : excerpt(body, kTextBytes)) text += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  if (!is_utf8(text)) text = "(an answer that is not text)";
  return {status, "http-" + std::to_string(status), text};
}

Problem to_problem(const Error& error) {
  return {http_status(error.code), std::string(to_string(error.code)), error.message, error.field};
}

}  // namespace agenttask
