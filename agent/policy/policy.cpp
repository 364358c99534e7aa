#include "agent/policy/policy.hpp"

#include <utility>

#include "platform/os/secure_file.hpp"

namespace agenttask::agent {
namespace {

constexpr std::size_t kMostPolicyBytes = 4 * 1024 * 1024;

/// The rules of a file that only root and the agent itself can have written; none where there is no file.
Result<std::shared_ptr<const PolicyRules>> load(const std::filesystem::path& file) {
  if (file.empty()) return std::shared_ptr<const PolicyRules>();
  if (auto trusted = os::check_trusted(file); !trusted) {
    if (trusted.error().code == ErrorCode::not_found) return std::shared_ptr<const PolicyRules>();
    return trusted.error();
  }
  const auto text = os::read_file(file, kMostPolicyBytes);
  if (!text) return text.error();
  auto rules = parse_policy(*text);
  if (!rules) return rules.error();
  return std::shared_ptr<const PolicyRules>(std::make_shared<PolicyRules>(std::move(*rules)));
}

}  // namespace

Policy::Policy(std::filesystem::path file) : file_(std::move(file)) {
  (void)reload();
}

Result<void> Policy::reload() {
  auto loaded = load(file_);
  const std::scoped_lock lock(mutex_);
  if (loaded) {
    rules_ = std::move(*loaded);
    broken_.clear();
    return {};
  }
  rules_.reset();
  broken_ =
      "the policy file " + file_.string() + " can't be used, so nothing may run: " + loaded.error().message;
  return Error{loaded.error().code, broken_};
}

Result<void> Policy::check(const TaskSpec& spec) const {
  std::shared_ptr<const PolicyRules> rules;
  {
    const std::scoped_lock lock(mutex_);
    if (!broken_.empty()) return Error{ErrorCode::unavailable, broken_};
    rules = rules_;
  }
  if (!rules) return {};
  auto allowed = check_rules(*rules, spec);
  if (allowed) return {};
  return Error{ErrorCode::denied,
               "refused by the policy file " + file_.string() + ": " + allowed.error().message};
}

std::string Policy::describe() const {
  const std::scoped_lock lock(mutex_);
  if (!broken_.empty()) return broken_;
  return rules_ ? "in force" : "none";
}

}  // namespace agenttask::agent
