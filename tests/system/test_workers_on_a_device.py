"""The examples where they belong: tried with `agenttask worker test`, and run by a real agent without a server."""
import json
import subprocess

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
