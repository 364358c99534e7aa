// Without this the library would end the program where it finds a fault.
#define VALIJSON_USE_EXCEPTIONS 1
#include "agent/workers/data_schema.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <exception>
#include <limits>
#include <map>
#include <optional>
#include <regex>
#include <set>
#include <string>
#include <valijson/adapters/nlohmann_json_adapter.hpp>
#include <valijson/schema.hpp>
#include <valijson/schema_parser.hpp>
#include <valijson/validator.hpp>

#include <nlohmann/json.hpp>

namespace {

using Visitor = valijson::ValidationVisitor<valijson::adapters::NlohmannJsonAdapter>;

constexpr std::size_t kMostPatternText = 64 * 1024;
constexpr std::size_t kMostUniqueItems = 5000;
constexpr double kBeyondSigned = 9223372036854775808.0;  // 2^63

/// In time that grows with the text alone: the library's usual way takes exponential time and a deep stack.
std::regex bounded_regex(const std::string& pattern) {
  return std::regex(pattern, std::regex::ECMAScript | std::regex_constants::__polynomial);
}

}  // namespace

// What a task's data could make run away is done here in the library's place.
namespace valijson {

template <>
bool Visitor::visit(const constraints::PatternConstraint& constraint) {
  if (!m_target.isString()) return true;
  const std::string text = m_target.asString();
  const std::string pattern(constraint.getPattern<std::string::allocator_type>());
  if (text.size() <= kMostPatternText) {
    auto known = m_regexesCache.find(pattern);
    if (known == m_regexesCache.end()) known = m_regexesCache.emplace(pattern, bounded_regex(pattern)).first;
    if (std::regex_search(text, known->second)) return true;
  }
  if (m_results != nullptr) {
    m_results->pushError(m_context, text.size() > kMostPatternText
                                        ? "is too long to be held against the pattern " + pattern
                                        : "does not match the pattern " + pattern);
  }
  return false;
}

template <>
bool Visitor::visit(const constraints::FormatConstraint&) {
  return true;
}

// The library divides whole numbers, and makes whole ones of others, without a look at what can be divided.
template <>
bool Visitor::visit(const constraints::MultipleOfIntConstraint& constraint) {
  const std::int64_t divisor = constraint.getDivisor();
  const bool whole = m_target.isInteger();
  if (!whole && !m_target.isDouble()) return true;
  if (whole ? m_target.getInteger() % divisor == 0
            : std::fmod(m_target.getDouble(), static_cast<double>(divisor)) == 0)
    return true;
  if (m_results != nullptr) m_results->pushError(m_context, "is no multiple of " + std::to_string(divisor));
  return false;
}

// What is greater than any signed number of 64 bits comes as a double (see within_range), and is whole.
template <>
bool Visitor::visit(const constraints::TypeConstraint& constraint) {
  bool fits = false;
  constraint.applyToNamedTypes(ValidateNamedTypes(m_target, false, true, m_strictTypes, &fits));
  if (!fits && m_target.isDouble() && m_target.getDouble() >= kBeyondSigned) {
    constraint.applyToNamedTypes([&fits](TypeConstraint::JsonType type) {
      fits = type == TypeConstraint::kInteger;
      return !fits;
    });
  }
  if (!fits && m_results != nullptr) m_results->pushError(m_context, "has a type that is not allowed here");
  return fits;
}

template <>
bool Visitor::visit(const constraints::UniqueItemsConstraint&) {
  if (!m_target.isArray()) return true;
  const auto items = m_target.asArray();
  const auto refuse = [&](const std::string& why) {
    if (m_results != nullptr) m_results->pushError(m_context, why);
    return false;
  };
  if (items.size() > kMostUniqueItems) {
    return refuse("has more than " + std::to_string(kMostUniqueItems) + " items, too many to compare");
  }
  for (auto first = items.begin(); first != items.end(); ++first) {
    auto second = first;
    for (++second; second != items.end(); ++second) {
      if (first->equalTo(*second, true)) return refuse("has the same item twice");
    }
  }
  return true;
}

}  // namespace valijson

namespace agenttask::agent {
namespace {

using nlohmann::json;

constexpr std::size_t kMostSubschemas = 10'000;
constexpr std::size_t kMostLevels = 256;             ///< each takes some stack of the library's
constexpr double kMostFactor = 4611686018427387904;  // 2^62: any other is a whole number of 64 bits

Error fault(std::string message) {
  return Error{ErrorCode::invalid, std::move(message), "dataSchema"};
}

bool is_beyond_signed(const json& value) {
  return value.is_number_unsigned() &&
         value.get<std::uint64_t>() > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
}

bool has_beyond_signed(const json& value) {
  if (!value.is_structured()) return is_beyond_signed(value);
  return std::any_of(value.begin(), value.end(), [](const json& inner) { return has_beyond_signed(inner); });
}

/// The library reads whole numbers as signed ones of 64 bits, the greatest of ours as negative. As doubles
/// they have their place among the others.
void bring_within_range(json& value) {
  if (is_beyond_signed(value)) value = value.get<double>();
  if (!value.is_structured()) return;
  for (json& inner : value) bring_within_range(inner);
}

json within_range(json value) {
  bring_within_range(value);
  return value;
}

/// Follows all subschemas of one document, and those of the same value through `$ref`.
class SchemaWalk {
 public:
  explicit SchemaWalk(const json& root) : root_(root) {}

  /// How deep whoever follows all members and references gets, round no circle twice. `invalid`: too deep.
  Result<std::size_t> levels_of(const json& value) {
    if (!value.is_structured()) return std::size_t{0};
    if (const auto known = levels_.find(&value); known != levels_.end()) return known->second;
    if (!way_.insert(&value).second) return std::size_t{0};
    std::size_t below = 0;
    for (const auto& [name, inner] : value.items()) {
      for (const json* next : {&inner, value.is_object() && name == "$ref" ? find(inner) : nullptr}) {
        if (next == nullptr || way_.size() > kMostLevels) continue;
        const auto levels = levels_of(*next);
        if (!levels) return levels;
        below = std::max(below, *levels);
      }
    }
    if (below + way_.size() > kMostLevels) {
      return fault("its subschemas and references lead more than " + std::to_string(kMostLevels) +
                   " levels deep");
    }
    way_.erase(&value);
    return levels_[&value] = below + 1;
  }

  Result<void> walk(const json& schema) {
    if (schema.is_boolean()) return {};
    if (!schema.is_object()) return fault("a schema is an object, true, or false");
    if (!seen_.insert(&schema).second) return {};
    if (schema.contains("patternProperties")) {
      return fault("patternProperties is not supported: use propertyNames, or additionalProperties");
    }
    if (auto checked = check_pattern(schema); !checked) return checked;
    if (const auto factor = schema.find("multipleOf");
        factor != schema.end() &&
        !(factor->is_number() && factor->get<double>() > 0 && factor->get<double>() < kMostFactor)) {
      return fault("multipleOf must be a number above 0, and below 2^62");
    }
    const auto cost = cost_of(schema);
    if (!cost) return cost.error();
    for (const auto& [name, value] : schema.items()) {
      if (auto done = walk_member(name, value); !done) return done;
    }
    return {};
  }

 private:
  static Result<void> check_pattern(const json& schema) {
    const auto pattern = schema.find("pattern");
    if (pattern == schema.end()) return {};
    if (!pattern->is_string()) return fault("pattern must be a string");
    try {
      (void)bounded_regex(pattern->get_ref<const std::string&>());
    } catch (const std::regex_error& error) {
      return fault("the pattern " + pattern->get<std::string>() + " can't be used: " + error.what());
    }
    return {};
  }

  Result<void> walk_member(const std::string& name, const json& value) {
    static const std::set<std::string> one{
        "additionalItems", "additionalProperties", "contains", "if", "then", "else", "not", "propertyNames"};
    static const std::set<std::string> lists{"allOf", "anyOf", "oneOf"};
    static const std::set<std::string> named{"properties", "definitions", "dependencies"};
    if (one.contains(name)) return walk(value);
    if (lists.contains(name) || (name == "items" && value.is_array())) return walk_each(value);
    if (name == "items") return walk(value);
    if (!named.contains(name)) return {};
    if (!value.is_object()) return fault(name + " must be an object");
    for (const auto& [key, inner] : value.items()) {
      if (name == "dependencies" && inner.is_array()) continue;
      if (auto done = walk(inner); !done) return done;
    }
    return {};
  }

  Result<void> walk_each(const json& list) {
    if (!list.is_array()) return fault("allOf, anyOf, and oneOf must be arrays");
    for (const json& inner : list) {
      if (auto done = walk(inner); !done) return done;
    }
    return {};
  }

  /// How many subschemas one value is held against, all of them.
  Result<std::size_t> cost_of(const json& schema) {
    if (!schema.is_object()) return std::size_t{1};
    if (const auto known = costs_.find(&schema); known != costs_.end()) return known->second;
    if (!open_.insert(&schema).second) return fault("its subschemas refer to each other in a circle");
    std::size_t cost = 1;
    const auto add = [&](const json& inner) -> Result<void> {
      const auto more = cost_of(inner);
      if (!more) return more.error();
      cost += *more;
      if (cost > kMostSubschemas) {
        return fault("a value would be held against more than " + std::to_string(kMostSubschemas) +
                     " subschemas");
      }
      return {};
    };
    for (const auto& [name, value] : schema.items()) {
      if (name == "$ref") {
        const json* target = find(value);
        if (target == nullptr) {
          return fault("$ref " + value.dump() + " names nothing in this schema; only # and #/… can be used");
        }
        if (auto added = add(*target); !added) return added.error();
      } else if (name == "if" || name == "then" || name == "else" || name == "not") {
        if (auto added = add(value); !added) return added.error();
      } else if (name == "allOf" || name == "anyOf" || name == "oneOf" || name == "dependencies") {
        for (const json& inner : value) {
          if (auto added = add(inner); !added) return added.error();
        }
      }
    }
    open_.erase(&schema);
    costs_[&schema] = cost;
    return cost;
  }

  [[nodiscard]] const json* find(const json& reference) const {
    if (!reference.is_string()) return nullptr;
    const auto& text = reference.get_ref<const std::string&>();
    if (text.empty() || text.front() != '#') return nullptr;
    try {
      const json::json_pointer place(text.substr(1));
      return root_.contains(place) ? &root_.at(place) : nullptr;
    } catch (const json::exception&) {
      return nullptr;
    }
  }

  const json& root_;
  std::set<const json*> way_;
  std::map<const json*, std::size_t> levels_;
  std::set<const json*> seen_;
  std::set<const json*> open_;
  std::map<const json*, std::size_t> costs_;
};

}  // namespace

struct DataSchema::Compiled {
  valijson::Schema schema;
};

DataSchema::DataSchema(std::unique_ptr<const Compiled> compiled) : compiled_(std::move(compiled)) {}
DataSchema::~DataSchema() = default;

Result<std::shared_ptr<const DataSchema>> DataSchema::parse(const json& schema) {
  if (!schema.is_object()) return fault("a schema must be an object");
  SchemaWalk walk(schema);
  if (const auto levels = walk.levels_of(schema); !levels) return levels.error();
  if (const auto walked = walk.walk(schema); !walked) return walked.error();
  auto compiled = std::make_unique<Compiled>();
  try {
    valijson::SchemaParser parser(valijson::SchemaParser::kDraft7);
    const json known = within_range(schema);
    parser.populateSchema(valijson::adapters::NlohmannJsonAdapter(known), compiled->schema);
  } catch (const std::exception& error) {
    return fault(std::string("is not a JSON schema: ") + error.what());
  }
  return std::shared_ptr<const DataSchema>(new DataSchema(std::move(compiled)));
}

Result<void> DataSchema::check(const json& given) const {
  std::optional<json> changed;
  if (has_beyond_signed(given)) changed = within_range(given);
  const json& data = changed ? *changed : given;
  try {
    valijson::Validator validator;
    valijson::ValidationResults faults;
    const valijson::adapters::NlohmannJsonAdapter target(data);
    // Once without a report, which ends at the first fault; what is wrong is only worked out where something
    // is.
    if (validator.validate(compiled_->schema, target, nullptr)) return {};
    (void)validator.validate(compiled_->schema, target, &faults);
    std::string place = "data";
    std::string message = "does not fit the worker's dataSchema";
    valijson::ValidationResults::Error first;
    if (faults.popError(first)) {
      for (const std::string& step : first.context) {
        if (step != "<root>") place += step;
      }
      message = first.description;
    }
    return Error{ErrorCode::invalid, message, place};
  } catch (const std::exception& error) {
    return Error{ErrorCode::invalid,
                 std::string("can't be held against the worker's dataSchema: ") + error.what(), "data"};
  }
}

}  // namespace agenttask::agent
