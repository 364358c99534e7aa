#include "server/http/response_text.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>

#include <boost/beast/http/status.hpp>

namespace agenttask::server {
namespace {

bool is_plain(std::string_view text) {
  return std::none_of(text.begin(), text.end(), [](char byte) {
    const auto value = static_cast<unsigned char>(byte);
    return (value < 0x20 && byte != '\t') || value == 0x7f;
  });
}

void add_field(std::string& text, std::string_view name, std::string_view value) {
  if (!is_plain(name) || !is_plain(value)) return;
  text.append(name).append(": ").append(value).append("\r\n");
}

}  // namespace

std::string http_date(UnixMilliseconds time) {
  using namespace std::chrono;
  static constexpr std::array<const char*, 7> kDays{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr std::array<const char*, 12> kMonths{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const sys_seconds point{floor<seconds>(milliseconds(time))};
  const auto day = floor<days>(point);
  const year_month_day date{day};
  const hh_mm_ss clock{point - day};
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%s, %02u %s %04d %02d:%02d:%02d GMT",
                kDays[weekday{day}.c_encoding()], static_cast<unsigned>(date.day()),
                kMonths[static_cast<unsigned>(date.month()) - 1], static_cast<int>(date.year()),
                static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
                static_cast<int>(clock.seconds().count()));
  return text.data();
}

std::string head_text(const Response& response, BodyForm form, bool keep_alive, UnixMilliseconds now) {
  const auto reason =
      boost::beast::http::obsolete_reason(static_cast<boost::beast::http::status>(response.status));
  std::string text = "HTTP/1.1 " + std::to_string(response.status) + ' ';
  text.append(reason.data(), reason.size()).append("\r\n");
  add_field(text, "Date", http_date(now));
  add_field(text, "Connection", keep_alive ? "keep-alive" : "close");
  add_field(text, "Cache-Control", "no-store");
  const bool may_have_body = response.status != 204 && response.status != 304;
  if (may_have_body && !response.content_type.empty()) add_field(text, "Content-Type", response.content_type);
  if (form == BodyForm::chunked) add_field(text, "Transfer-Encoding", "chunked");
  if (form == BodyForm::whole && may_have_body) {
    add_field(text, "Content-Length", std::to_string(response.body.size()));
  }
  for (const auto& [name, value] : response.headers) add_field(text, name, value);
  return text.append("\r\n");
}

std::string chunk_text(std::string_view bytes) {
  if (bytes.empty()) return {};
  std::array<char, 32> size{};
  std::snprintf(size.data(), size.size(), "%zx\r\n", bytes.size());
  std::string text = size.data();
  return text.append(bytes).append("\r\n");
}

Response problem_response(const Problem& problem, std::chrono::seconds retry_after) {
  Response response;
  response.status = problem.status;
  response.content_type = kProblemType;
  response.body = encode(problem);
  if (problem.status == 503) {
    response.headers.emplace_back("Retry-After", std::to_string(retry_after.count()));
  }
  return response;
}

}  // namespace agenttask::server
