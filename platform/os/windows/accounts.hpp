#pragma once
#include <string>
#include <vector>
#include <windows.h>

#include "platform/base/error.hpp"

namespace agenttask::os {

/// The identity of an account or group, "S-1-5-18", as Windows itself keeps it. Names are for people: they
/// can be given to another account, and those of the built-in ones differ between languages. Private to
/// platform/os/windows.
class Sid {
 public:
  Sid() = default;
  /// A copy of what the system gave.
  explicit Sid(PSID sid);

  [[nodiscard]] PSID get() const;  ///< for calls of the system, which only read it
  [[nodiscard]] bool is_valid() const { return !bytes_.empty(); }
  [[nodiscard]] std::string text() const;  ///< "S-1-5-18"
  [[nodiscard]] bool operator==(const Sid& other) const { return bytes_ == other.bytes_; }

 private:
  std::vector<unsigned char> bytes_;
};

[[nodiscard]] Sid system_sid();          ///< SYSTEM, as which services run
[[nodiscard]] Sid administrators_sid();  ///< the group Administrators

/// The account or group with this name: "NAME", "DOMAIN\NAME", or the text of a SID. `not_found`.
[[nodiscard]] Result<Sid> find_account(const std::string& name);
/// "ann" for accounts and groups of this machine and the built-in ones, "DOMAIN\ann" for others, so that
/// nobody from elsewhere passes for somebody from here; the SID's text where it has no name.
[[nodiscard]] std::string account_name(const Sid& sid);

/// Whether this is a person's account rather than a service's: of this machine, a domain or a directory.
[[nodiscard]] bool is_person(const Sid& sid);

/// The user of a process's or thread's token; not valid when the system does not tell.
[[nodiscard]] Sid user_of(HANDLE token);
/// The groups of a token that count (not those that only deny).
[[nodiscard]] std::vector<Sid> groups_of(HANDLE token);
/// Whom new objects of this process belong to.
[[nodiscard]] Sid default_owner_of_this_process();
[[nodiscard]] Sid user_of_this_process();

}  // namespace agenttask::os
