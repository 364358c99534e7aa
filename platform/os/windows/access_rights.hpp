#pragma once
#include <memory>
#include <string>
#include <windows.h>

#include "platform/base/error.hpp"
#include "platform/os/secure_file.hpp"
#include "platform/os/windows/accounts.hpp"

/// Who may do what with a file, a folder or a pipe. Private to platform/os/windows.
namespace agenttask::os {

struct FreeLocal {
  void operator()(void* memory) const { ::LocalFree(memory); }
};

/// A security descriptor of the system's, made from the text that it has for them (SDDL).
class AccessRights {
 public:
  /// `internal` when the text is wrong.
  [[nodiscard]] static Result<AccessRights> from_text(const std::string& text);

  [[nodiscard]] SECURITY_ATTRIBUTES* attributes() { return &attributes_; }  ///< for calls that make something
  [[nodiscard]] ACL* list() const;                                          ///< who may do what
  [[nodiscard]] std::string list_text() const;  ///< as the system writes it, to compare with another

 private:
  std::unique_ptr<void, FreeLocal> descriptor_;
  SECURITY_ATTRIBUTES attributes_{sizeof(SECURITY_ATTRIBUTES), nullptr, FALSE};
};

/// SYSTEM, Administrators and the user of this process alone, or besides them everybody reads; nothing is
/// inherited from the folder above. What a folder holds inherits it from there.
[[nodiscard]] Result<AccessRights> rights_of_folder(Readable readable);
[[nodiscard]] Result<AccessRights> rights_of_file(Readable readable);

/// Who may do what with the file or folder now, in the system's text; empty when it does not tell.
[[nodiscard]] std::string list_text_of(HANDLE file);

/// Whom the object belongs to.
[[nodiscard]] Sid owner_of(HANDLE object, bool is_file);

/// Whether what belongs to this account can be trusted like our own: SYSTEM, Administrators, Windows' own
/// installer, and the user of this process.
[[nodiscard]] bool is_trusted(const Sid& account);
/// The same of the owner of an object: besides these, whoever our own objects belong to.
[[nodiscard]] bool is_trusted_owner(const Sid& owner);

/// The name of an account that is not trusted and has one of these rights to the file or folder (an access
/// mask); empty when there is none, the whole world's name when it has no list at all.
[[nodiscard]] std::string stranger_with(HANDLE file, DWORD rights);

}  // namespace agenttask::os
