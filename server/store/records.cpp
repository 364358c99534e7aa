#include "server/store/records.hpp"

namespace agenttask::server {

std::string_view to_string(Role role) {
  switch (role) {
    case Role::viewer:
      return "viewer";
    case Role::operator_:
      return "operator";
    case Role::admin:
      return "admin";
  }
  return "viewer";
}

Result<Role> parse_role(std::string_view name) {
  for (const Role role : {Role::viewer, Role::operator_, Role::admin}) {
    if (name == to_string(role)) return role;
  }
  return Error{ErrorCode::invalid, "no such role; one of viewer, operator, admin", "role"};
}

std::string_view to_string(DirectiveKind kind) {
  switch (kind) {
    case DirectiveKind::task:
      return "task";
    case DirectiveKind::update:
      return "update";
    case DirectiveKind::cancel:
      return "cancel";
    case DirectiveKind::delete_:
      return "delete";
    case DirectiveKind::choose:
      return "choose";
    case DirectiveKind::pause:
      return "pause";
    case DirectiveKind::resume:
      return "resume";
    case DirectiveKind::run:
      return "run";
    case DirectiveKind::settings:
      return "settings";
  }
  return "task";
}

}  // namespace agenttask::server
