"""The examples where they belong: tried with `agenttask worker test`, and run by a real agent without a server."""
import itertools
import json
import subprocess
import time

import pytest

from programs import BIN, environment, until
from worker_process import WORKERS

EXAMPLES = [
    ("hello", "HELLO", {}, {"greeting": "hello"}, []),
    ("reminder", "SEND_REMINDER", {"userId": "ann", "reminder": "x"}, {"reminded": "ann"}, ["createMessage", "deleteTask"]),
    ("follow-up", "FOLLOW_UP", {"userId": "ann", "topic": "x"}, {"asked": True}, ["createMessage", "deleteTask"]),
    ("reports", "GENERATE_WEEKLY_REPORT", {}, {"types": 0}, ["createMessage"]),
    ("balance", "CHECK_BALANCE", {"account": "petty-cash", "threshold": 1}, {"balance": 0.25, "low": True}, ["createMessage"]),
    ("workflow", "GENERATE_SOLUTION", {"requirements": ["fast"]}, {"solution": "A solution that is fast"}, ["createMessage"]),
]


@pytest.fixture
def device(yard):
    return yard.agent(None, "--workers-folder", WORKERS).start()


@pytest.mark.parametrize("folder, type, data, result, wishes", EXAMPLES, ids=[example[0] for example in EXAMPLES])
def test_an_example_can_be_tried_without_an_agent(folder, type, data, result, wishes):
    done = subprocess.run([BIN / "agenttask", "worker", "test", WORKERS / folder, "--type", type, "--room", "lobby", "--data", json.dumps(data), "--json"],
                          capture_output=True, text=True, env=environment(), stdin=subprocess.DEVNULL, timeout=60)
    assert done.returncode == 0, done
    outcome = json.loads(done.stdout.splitlines()[-1])
    assert outcome["status"] == "complete" and outcome["result"]["data"] == result
    assert [name for wish in outcome["wishes"] for name in wish] == wishes


@pytest.mark.parametrize("folder, type, data, result, wishes", [one for one in EXAMPLES if one[1] != "GENERATE_WEEKLY_REPORT"],
                         ids=lambda value: value if isinstance(value, str) and value.isupper() else "")
def test_an_example_runs_on_a_device(device, folder, type, data, result, wishes):
    id = device.console("add", type, "--room", "lobby", "--data", json.dumps(data)).stdout.strip()
    show = lambda: json.loads(device.console("show", id, "--json").stdout)   # noqa: E731
    task = until(lambda: show().get("endTime") and show(), "the task has ended")
    output = task["result"].pop("output")
    assert output["stdoutBytes"] >= 0 and output["truncated"] is False
    assert task["status"] == "complete" and task["result"] == {"success": True, "data": result}


def workflow_tasks(device):
    """All its tasks by type: those that deleted themselves, and those that go on."""
    found = []
    for words in (["--deleted"], []):
        found += json.loads(device.console("list", *words, "--tag", "workflow", "--limit", "500", "--json").stdout)["tasks"]
    return {type: [task for task in found if task["type"] == type] for type in ("GATHER_REQUIREMENTS", "CONFIRM_REQUIREMENTS", "GENERATE_SOLUTION")}


def test_F1_each_step_of_a_workflow_exists_once_whenever_the_agent_is_killed(device):
    workflows, revisions = 3, 2
    delays = itertools.cycle([0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.13])

    def kill():
        time.sleep(next(delays))  # somewhere in the steps that have just begun
        device.kill()
        device.start()

    def awaiting(seen, count):
        """Questions of this round: one for each workflow."""
        def look():
            waits = [task for task in workflow_tasks(device)["CONFIRM_REQUIREMENTS"] if task["status"] == "awaiting_choice" and task["id"] not in seen]
            return waits if len(waits) == count else None
        return until(look, f"{count} workflows ask")

    for number in range(workflows):
        done = device.console("add", "GATHER_REQUIREMENTS", "--room", "plans", "--tag", "workflow", "--on-interrupt", "rerun",
                              "--data", json.dumps({"requirements": [f"number {number}"]}))
        assert done.returncode == 0, done
        kill()
    seen = set()
    for option in ["revise"] * revisions + ["confirm"]:
        questions = awaiting(seen, workflows)
        for question in questions:
            seen.add(question["id"])
            assert device.console("choose", question["id"], option).returncode == 0
            kill()
    tasks = until(lambda: (all_of := workflow_tasks(device)) and len([task for task in all_of["GENERATE_SOLUTION"] if task["status"] == "complete"]) == workflows and all_of,
                  "all workflows end")
    assert {type: len(list) for type, list in tasks.items()} == {"GATHER_REQUIREMENTS": workflows * (revisions + 1), "CONFIRM_REQUIREMENTS": workflows * (revisions + 1),
                                                               "GENERATE_SOLUTION": workflows}
    assert {task["status"] for list in tasks.values() for task in list} == {"complete"}
    messages = json.loads(device.console("messages", "--room", "plans", "--json").stdout)["messages"]
    assert sorted(message["content"]["text"] for message in messages) == [f"A solution that is number {number}" for number in range(workflows)]
