"""The examples, each as a process that a test plays the agent to."""
import shutil
import subprocess
import time

import pytest

from worker_process import WORKERS, WorkerProcess, task_of


@pytest.fixture
def start():
    """Starts the program of an example; what is left is ended."""
    started = []

    def start_one(example, folder=None):
        folder = folder or WORKERS / example
        started.append(WorkerProcess(folder / example, folder))
        return started[-1]

    yield start_one
    for one in started:
        one.close()


def created(arguments):
    return {"id": "019a0000-0000-7000-8000-000000000001", "status": "sent", **arguments}


def test_the_smallest_worker(start):
    worker = start("hello").execute(task_of("HELLO"))
    assert worker.hear() == {"progress": {"text": "half way", "percent": 50}}
    worker.ends_with({"result": {"greeting": "hello"}})
    assert worker.printed[0].startswith("a line of output")


def test_a_reminder_is_posted_and_its_task_deleted(start):
    task = task_of("SEND_REMINDER", {"userId": "ann", "reminder": 'Submit the "weekly" report ☕'})
    worker = start("reminder").execute(task)
    worker.expect_call("createMessage", {"id": "m"}, content={"text": 'Reminder for <@ann>: Submit the "weekly" report ☕'})
    worker.expect_call("deleteTask", task, id=task["id"])
    worker.ends_with({"result": {"reminded": "ann"}})


def test_a_reminder_waits_until_it_has_a_room(start):
    start("reminder").validate(task_of("SEND_REMINDER")).ends_with({"valid": True})
    start("reminder").validate(task_of("SEND_REMINDER", roomId="")).ends_with(
        {"valid": False, "detail": "it has no room to remind anybody in"})


def test_a_reminder_whose_message_is_refused_fails_with_the_reason(start):
    worker = start("reminder").execute(task_of("SEND_REMINDER", {"userId": "ann", "reminder": "x"}))
    id, _ = worker.hear_call("createMessage")
    worker.refuse(id, "limit", "content has more than 65536 bytes", field="content")
    worker.ends_with({"error": {"code": "limit", "message": "content has more than 65536 bytes"}})


def test_a_follow_up_in_shell(start):
    task = task_of("FOLLOW_UP", {"userId": "ann", "topic": 'the "project" \\ timeline'})
    worker = start("follow-up").execute(task)
    worker.expect_call("createMessage", {"id": "m"},
                       content={"text": 'Hi <@ann>, following up about the "project" \\ timeline. Any updates?'})
    worker.expect_call("deleteTask", task, id=task["id"])
    worker.ends_with({"result": {"asked": True}})


def test_a_follow_up_that_is_refused_fails(start):
    worker = start("follow-up").execute(task_of("FOLLOW_UP", {"userId": "ann", "topic": 'a topic with "problem": in it'}))
    id, _ = worker.hear_call("createMessage")
    worker.refuse(id, "limit")
    assert worker.hear()["error"]["code"] == "refused"
    assert worker.end() == 1
    assert b'"code": "limit"' in worker.errors


def test_reports_count_what_ended(start):
    now = int(time.time() * 1000)
    tasks = [{"type": "echo", "status": "complete", "endTime": now - 1000}, {"type": "echo", "status": "failed", "endTime": now - 2000},
             {"type": "command", "status": "complete", "endTime": now - 3 * 86_400_000}, {"type": "command", "status": "sent"},
             {"type": "command", "status": "complete", "endTime": now - 8 * 86_400_000}]
    worker = start("reports").execute(task_of("DAILY_REPORT"))
    worker.expect_call("getTasks", tasks, limit=1000)
    worker.expect_call("createMessage", {"id": "m"}, content={"text": "Daily report: 1 complete, 1 failed."})
    worker.ends_with({"result": {"report": "1 complete, 1 failed"}})

    worker = start("reports").execute(task_of("GENERATE_WEEKLY_REPORT"))
    worker.expect_call("getTasks", tasks, limit=1000)
    worker.expect_call("createMessage", {"id": "m"},
                       content={"text": "# Weekly Report\n\n- command: 1 complete\n- echo: 1 complete, 1 failed"})
    worker.ends_with({"result": {"types": 2}})


def step(start, task, **options):
    """Runs a step of the workflow: the task that it creates."""
    worker = start("workflow").execute(task, **options)
    id, request = worker.hear_call("createTask")
    worker.answer(id, created(request))
    worker.expect_call("deleteTask", task, id=task["id"])
    worker.ends_with({"result": {"next": created(request)["id"]}})
    assert request["roomId"] == "plans" and request["worldId"] == "world" and request["tags"] == ["workflow"]
    assert request["options"] == {"onInterrupt": "rerun"}
    assert request["metadata"].pop("previousStep") == task["type"]
    return {**task_of(request["type"]), **request}


def test_an_action_is_done_when_it_was_confirmed_and_left_otherwise(start, tmp_path):
    files = [tmp_path / "document1.txt", tmp_path / "document2.txt"]
    data = {"files": [str(file) for file in files]}
    files[0].write_text("one")
    for option in ("cancel", None):
        worker = start("confirm-action").execute(task_of("CONFIRM_ACTION", data), **({"option": option} if option else {}))
        worker.expect_call("createMessage", {"id": "m"}, content={"text": "Nothing was deleted."})
        worker.ends_with({"result": {"chosen": option, "deleted": []}})
        assert files[0].exists()
    worker = start("confirm-action").execute(task_of("CONFIRM_ACTION", data), option="confirm")
    worker.expect_call("createMessage", {"id": "m"}, content={"text": "Deleted 1 files."})
    worker.ends_with({"result": {"chosen": "confirm", "deleted": [str(files[0])]}})
    assert not files[0].exists() and worker.printed == [f"{files[1]} is gone already"]
    files[0].mkdir()
    worker = start("confirm-action").execute(task_of("CONFIRM_ACTION", data), option="confirm")
    assert worker.hear()["error"]["code"] == "not-deleted"


def test_the_workflow_goes_round_until_somebody_confirms(start):
    wanted = {"requirements": ["fast", "small"]}
    task = task_of("GATHER_REQUIREMENTS", wanted, roomId="plans", worldId="world")
    for revision in range(3):
        task = step(start, task)
        assert task["type"] == "CONFIRM_REQUIREMENTS" and task["data"] == wanted and task["metadata"] == {"revision": revision}
        assert [choice["name"] for choice in task["choices"]] == ["confirm", "revise"]
        if revision < 2:
            task = step(start, task, option="revise")
            assert task["type"] == "GATHER_REQUIREMENTS" and "choices" not in task
            assert task["metadata"] == {"previousRequirements": wanted["requirements"], "revision": revision + 1}
    task = step(start, task, option="confirm")
    assert task["type"] == "GENERATE_SOLUTION" and task["data"] == wanted
    worker = start("workflow").execute(task)
    worker.expect_call("createMessage", {"id": "m"}, content={"text": "A solution that is fast, small"})
    worker.ends_with({"result": {"solution": "A solution that is fast, small"}})


def test_a_workflow_without_requirements_fails(start):
    worker = start("workflow").execute(task_of("GATHER_REQUIREMENTS"))
    assert worker.hear()["error"]["code"] == "no-requirements"
    assert worker.end() == 1


def test_the_service_answers_and_refuses(start):
    start("solana").serve("solana", "getBalance", account="petty-cash").ends_with({"result": {"balance": 0.25}})
    start("solana").serve("solana", "getBalance", account="nobody").ends_with(
        {"error": {"code": "unknown-account", "message": "solana knows no account nobody"}})
    start("solana").serve("solana", "burn").ends_with(
        {"error": {"code": "unknown-method", "message": "solana has no method burn; it has getBalance"}})


@pytest.mark.parametrize("balance, low", [(0.5, True), (1, False), (12.5, False)])
def test_a_balance_is_checked_against_its_threshold(start, balance, low):
    worker = start("balance").execute(task_of("CHECK_BALANCE", {"account": "petty-cash", "threshold": 1}))
    worker.expect_call("getService", {"name": "solana", "worker": "solana"}, name="solana")
    worker.expect_call("callService", {"balance": balance}, name="solana", method="getBalance", arguments={"account": "petty-cash"})
    if low:
        worker.expect_call("createMessage", {"id": "m"}, content={"text": "⚠️ Low balance alert: petty-cash has 0.5 SOL"})
    worker.ends_with({"result": {"balance": balance, "low": low}})


def test_a_balance_without_its_service_fails(start):
    worker = start("balance").execute(task_of("CHECK_BALANCE", {"account": "petty-cash", "threshold": 1}))
    worker.expect_call("getService", None, name="solana")
    worker.ends_with({"error": {"code": "no-service", "message": "no worker on this device offers the service solana"}})


def test_python_workers_leave_nothing_in_their_folder(start, tmp_path):
    """The agent watches the folder: what appears in it counts as a change."""
    folder = tmp_path / "solana"
    shutil.copytree(WORKERS / "solana", folder)
    before = sorted(folder.iterdir())
    start("solana", folder).serve("solana", "getBalance", account="savings").ends_with({"result": {"balance": 12.5}})
    assert sorted(folder.iterdir()) == before


def test_an_example_says_what_it_is_when_no_agent_started_it():
    for example in ("reminder", "balance"):
        done = subprocess.run([WORKERS / example / example], stdin=subprocess.DEVNULL, capture_output=True, cwd=WORKERS / example)
        assert done.returncode == 2 and b"before it asked for anything" in done.stderr and done.stdout == b""
