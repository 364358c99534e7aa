#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "platform/base/error.hpp"

/// What the fuzzers try, and what they hold it to. A target is one function that takes bytes which somebody
/// hostile made; replay.cpp and coverage.cpp are the two ways to feed it.
namespace agenttask::fuzz {

/// One parser, or the few that read the same thing.
struct Target {
  std::string_view name;    ///< also of its folder in seeds/
  std::string_view covers;  ///< for people
  void (*run)(std::string_view bytes);
  std::size_t most_bytes = 4096;  ///< what a fuzzer may try; seeds may be larger
};

/// All of them, by name.
[[nodiscard]] const std::vector<Target>& targets();
/// Null where there is none of that name.
[[nodiscard]] const Target* find_target(std::string_view name);

/// Ends the program and names the promise where it is broken. `detail`: what it was broken with.
void hold(bool holds, std::string_view promise, std::string_view detail = {});

/// What every refusal has: a kind that the sender can act on, and words that fit into JSON and a log line.
void hold_refusal(const Error& error);
/// The same, where the refusal has to name the field at fault.
void hold_refusal_names_field(const Error& error);

/// The text of a JSON value that `text` is; nothing where it is none, and the refusal is as it should be.
[[nodiscard]] Result<nlohmann::json> read_json(std::string_view text);

/// Takes the first line off `rest`, without its newline: targets that read several things get them so.
[[nodiscard]] std::string_view take_line(std::string_view& rest);

}  // namespace agenttask::fuzz
