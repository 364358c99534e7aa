"""The agent for Windows, under Wine, against a real server of this machine: the way of a task, told shortly."""
import json
import signal
import uuid

import pytest

from wine import SLOW, WindowsAgent, token_pids, until

VALUE = {"whole": 9_223_372_036_854_775_807, "half": 0.5, "text": "Grüße, 世界", "list": [None, True, {}]}


@pytest.fixture(scope="module")
def agent(drive, server):
    agent = WindowsAgent(drive, "first", server).start().enroll()
    yield agent
    if agent.program:
        agent.kill()


@pytest.fixture(scope="module")
def api(server):
    return server.api()


def tree(token):
    return {"argv": ["C:\\idle.exe", token, "tree"]}


def tree_stands(token):
    return until(lambda: len(token_pids(token)) >= 3 and token_pids(token), "the tree stands", SLOW)


def gone(token):
    until(lambda: not token_pids(token), "the whole tree is gone", 30)
    return True


def test_it_is_a_windows_agent_that_enrolled(agent, api):
    node = api.get(f"/v1/nodes/{agent.node}").ok()
    assert node["platform"] == "windows-x86_64" and node["presence"] == "online"
    assert agent.drive.path("story", "first", "state", "identity.json")[0].is_file()


def test_echo_gives_back_its_data_exactly(agent, api):
    ended = api.ended(api.add(agent.node, "echo", VALUE)["id"])
    assert ended["status"] == "complete" and ended["result"]["data"] == VALUE


def test_dir_is_a_command(agent, api):
    ended = api.ended(api.add(agent.node, "command", {"cmd": "dir", "cwd": "C:\\"})["id"])
    data = ended["result"]["data"]
    assert ended["status"] == "complete" and data["exitCode"] == 0 and "idle.exe" in data["stdout"] and "windows" in data["stdout"].lower()


def test_a_command_tells_all_about_its_end(agent, api):
    ended = api.ended(api.add(agent.node, "command", {"cmd": "echo out& echo err>&2& exit 300"})["id"])
    data = ended["result"]["data"]
    assert (ended["status"], ended["reason"], data["exitCode"]) == ("failed", "exit-status", 300)
    assert data["stdout"].strip() == "out" and data["stderr"].strip() == "err"


def test_what_cmd_would_cut_is_refused(agent, api):
    ended = api.ended(api.add(agent.node, "command", {"cmd": "echo one\necho two"})["id"])
    assert (ended["status"], ended["reason"]) == ("failed", "invalid") and "one line" in ended["detail"]


def test_at_the_timeout_the_whole_tree_goes(agent, api):
    token = uuid.uuid4().hex
    task = api.add(agent.node, "command", tree(token), options={"timeout": 20_000})
    tree_stands(token)
    ended = api.ended(task["id"])
    assert ended["reason"] == "timeout" and ended["result"]["data"]["stdout"].strip() == "begun"
    assert ended["result"]["data"]["survivors"] == [] and ended["result"]["data"]["timedOut"] and gone(token)


def test_a_cancelled_tree_goes_too(agent, api):
    token = uuid.uuid4().hex
    task = api.add(agent.node, "command", tree(token), options={"timeout": 0})
    tree_stands(token)
    api.post(f"/v1/tasks/{task['id']}/cancel")
    assert api.ended(task["id"])["status"] == "cancelled" and gone(token)


def test_it_repeats(agent, api):
    task = api.add(agent.node, "command", {"cmd": "echo x"}, schedule={"updateInterval": 1000})
    until(lambda: api.task(task["id"])["runCount"] >= 3, "three runs", SLOW)
    api.post(f"/v1/tasks/{task['id']}/cancel")
    ended = api.ended(task["id"])
    assert ended["status"] == "cancelled" and len(api.runs(task["id"])) == ended["runCount"]


def test_the_console_of_the_device(agent):
    done = agent.console("echo", "test data")
    assert (done.returncode, done.stdout) == (0, "test data\n"), done
    done = agent.console("command", "dir C:\\")
    assert done.returncode == 0 and "idle.exe" in done.stdout, done
    assert agent.console("command", "exit 9").returncode == 9
    done = agent.console("command", "--", "cmd.exe", "/c", "echo", "a b")
    assert done.returncode == 0 and "a b" in done.stdout, done
    listed = json.loads(agent.console("list", "--json").stdout)
    assert any(task["type"] == "echo" for task in listed["tasks"]), listed


def test_killed_and_started_again_it_tells_the_truth(agent, api):
    token = uuid.uuid4().hex
    task = api.add(agent.node, "command", tree(token), options={"timeout": 0})
    tree_stands(token)
    until(lambda: api.task(task["id"])["status"] == "running", "the server knows that it runs", SLOW)
    assert agent.kill() == -signal.SIGKILL
    assert gone(token), "with the agent goes what it ran"
    waiting = [api.add(agent.node, "command", {"cmd": f"echo {n}"})["id"] for n in range(3)]
    agent.start()
    ended = api.ended(task["id"])
    assert (ended["status"], ended["reason"], ended["runCount"]) == ("failed", "interrupted", 1)
    assert ended["result"]["data"]["stdout"].strip() == "begun", "what it had printed is kept"
    assert all(api.ended(id)["status"] == "complete" for id in waiting)
