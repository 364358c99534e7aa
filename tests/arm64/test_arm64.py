"""An arm64 agent, under qemu-user or on such a machine, against a server of this one: the way of a task, told shortly.

AGENTTASK_BIN is a folder with agenttaskd and agenttask for arm64 (or scripts that run them in the emulator) and a native agenttask-server;
`./dev arm64 --test` makes it. The commands that the agent starts are programs of this machine."""
import signal

import pytest

from programs import is_alive, until

VALUE = {"whole": 9_223_372_036_854_775_807, "half": 0.5, "text": "Grüße, 世界", "list": [None, True, {}]}
TREE = "echo begun; sleep 600 & echo $! >> {f}/pids; setsid sleep 600 & echo $! >> {f}/pids; wait"


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


def tree_pids(folder):
    return [int(pid) for pid in until(lambda: lines(folder / "pids") if len(lines(folder / "pids")) == 2 else None, "the tree stands")]


def test_it_is_an_arm64_agent_that_enrolled(site):
    node = site.api.get(f"/v1/nodes/{site.node}").ok()
    assert node["platform"] == "linux-aarch64" and node["presence"] == "online"


def test_echo_gives_back_its_data_exactly(site):
    ended = site.api.ended(site.api.add(site.node, "echo", VALUE)["id"])
    assert ended["status"] == "complete" and ended["result"]["data"] == VALUE


def test_the_console_of_the_device_runs_a_command(site):
    done = site.agent.console("command", "--", "/bin/sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")


def test_a_command_of_an_operator_tells_all_about_its_end(site, tmp_path):
    data = {"cmd": f"echo one >> {tmp_path}/ran; cat; kill -9 $$", "stdin": "given"}
    ended = site.api.ended(site.api.add(site.node, "command", data)["id"])
    data = ended["result"]["data"]
    assert ended["status"] == "failed" and (data["signal"], data["signalName"]) == (9, "SIGKILL") and data["stdout"] == "given"
    assert lines(tmp_path / "ran") == ["one"]


def test_at_the_timeout_the_whole_tree_goes(site, tmp_path):
    task = site.api.run(site.node, TREE.format(f=tmp_path), options={"timeout": 3000})
    pids = tree_pids(tmp_path)
    ended = site.api.ended(task["id"])
    assert ended["reason"] == "timeout" and ended["result"]["data"]["stdout"] == "begun\n"
    assert ended["result"]["data"]["survivors"] == [] and not any(map(is_alive, pids))


def test_a_cancelled_tree_goes_too(site, tmp_path):
    task = site.api.run(site.node, TREE.format(f=tmp_path), options={"timeout": 0})
    pids = tree_pids(tmp_path)
    site.api.post(f"/v1/tasks/{task['id']}/cancel")
    assert site.api.ended(task["id"])["status"] == "cancelled" and not any(map(is_alive, pids))


def test_killed_and_started_again_it_tells_the_truth(yard, tmp_path):
    site = yard.site()
    task = site.api.run(site.node, f"echo $$ >> {tmp_path}/ran; " + TREE.format(f=tmp_path), options={"timeout": 0})
    pids = tree_pids(tmp_path)
    assert site.agent.kill() == -signal.SIGKILL
    waiting = [site.api.run(site.node, f"echo {n} >> {tmp_path}/after")["id"] for n in range(3)]
    site.agent.start()
    ended = site.api.ended(task["id"])
    assert (ended["status"], ended["reason"], ended["runCount"]) == ("failed", "interrupted", 1)
    assert len(lines(tmp_path / "ran")) == 1 and not any(map(is_alive, pids)), "what was left of the run was stopped"
    assert all(site.api.ended(id)["status"] == "complete" for id in waiting)
    assert sorted(lines(tmp_path / "after")) == ["0", "1", "2"]


@pytest.mark.parametrize("polite", [True, False])
def test_it_ends_politely_and_begins_again_where_it_was(yard, tmp_path, polite):
    site = yard.site()
    every = site.api.add(site.node, "command", {"cmd": f"echo x >> {tmp_path}/ran"}, schedule={"updateInterval": 1000})
    until(lambda: len(lines(tmp_path / "ran")) >= 2, "it repeats")
    site.agent.stop() if polite else site.agent.kill()
    site.agent.start()
    before = len(lines(tmp_path / "ran"))
    until(lambda: len(lines(tmp_path / "ran")) > before, "it goes on")
    task = site.api.task(every["id"])
    assert task["runCount"] <= len(lines(tmp_path / "ran")) + 1
    site.api.post(f"/v1/tasks/{every['id']}/cancel")
    assert site.api.ended(every["id"])["status"] == "cancelled"
