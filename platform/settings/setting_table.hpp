#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "platform/settings/setting_catalog.hpp"

namespace agenttask::settings {

/// One row of a program's table: what people see, and how its value gets into `Values` and out again.
template <class Values>
struct Setting {
  SettingInfo info;
  Result<void> (*set)(Values& values, std::string_view text);  ///< the error says what is accepted
  std::string (*get)(const Values& values);                    ///< in the form in which it is given
};

/// All settings of a program: names, defaults, bounds and help in one place.
template <class Values>
class SettingTable : public SettingCatalog {
 public:
  SettingTable(ProgramNames program, std::vector<Setting<Values>> rows)
      : SettingCatalog(std::move(program), infos(rows)), rows_(std::move(rows)) {}

  /// Defaults, then the file, then the environment, then flags. `invalid` names the source, the setting and
  /// what it may be; settings that the file names and nobody knows are errors. Environment and flags are
  /// taken in the order of the table. `spared` gets the problems of settings that are, in place of an error:
  /// these are then empty.
  [[nodiscard]] Result<Values> read(const Sources& sources, SettingProblems* spared = nullptr) const {
    Values values;
    auto done = apply(
        sources, [&](std::size_t i, std::string_view text) { return rows_[i].set(values, text); }, spared);
    if (!done) return done.error();
    return values;
  }

  /// All settings as a configuration file has them; those without a value, and secrets, as comments.
  [[nodiscard]] std::string describe(const Values& values) const { return describe_with(getter(values)); }

  /// Names of settings that differ and count only from the next start on.
  [[nodiscard]] std::vector<std::string> need_restart(const Values& before, const Values& after) const {
    return need_restart_with(getter(before), getter(after));
  }

 private:
  static std::vector<SettingInfo> infos(const std::vector<Setting<Values>>& rows) {
    std::vector<SettingInfo> all;
    all.reserve(rows.size());
    for (const auto& row : rows) all.push_back(row.info);
    return all;
  }
  Get getter(const Values& values) const {
    return [this, &values](std::size_t i) { return rows_[i].get(values); };
  }

  std::vector<Setting<Values>> rows_;
};

}  // namespace agenttask::settings
