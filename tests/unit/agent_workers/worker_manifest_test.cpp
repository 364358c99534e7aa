#include "agent/workers/worker_manifest.hpp"

#include <filesystem>
#include <fstream>
#include <unistd.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "agent/workers/builtin_workers.hpp"
#include "agent/workers/workers_folder.hpp"
#include "platform/protocol/json.hpp"
#include "tests/support/temporary_folder.hpp"

namespace agenttask::agent {
namespace {

namespace fs = std::filesystem;

std::string refusal(std::string_view text) {
  const auto parsed = parse_worker_manifest(text);
  EXPECT_FALSE(parsed) << text;
  return parsed ? "" : parsed.error().field + "|" + parsed.error().message;
}

TEST(WorkerManifest, AllOfItIsRead) {
  const auto manifest = parse_worker_manifest(R"({"types":["A","B"],"services":["s"],"command":["./x","-v"],
    "validate":true,"timeout":60000,"dataSchema":{"type":"object"},"environment":{"KEY":"v"},"runAs":"nobody"})");
  ASSERT_TRUE(manifest) << manifest.error().message;
  EXPECT_EQ((std::vector<std::string>{"A", "B"}), manifest->types);
  EXPECT_EQ(std::vector<std::string>{"s"}, manifest->services);
  EXPECT_EQ((std::vector<std::string>{"./x", "-v"}), manifest->command);
  EXPECT_TRUE(manifest->validates);
  EXPECT_EQ(60000, manifest->timeout);
  EXPECT_EQ("v", manifest->environment.at("KEY"));
  EXPECT_EQ("nobody", manifest->run_as);
  EXPECT_NE(nullptr, manifest->data_schema);
}

TEST(WorkerManifest, WhatIsWrongIsNamed) {
  using testing::Test;
  EXPECT_NE("", refusal(""));
  EXPECT_NE("", refusal("[]"));
  EXPECT_EQ(0u, refusal(R"({"types":["A"]})").find("command|"));
  EXPECT_EQ(0u, refusal(R"({"command":["x"]})").find("types|"));
  EXPECT_EQ(0u, refusal(R"({"types":["A"],"command":[]})").find("command|"));
  EXPECT_EQ(0u, refusal(R"({"types":["A"],"command":["bin/x"]})").find("command|"));
  EXPECT_EQ(0u, refusal(R"({"types":["A b"],"command":["x"]})").find("types|"));
  EXPECT_EQ(0u, refusal(R"({"types":["A","A"],"command":["x"]})").find("types|"));
  for (const auto type : kBuiltInTypes)
    EXPECT_EQ(
        0u,
        refusal((R"({"types":[")" + std::string(type) + R"("],"command":["x"]})").c_str()).find("types|"));
  EXPECT_EQ(0u, refusal(R"({"types":["A"],"command":["x"],"timeout":0})").find("timeout|"));
  EXPECT_EQ(0u, refusal(R"({"types":["A"],"command":["x"],"comand":["x"]})").find("comand|"));
  EXPECT_EQ(
      0u,
      refusal(R"({"types":["A"],"command":["x"],"environment":{"LD_PRELOAD":"x"}})").find("environment|"));
  EXPECT_EQ(0u,
            refusal(R"({"types":["A"],"command":["x"],"dataSchema":{"type":"objekt"}})").find("dataSchema|"));
}

class DataSchemaTest : public testing::Test {
 protected:
  static std::shared_ptr<const DataSchema> schema(const char* text) {
    auto parsed = DataSchema::parse(*parse_json(text));
    EXPECT_TRUE(parsed) << text << ": " << (parsed ? "" : parsed.error().message);
    return parsed ? *parsed : nullptr;
  }
  static std::string refused(const char* text) {
    const auto parsed = DataSchema::parse(*parse_json(text));
    EXPECT_FALSE(parsed) << text;
    return parsed ? "" : parsed.error().message;
  }
};

TEST_F(DataSchemaTest, DataFitsOrItIsSaidWhereNot) {
  const auto one = schema(R"({"type":"object","required":["n"],"additionalProperties":false,
    "properties":{"n":{"type":"integer","minimum":1},"list":{"items":{"enum":["a","b"]}}}})");
  EXPECT_TRUE(one->check(*parse_json(R"({"n":1,"list":["a","b"]})")));
  const auto wrong = one->check(*parse_json(R"({"n":1,"list":["a","c"]})"));
  ASSERT_FALSE(wrong);
  EXPECT_EQ(ErrorCode::invalid, wrong.error().code);
  EXPECT_EQ("data[list][1]", wrong.error().field);
  for (const char* data : {"{}", R"({"n":0})", R"({"n":"1"})", R"({"n":1.5})", R"({"n":1,"m":1})"})
    EXPECT_FALSE(one->check(*parse_json(data))) << data;
}

TEST_F(DataSchemaTest, ReferencesStayInTheDocument) {
  const auto tree = schema(
      R"({"definitions":{"node":{"type":"object","additionalProperties":{"$ref":"#/definitions/node"}}},
    "$ref":"#/definitions/node"})");
  EXPECT_TRUE(tree->check(*parse_json(R"({"a":{"b":{"c":{}}}})")));
  EXPECT_FALSE(tree->check(*parse_json(R"({"a":{"b":{"c":1}}})")));
  const auto self = schema(R"({"type":"object","properties":{"next":{"$ref":"#"}}})");
  EXPECT_TRUE(self->check(*parse_json(R"({"next":{"next":{}}})")));
  EXPECT_FALSE(self->check(*parse_json(R"({"next":{"next":1}})")));
  EXPECT_NE(std::string::npos, refused(R"({"$ref":"https://example.com/schema.json"})").find("$ref"));
  EXPECT_NE(std::string::npos, refused(R"({"$ref":"#/definitions/none"})").find("$ref"));
  EXPECT_NE(std::string::npos, refused(R"({"$ref":"/etc/passwd"})").find("$ref"));
}

TEST_F(DataSchemaTest, WhatWouldRunAwayIsRefused) {
  EXPECT_NE("", refused(R"({"$ref":"#"})"));
  EXPECT_NE("", refused(R"({"allOf":[{"$ref":"#"}]})"));
  EXPECT_NE(
      "",
      refused(
          R"({"definitions":{"a":{"not":{"$ref":"#/definitions/b"}},"b":{"anyOf":[{"$ref":"#/definitions/a"}]}}})"));
  std::string laughs = R"({"definitions":{"d0":{"type":"string"})";
  for (int i = 1; i < 40; ++i) {
    const std::string before = "{\"$ref\":\"#/definitions/d" + std::to_string(i - 1) + "\"}";
    laughs += ",\"d" + std::to_string(i) + "\":{\"allOf\":[" + before + "," + before + "]}";
  }
  EXPECT_NE("", refused((laughs + R"(},"$ref":"#/definitions/d39"})").c_str()));
  EXPECT_NE("", refused(R"({"patternProperties":{"^a":{}}})"));
  EXPECT_NE("", refused(R"({"pattern":"("})"));
  EXPECT_NE("", refused(R"({"properties":{"x":{"pattern":"(a)\\1"}}})"));
  EXPECT_NE("", refused(R"({"properties":{"x":5}})"));
}

// What divides has to be something that can divide, or the agent would end there.
TEST_F(DataSchemaTest, MultiplesAreOfWhatCanDivide) {
  for (const char* factor : {"0", "-1", "0.0", "-0.5", "\"1\"", "18446744073709551615", "1e300"})
    EXPECT_NE("", refused((R"({"multipleOf":)" + std::string(factor) + "}").c_str())) << factor;
  const auto three = schema(R"({"properties":{"n":{"multipleOf":3}}})");
  for (const char* fits : {"-9223372036854775806", "9", "0", "9.0", "\"x\"", "3e300", "1e300"})
    EXPECT_TRUE(three->check({{"n", *parse_json(fits)}})) << fits;
  for (const char* other : {"1", "-9223372036854775808", "3.5"})
    EXPECT_FALSE(three->check({{"n", *parse_json(other)}})) << other;
}

// Following references must not take a stack without end.
TEST_F(DataSchemaTest, TheGreatestNumbersAreNotTakenForNegativeOnes) {
  const auto fits = [](const char* of, const char* data) {
    return schema(of)->check(*parse_json(data)).has_value();
  };
  for (const char* number : {"9223372036854775808", "18446744073709551615"}) {
    EXPECT_TRUE(fits(R"({"minimum":0,"type":"integer"})", number)) << number;
    EXPECT_FALSE(fits(R"({"maximum":100})", number)) << number;
    EXPECT_FALSE(fits(R"({"exclusiveMaximum":9223372036854775807})", number)) << number;
    EXPECT_TRUE(fits(R"({"maximum":18446744073709551615,"type":["string","integer"]})", number)) << number;
    EXPECT_FALSE(fits(R"({"type":"string"})", number)) << number;
  }
  EXPECT_TRUE(fits(R"({"maximum":18446744073709551615})", "5")) << "it is not -1";
  EXPECT_FALSE(fits(R"({"minimum":9223372036854775808})", "9223372036854774000"));
  EXPECT_TRUE(fits(R"({"enum":[18446744073709551615]})", "18446744073709551615"));
  EXPECT_FALSE(fits(R"({"enum":[18446744073709551615]})", "-1"));
  EXPECT_FALSE(fits(R"({"properties":{"n":{"items":{"maximum":1}}}})", R"({"n":[0,18446744073709551615]})"));
  EXPECT_FALSE(fits(R"({"type":"integer"})", "1.5"));
}

TEST_F(DataSchemaTest, LongChainsOfReferencesAreRefused) {
  const auto chain = [](int links, const std::string& begin, const std::string& end) {
    std::string text = R"({"definitions":{)";
    for (int i = 0; i < links; ++i) {
      text += "\"a" + std::to_string(i) + "\":" + begin + R"({"$ref":"#/definitions/a)" +
              std::to_string(i + 1) + "\"}" + end + ",";
    }
    return text + "\"a" + std::to_string(links) + R"(":{}},"properties":{"x":{"$ref":"#/definitions/a0"}}})";
  };
  for (const auto& [begin, end] : {std::pair("", ""), std::pair(R"({"properties":{"x":)", "}}")}) {
    EXPECT_NE(nullptr, schema(chain(20, begin, end).c_str()));
    EXPECT_NE("", refused(chain(20'000, begin, end).c_str()));
  }
}

TEST_F(DataSchemaTest, PatternsTakeNoMoreTimeThanTheTextIsLong) {
  const auto one = schema(R"({"properties":{"x":{"type":"string","pattern":"^(a+)+$"}}})");
  EXPECT_TRUE(one->check({{"x", std::string(64 * 1024, 'a')}}));
  EXPECT_FALSE(one->check({{"x", std::string(40, 'a') + "b"}}));
  EXPECT_FALSE(one->check({{"x", std::string(64 * 1024 + 1, 'a')}})) << "too long to be held against it";
  EXPECT_TRUE(one->check({{"x", "a"}}));
  const auto format = schema(R"({"properties":{"x":{"format":"date"}}})");
  EXPECT_TRUE(format->check({{"x", std::string(1000 * 1000, '1')}}));
  EXPECT_TRUE(format->check({{"x", 5}}));
}

TEST_F(DataSchemaTest, UniqueItemsAreComparedUpToABound) {
  const auto one = schema(R"({"uniqueItems":true})");
  nlohmann::json list = nlohmann::json::array();
  for (int i = 0; i < 1000; ++i) list.push_back(i);
  EXPECT_TRUE(one->check(list));
  list.push_back(999);
  EXPECT_FALSE(one->check(list));
  for (int i = 0; i < 5000; ++i) list.push_back(10'000 + i);
  EXPECT_FALSE(one->check(list));
}

class WorkerFolderTest : public testing::Test {
 protected:
  static void write(const fs::path& file, const std::string& text, bool program = false) {
    fs::create_directories(file.parent_path());
    std::ofstream(file) << text;
    fs::permissions(file, program ? fs::perms(0755) : fs::perms(0644));
    fs::permissions(file.parent_path(), fs::perms(0755));
  }
  fs::path worker(const std::string& name, const std::string& manifest) {
    write(folder_.path() / "workers" / name / "worker.json", manifest);
    write(folder_.path() / "workers" / name / "run", "#!/bin/sh\n", true);
    fs::permissions(folder_.path() / "workers", fs::perms(0755));
    return folder_.path() / "workers" / name;
  }
  static constexpr const char* kManifest = R"({"types":["A"],"command":["./run"]})";
  test::TemporaryFolder folder_;
};

TEST_F(WorkerFolderTest, AGoodOneHasNoProblems) {
  const FoundWorker found = read_worker(worker("one", kManifest));
  EXPECT_TRUE(found.problems.empty()) << found.problems.front();
  EXPECT_EQ("one", found.manifest.name);
}

TEST_F(WorkerFolderTest, WhatOthersCouldWriteIsNotTrusted) {
  const auto folder = worker("one", kManifest);
  for (const auto& [path, mode] : {std::pair(folder / "worker.json", 0664), std::pair(folder / "run", 0757),
                                   std::pair(folder, 0777), std::pair(folder.parent_path(), 0775)}) {
    const auto before = fs::status(path).permissions();
    fs::permissions(path, fs::perms(mode));
    EXPECT_FALSE(read_worker(folder).problems.empty()) << path;
    fs::permissions(path, before);
  }
  EXPECT_TRUE(read_worker(folder).problems.empty());
}

TEST_F(WorkerFolderTest, AMissingProgramOrManifestIsSaid) {
  const auto folder = worker("one", kManifest);
  fs::remove(folder / "run");
  ASSERT_EQ(1u, read_worker(folder).problems.size());
  fs::remove(folder / "worker.json");
  EXPECT_EQ(std::vector<std::string>{"it has no worker.json"}, read_worker(folder).problems);
}

TEST_F(WorkerFolderTest, AProgramMustBeExecutableForItsUser) {
  const auto folder = worker("one", kManifest);
  fs::permissions(folder / "run", fs::perms(0644));
  const FoundWorker found = read_worker(folder);
  EXPECT_EQ(
      std::vector<std::string>{"cannot run ./run: it is not an executable file for the user it runs as"},
      found.problems);
  EXPECT_TRUE(found.program_missing);
  for (const char* program : {"no-such-program-here", "/no/such/program", "/"}) {
    const auto other = worker("other", std::string(R"({"types":["O"],"command":[")") + program + "\"]}");
    ASSERT_EQ(1u, read_worker(other).problems.size()) << program;
    EXPECT_EQ(0u, read_worker(other).problems[0].find("cannot run " + std::string(program) + ": "));
  }
}

TEST_F(WorkerFolderTest, AnotherUserMustReachTheProgram) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root runs workers as others";
  const auto folder = worker("one", R"({"types":["A"],"command":["./run"],"runAs":"nobody"})");
  fs::permissions(folder_.path(), fs::perms(0755));
  EXPECT_TRUE(read_worker(folder).problems.empty());
  fs::permissions(folder / "run", fs::perms(0744));
  EXPECT_EQ(1u, read_worker(folder).problems.size());
  fs::permissions(folder / "run", fs::perms(0755));
  fs::permissions(folder_.path(), fs::perms(0700));
  const auto problems = read_worker(folder).problems;
  ASSERT_EQ(1u, problems.size());
  EXPECT_NE(std::string::npos, problems[0].find("may not enter " + folder_.path().string())) << problems[0];
}

TEST_F(WorkerFolderTest, AManifestHasAMebibyteAtMost) {
  const auto folder = worker("one", std::string(kManifest) + std::string(kManifestBytes, ' '));
  ASSERT_EQ(1u, read_worker(folder).problems.size());
}

TEST_F(WorkerFolderTest, OfTwoWithTheSameTypeTheSecondIsRefused) {
  worker("b", R"({"types":["B","A"],"command":["./run"]})");
  worker("a", kManifest);
  worker("c", R"({"services":["s"],"command":["./run"]})");
  worker("d", R"({"services":["s"],"types":["D"],"command":["./run"]})");
  worker("e", R"({"types":["B"],"command":["./run"]})");
  worker(".hidden", kManifest);
  const auto workers = read_workers(folder_.path() / "workers");
  ASSERT_EQ(5u, workers.size());
  EXPECT_TRUE(workers[0].problems.empty());
  EXPECT_EQ(std::vector<std::string>{"the type A is the worker a's"}, workers[1].problems);
  EXPECT_TRUE(workers[2].problems.empty());
  EXPECT_EQ(std::vector<std::string>{"the service s is the worker c's"}, workers[3].problems);
  EXPECT_TRUE(workers[4].problems.empty()) << "the refused one takes no type away";
}

}  // namespace
}  // namespace agenttask::agent
