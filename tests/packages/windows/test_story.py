"""The agent for Windows, under Wine, against a real server of this machine: the way of a task, told shortly."""
import json
import signal
import uuid

import pytest

from wine import PROGRAMS, SLOW, WindowsAgent, ended, token_pids, until

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
    task = ended(api, api.add(agent.node, "echo", VALUE)["id"])
    assert task["status"] == "complete" and task["result"]["data"] == VALUE


def test_dir_is_a_command(agent, api):
    task = ended(api, api.add(agent.node, "command", {"cmd": "dir", "cwd": "C:\\"})["id"])
    data = task["result"]["data"]
    assert task["status"] == "complete" and data["exitCode"] == 0 and "idle.exe" in data["stdout"] and "windows" in data["stdout"].lower()


def test_a_command_tells_all_about_its_end(agent, api):
    task = ended(api, api.add(agent.node, "command", {"cmd": "echo out& echo err>&2& exit 300"})["id"])
    data = task["result"]["data"]
    assert (task["status"], task["reason"], data["exitCode"]) == ("failed", "exit-status", 300)
    assert data["stdout"].strip() == "out" and data["stderr"].strip() == "err"


def test_what_cmd_would_cut_is_refused(agent, api):
    task = ended(api, api.add(agent.node, "command", {"cmd": "echo one\necho two"})["id"])
    assert (task["status"], task["reason"]) == ("failed", "invalid") and "one line" in task["detail"]


def test_at_the_timeout_the_whole_tree_goes(agent, api):
    token = uuid.uuid4().hex
    task = api.add(agent.node, "command", tree(token), options={"timeout": 20_000})
    tree_stands(token)
    task = ended(api, task["id"])
    assert task["reason"] == "timeout" and task["result"]["data"]["stdout"].strip() == "begun"
    assert task["result"]["data"]["survivors"] == [] and task["result"]["data"]["timedOut"] and gone(token)


def test_a_cancelled_tree_goes_too(agent, api):
    token = uuid.uuid4().hex
    task = api.add(agent.node, "command", tree(token), options={"timeout": 0})
    tree_stands(token)
    api.post(f"/v1/tasks/{task['id']}/cancel")
    assert ended(api, task["id"])["status"] == "cancelled" and gone(token)


def test_it_repeats(agent, api):
    task = api.add(agent.node, "command", {"cmd": "echo x"}, schedule={"updateInterval": 1000})
    until(lambda: api.task(task["id"])["runCount"] >= 3, "three runs", SLOW)
    api.post(f"/v1/tasks/{task['id']}/cancel")
    task = ended(api, task["id"])
    assert task["status"] == "cancelled" and len(api.runs(task["id"])) == task["runCount"]


def test_an_operator_on_windows(agent, server):
    """Another machine than the server's and the device's, as far as it knows."""
    authority, name = agent.drive.path("story", "authority.pem")
    authority.write_bytes(server.authority.read_bytes())
    token, token_name = agent.drive.path("story", "token.txt")
    token.write_text(server.token + "\r\n")

    def fleet(*words):
        done = agent.drive.run(PROGRAMS / "agenttask.exe", "fleet", *words, check=False)
        assert done.returncode == 0, done
        return done.stdout.decode()
    fleet("login", server.url, "--authority", name, "--token", token_name)
    assert [node["id"] for node in json.loads(fleet("nodes", "--json"))["nodes"]] == [agent.node]
    assert fleet("command", agent.node, "--wait", "echo from afar").strip() == "from afar"


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
    task = ended(api, task["id"])
    assert (task["status"], task["reason"], task["runCount"]) == ("failed", "interrupted", 1)
    assert task["result"]["data"]["stdout"].strip() == "begun", "what it had printed is kept"
    assert all(ended(api, id)["status"] == "complete" for id in waiting)


def test_what_outlives_the_agent_is_followed_on(agent, api):
    """Through a kill of the agent, and to its end while there is none."""
    token = uuid.uuid4().hex
    go, name = agent.drive.path("story", "go")
    task = api.add(agent.node, "command", {"argv": ["C:\\idle.exe", token, "until", name]}, options={"outlivesAgent": True, "timeout": 0})
    running = until(lambda: token_pids(token), "it runs", SLOW)
    until(lambda: api.task(task["id"])["status"] == "running", "the server knows that it runs", SLOW)
    assert agent.kill() == -signal.SIGKILL
    agent.start()
    assert api.task(task["id"])["status"] == "running" and token_pids(token) == running
    agent.kill()
    go.touch()
    gone(token)
    agent.start()
    task = ended(api, task["id"])
    assert (task["status"], task["runCount"]) == ("complete", 1) and task["result"]["data"]["stdout"].split() == ["begun", "ended"], task


def test_a_cancel_reaches_what_outlives_the_agent(agent, api):
    token = uuid.uuid4().hex
    task = api.add(agent.node, "command", tree(token), options={"outlivesAgent": True, "timeout": 0})
    tree_stands(token)
    api.post(f"/v1/tasks/{task['id']}/cancel")
    assert ended(api, task["id"])["status"] == "cancelled" and gone(token)
