"""The libraries for workers, in C++ and in Python: the same awkward worker in both, against a test that plays the agent."""
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from programs import BIN
from worker_process import WorkerProcess, task_of

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LONGEST_LINE = 2 * 1024 * 1024


@pytest.fixture(params=["c++", "python"])
def language(request):
    return request.param


@pytest.fixture
def start(language, tmp_path):
    """Starts the awkward worker; what is left is ended."""
    program = BIN / "awkward_worker"
    if language == "python":
        program = Path(shutil.copy(HERE / "awkward_worker.py", tmp_path))
        shutil.copy(ROOT / "worker/python/agenttask_worker.py", tmp_path)
    started = []

    def start_one():
        started.append(WorkerProcess(program))
        return started[-1]

    yield start_one
    for one in started:
        one.close()


def execute(start, type, run=1, **data):
    return start().execute(task_of(type, data), run=run)


# ---- what goes well

def test_options_and_the_run_arrive(start):
    worker = start()
    worker.say({"execute": {"protocol": "1.3", "runId": "r-7", "run": 3, "later": True, "task": task_of("OPTIONS"),
                            "options": {"n": 2**63, "t": "grüße ☕ \u0000", "option": "confirm"}}})
    worker.ends_with({"result": {"options": {"n": 2**63, "t": "grüße ☕ \u0000", "option": "confirm"}, "run": 3, "runId": "r-7"}})


def test_a_request_may_come_in_pieces(start):
    worker = start()
    for piece in ('{"execute":{"protocol":"1.0","runId":"r","run":1,', '"options":{},"task":{"type":', '"NOTHING"}}}', "\n"):
        worker.write(piece)
    worker.ends_with({"result": {}})


def test_each_call_says_what_it_should_and_gives_what_is_answered(start):
    worker = execute(start, "CALL_ALL")
    task = {"id": "known", "type": "echo"}
    worker.expect_call("createTask", task, type="echo", data={"message": "hi"})
    worker.expect_call("getTasks", [task])
    worker.expect_call("getTasks", [], tags=["a", "b"], limit=5)
    worker.expect_call("getTasksByType", [task, task], type="echo")
    worker.expect_call("getTask", None, id="unknown")
    worker.expect_call("getTask", task, id="known")
    worker.expect_call("updateTask", task, id="known", changes={"description": "new"})
    worker.expect_call("deleteTask", task, id=worker.task["id"])
    worker.expect_call("createMessage", {"id": "m1"}, content={"text": "hello"})
    worker.expect_call("createMessage", {"id": "m2"}, content={"text": "there"}, roomId="other", worldId="world")
    worker.expect_call("getMessages", [{"id": "m1"}], roomId="lobby")
    worker.expect_call("getMessages", [], roomId="lobby", limit=3)
    worker.expect_call("getService", None, name="unknown")
    worker.expect_call("getService", {"name": "adder", "worker": "arithmetic"}, name="adder")
    worker.expect_call("callService", 3, name="adder", method="add", arguments={"numbers": [1, 2]})
    worker.ends_with({"result": {"answers": [task, [task], [], [task, task], False, task, task, {"id": "m1"}, {"id": "m2"},
                                             [{"id": "m1"}], [], False, "arithmetic", 3]}})


def test_a_refused_call_can_be_caught(start):
    worker = execute(start, "REFUSED")
    id, _ = worker.hear_call("createTask")
    worker.refuse(id, "invalid", "type is empty", field="type")
    worker.ends_with({"result": {"code": "invalid", "message": "type is empty", "field": "type"}})


def test_lines_of_the_agent_that_are_new_or_broken_do_no_harm(start, language):
    worker = execute(start, "REFUSED")
    id, _ = worker.hear_call("createTask")
    worker.say({"news": {"of": "a later version"}})
    worker.say({"answer": {"id": id + 100, "result": 1}})
    if language == "c++":
        worker.write("no json\n")
    worker.refuse(id, "invalid", "no", field="type")
    worker.ends_with({"result": {"code": "invalid", "message": "no", "field": "type"}})


def test_what_is_printed_stays_apart_from_the_protocol(start, language):
    worker = execute(start, "PRINT")
    assert worker.hear() == {"progress": {"text": "half", "percent": 50}}
    worker.ends_with({"result": {}})
    assert worker.printed == ["a line", "begun", "printed", "ended", "never ended"]
    assert worker.errors == b"to standard error\n"


def test_calls_from_many_threads_get_their_own_answers(start, language):
    if language != "c++":
        pytest.skip("the Python library is for one thread, and says so")
    worker = execute(start, "MANY_THREADS")
    for _ in range(8 * 25):
        id, arguments = worker.hear_call("getTask")
        worker.answer(id, arguments["id"])
    worker.ends_with({"result": {"wrong": [0] * 8}})
    assert sorted(worker.printed) == sorted(f"printed {t}.{i}" for t in range(8) for i in range(25))


# ---- validate and serve

def test_validate_answers(start):
    valid = lambda what: start().validate(task_of("NOTHING", {"validate": what}))   # noqa: E731
    valid("true").ends_with({"valid": True})
    valid("false").ends_with({"valid": False})
    valid("later").ends_with({"valid": False, "detail": "not on Sundays"})
    worker = valid("throw")
    assert "can't say" in worker.hear()["error"]["message"]
    assert worker.end() == 1


def test_a_service_answers_any_value(start):
    for value in ({"a": [1, 2.5, None]}, [], "text", 0, False, None):
        start().serve("awkward", "echo", value=value).ends_with({"result": value})
    worker = start().serve("awkward", "throw")
    assert "it broke" in worker.hear()["error"]["message"]
    assert worker.end() == 1


@pytest.mark.parametrize("request_line, code", [
    ({"execute": {"protocol": "1.0", "runId": "r", "run": 1, "options": {}, "task": {"type": "UNKNOWN"}}}, "unknown-type"),
    ({"execute": {"protocol": "2.0", "runId": "r", "run": 1, "options": {}, "task": {"type": "NOTHING"}}}, "protocol"),
    ({"validate": {"task": {"type": "UNKNOWN"}}}, "unknown-type"),
    ({"serve": {"service": "unknown", "method": "m", "arguments": {}}}, "unknown-service"),
    ({"dance": {}}, "protocol"),
])
def test_what_it_can_not_do_is_refused(start, request_line, code):
    worker = start()
    worker.say(request_line)
    assert worker.hear()["error"]["code"] == code
    assert worker.end() == 1


# ---- failing

def test_a_failure_keeps_its_code_message_and_data(start):
    execute(start, "FAIL").ends_with({"error": {"code": "broken", "message": "step 2 broke", "data": {"step": 2}}})


def test_what_is_thrown_fails_the_run(start, language):
    worker = execute(start, "THROW", text=1)
    error = worker.hear()["error"]
    assert error["code"] == "exception" and error["message"].removeprefix("RuntimeError: ") in ("broke: \ufffd", "broke: ?")
    assert worker.end() == 1
    if language == "c++":
        execute(start, "THROW").ends_with(
            {"error": {"code": "exception", "message": "the worker threw something that is no std::exception"}})


def test_an_exit_or_a_crash_is_the_workers_own(start, language):
    worker = execute(start, "LEAVE", code=7)
    assert worker.hear() is None
    assert (worker.end(), worker.printed) == (7, ["leaving"])
    worker = execute(start, "LEAVE", crash=True)
    assert worker.hear() is None
    assert worker.end() == -signal.SIGABRT


def test_execute_must_answer_an_object_or_nothing(start):
    execute(start, "NOTHING").ends_with({"result": {}})
    worker = execute(start, "NO_OBJECT")
    assert worker.hear()["error"]["code"] == "invalid-result"
    assert worker.end() == 1


def test_a_line_of_the_longest_length_passes_and_a_longer_one_fails(start):
    """The agent would take a longer line for output: the run would end with success, and without its result."""
    room = LONGEST_LINE - len('{"result":{"text":""}}')
    execute(start, "LARGE", bytes=room).ends_with({"result": {"text": "x" * room}})
    worker = execute(start, "LARGE", bytes=room + 1)
    assert worker.hear()["error"]["code"] == "too-large"
    assert worker.end() == 1


def test_a_line_of_the_greatest_depth_passes_and_a_deeper_one_fails(start):
    worker = execute(start, "NESTED", levels=66)
    assert "result" in worker.hear()
    assert worker.end() == 0
    worker = execute(start, "NESTED", levels=67)
    assert worker.hear()["error"]["code"] == "invalid"
    assert worker.end() == 1


def test_text_that_is_not_utf8_fails(start):
    worker = execute(start, "NOT_UTF8")
    assert worker.hear()["error"]["code"] == "not-utf-8"
    assert worker.end() == 1


# ---- stopping

@pytest.mark.parametrize("cause", ["timeout", "cancel", "replaced", "shutdown"])
def test_a_stop_reaches_a_worker_at_work(start, language, cause):
    worker = execute(start, "WAIT")
    worker.hear()
    worker.stop(cause)
    if language == "c++":
        worker.ends_with({"result": {"stopped": True, "cause": cause}})
    else:        # the signal comes first to the main thread
        error = worker.hear()["error"]
        assert error["code"] == "stopped" and worker.end() == 1 and worker.printed == ["cleaned up"]


def test_a_stop_line_alone_is_enough(start, language):
    if language != "c++":
        pytest.skip("the Python library reads the line when it waits for an answer; the signal does the rest")
    worker = execute(start, "WAIT")
    worker.hear()
    worker.say({"stop": {"cause": "cancel"}})
    worker.ends_with({"result": {"stopped": True, "cause": "cancel"}})


def test_a_stop_line_ends_the_wait_for_an_answer(start, language):
    if language != "python":
        pytest.skip("the C++ library leaves it to the worker")
    worker = execute(start, "REFUSED")
    worker.hear_call("createTask")
    worker.say({"stop": {"cause": "timeout"}})
    worker.ends_with({"error": {"code": "stopped", "message": "stopped: timeout"}})


def test_a_signal_alone_is_a_stop(start, language):
    worker = execute(start, "WAIT")
    worker.hear()
    worker.process.send_signal(signal.SIGTERM)
    if language == "c++":
        worker.ends_with({"result": {"stopped": True, "cause": "signal"}})
    else:
        worker.ends_with({"error": {"code": "stopped", "message": "stopped: signal"}})


def test_signals_at_the_end_of_a_run_change_nothing(start, language):
    if language != "c++":
        pytest.skip("the Python library has no threads to wait for")
    for _ in range(40):
        worker = execute(start, "WAIT")
        worker.hear()
        worker.say({"stop": {"cause": "cancel"}})
        while worker.process.poll() is None:
            worker.process.send_signal(signal.SIGTERM)
        worker.ends_with({"result": {"stopped": True, "cause": "cancel"}})


def test_calls_are_answered_after_a_stop_too(start):
    worker = execute(start, "CALL_AFTER_STOP")
    worker.hear()
    worker.process.send_signal(signal.SIGTERM)
    worker.expect_call("getTask", {"id": "known"}, id="known")
    worker.ends_with({"result": {"task": {"id": "known"}}})


def test_the_death_of_the_agent_ends_a_worker_that_waits_for_an_answer(start, language):
    worker = execute(start, "REFUSED")
    worker.hear_call("createTask")
    worker.process.stdin.close()
    if language == "c++":
        worker.ends_with({"result": {"code": "agent-gone", "message": "the agent ended before it answered createTask", "field": ""}})
    else:
        worker.ends_with({"error": {"code": "stopped", "message": "stopped: agent-gone"}})


def test_the_death_of_the_agent_is_a_stop(start, language):
    if language != "c++":
        pytest.skip("the Python library notices when it waits for an answer")
    worker = execute(start, "WAIT")
    worker.hear()
    worker.process.stdin.close()
    worker.ends_with({"result": {"stopped": True, "cause": "agent-gone"}})


# ---- what it does to its process

def test_children_get_an_empty_input_and_default_signals(start):
    worker = execute(start, "CHILD")
    worker.ends_with({"result": {"status": 0, "read": False}})
    masks = dict(re.split(r":\s+", line) for line in worker.printed)
    for number in (signal.SIGTERM, signal.SIGPIPE):
        assert not any(int(mask, 16) >> (number - 1) & 1 for mask in masks.values()), masks


def test_it_says_how_to_try_it_on_a_terminal(language, start, tmp_path):
    import os
    import pty
    program = start().process.args[3]
    ours, theirs = pty.openpty()
    done = subprocess.run([program], stdin=theirs, capture_output=True, text=True, timeout=60)
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 2 and "agenttask worker test" in done.stderr and done.stdout == ""


def test_it_says_when_nothing_was_asked(start):
    worker = start()
    worker.process.stdin.close()
    assert worker.hear() is None
    assert worker.end() == 2 and b"before it asked for anything" in worker.errors
