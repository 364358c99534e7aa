#include <set>

#include "platform/base/ids.hpp"
#include "server/api/problems.hpp"
#include "tests/component/server_api/api_fixture.hpp"

// The document is held against the code here in what is static; every other test of the API holds each answer
// against it.
namespace agenttask::server::test {
namespace {

std::string lower(std::string_view text) {
  std::string result;
  for (const char c : text) result += static_cast<char>(std::tolower(c));
  return result;
}

std::set<std::string> words(std::string_view text) {
  std::set<std::string> found;
  while (!text.empty()) {
    const auto end = std::min(text.find(' '), text.size());
    auto word = text.substr(0, end);
    if (!word.empty() && word.back() == '*') word.remove_suffix(1);
    if (!word.empty()) found.emplace(word);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return found;
}

TEST_F(ApiTest, OpenapiHasEveryRouteAndNoOther) {
  std::set<std::pair<std::string, std::string>> documented;
  for (const auto& [path, methods] : openapi.document()["paths"].items()) {
    for (const auto& [method, operation] : methods.items()) documented.emplace(path, method);
  }
  std::set<std::pair<std::string, std::string>> served;
  for (const auto& route : Router::routes()) served.emplace(std::string(route.path), lower(route.method));
  EXPECT_EQ(documented, served);
}

TEST_F(ApiTest, OpenapiHasEveryQueryParameterAndWhoMayCall) {
  for (const auto& route : Router::routes()) {
    const auto& operation = openapi.document()["paths"][std::string(route.path)][lower(route.method)];
    std::set<std::string> documented;
    for (const auto& parameter : operation.value("parameters", json::array())) {
      if (parameter["in"] == "query") documented.insert(parameter["name"].get<std::string>());
    }
    EXPECT_EQ(documented, words(route.query)) << route.method << " " << route.path;
    const std::string role = operation.value("x-role", "");
    switch (route.access) {
      case Access::open:
        EXPECT_TRUE(operation["security"].empty()) << route.path;
        break;
      case Access::viewer:
        EXPECT_EQ(role, "viewer") << route.path;
        break;
      case Access::operator_:
        EXPECT_EQ(role, "operator") << route.path;
        break;
      case Access::admin:
        EXPECT_EQ(role, "admin") << route.path;
        break;
      case Access::device:
      case Access::expired_device:
        EXPECT_TRUE(operation["security"][0].contains("deviceCertificate")) << route.path;
        break;
    }
  }
}

TEST_F(ApiTest, OpenapiHasEveryCodeWithItsStatus) {
  std::set<std::string> codes;
  for (const auto& each : kCodes) codes.emplace(each.name);
  std::set<std::string> listed;
  for (const auto& code :
       openapi.document()["components"]["schemas"]["Problem"]["properties"]["code"]["enum"]) {
    listed.insert(code.get<std::string>());
  }
  EXPECT_EQ(listed, codes);
  for (const auto& [path, methods] : openapi.document()["paths"].items()) {
    for (const auto& [method, operation] : methods.items()) {
      for (const auto& [status, response] : operation["responses"].items()) {
        for (const auto& code : response.value("x-codes", json::array())) {
          const auto known = std::find_if(kCodes.begin(), kCodes.end(), [&](const CodeInfo& each) {
            return each.name == code.get<std::string>();
          });
          ASSERT_NE(known, kCodes.end()) << code;
          EXPECT_EQ(std::to_string(known->status), status) << path << " " << code;
        }
      }
    }
  }
}

/// A value that the schema of a field allows.
json example(const json& document, json schema) {
  if (schema.contains("$ref"))
    schema = document.at(json::json_pointer(schema["$ref"].get<std::string>().substr(1)));
  if (schema.contains("enum")) return schema["enum"][0];
  const auto type =
      schema["type"].is_array() ? schema["type"][0].get<std::string>() : schema["type"].get<std::string>();
  if (type == "integer") return std::max<std::int64_t>(schema.value("minimum", std::int64_t{1}), 2000);
  if (type == "boolean") return true;
  if (type == "array" && schema["items"].contains("$ref"))
    return json::array({example(document, schema["items"])});
  if (type == "array") return json::array({"x"});
  if (type == "string") return "x";
  json value = json::object();
  for (const auto& name : schema.value("required", json::array())) {
    value[name.get<std::string>()] = example(document, schema["properties"][name.get<std::string>()]);
  }
  return value;
}

TEST_F(ApiTest, EveryDocumentedFieldOfARequestIsKnownAndNoOther) {
  const auto device = enroll("alpha");
  const auto task = add_task(device.id);
  const std::string task_path = "/v1/tasks/" + task["id"].get<std::string>();
  struct Case {
    std::string schema, method, path;
    json base;
  };
  const std::vector<Case> cases = {
      {"TaskRequest", "POST", "/v1/nodes/" + device.id + "/tasks", {{"type", "echo"}}},
      {"BatchRequest", "POST", "/v1/tasks", {{"type", "echo"}, {"target", {{"all", true}}}}},
      {"TaskChanges", "PATCH", task_path, json::object()},
      {"NodeChanges", "PATCH", "/v1/nodes/" + device.id, json::object()},
      {"EnrollmentTokenRequest", "POST", "/v1/enrollment-tokens", json::object()},
      {"MessageRequest", "POST", "/v1/messages", {{"roomId", "r"}, {"content", json::object()}}},
      {"OperatorRequest", "POST", "/v1/operators", {{"role", "viewer"}}},
  };
  for (const auto& each : cases) {
    for (const auto& [name, schema] :
         openapi.document()["components"]["schemas"][each.schema]["properties"].items()) {
      json body = each.base;
      const bool is_about_choices = name == "defaultChoice" || name == "choiceExpiresAt" || name == "chooser";
      if (is_about_choices) body["choices"] = json::array({{{"name", "x"}}});
      if (name == "defaultChoice") body["choiceExpiresAt"] = clock.wall() + 1000;
      body[name] = example(openapi.document(), schema);
      if (name == "id") body[name] = make_uuid(clock.wall());
      if (name == "nodeId" || name == "replace") body[name] = device.id;
      if (name == "expiresAt") body[name] = clock.wall() + 1000;
      if (name == "type") body[name] = "echo";
      if (name == "target") body[name] = each.base["target"];
      if (each.schema == "EnrollmentTokenRequest" && name == "uses") body[name] = 5;
      const auto response = call(each.method, each.path, body.dump(), as(admin));
      EXPECT_LT(response.status, 300) << each.schema << "." << name << ": " << body << " → " << response.body;
    }
    json body = each.base;
    body["unheardOf"] = 1;
    const auto refused = call(each.method, each.path, body.dump(), as(admin));
    EXPECT_EQ(refused.status, 400) << each.schema;
    EXPECT_EQ(json::parse(refused.body)["field"], "unheardOf") << each.schema;
  }
}

}  // namespace
}  // namespace agenttask::server::test
