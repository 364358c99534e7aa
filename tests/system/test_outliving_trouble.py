"""Commands that outlive the agent, where the system's service manager hangs, serves somebody else, or gives the recorder nothing."""
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from commit_points import AgentUnderTest
from programs import BIN, Agent, Program, until
from test_outliving import WAITS, add, ask, await_end, ended, folders, marks, nothing_left, show

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts of one's own need root")

#: What looks like a system that systemd runs, to this process and its children alone.
UNDER_SYSTEMD = "mount -t tmpfs none /run && mkdir -p /run/systemd/system && "


def hanging_manager(folder):
    """The words before an agent that asks a systemd-run that never answers, and the file that tells of each asking."""
    asked, tool = folder / "asked", folder / "systemd-run"
    tool.write_text(f'#!/bin/sh\necho "$*" >>{asked}\nexec sleep 600\n')
    tool.chmod(0o755)
    place = shutil.which("systemd-run") or pytest.skip("there is no systemd-run in whose place another can be put")
    return ["unshare", "--mount", "--", "sh", "-c", f'{UNDER_SYSTEMD} mount --bind {tool} {place} && exec "$@"', "sh"], asked


@pytest.fixture
def hanging(yard, tmp_path):
    """An agent whose service manager hangs, with a run that has been asked of it."""
    words, asked = hanging_manager(tmp_path)
    agent = yard.agent(None, "--slots", "2")
    agent.start_words = [*words, BIN / "agenttaskd"]
    agent.start()
    task = add(agent, f"echo start >>{tmp_path}/marks")
    until(lambda: asked.exists(), "systemd-run is asked")
    return agent, task


@needs_root
def test_a_cancel_waits_for_no_service_manager(hanging, tmp_path):
    agent, task = hanging
    begin = time.monotonic()
    assert agent.console("cancel", task).returncode == 0
    assert ended(agent, task)["status"] == "cancelled" and time.monotonic() - begin < 20
    assert marks(tmp_path) == []
    nothing_left(agent)


@needs_root
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_waits_for_no_service_manager(hanging, tmp_path, how):
    agent, task = hanging
    begin = time.monotonic()
    os.kill(agent.program.pid, how)
    assert agent.program.wait() == 0 and time.monotonic() - begin < 20
    agent.program = None
    agent.start_words = [BIN / "agenttaskd"]
    agent.start()
    result = ended(agent, task)
    assert result["reason"] == "interrupted" and result["runCount"] == 1 and "before it had begun" in result["detail"], result
    assert marks(tmp_path) == []
    nothing_left(agent)


@needs_root
def test_where_nothing_outlives_the_service_it_is_refused_and_doctor_says_so():
    """A service of systemd's for a user that has no manager: what it starts can't leave its group."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines() if " - cgroup2 " in line]
    if not mounts:
        pytest.skip("control groups of version 2 are not mounted")
    group, user = Path(mounts[0]) / f"agenttask-test-{os.getpid()}.service", 54321
    folder = Path(tempfile.mkdtemp(prefix="agenttask-"))     # where such a user can come
    try:
        group.mkdir()
    except OSError as error:
        folder.rmdir()
        pytest.skip(f"no control group can be made: {error}")
    agent = Agent(folder / "agent")
    try:
        for owned in (folder, agent.folder):
            os.chown(owned, user, user)
        enter = f'{UNDER_SYSTEMD} echo $$ >{group}/cgroup.procs && exec setpriv --reuid {user} --regid {user} --clear-groups "$@"'
        agent.program = Program(["unshare", "--mount", "--", "sh", "-c", enter, "sh", BIN / "agenttaskd", "--state-dir", agent.state], agent.folder / "agent.log")
        until(agent.listens, "the agent listens")
        [check] = [one for one in json.loads(agent.console("doctor", "--json").stdout)["checks"] if one["check"] == "outliving runs"]
        assert check["verdict"] == "warning" and "enable-linger" in check["remedy"], check
        refused = agent.console("command", "--outlives-agent", f"echo start >>{folder}/marks")
        assert refused.returncode != 0 and "nothing outlives the agent's service here" in refused.stderr, refused
        task = show(agent, "@last")
        assert task["status"] == "failed" and task["runCount"] == 1 and marks(folder) == [], task
        assert agent.console("command", "echo as ever").stdout == "as ever\n"
        agent.stop()
    finally:
        if agent.program:
            agent.kill()
        until(lambda: "populated 0" in (group / "cgroup.events").read_text(), "nothing runs there")
        group.rmdir()
        shutil.rmtree(folder)


def test_a_recorder_without_a_thread_says_that_nothing_began(yard, tmp_path):
    agent = AgentUnderTest(yard.place("agent"))
    yard.made.append(agent)
    agent.start()
    agent.end_at("after outliving-requested", lambda: ask(agent, WAITS.format(f=tmp_path)))
    [folder] = folders(agent)
    # Threads want a stack as large as this limit.
    starved = subprocess.run(["sh", "-c", 'ulimit -s 100000000000 && exec "$@"', "sh", BIN / "agenttaskd", "run-outside", folder],
                             capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert starved.returncode == 0, starved
    assert json.loads((folder / "end.json").read_text())["status"] == "failed"
    agent.start()
    task = await_end(agent, agent.say("getTasks", limit=1)["tasks"][0]["id"])
    assert task["reason"] == "worker-error" and "the run outside the agent failed" in task["detail"] and task["runCount"] == 1, task
    assert marks(tmp_path) == []
    nothing_left(agent)
