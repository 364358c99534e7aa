#pragma once
#include <string_view>

/// The targets, one function each; target.cpp lists them with what they cover.
namespace agenttask::fuzz {

// targets/json.cpp
void json_text(std::string_view bytes);
void numbers(std::string_view bytes);
// targets/tasks.cpp
void task_request(std::string_view bytes);
void task_change(std::string_view bytes);
void task_object(std::string_view bytes);
// targets/streams.cpp
void directive(std::string_view bytes);
void report(std::string_view bytes);
void stream_bodies(std::string_view bytes);
// targets/answers.cpp
void problem_answer(std::string_view bytes);
void printed_answer(std::string_view bytes);
// targets/http.cpp
void http_request(std::string_view bytes);
void request_target(std::string_view bytes);
// targets/api.cpp
void server_call(std::string_view bytes);
// targets/console.cpp
void console_call(std::string_view bytes);
// targets/workers.cpp
void worker_line(std::string_view bytes);
void worker_manifest(std::string_view bytes);
void data_schema(std::string_view bytes);
// targets/worker_calls.cpp
void worker_calls(std::string_view bytes);
// targets/policy.cpp
void policy(std::string_view bytes);
// targets/output.cpp
void process_output(std::string_view bytes);
void terminal_text(std::string_view bytes);
// targets/settings.cpp
void configuration(std::string_view bytes);
void settings(std::string_view bytes);
void setting_values(std::string_view bytes);
// targets/identity.cpp
void enrollment_token(std::string_view bytes);
void addresses(std::string_view bytes);
void certificate_request(std::string_view bytes);
void certificates(std::string_view bytes);
// targets/times.cpp
void human_times(std::string_view bytes);

}  // namespace agenttask::fuzz
