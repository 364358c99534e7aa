#pragma once
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "platform/base/error.hpp"
#include "platform/protocol/limits.hpp"

namespace agenttask {

/// Parses one JSON document strictly (RFC 8259) and exactly: what can't be kept exactly is refused, never
/// changed.
///
/// Refused with `invalid`: anything that is not UTF-8 or not JSON, text after the document, duplicate keys
/// (`field` names the key), integers that fit neither int64 nor uint64, and numbers with a fraction or
/// exponent that a double neither prints back so nor is usually written as (0.1 and 1e2 pass, 1e400 and
/// 9007199254740993.0 don't). With `limit`: deeper than `depth`. The caller bounds the size.
[[nodiscard]] Result<nlohmann::json> parse_json(std::string_view text,
                                                std::size_t depth = limits::kJsonDepth);

/// The one encoding that we write: keys sorted, no white space, UTF-8. parse_json(encode_json(v)) == v,
/// exactly.
[[nodiscard]] std::string encode_json(const nlohmann::json& value);

/// RFC 7386 merge of one level, as an update of `metadata` does it: keys of `patch` replace keys of `target`,
/// null removes one. Both are objects.
void merge_keys(nlohmann::json& target, const nlohmann::json& patch);

}  // namespace agenttask
