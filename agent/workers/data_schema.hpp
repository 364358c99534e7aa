#pragma once
#include <memory>

#include <nlohmann/json_fwd.hpp>

#include "platform/base/error.hpp"

namespace agenttask::agent {

/// A JSON Schema (draft 7) that `data` of a worker's tasks has to fit.
///
/// What a schema may have is bounded, so that no schema and no data makes a check run away: `$ref` within the
/// document alone (`#`, `#/definitions/x`), at most 256 levels along them, no circle of subschemas about the
/// same value, no `patternProperties`, `pattern` without back references and on strings up to 64 KiB,
/// `uniqueItems` on up to 5000 items. `format` is not checked, as the standard allows. Threads: any.
class DataSchema {
 public:
  /// `invalid` with what is wrong with the schema.
  [[nodiscard]] static Result<std::shared_ptr<const DataSchema>> parse(const nlohmann::json& schema);
  ~DataSchema();
  DataSchema(const DataSchema&) = delete;
  DataSchema& operator=(const DataSchema&) = delete;

  /// `invalid` with the place in `data` and what is wrong there.
  [[nodiscard]] Result<void> check(const nlohmann::json& data) const;

 private:
  struct Compiled;
  explicit DataSchema(std::unique_ptr<const Compiled> compiled);
  std::unique_ptr<const Compiled> compiled_;
};

}  // namespace agenttask::agent
