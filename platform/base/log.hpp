#pragma once
#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>

#include "platform/base/error.hpp"

namespace agenttask {

enum class LogLevel : std::uint8_t { debug, info, warning, error };
enum class LogFormat : std::uint8_t { text, json };

[[nodiscard]] Result<LogLevel> parse_log_level(std::string_view name);
[[nodiscard]] Result<LogFormat> parse_log_format(std::string_view name);

/// One `key=value` of a log line. Values are quoted where needed; payloads and secrets never go here.
struct LogField {
  LogField(std::string_view key_, std::string_view value_) : key(key_), value(value_) {}
  LogField(std::string_view key_, const char* value_) : key(key_), value(value_) {}
  LogField(std::string_view key_, const std::string& value_) : key(key_), value(value_) {}
  template <class Number, class = std::enable_if_t<std::is_arithmetic_v<Number>>>
  LogField(std::string_view key_, Number value_) : key(key_), value(std::to_string(value_)) {}
  std::string_view key;
  std::string value;
};

/// Writes lines of key=value or JSON to standard error, which journald and the service managers collect.
///
/// `warning("cannot reach the server", {{"node", id}, {"error", error.message}})` prints
/// `2026-11-22T05:10:00.123Z warning cannot reach the server node=… error="…"`.
/// Threads: any. Passed by reference to whoever logs; there is no global logger.
class Logger {
 public:
  using Fields = std::initializer_list<LogField>;

  Logger(LogLevel level, LogFormat format);
  ~Logger();
  Logger(const Logger&) = delete;
  Logger& operator=(const Logger&) = delete;

  /// May be changed while running (SIGHUP).
  void set_level(LogLevel level) { level_.store(level, std::memory_order_relaxed); }
  [[nodiscard]] bool enabled(LogLevel level) const { return level >= level_.load(std::memory_order_relaxed); }

  void write(LogLevel level, std::string_view message, Fields fields);
  void debug(std::string_view message, Fields fields = {}) { write(LogLevel::debug, message, fields); }
  void info(std::string_view message, Fields fields = {}) { write(LogLevel::info, message, fields); }
  void warning(std::string_view message, Fields fields = {}) { write(LogLevel::warning, message, fields); }
  void error(std::string_view message, Fields fields = {}) { write(LogLevel::error, message, fields); }

 private:
  struct Sink;
  std::atomic<LogLevel> level_;
  LogFormat format_;
  std::unique_ptr<Sink> sink_;
};

/// `text` in quotes with JSON's escapes, for log lines: control bytes can't forge a line. Bytes that are not
/// UTF-8 become U+FFFD.
[[nodiscard]] std::string quote(std::string_view text);

}  // namespace agenttask
