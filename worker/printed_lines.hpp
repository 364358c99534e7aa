#pragma once
#include <iostream>
#include <mutex>
#include <streambuf>
#include <string>

#include "worker/conversation.hpp"

namespace agenttask::worker {

/// Makes `std::cout` go beside the lines of the protocol, never into them, from any number of threads: a line
/// that the worker has begun is ended before one of ours. Lasts as long as it lives.
class PrintedLines : public std::streambuf {
 public:
  explicit PrintedLines(Conversation& conversation)
      : conversation_(conversation), before_(std::cout.rdbuf(this)) {}
  ~PrintedLines() override {
    sync();
    std::cout.rdbuf(before_);
  }
  PrintedLines(const PrintedLines&) = delete;
  PrintedLines& operator=(const PrintedLines&) = delete;

 protected:
  int_type overflow(int_type character) override;
  std::streamsize xsputn(const char* text, std::streamsize count) override;
  int sync() override;

 private:
  bool take(std::string_view text);

  Conversation& conversation_;
  std::streambuf* before_;
  std::mutex mutex_;
  std::string waiting_;  ///< the beginning of a line
};

}  // namespace agenttask::worker
