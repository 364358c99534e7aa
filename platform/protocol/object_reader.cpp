#include "platform/protocol/object_reader.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include <nlohmann/json.hpp>

#include "platform/base/encoding.hpp"
#include "platform/base/error_text.hpp"

namespace agenttask {
namespace {

constexpr std::size_t kQuotedBytes = 100;

}  // namespace

std::string cut_to(std::string text, std::size_t most_bytes) {
  if (text.size() <= most_bytes) return text;
  const std::string mark = "… [cut; it had " + std::to_string(text.size()) + " bytes]";
  text.resize(most_bytes - mark.size());
  text.resize(text.size() - incomplete_utf8_tail(text));
  return text + mark;
}

ObjectReader::ObjectReader(const nlohmann::json& object, Unknown unknown, std::string path)
    : object_(object), unknown_(unknown), path_(std::move(path)) {
  if (!object.is_object()) {
    error_ =
        Error{ErrorCode::invalid, (path_.empty() ? "the document" : path_) + " must be a JSON object", path_};
  }
}

std::string ObjectReader::path_of(std::string_view name) const {
  return path_.empty() ? std::string(name) : path_ + "." + std::string(name);
}

void ObjectReader::refuse(std::string_view name, std::string message, ErrorCode code) {
  if (!error_) error_ = Error{code, path_of(name) + " " + message, path_of(name)};
}

void ObjectReader::refuse(Error error) {
  if (!error_) error_ = std::move(error);
}

bool ObjectReader::has(std::string_view name) const {
  return object_.is_object() && object_.contains(name);
}

void ObjectReader::require(std::string_view name) {
  if (!has(name)) refuse(name, "is missing");
}

const nlohmann::json* ObjectReader::member(std::string_view name) {
  known_.emplace_back(name);
  if (error_) return nullptr;
  const auto found = object_.find(name);
  return found == object_.end() ? nullptr : &*found;
}

std::optional<std::string> ObjectReader::text(std::string_view name, std::size_t most_bytes,
                                              std::size_t least_bytes) {
  const auto* value = member(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) {
    refuse(name, "must be a string");
    return std::nullopt;
  }
  const auto& content = value->get_ref<const std::string&>();
  if (content.size() < least_bytes) refuse(name, "must not be empty");
  if (content.size() > most_bytes) {
    refuse(name,
           "has " + std::to_string(content.size()) + " bytes; at most " + std::to_string(most_bytes) +
               " are allowed",
           ErrorCode::limit);
  }
  if (content.find('\0') != std::string::npos) refuse(name, "must not contain the character U+0000");
  if (error_) return std::nullopt;
  return content;
}

std::optional<std::string> ObjectReader::explanation(std::string_view name, std::size_t most_bytes) {
  const auto* value = member(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) {
    refuse(name, "must be a string");
    return std::nullopt;
  }
  auto content = value->get<std::string>();
  constexpr std::string_view kInPlaceOfNul = "\uFFFD";
  for (auto at = content.find('\0'); at != std::string::npos; at = content.find('\0', at)) {
    content.replace(at, 1, kInPlaceOfNul);
  }
  return cut_to(std::move(content), most_bytes);
}

std::optional<std::int64_t> ObjectReader::integer(std::string_view name, std::int64_t least,
                                                  std::int64_t most) {
  const auto* value = member(name);
  if (value == nullptr) return std::nullopt;
  const std::string range =
      "must be a whole number from " + std::to_string(least) + " to " + std::to_string(most);
  std::optional<std::int64_t> number;
  if (value->is_number_unsigned()) {
    const auto wide = value->get<std::uint64_t>();
    if (wide <= static_cast<std::uint64_t>(INT64_MAX)) number = static_cast<std::int64_t>(wide);
  } else if (value->is_number_integer()) {
    number = value->get<std::int64_t>();
  } else if (value->is_number_float()) {
    const auto wide = value->get<double>();
    constexpr double kept_exactly = 9007199254740992.0;  // 2^53
    if (std::trunc(wide) == wide && std::abs(wide) <= kept_exactly) number = static_cast<std::int64_t>(wide);
  }
  if (!number || *number < least || *number > most) {
    refuse(name, range);
    return std::nullopt;
  }
  return number;
}

std::optional<bool> ObjectReader::boolean(std::string_view name) {
  const auto* value = member(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) {
    refuse(name, "must be true or false");
    return std::nullopt;
  }
  return value->get<bool>();
}

std::optional<std::vector<std::string>> ObjectReader::texts(std::string_view name, std::size_t most,
                                                            std::size_t most_bytes, std::size_t least_bytes) {
  const auto* list = array(name, most);
  if (list == nullptr) return std::nullopt;
  std::vector<std::string> items;
  items.reserve(list->size());
  for (std::size_t i = 0; i < list->size(); ++i) {
    const std::string item_name = std::string(name) + "[" + std::to_string(i) + "]";
    const auto& item = (*list)[i];
    if (!item.is_string()) {
      refuse(item_name, "must be a string");
      return std::nullopt;
    }
    const auto& content = item.get_ref<const std::string&>();
    if (content.size() < least_bytes) refuse(item_name, "must not be empty");
    if (content.size() > most_bytes) {
      refuse(item_name, "has more than " + std::to_string(most_bytes) + " bytes", ErrorCode::limit);
    }
    if (content.find('\0') != std::string::npos) refuse(item_name, "must not contain the character U+0000");
    if (error_) return std::nullopt;
    items.push_back(content);
  }
  return items;
}

const nlohmann::json* ObjectReader::object(std::string_view name) {
  const auto* value = member(name);
  if (value == nullptr) return nullptr;
  if (!value->is_object()) {
    refuse(name, "must be a JSON object");
    return nullptr;
  }
  return value;
}

const nlohmann::json* ObjectReader::array(std::string_view name, std::size_t most) {
  const auto* value = member(name);
  if (value == nullptr) return nullptr;
  if (!value->is_array()) {
    refuse(name, "must be a JSON array");
    return nullptr;
  }
  if (value->size() > most) {
    refuse(name,
           "has " + std::to_string(value->size()) + " elements; at most " + std::to_string(most) +
               " are allowed",
           ErrorCode::limit);
    return nullptr;
  }
  return value;
}

std::optional<Error> ObjectReader::finish() {
  if (!error_ && unknown_ == Unknown::refuse) {
    for (const auto& [name, value] : object_.items()) {
      if (std::find(known_.begin(), known_.end(), name) == known_.end()) {
        refuse(name.empty() ? "\"\"" : excerpt(name, kQuotedBytes), "is not a field that is known here");
        break;
      }
    }
  }
  return error_;
}

}  // namespace agenttask
