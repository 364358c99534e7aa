"""Commands that outlive the agent: they go on while it is stopped, killed or replaced, and their ends are told when it is back."""
import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from commit_points import AgentUnderTest
from programs import BIN, Agent, is_alive, until

#: Leaves a mark of each start, says that it began, and ends when it may.
WAITS = "echo start $$ >>{f}/marks; echo begun; while [ ! -e {f}/go ]; do sleep 0.02; done; echo done; echo end >>{f}/marks"


def add(agent, line, *words, **options):
    """The id of a command that outlives the agent."""
    added = agent.console("add", "command", "--outlives-agent", "--data", json.dumps({"cmd": line}), *words, "--json")
    assert added.returncode == 0, added
    return json.loads(added.stdout)["id"]


def show(agent, task):
    return json.loads(agent.console("show", task, "--json").stdout)


def ended(agent, task):
    def look():
        shown = show(agent, task)
        return shown if shown["status"] in ("complete", "failed", "cancelled") else None
    return until(look, f"task {task} ends")


def marks(folder):
    file = folder / "marks"
    return [line.split()[0] for line in file.read_text().splitlines()] if file.exists() else []


def recorder(agent):
    """The process that records a run: it has the run's folder in its command line."""
    spool = str(agent.state / "spool").encode()
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
            if b"run-outside" in words and any(word.startswith(spool) for word in words) and is_alive(entry.name):
                return int(entry.name)


def folders(agent):
    return [entry for entry in (agent.state / "spool").iterdir() if entry.is_dir()]


def nothing_left(agent):
    """Its folder goes right after its end is in the ledger."""
    until(lambda: not folders(agent), "the run's folder is removed")


def running(agent, folder, *words):
    task = add(agent, WAITS.format(f=folder), *words)
    until(lambda: marks(folder) == ["start"], "it runs")
    # From here on the agent has seen that it began.
    until(lambda: show(agent, task).get("detail", "").startswith("runs outside the agent"), "the agent says where it runs")
    return task


@pytest.fixture
def agent(yard):
    """Ends what outlived it."""
    agent = yard.agent().start()
    yield agent
    if pid := recorder(agent):
        os.kill(pid, signal.SIGTERM)
        until(lambda: not is_alive(pid), "the recorder ends what it records")


def test_it_runs_as_any_command_does(agent):
    ran = agent.console("command", "--outlives-agent", "echo out; echo err >&2; exit 3")
    assert (ran.returncode, ran.stdout, ran.stderr.splitlines()[0]) == (3, "out\n", "err"), ran
    task = show(agent, "@last")
    assert task["options"]["outlivesAgent"] is True and task["reason"] == "exit-status", task
    data = task["result"]["data"]
    assert (data["exitCode"], data["stdout"], data["stderr"], data["stdoutBytes"], data["truncated"]) == (3, "out\n", "err\n", 4, False), data
    nothing_left(agent)
    assert "outlives the agent" in agent.console("show", "@last").stdout
    assert agent.console("command", "--outlives-agent", "env; ulimit -a >/dev/null").stdout.count("AGENTTASK") == 1, "the mark of its run, and no more"


def test_it_goes_on_while_the_agent_is_stopped_and_its_end_is_collected(agent, tmp_path):
    task = running(agent, tmp_path)
    assert "outside the agent" in agent.console("explain", task).stdout
    begin = time.monotonic()
    agent.stop()
    assert time.monotonic() - begin < 5, "nobody waits for it"
    assert recorder(agent), "it goes on"
    before = int(time.time() * 1000)
    (tmp_path / "go").touch()
    until(lambda: not recorder(agent), "it ends while the agent is away")
    after = int(time.time() * 1000)
    time.sleep(0.05)
    agent.start()
    result = ended(agent, task)
    assert result["status"] == "complete" and result["runCount"] == 1 and result["result"]["data"]["stdout"] == "begun\ndone\n", result
    assert before <= result["endTime"] <= after, "it ended when it ended, not when that was heard of"
    assert marks(tmp_path) == ["start", "end"]
    nothing_left(agent)


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_what_still_runs_is_followed_on(agent, tmp_path, how):
    task = running(agent, tmp_path)
    getattr(agent, how)()
    agent.start()
    shown = show(agent, task)
    assert shown["status"] == "running" and shown["runCount"] == 1, shown
    assert json.loads(agent.console("status", "--json").stdout)["tasks"]["running"] == 1
    follower = agent.console_program("output", task, "--follow")
    (tmp_path / "go").touch()
    out, err = follower.communicate(timeout=30)
    assert out == "begun\ndone\n", (out, err)
    assert ended(agent, task)["status"] == "complete" and marks(tmp_path) == ["start", "end"]
    nothing_left(agent)


def test_it_holds_its_slot_and_key_across_a_restart(yard, tmp_path):
    agent = yard.agent(None, "--slots", "1").start()
    task = running(agent, tmp_path, "--key", "one")
    agent.kill()
    agent.start()
    other = json.loads(agent.console("add", "echo", "--data", "{}", "--json").stdout)["id"]
    assert "slot" in until(lambda: (text := agent.console("explain", other).stdout) and "no-slot" in text and text, "it waits")
    assert show(agent, other)["status"] == "sent"
    (tmp_path / "go").touch()
    assert ended(agent, task)["status"] == ended(agent, other)["status"] == "complete"


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_cancel_stops_the_whole_tree_also_after_a_restart(agent, tmp_path, how):
    task = add(agent, f"echo start >>{tmp_path}/marks; setsid sleep 600 & echo $! >{tmp_path}/child; wait")
    until(lambda: marks(tmp_path) == ["start"] and (tmp_path / "child").exists() and (tmp_path / "child").read_text().strip(), "it runs")
    getattr(agent, how)()
    agent.start()
    assert agent.console("cancel", task).returncode == 0
    assert ended(agent, task)["status"] == "cancelled"
    assert not is_alive((tmp_path / "child").read_text().strip())
    until(lambda: not recorder(agent), "its recorder ends")


@pytest.mark.parametrize("away", [False, True])
def test_its_timeout_holds_also_while_the_agent_is_away(agent, tmp_path, away):
    task = add(agent, f"echo start >>{tmp_path}/marks; echo $$ >{tmp_path}/pid; sleep 600", "--timeout", "2s")
    until(lambda: (tmp_path / "pid").exists(), "it runs")
    if away:
        agent.stop()
        until(lambda: not recorder(agent), "it is stopped while the agent is away")
        agent.start()
    result = ended(agent, task)
    assert result["reason"] == "timeout" and result["result"]["data"]["timedOut"], result
    assert 1.9 <= (result["endTime"] - result["startTime"]) / 1000 < 20 and not is_alive((tmp_path / "pid").read_text().strip())


@pytest.mark.parametrize("away", [False, True])
def test_a_run_whose_recorder_is_gone_is_interrupted(agent, tmp_path, away):
    task = add(agent, f"echo begun; echo start >>{tmp_path}/marks; setsid sleep 600 & echo $! >{tmp_path}/child; wait")
    until(lambda: marks(tmp_path) == ["start"] and (tmp_path / "child").exists() and (tmp_path / "child").read_text().strip(), "it runs")
    until(lambda: show(agent, task)["status"] == "running", "its start is told")
    until(lambda: any(b"begun\n" in (one / "stdout").read_bytes() for one in folders(agent)), "its output is kept")
    if away:
        agent.kill()
    os.kill(recorder(agent), signal.SIGKILL)
    if away:
        agent.start()
    result = ended(agent, task)
    assert result["reason"] == "interrupted" and result["result"]["data"]["stdout"] == "begun\n" and "outside the agent" in result["detail"], result
    assert not is_alive((tmp_path / "child").read_text().strip()), "what is left of it is stopped"
    assert marks(tmp_path) == ["start"]
    nothing_left(agent)


def test_everything_dies_at_once_as_in_a_power_cut(agent, tmp_path):
    """Where the end was recorded it is told, where not the run is interrupted, and nothing begins again."""
    task = running(agent, tmp_path)
    agent.kill()
    ends = [recorder(agent), *(int(line.split()[1]) for line in (tmp_path / "marks").read_text().splitlines())]
    for pid in ends:
        os.kill(pid, signal.SIGKILL)
    agent.start()
    assert ended(agent, task)["reason"] == "interrupted" and marks(tmp_path) == ["start"]
    again = running_again = add(agent, "exit 7")
    until(lambda: show(agent, again)["status"] == "failed", "it ends")
    assert show(agent, running_again)["result"]["data"]["exitCode"] == 7


def test_the_system_stops_it(agent, tmp_path):
    task = running(agent, tmp_path)
    agent.stop()
    os.kill(recorder(agent), signal.SIGTERM)
    until(lambda: not recorder(agent), "its recorder ends")
    agent.start()
    result = ended(agent, task)
    assert result["reason"] == "interrupted" and "system" in result["detail"] and result["result"]["data"]["stdout"] == "begun\n", result


def test_it_runs_again_only_where_it_is_asked_to(agent, tmp_path):
    task = add(agent, f"echo start >>{tmp_path}/marks; [ $(wc -l <{tmp_path}/marks) -gt 1 ] || sleep 600", "--on-interrupt", "rerun")
    until(lambda: marks(tmp_path) == ["start"], "it runs")
    agent.kill()
    os.kill(recorder(agent), signal.SIGKILL)
    agent.start()
    assert ended(agent, task)["status"] == "complete" and marks(tmp_path) == ["start", "start"]


def test_a_task_upgrades_the_agent_that_runs_it(yard, tmp_path):
    """It stops the agent, puts another program in its place, and starts that."""
    place = tmp_path / "installed"
    place.mkdir()
    program = place / "agenttaskd"
    shutil.copy2(BIN / "agenttaskd", program)
    agent = yard.agent()
    agent.start_words = [program]
    agent.start()
    neighbour = json.loads(agent.console("add", "command", "--data", json.dumps({"cmd": "sleep 600"}), "--json").stdout)["id"]
    until(lambda: show(agent, neighbour)["status"] == "running", "a neighbour runs")
    script = f"""
echo start >>{tmp_path}/marks
kill -TERM {agent.program.pid}
while kill -0 {agent.program.pid} 2>/dev/null; do sleep 0.02; done
echo stopped
cp {BIN}/agenttaskd {place}/new && mv {place}/new {program}
AGENTTASK_SHUTDOWN_DRAIN=0 setsid {program} --state-dir {agent.state} >{tmp_path}/second.log 2>&1 </dev/null &
echo $! >{tmp_path}/second
until {BIN}/agenttask status --state-dir {agent.state} | grep -q '^Agent: *running'; do sleep 0.05; done
echo upgraded
"""
    # What a command leaves behind belongs to its run; an agent that it starts does not die with it here, as the run ends by itself.
    task = add(agent, script)
    assert agent.program.wait() == 0
    agent.program = None
    try:
        until((tmp_path / "second").exists, "the new agent is started")
        result = ended(agent, task)
        assert result["status"] == "complete" and result["runCount"] == 1, result
        assert result["result"]["data"]["stdout"] == "stopped\nupgraded\n", result
        assert show(agent, neighbour)["reason"] == "interrupted" and marks(tmp_path) == ["start"]
        assert os.readlink(f"/proc/{(tmp_path / 'second').read_text().strip()}/exe") == str(program)
    finally:
        pid = int((tmp_path / "second").read_text())
        os.kill(pid, signal.SIGTERM)
        until(lambda: not is_alive(pid), "the new agent stops")


# ---- kill -9 in each window

@pytest.fixture
def under_test(yard):
    def make(*options):
        agent = AgentUnderTest(yard.place("agent"), None, *options)
        yard.made.append(agent)
        return agent.start()
    return make


def ask(agent, line, **options):
    return agent.say("createTask", task={"type": "command", "data": {"cmd": line}, "options": {"outlivesAgent": True, **options}})["id"]


def await_end(agent, id):
    return until(lambda: (task := agent.task(id)) and task["status"] in ("complete", "failed", "cancelled") and task, "it ends")


def await_kill(agent, line):
    """The recorder, or the agent, ends itself there."""
    until(lambda: agent.points.kills[-1:] == [line], f"somebody ends itself at {line}")


@pytest.mark.parametrize("line", ["before run-started", "after run-started", "before outliving-requested", "after outliving-requested"])
def test_the_agent_is_killed_before_it_began(under_test, tmp_path, line):
    agent = under_test()
    id = None

    def act():
        nonlocal id
        id = ask(agent, WAITS.format(f=tmp_path))
    agent.end_at(line, act)
    (tmp_path / "go").touch()
    agent.start()
    id = id or agent.say("getTasks", limit=1)["tasks"][0]["id"]
    task = await_end(agent, id)
    if line == "before run-started":
        assert task["status"] == "complete" and marks(tmp_path) == ["start", "end"], task
    else:
        assert task["reason"] == "interrupted" and "before it had begun" in task["detail"] and marks(tmp_path) == [], task
    assert task["runCount"] == 1
    until(lambda: not recorder(agent), "its recorder ends")
    nothing_left(agent)


@pytest.mark.parametrize("line", ["before outliving-claimed", "after outliving-claimed", "before outliving-ended", "after outliving-ended"])
@pytest.mark.parametrize("away", [False, True])
def test_the_recorder_is_killed(under_test, tmp_path, line, away):
    agent = under_test()
    agent.points.arm(line)
    id = ask(agent, WAITS.format(f=tmp_path))
    ends = line.endswith("ended")
    if ends:
        until(lambda: marks(tmp_path) == ["start"], "it runs")
        if away:
            agent.kill()
        (tmp_path / "go").touch()
    await_kill(agent, line)
    if away and not ends:
        agent.kill()
    if away:
        agent.start()
    elif line == "before outliving-claimed":
        # Nobody claims it; the agent gives it half a minute, and less when it stops.
        agent.stop()
        agent.start()
    task = await_end(agent, id)
    assert task["runCount"] == 1, task
    nothing_left(agent)
    if line == "after outliving-ended":
        assert task["status"] == "complete", task
    else:
        assert task["reason"] == "interrupted", task
    assert marks(tmp_path) == (["start", "end"] if ends else [])


def test_a_stop_leaves_what_it_can_neither_see_nor_withdraw(under_test, tmp_path):
    agent = under_test()
    agent.points.arm("before outliving-claimed")
    ask(agent, WAITS.format(f=tmp_path))
    await_kill(agent, "before outliving-claimed")
    [folder] = folders(agent)
    (folder / "lock").unlink()
    (folder / "lock").symlink_to("lock")
    begin = time.monotonic()
    agent.stop()
    assert time.monotonic() - begin < 20, "it does not wait until that can be told"
    (folder / "lock").unlink()
    agent.start()
    task = await_end(agent, agent.say("getTasks", limit=1)["tasks"][0]["id"])
    assert task["reason"] == "interrupted" and marks(tmp_path) == [], task
    nothing_left(agent)


@pytest.mark.parametrize("line", ["before run-ended", "after run-ended"])
def test_the_agent_is_killed_while_it_records_the_end(under_test, tmp_path, line):
    agent = under_test()
    id = ask(agent, WAITS.format(f=tmp_path))
    until(lambda: marks(tmp_path) == ["start"], "it runs")
    agent.end_at(line, (tmp_path / "go").touch)
    agent.start()
    task = await_end(agent, id)
    assert task["status"] == "complete" and task["runCount"] == 1 and marks(tmp_path) == ["start", "end"], task
    nothing_left(agent)


@pytest.mark.parametrize("line", ["before outliving-stop-asked", "after outliving-stop-asked"])
def test_the_agent_is_killed_while_it_asks_for_a_stop(under_test, tmp_path, line):
    agent = under_test()
    id = ask(agent, WAITS.format(f=tmp_path))
    until(lambda: marks(tmp_path) == ["start"], "it runs")
    agent.end_at(line, lambda: agent.say("cancelTask", id=id))
    agent.start()
    task = await_end(agent, id)
    assert task["status"] == "cancelled" and marks(tmp_path) == ["start"], task
    until(lambda: not recorder(agent), "its recorder ends")


@pytest.mark.parametrize("line", ["before outliving-withdrawn", "after outliving-withdrawn"])
def test_the_agent_is_killed_while_it_withdraws_one(under_test, tmp_path, line):
    agent = under_test()
    agent.end_at("after outliving-requested", lambda: ask(agent, WAITS.format(f=tmp_path)))
    agent.start_to_die(line)
    [folder] = folders(agent)
    # A recorder that comes late begins nothing that was withdrawn.
    if line.startswith("after"):
        assert subprocess.run([BIN / "agenttaskd", "run-outside", folder], timeout=30, stdin=subprocess.DEVNULL).returncode == 0
    agent.start()
    task = await_end(agent, agent.say("getTasks", limit=1)["tasks"][0]["id"])
    assert task["reason"] == "interrupted" and marks(tmp_path) == [], task
    nothing_left(agent)


def test_a_run_begins_once_however_many_recorders_come(agent, tmp_path):
    task = running(agent, tmp_path)
    [folder] = folders(agent)
    for _ in range(3):
        assert subprocess.run([BIN / "agenttaskd", "run-outside", folder], timeout=30, stdin=subprocess.DEVNULL).returncode == 0
    (tmp_path / "go").touch()
    assert ended(agent, task)["status"] == "complete" and marks(tmp_path) == ["start", "end"]


def test_what_the_ledger_does_not_know_is_stopped(agent, tmp_path):
    running(agent, tmp_path)
    agent.stop()
    reset = subprocess.run([BIN / "agenttaskd", "ledger", "reset", "--yes", "--state-dir", agent.state], capture_output=True, text=True, timeout=60)
    assert reset.returncode == 0, reset
    agent.start()
    until(lambda: not recorder(agent), "nobody would ever hear of it")
    assert marks(tmp_path) == ["start"]
    agent.restart()
    nothing_left(agent)


def test_no_image_is_made_of_a_machine_where_one_goes_on(agent, tmp_path):
    running(agent, tmp_path)
    agent.stop()
    refused = subprocess.run([BIN / "agenttaskd", "prepare-image", "--yes", "--state-dir", agent.state], capture_output=True, text=True, timeout=60)
    assert refused.returncode == 3 and "outside the agent" in refused.stderr, refused
    assert (agent.state / "ledger.db").exists() and recorder(agent)
    (tmp_path / "go").touch()
    until(lambda: not recorder(agent), "it ends")
    assert subprocess.run([BIN / "agenttaskd", "prepare-image", "--yes", "--state-dir", agent.state], capture_output=True, text=True, timeout=60).returncode == 0
    assert not (agent.state / "spool").exists()


# ---- who may, and how it is said

def test_only_commands_can_outlive_the_agent(agent):
    refused = agent.console("add", "echo", "--outlives-agent", "--data", "{}")
    assert refused.returncode == 125 and "options.outlivesAgent" in refused.stderr and "command only" in refused.stderr, refused
    task = json.loads(agent.console("add", "echo", "--data", "{}", "--at", "in 1h", "--json").stdout)["id"]
    refused = agent.console("update", task, "--outlives-agent")
    assert refused.returncode == 125 and "options.outlivesAgent" in refused.stderr, refused


def test_the_policy_decides(yard):
    agent = yard.agent()
    agent.state.mkdir(mode=0o700)
    policy = agent.state / "policy.json"
    for rules, allowed in (({"argv": [["/bin/true"]]}, False), ({"argv": [["/bin/true"]], "outlivesAgent": True}, True), ({"outlivesAgent": False}, False), ({}, True)):
        policy.write_text(json.dumps({"command": rules}))
        agent.start()
        done = agent.console("command", "--outlives-agent", "--", "/bin/true")
        assert (done.returncode == 0) == allowed, (rules, done)
        assert allowed or "command.outlivesAgent" in done.stderr, done
        assert agent.console("command", "--", "/bin/true").returncode == 0
        agent.stop()


def test_doctor_says_where_they_run(agent):
    assert "outliving runs" in agent.console("doctor").stdout


# ---- what does not outlive the agent

def test_a_drain_ends_for_who_asks_again(yard, tmp_path):
    agent = yard.agent(None, "--shutdown-drain", "60s").start()
    ids = [json.loads(agent.console("add", "command", *words, "--data", json.dumps({"cmd": WAITS.format(f=tmp_path)}), "--json").stdout)["id"]
           for words in ((), ("--outlives-agent",))]
    until(lambda: marks(tmp_path) == ["start", "start"], "both run")
    os.kill(agent.program.pid, signal.SIGTERM)
    time.sleep(0.7)
    assert agent.program.alive(), "it waits for the one"
    begin = time.monotonic()
    os.kill(agent.program.pid, signal.SIGTERM)
    assert agent.program.wait() == 0 and time.monotonic() - begin < 20
    agent.program = None
    (tmp_path / "go").touch()
    agent.start()
    assert ended(agent, ids[0])["reason"] == "interrupted" and ended(agent, ids[1])["status"] == "complete"


def test_an_interrupt_waits_for_nobody(yard, tmp_path):
    agent = yard.agent(None, "--shutdown-drain", "60s").start()
    task = json.loads(agent.console("add", "command", "--data", json.dumps({"cmd": WAITS.format(f=tmp_path)}), "--json").stdout)["id"]
    until(lambda: marks(tmp_path) == ["start"], "it runs")
    begin = time.monotonic()
    os.kill(agent.program.pid, signal.SIGINT)
    assert agent.program.wait() == 0 and time.monotonic() - begin < 20
    agent.program = None
    agent.start()
    assert ended(agent, task)["reason"] == "interrupted"


def test_the_drain_is_changed_without_a_restart(yard, tmp_path):
    agent = yard.agent()
    agent.state.mkdir(mode=0o700)
    # The file counts where the environment says nothing.
    agent.start_words = ["env", "-u", "AGENTTASK_SHUTDOWN_DRAIN", BIN / "agenttaskd"]
    agent.start()
    task = json.loads(agent.console("add", "command", "--data", json.dumps({"cmd": WAITS.format(f=tmp_path)}), "--json").stdout)["id"]
    until(lambda: marks(tmp_path) == ["start"], "it runs")
    (agent.state / "agent.conf").write_text("shutdown-drain = 200ms\n")
    agent.program.process.send_signal(signal.SIGHUP)
    until(lambda: "configuration read again" in agent.program.text(), "it reads it again")
    begin = time.monotonic()
    agent.stop()
    assert time.monotonic() - begin < 20, "not the half minute that it began with"
    agent.start()
    assert ended(agent, task)["reason"] == "interrupted"
