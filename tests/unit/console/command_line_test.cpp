#include <gtest/gtest.h>

#include "agent/console/console.hpp"
#include "agent/console/exit_code.hpp"

/// What the parser of the command line makes of words, seen through verbs that end before they reach
/// anything.
namespace agenttask::console {
namespace {

class CommandLine : public ::testing::Test {
 protected:
  int call(std::vector<std::string> words) {
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    Console console(Screen(false, false, 0, false));
    console.patience = {};
    const int code = run(std::move(words), console);
    output_ = testing::internal::GetCapturedStdout();
    errors_ = testing::internal::GetCapturedStderr();
    return code;
  }
  [[nodiscard]] bool said(const std::string& text) const { return errors_.find(text) != std::string::npos; }

  const std::string nowhere_ = "/nonexistent/agenttask";
  std::string output_;
  std::string errors_;
};

TEST_F(CommandLine, VersionAndHelpGoToStandardOutput) {
  EXPECT_EQ(call({"--version"}), 0);
  EXPECT_EQ(output_.substr(0, 10), "agenttask ");
  EXPECT_EQ(call({"--help"}), 0);
  EXPECT_NE(output_.find("Examples:"), std::string::npos);
  EXPECT_EQ(errors_, "");
}

TEST_F(CommandLine, EveryVerbHasHelpWithExamplesAndJson) {
  for (const char* verb :
       {"echo",     "command", "add",    "list",   "show",   "explain", "watch",  "runs",
        "output",   "cancel",  "update", "delete", "choose", "pause",   "resume", "run",
        "messages", "post",    "status", "doctor", "hold",   "release", "enroll", "unenroll"}) {
    EXPECT_EQ(call({verb, "--help"}), 0) << verb;
    EXPECT_NE(output_.find("Examples:\n  agenttask " + std::string(verb)), std::string::npos) << output_;
    EXPECT_NE(output_.find("--json"), std::string::npos) << verb;
    EXPECT_NE(output_.find("--state-dir"), std::string::npos) << verb;
  }
  for (const char* verb :
       {"login",  "add",    "command", "echo",  "list",   "show", "explain",  "output", "runs",  "cancel",
        "update", "delete", "choose",  "pause", "resume", "run",  "messages", "post",   "nodes", "batches"}) {
    EXPECT_EQ(call({"fleet", verb, "--help"}), 0) << verb;
    EXPECT_NE(output_.find("agenttask fleet " + std::string(verb)), std::string::npos) << output_;
    EXPECT_NE(output_.find("--profile"), std::string::npos) << verb;
  }
}

TEST_F(CommandLine, WhoItIsForIsSaidInOneWay) {
  const auto refuses = [&](std::vector<std::string> words, const std::string& says) {
    EXPECT_EQ(call(std::move(words)), kFailure);
    EXPECT_TRUE(said(says)) << errors_;
  };
  refuses({"fleet", "add", "--all", "--label", "a=b", "echo"}, "--all excludes --label");
  refuses({"fleet", "add", "--node", "web-1", "--label", "a=b", "echo"}, "excludes");
  refuses({"fleet", "command", "--label", "", "true"}, "--label: '' is empty");
}

TEST_F(CommandLine, AnEmptyTextIsNoWayToLeaveSomethingOut) {
  const auto refuses = [&](std::vector<std::string> words, const std::string& says) {
    EXPECT_EQ(call(std::move(words)), kFailure);
    EXPECT_TRUE(said(says)) << errors_;
    EXPECT_FALSE(said("no agent answers")) << errors_;
  };
  for (const char* option : {"--at", "--expires", "--choose-until"}) {
    refuses({"add", "echo", option, ""}, std::string(option) + ": '' is not a time");
    refuses({"fleet", "add", "web-1", "echo", option, ""}, std::string(option) + ": '' is not a time");
  }
  for (const char* option : {"--every", "--timeout", "--jitter", "--backoff", "--max-backoff"}) {
    refuses({"command", "true", option, ""}, std::string(option) + ": '' is not a duration");
    refuses({"fleet", "command", "web-1", "true", option, ""},
            std::string(option) + ": '' is not a duration");
  }
  for (const char* option : {"--data", "--metadata"}) {
    refuses({"add", "echo", option, ""}, std::string(option) + ": '' is not JSON");
  }
  refuses({"add", "echo", "--max-output", ""}, "--max-output: '' is not a size");
  refuses({"update", "4f2a", "--every", ""}, "--every: '' is not a duration");
  for (const char* option :
       {"--key", "--description", "--room", "--world", "--tag", "--default", "--choice"}) {
    refuses({"add", "echo", option, ""}, std::string(option) + ": '' is empty");
  }
  for (const char* verb : {"cancel", "delete", "show", "runs", "run", "pause", "resume", "watch", "output"}) {
    refuses({verb, ""}, "ID: '' is empty");
    refuses({verb, "4f2a", "--state-dir", ""}, "--state-dir: '' is empty");
  }
  refuses({"fleet", "cancel", ""}, "ID: '' is empty");
  refuses({"choose", "4f2a", ""}, "OPTION: '' is empty");
  refuses({"list", "--type", ""}, "--type: '' is empty");
  refuses({"add", "echo", "--at=", "--tag", "x"}, "--at: there is nothing behind the =");
  refuses({"update", "--at=", "4f2a"}, "--at: there is nothing behind the =");
  EXPECT_EQ(call({"echo", "", "--state-dir", nowhere_}), kFailure);
  EXPECT_TRUE(said("no agent answers")) << "an empty text can be echoed: " << errors_;
}

TEST_F(CommandLine, MisuseIsOurOwnFailureAndSaysWhereToLook) {
  EXPECT_EQ(call({}), kFailure);
  EXPECT_TRUE(said("a verb is missing")) << errors_;
  EXPECT_EQ(call({"nonsense"}), kFailure);
  EXPECT_TRUE(said("no verb 'nonsense'")) << errors_;
  EXPECT_EQ(call({"fleet", "nonsense"}), kFailure);
  EXPECT_TRUE(said("no verb 'nonsense'")) << errors_;
  EXPECT_TRUE(said("agenttask fleet --help")) << errors_;
  EXPECT_EQ(call({"command", "ls", "-l"}), kFailure);
  EXPECT_TRUE(said("after --")) << errors_;
  EXPECT_EQ(call({"show"}), kFailure);
  EXPECT_TRUE(said("agenttask show --help")) << errors_;
  EXPECT_EQ(call({"show", "4f2a", "--", "x"}), kFailure);
  EXPECT_EQ(call({"list", "--status", "asleep"}), kFailure);
  EXPECT_TRUE(said("running")) << errors_;
  EXPECT_EQ(call({"list", "--limit", "1001"}), kFailure);
  EXPECT_EQ(call({"fleet", "login", "https://localhost"}), kFailure);
  EXPECT_TRUE(said("--fingerprint")) << errors_;
}

TEST_F(CommandLine, WordsThatAreVerbsOrListsAreOrdinaryTexts) {
  // Each gets as far as the socket, which is not there.
  for (const char* text : {"list", "[a,b]", "[ -f x ]", "=", "a b"}) {
    EXPECT_EQ(call({"--state-dir", nowhere_, "echo", text}), kFailure);
    EXPECT_TRUE(said("no agent answers")) << text << ": " << errors_;
    EXPECT_EQ(call({"--state-dir", nowhere_, "command", text}), kFailure);
    EXPECT_TRUE(said("no agent answers")) << text << ": " << errors_;
  }
  EXPECT_EQ(call({"--state-dir", nowhere_, "command", "--", "ls", "--help", "--json", "--"}), kFailure);
  EXPECT_TRUE(said("no agent answers")) << errors_;
  EXPECT_EQ(call({"echo", "--state-dir", nowhere_, "--", "-x", "--json"}), kFailure);
  EXPECT_TRUE(said("no agent answers")) << errors_;
}

TEST_F(CommandLine, WithoutAnAgentItSaysHowToGetOne) {
  EXPECT_EQ(call({"list", "--state-dir", nowhere_}), kFailure);
  EXPECT_TRUE(said("--state-dir")) << errors_;
  EXPECT_EQ(call({"list", "--state-dir", nowhere_, "--json"}), kFailure);
  EXPECT_TRUE(said(R"("status":503)")) << errors_;
  EXPECT_EQ(call({"status", "--state-dir", nowhere_}), 3);
  EXPECT_NE(output_.find("not running"), std::string::npos) << output_;
  EXPECT_EQ(call({"doctor", "--state-dir", nowhere_}), 1);
  EXPECT_NE(output_.find("->"), std::string::npos) << output_;
}

TEST_F(CommandLine, CompletionKnowsTheVerbs) {
  EXPECT_EQ(call({"completion", "bash"}), 0);
  const auto node = output_.find("\"fleet node\") words=\"");
  ASSERT_NE(node, std::string::npos) << output_;
  EXPECT_LT(output_.find(" release", node), output_.find('\n', node)) << output_;
  EXPECT_NE(output_.find("complete -o default -F _agenttask agenttask"), std::string::npos);
  EXPECT_EQ(call({"completion", "tcsh"}), kFailure);
  EXPECT_EQ(call({"completion", "bash", "--json"}), kFailure);
  EXPECT_TRUE(said("which have no JSON")) << errors_;
  EXPECT_EQ(call({"completion", "words", "--state-dir", nowhere_, "--", "show", ""}), kSuccess)
      << "without an agent there are none, and that is no failure";
  EXPECT_EQ(output_, "@last\n");
}

}  // namespace
}  // namespace agenttask::console
