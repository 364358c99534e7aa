#include "platform/base/log.hpp"

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "platform/base/encoding.hpp"

namespace agenttask {
namespace {

std::string_view level_name(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return "debug";
    case LogLevel::info:
      return "info";
    case LogLevel::warning:
      return "warning";
    case LogLevel::error:
      return "error";
  }
  return "error";
}

spdlog::level::level_enum spdlog_level(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return spdlog::level::debug;
    case LogLevel::info:
      return spdlog::level::info;
    case LogLevel::warning:
      return spdlog::level::warn;
    case LogLevel::error:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

std::string timestamp() {
  using namespace std::chrono;
  const auto now = duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(static_cast<std::time_t>(now / 1000)),
                     now % 1000);
}

bool is_plain(std::string_view value) {
  return !value.empty() &&
         value.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/@+,%") ==
             std::string_view::npos;
}

/// Whether standard error is the journal of systemd, which tells in JOURNAL_STREAM as `DEVICE:INODE` which
/// socket it made for us: somebody may have redirected us since.
bool writes_to_journal() {
  const char* stream = std::getenv("JOURNAL_STREAM");  // NOLINT(concurrency-mt-unsafe): read at the start
  if (stream == nullptr) return false;
  const std::string_view socket(stream);
  std::error_code unknown;
  const auto here = std::filesystem::read_symlink("/proc/self/fd/2", unknown).string();
  return !unknown && here == fmt::format("socket:[{}]", socket.substr(socket.find(':') + 1));
}

/// What the journal takes for a line's priority, and keeps to itself.
std::string_view journal_priority(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return "<7>";
    case LogLevel::info:
      return "<6>";
    case LogLevel::warning:
      return "<4>";
    case LogLevel::error:
      return "<3>";
  }
  return "<3>";
}

/// `when` is empty, or ends with a space.
std::string text_line(std::string_view when, LogLevel level, std::string_view message,
                      Logger::Fields fields) {
  std::string line = fmt::format("{}{} {}", when, level_name(level), message);
  for (const auto& field : fields) {
    line += fmt::format(" {}={}", field.key, is_plain(field.value) ? field.value : quote(field.value));
  }
  return line;
}

std::string json_line(LogLevel level, std::string_view message, Logger::Fields fields) {
  std::string line = fmt::format(R"({{"time":"{}","level":"{}","message":{})", timestamp(), level_name(level),
                                 quote(message));
  for (const auto& field : fields) line += fmt::format(",{}:{}", quote(field.key), quote(field.value));
  return line + "}";
}

}  // namespace

struct Logger::Sink {
  spdlog::logger logger{"agenttask", std::make_shared<spdlog::sinks::stderr_sink_mt>()};
  bool journal = writes_to_journal();  ///< it dates lines itself
};

Logger::Logger(LogLevel level, LogFormat format)
    : level_(level), format_(format), sink_(std::make_unique<Sink>()) {
  sink_->logger.set_pattern("%v");
  sink_->logger.set_level(spdlog::level::debug);
  sink_->logger.flush_on(spdlog::level::debug);
}

Logger::~Logger() = default;

void Logger::write(LogLevel level, std::string_view message, Fields fields) {
  if (!enabled(level)) return;
  std::string line = sink_->journal ? std::string(journal_priority(level)) : std::string();
  line += format_ == LogFormat::json
              ? json_line(level, message, fields)
              : text_line(sink_->journal ? std::string() : timestamp() + " ", level, message, fields);
  sink_->logger.log(spdlog_level(level), fmt::string_view("{}"), line);
}

std::string quote(std::string_view text) {
  std::string quoted = "\"";
  for (std::size_t at = 0; at < text.size();) {
    const auto byte = static_cast<unsigned char>(text[at]);
    if (byte >= 0x80) {
      std::size_t length = 4;
      while (length > 1 && (at + length > text.size() || !is_utf8(text.substr(at, length)))) --length;
      const std::string_view sequence = text.substr(at, length);
      quoted += is_utf8(sequence) ? sequence : std::string_view("\xEF\xBF\xBD");
      at += length;
      continue;
    }
    ++at;
    switch (byte) {
      case '"':
        quoted += "\\\"";
        break;
      case '\\':
        quoted += "\\\\";
        break;
      case '\n':
        quoted += "\\n";
        break;
      case '\r':
        quoted += "\\r";
        break;
      case '\t':
        quoted += "\\t";
        break;
      default:
        if (byte < 0x20 || byte == 0x7F) {
          quoted += fmt::format("\\u{:04x}", static_cast<unsigned>(byte));
        } else {
          quoted += static_cast<char>(byte);
        }
    }
  }
  return quoted + "\"";
}

Result<LogLevel> parse_log_level(std::string_view name) {
  for (const LogLevel level : {LogLevel::debug, LogLevel::info, LogLevel::warning, LogLevel::error}) {
    if (name == level_name(level)) return level;
  }
  return Error{ErrorCode::invalid, "no log level " + quote(name) + ": one of debug, info, warning, error"};
}

Result<LogFormat> parse_log_format(std::string_view name) {
  if (name == "text") return LogFormat::text;
  if (name == "json") return LogFormat::json;
  return Error{ErrorCode::invalid, "no log format " + quote(name) + ": one of text, json"};
}

}  // namespace agenttask
