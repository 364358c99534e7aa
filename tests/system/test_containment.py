"""A run's whole process tree ends, whatever it tries, with the system's control groups and without them."""
import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from programs import BIN, Agent, Program, is_alive, until

ESCAPE = [sys.executable, "-I", str(Path(__file__).with_name("escape.py"))]
#: Tricks that leave a mark, or a way from parent to child; `everything` leaves none beside other runs.
WAYS = {
    "a daemon's double fork": ["fork"],
    "a session of its own, twice": ["session", "fork", "session"],
    "deaf to every polite word": ["deaf", "session"],
    "all descriptors closed": ["close", "fork"],
    "no environment left": ["session", "scrub", "fork"],
    "another name": ["fork", "rename", "scrub"],
    "everything but the inherited limit": ["deaf", "fork", "session", "close", "scrub", "fork"],
}
EVERYTHING = ["deaf", "fork", "session", "close", "limit", "scrub", "fork"]


def add(agent, line, **options):
    """The id of a task that runs this shell line."""
    added = agent.console("add", "command", "--data", json.dumps({"cmd": line}), "--json", *options)
    assert added.returncode == 0, added
    return json.loads(added.stdout)["id"]


def escape(place, tricks):
    return shlex.join([*ESCAPE, str(place), *tricks])


def show(agent, task):
    return json.loads(agent.console("show", task, "--json").stdout)


def ended(agent, task):
    return until(lambda: (t := show(agent, task))["status"] in ("complete", "failed", "cancelled") and t, f"{task} ended")


def pid_in(file):
    return int(until(lambda: file.exists() and file.read_text(), f"{file} is there"))


def containment(agent):
    """What `doctor` says: the finding, and whether it is by control groups."""
    checks = json.loads(agent.console("doctor", "--json").stdout)["checks"]
    check = next(check for check in checks if check["check"] == "containment")
    return check["finding"], check["verdict"] == "ok"


def needs_groups(agent):
    finding, by_groups = containment(agent)
    if not by_groups:
        pytest.skip(finding)
    return Path(finding.rsplit(" ", 1)[1])


def noting(place, line):
    """The same line, whose run tells its id in a file beside `place`."""
    return f"echo $AGENTTASK_RUN_ID > {place}.run; {line}"


def groups_of(agent, place):
    """The control groups that are there of a run that noted its id."""
    run, top = Path(f"{place}.run").read_text().strip(), needs_groups(agent)
    while True:
        # Others' groups beside them come and go.
        with contextlib.suppress(FileNotFoundError):
            return list(top.rglob(f"agenttask-run-{run}*"))


class MarkedAgent(Agent):
    """An agent that sees no control groups that it could use, as in a container."""

    def start(self):
        hide = 'for m in $(awk \'$0 ~ / - cgroup2 /{print $5}\' /proc/self/mountinfo); do mount -o remount,bind,ro "$m" || exit 1; done; exec "$@"'
        self.program = Program(["unshare", "--mount", "sh", "-c", hide, "sh", BIN / "agenttaskd", "--state-dir", self.state, *self.options],
                               self.folder / "agent.log")
        until(self.listens, f"the agent listens\n{self.program.text()}")
        return self


@pytest.fixture
def marked(yard):
    if os.geteuid() != 0:
        pytest.skip("a mount namespace of one's own needs root")
    yard.made.append(MarkedAgent(yard.place("agent")))
    return yard.made[-1]


@pytest.fixture(scope="module")
def attempts(tmp_path_factory):
    """All ways tried side by side, with control groups where they are to be had and without, then cancelled together: what came of it."""
    folder = tmp_path_factory.mktemp("attempts")
    agents = {"groups": Agent(folder / "groups", None, "--slots", "16").start()}
    if os.geteuid() == 0:
        agents["marks"] = MarkedAgent(folder / "marks", None, "--slots", "16").start()
    by_groups = containment(agents["groups"])[1]
    tasks = {}
    for held, agent in agents.items():
        ways = {**WAYS, **({"everything": EVERYTHING} if by_groups and held == "groups" else {})}
        for number, (name, tricks) in enumerate(ways.items()):
            place = folder / f"{held}{number}"
            tasks[held, name] = (agent, add(agent, noting(place, escape(place, tricks) + "; sleep 600")), place)
    pids = {way: pid_in(file) for way, (agent, task, file) in tasks.items()}
    assert all(is_alive(pid) for pid in pids.values())
    if by_groups:
        assert len(groups_of(agents["groups"], folder / "groups0")) == 1
    for cancel in [agent.console_program("cancel", task) for agent, task, file in tasks.values()]:
        cancel.communicate(timeout=60)
    results = {way: (ended(agent, task), pids[way]) for way, (agent, task, file) in tasks.items()}
    yield by_groups, agents, results, {way: file for way, (agent, task, file) in tasks.items()}
    for agent in agents.values():
        agent.stop()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("held", ["groups", "marks"])
def test_G2_nothing_outlives_its_run(attempts, held, way):
    by_groups, agents, results, places = attempts
    if held not in agents:
        pytest.skip("hiding the control groups from an agent needs root")
    task, pid = results[held, way]
    assert not is_alive(pid) and task["status"] == "cancelled" and task["result"]["data"]["survivors"] == []


def test_G2_what_sheds_every_mark_ends_where_the_system_holds_it(attempts):
    by_groups, agents, results, places = attempts
    if not by_groups:
        pytest.skip(containment(agents["groups"])[0])
    task, pid = results["groups", "everything"]
    assert not is_alive(pid) and task["result"]["data"]["survivors"] == []
    assert all(groups_of(agents["groups"], place) == [] for (held, way), place in places.items() if held == "groups")


def test_doctor_says_what_holds_the_runs(attempts):
    by_groups, agents, results, places = attempts
    if "marks" not in agents:
        pytest.skip("hiding the control groups from an agent needs root")
    finding, held = containment(agents["marks"])
    assert not held and "marks alone" in finding and ("Read-only" in finding or "no control groups" in finding)
    assert "marks alone" in agents["marks"].program.text()


def test_G2_a_storm_of_forks_is_over_at_once(yard, tmp_path):
    agent = yard.agent().start()
    needs_groups(agent)
    storm = tmp_path / "storm"
    storm.write_text('#!/bin/sh\nsetsid "$0" &\n')        # each lives for a moment, in a session of its own, and leaves the next one behind
    storm.chmod(0o755)
    task = add(agent, noting(storm, f"{storm}; {storm}; {storm}; touch {tmp_path}/begun; sleep 600"))
    until((tmp_path / "begun").exists, "it storms")
    agent.console("cancel", task)
    result = ended(agent, task)
    assert result["result"]["data"]["survivors"] == [] and groups_of(agent, storm) == []
    assert subprocess.run(["pgrep", "-f", str(storm)], capture_output=True).returncode == 1


@pytest.mark.parametrize("tricks", [["fork", "session", "close", "scrub"], EVERYTHING[1:]], ids=["marked", "everything"])
def test_H1_what_a_crash_left_is_stopped_before_the_run_is_called_interrupted(yard, tmp_path, tricks):
    agent = yard.agent().start()
    if "limit" in tricks:
        needs_groups(agent)
    task = add(agent, noting(tmp_path / "pid", "echo out; " + escape(tmp_path / "pid", tricks) + "; sleep 600"))
    pid = pid_in(tmp_path / "pid")
    agent.kill()
    assert is_alive(pid)
    agent.start()
    result = ended(agent, task)
    assert not is_alive(pid)
    assert result["status"] == "failed" and result["reason"] == "interrupted" and result["result"]["data"]["survivors"] == []
    assert result["result"]["data"]["stdout"] == "out\n"
    assert "limit" not in tricks or groups_of(agent, tmp_path / "pid") == []


def test_what_is_left_on_purpose_outlives_a_run_and_a_restart(yard, tmp_path):
    agent = yard.agent().start()
    task = add(agent, noting(tmp_path / "pid", f"sleep 600 >/dev/null 2>&1 & echo $! > {tmp_path}/pid"))
    assert ended(agent, task)["status"] == "complete"
    pid = pid_in(tmp_path / "pid")
    agent.restart()
    agent.kill()
    agent.start()
    assert is_alive(pid)
    os.kill(pid, 9)
    agent.restart()      # what an earlier life left empty goes
    if containment(agent)[1]:
        assert groups_of(agent, tmp_path / "pid") == []


def test_no_descriptor_of_the_agent_reaches_a_child_while_others_start(yard):
    agent = yard.agent(None, "--slots", "8").start()
    # Five programs after another in each of 24 runs, up to eight at once.
    line = "for i in 1 2 3 4 5; do ls -l /proc/self/fd | awk '/->/{print $(NF-2), $NF}'; done"
    tasks = [add(agent, line) for _ in range(24)]
    for task in tasks:
        text = ended(agent, task)["result"]["data"]["stdout"]
        for seen in text.splitlines():
            number, target = seen.split(" ", 1)
            # 3 is the folder that ls reads, 1 the pipe to awk, 2 the one to us.
            assert (number == "0" and target == "/dev/null") or (number in ("1", "2") and target.startswith("pipe:")) or \
                   (number == "3" and target.startswith("/proc/")), text
        assert len(text.splitlines()) == 20, text


def test_an_ordinary_user_with_a_group_of_its_own_contains_its_runs(tmp_path):
    """What a service manager delegates: a group that belongs to the agent's user."""
    if os.geteuid() != 0:
        pytest.skip("making such a group needs root")
    mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines() if " - cgroup2 " in line]
    if not mounts:
        pytest.skip("control groups of version 2 are not mounted")
    group, user = Path(mounts[0][4]) / f"agenttask-test-{os.getpid()}", 54321
    folder = Path(tempfile.mkdtemp(prefix="agenttask-"))     # where such a user can come
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made: {error}")
    agent = Agent(folder / "agent")
    try:
        for owned in (folder, agent.folder, group, group / "cgroup.procs"):
            os.chown(owned, user, user)
        enter = f'echo $$ > {group}/cgroup.procs && exec setpriv --reuid {user} --regid {user} --clear-groups "$@"'
        agent.program = Program(["sh", "-c", enter, "sh", BIN / "agenttaskd", "--state-dir", agent.state], agent.folder / "agent.log")
        until(agent.listens, "the agent listens")
        assert needs_groups(agent) == group
        place = folder / "pid"
        task = add(agent, noting(place, escape(place, EVERYTHING[1:]) + "; sleep 600"))
        neighbour = add(agent, "sleep 600")
        pid = pid_in(place)
        assert len(groups_of(agent, place)) == 1
        agent.console("cancel", task)
        assert ended(agent, task)["result"]["data"]["survivors"] == [] and not is_alive(pid)
        assert groups_of(agent, place) == [] and show(agent, neighbour)["status"] == "running"
        agent.stop()
        assert not [inside for inside in group.iterdir() if inside.is_dir()]
    finally:
        if agent.program:
            agent.kill()
        until(lambda: "populated 0" in (group / "cgroup.events").read_text(), "nothing runs there")
        group.rmdir()
        shutil.rmtree(folder)
