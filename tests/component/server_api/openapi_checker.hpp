#pragma once
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace agenttask::server::test {

/// Holds what the router answers against openapi.json: status, media type, codes, and every field of the
/// body.
class OpenapiChecker {
 public:
  explicit OpenapiChecker(std::string_view document) : document_(nlohmann::json::parse(document)) {}

  /// Everything in which an answer to `method` on the route `path` (with its `{…}`) departs from the
  /// document.
  [[nodiscard]] std::vector<std::string> faults(const std::string& method, const std::string& path,
                                                int status, const std::string& media,
                                                const std::string& body) const;
  /// Everything in which a value departs from a named schema.
  [[nodiscard]] std::vector<std::string> faults(const nlohmann::json& value,
                                                const std::string& schema_name) const;
  [[nodiscard]] const nlohmann::json& document() const { return document_; }

 private:
  void check(const nlohmann::json& value, const nlohmann::json& schema, const std::string& where,
             std::vector<std::string>& faults) const;
  nlohmann::json document_;
};

}  // namespace agenttask::server::test
