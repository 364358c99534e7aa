"""The console on the device: every verb, exit codes, Ctrl-C, without a server (contract section 10; acceptance J3)."""
import json
import os
import pty
import signal
import subprocess
import time

import pytest

from programs import BIN, environment, is_alive, until


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


def last(agent):
    return json.loads(agent.console("show", "@last", "--json").stdout)


@pytest.fixture
def agent(site):
    return site.agent


def test_J3_echo_prints_its_text(agent):
    done = agent.console("echo", "test data")
    assert (done.returncode, done.stdout) == (0, "test data\n")
    value = '{"a":[1,9007199254740993,null,"\u00e4"]}'
    assert agent.console("echo", "--data", value).stdout == value + "\n"


def test_J3_command_runs_a_shell_line(agent):
    done = agent.console("command", "echo out; echo err >&2; exit 3")
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")


def test_J3_command_runs_words_without_a_shell(agent, tmp_path):
    (tmp_path / "a b").touch()
    done = agent.console("command", "--", "ls", str(tmp_path), "--", "$HOME;", "[x,y]")
    assert "a b" in done.stdout and "$HOME;" in done.stderr and "[x,y]" in done.stderr and done.returncode == 2


def test_J3_the_same_task_is_on_the_server(site):
    site.agent.console("command", "echo seen; exit 5")
    here = last(site.agent)
    there = until(lambda: (lambda a: a.json if a.status == 200 and a.json["status"] == "failed" else None)(site.api.get(f"/v1/tasks/{here['id']}")), "it is on the server")
    assert there["nodeId"] == site.node and there["result"] == here["result"] and there["result"]["data"]["stdout"] == "seen\n"


def test_output_comes_while_the_command_runs(agent, tmp_path):
    program = agent.console_program("command", f"echo first; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; echo second")
    try:
        assert program.stdout.readline() == "first\n"
        (tmp_path / "go").touch()
        assert program.stdout.read() == "second\n"
        assert program.wait(60) == 0
    finally:
        end(program)


def test_bytes_pass_unchanged(agent):
    done = agent.console("command", r"printf '\377\000\376\n'", text=False)
    assert done.stdout == b"\xff\x00\xfe\n"


def test_output_of_a_run_can_be_read_later(agent):
    agent.console("command", "echo out; echo first >&2; echo 'the last word' >&2; exit 3")
    done = agent.console("output", "@last")
    assert (done.returncode, done.stdout, done.stderr) == (0, "out\n", "first\nthe last word\n")
    assert agent.console("output", "@last", "--run", "1").stdout == "out\n"
    assert agent.console("output", "@last", "--run", "2").returncode == 125
    assert agent.console("output", "@last", "--follow").returncode == 3
    explained = agent.console("explain", "@last").stdout
    assert "The last line of its standard error: the last word\n" in explained and "agenttask output " in explained, explained
    waits = agent.console("add", "echo", "--at", "in 1h").stdout.strip()
    done = agent.console("output", waits)
    assert done.returncode == 125 and "has not run yet" in done.stderr


def test_a_task_can_be_made_like_another(agent, tmp_path):
    first = agent.console("add", "command", "--data", json.dumps({"cmd": f"echo x >> {tmp_path}/marks; exit 4"}), "--tag", "t", "--room", "r", "--timeout", "9s").stdout.strip()
    until(lambda: json.loads(agent.console("show", first, "--json").stdout)["status"] == "failed", "it has ended")
    done = agent.console("add", "--like", first, "--timeout", "8s")
    again = done.stdout.strip()
    assert done.returncode == 0 and again != first
    task = until(lambda: (lambda t: t if t["status"] == "failed" else None)(json.loads(agent.console("show", again, "--json").stdout)), "it has ended")
    assert (task["type"], task["tags"], task["roomId"], task["options"]["timeout"]) == ("command", ["t"], "r", 8000)
    assert len(lines(tmp_path / "marks")) == 2
    assert agent.console("add", "--like", first, "echo").returncode == 125 and agent.console("add").returncode == 125


def test_a_type_that_nobody_runs_is_said(agent):
    done = agent.console("add", "NOBODY_RUNS_THIS")
    assert done.returncode == 0 and "no worker of this device runs NOBODY_RUNS_THIS: the task is kept and waits" in done.stderr
    assert json.loads(agent.console("show", done.stdout.strip(), "--json").stdout)["status"] == "sent"
    agent.console("cancel", done.stdout.strip())
    assert "no worker" not in agent.console("add", "echo").stderr


def test_an_empty_time_runs_nothing(agent, tmp_path):
    done = agent.console("add", "command", "--data", json.dumps({"cmd": f"touch {tmp_path}/ran"}), "--at", "")
    assert (done.returncode, done.stdout) == (125, "") and "--at: '' is not a time" in done.stderr
    assert not (tmp_path / "ran").exists()


def test_deleted_tasks_are_listed_by_themselves(agent):
    kept, gone = (agent.console("add", "echo", "--at", "in 1h").stdout.strip() for _ in range(2))
    agent.console("delete", gone)
    ids = lambda *words: [task["id"] for task in json.loads(agent.console("list", "--json", *words).stdout)["tasks"]]   # noqa: E731
    assert kept in ids() and gone not in ids()
    assert gone in ids("--deleted") and kept not in ids("--deleted")
    agent.console("cancel", kept)


def test_messages_of_a_world(agent):
    agent.console("post", "team", "here", "--world", "w1")
    agent.console("post", "team", "there")
    assert "here" in agent.console("messages", "--world", "w1").stdout and "there" not in agent.console("messages", "--world", "w1").stdout
    assert "no messages" in agent.console("messages", "--world", "w1", "--room", "other").stdout


def test_much_output_passes_whole(agent):
    done = agent.console("command", "seq 1 300000")
    assert done.stdout == "".join(f"{n}\n" for n in range(1, 300001))


@pytest.mark.parametrize("words,code", [
    (["command", "exit 0"], 0), (["command", "exit 1"], 1), (["command", "exit 255"], 255), (["command", "--timeout", "300ms", "sleep 60"], 124),
    (["command", "kill -TERM $$"], 143), (["command", "kill -9 $$"], 137), (["command", "--", "/no/such/program"], 125), (["command"], 125),
    (["command", "two", "lines"], 125), (["no-such-verb"], 125), ([], 125), (["show", "00000000-0000-0000-0000-000000000000"], 125), (["show"], 125),
    (["cancel", "ffff"], 125), (["list", "--status", "nonsense"], 125), (["add", "echo", "--data", "{"], 125), (["echo"], 125), (["echo", "--wrong", "x"], 125),
    (["--version"], 0), (["--help"], 0), (["command", "--help"], 0)], ids=lambda v: " ".join(v)[:40] if isinstance(v, list) else None)
def test_exit_codes(agent, words, code):
    done = subprocess.run([BIN / "agenttask", *words], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
                          env=environment({"AGENTTASK_STATE_DIR": str(agent.state)}))
    assert done.returncode == code, done
    if code == 125:
        assert done.stderr and not done.stdout, done


def test_every_verb_has_help_with_examples(agent):
    for verb in ("echo", "command", "add", "list", "show", "explain", "watch", "runs", "cancel", "update", "delete", "status", "doctor", "hold", "release",
                 "enroll", "unenroll", "fleet", "completion"):
        done = subprocess.run([BIN / "agenttask", verb, "--help"], capture_output=True, text=True, env=environment(), timeout=60, stdin=subprocess.DEVNULL)
        assert done.returncode == 0 and ("agenttask " + verb) in done.stdout, (verb, done)


def end(program):
    if program.poll() is None:
        program.kill()
    program.wait()
    program.stdout.close()
    program.stderr.close()


def waits(folder):
    return f"echo $$ > {folder}/pid; echo begun; while [ ! -e {folder}/go ]; do sleep 0.05; done; echo done"


def test_ctrl_c_cancels_what_this_call_created(agent, tmp_path):
    program = agent.console_program("command", "--timeout", "0", waits(tmp_path))
    try:
        assert program.stdout.readline() == "begun\n"
        pid = int((tmp_path / "pid").read_text())
        program.send_signal(signal.SIGINT)
        assert program.wait(60) == 130
        assert not is_alive(pid)
        assert last(agent)["status"] == "cancelled"
    finally:
        end(program)


def test_a_second_ctrl_c_leaves_at_once_and_prints_the_id(agent, tmp_path):
    program = agent.console_program("command", "--timeout", "0", "trap '' TERM; " + waits(tmp_path))
    try:
        assert program.stdout.readline() == "begun\n"
        program.send_signal(signal.SIGINT)
        assert "ancel" in program.stderr.readline()
        time.sleep(0.15)                                       # as a person: sooner, it would be the same wish told twice
        program.send_signal(signal.SIGINT)
        assert program.wait(4) == 130                          # before the grace of 5 s is over
        assert last(agent)["id"] in program.stderr.read()
        until(lambda: last(agent)["status"] == "cancelled", "the agent goes on with the cancel")
    finally:
        end(program)


@pytest.mark.parametrize("seconds", ["0.02", "0.3", "0.5", "0.7"])
def test_timeout_signals_twice_and_cancels_once(agent, tmp_path, seconds):
    """timeout(1) tells the console and then its whole group: that is one wish, not a second Ctrl-C."""
    done = subprocess.run(["timeout", seconds, *agent.words(("command", "--tag", f"timeout {seconds}", "--timeout", "0", "sleep 600"))], capture_output=True, text=True, env=environment(),
                          timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode in (124, 130) and "left task" not in done.stderr, done
    tasks = json.loads(agent.console("list", "--tag", f"timeout {seconds}", "--json").stdout)["tasks"]
    assert all(task["status"] == "cancelled" for task in tasks), tasks


def test_terminates_never_count_as_a_second_ctrl_c(agent, tmp_path):
    program = agent.console_program("command", "--timeout", "0", "trap '' TERM; " + waits(tmp_path))
    try:
        assert program.stdout.readline() == "begun\n"
        program.send_signal(signal.SIGTERM)
        assert "ancel" in program.stderr.readline()
        program.send_signal(signal.SIGTERM)
        program.send_signal(signal.SIGHUP)
        assert program.wait(60) == 130
        assert last(agent)["status"] == "cancelled"             # it stayed until the grace was over
    finally:
        end(program)


def test_ctrl_c_detaches_a_watch(agent, tmp_path):
    id = agent.console("command", "--detach", "--timeout", "0", waits(tmp_path)).stdout.strip()
    program = agent.console_program("watch", id[-8:])
    try:
        assert program.stdout.readline() == "begun\n"
        program.send_signal(signal.SIGINT)
        program.wait(60)
        assert last(agent)["status"] == "running"
        (tmp_path / "go").touch()
        done = agent.console("watch", id)
        assert done.returncode == 0 and done.stdout.endswith("done\n")
    finally:
        end(program)


def test_a_console_that_is_killed_leaves_its_task_running(agent, tmp_path):
    program = agent.console_program("command", "--timeout", "0", waits(tmp_path))
    assert program.stdout.readline() == "begun\n"
    end(program)
    (tmp_path / "go").touch()
    until(lambda: last(agent)["status"] == "complete", "the task goes on to its end")


def test_add_list_show_runs_update_cancel_delete(agent):
    id = agent.console("add", "echo", "--data", '{"message":"later"}', "--at", "+1h", "--tag", "verbs", "--tag", "two").stdout.strip()
    listed = json.loads(agent.console("list", "--tag", "verbs", "--tag", "two", "--json").stdout)["tasks"]
    assert [t["id"] for t in listed] == [id]
    assert id in agent.console("show", id[-6:]).stdout
    explained = agent.console("explain", id)
    assert explained.returncode == 0 and explained.stdout
    assert agent.console("update", id, "--metadata", '{"ticket":"4711"}', "--description", "changed").returncode == 0
    shown = json.loads(agent.console("show", id, "--json").stdout)
    assert shown["metadata"] == {"ticket": "4711"} and shown["description"] == "changed" and shown["status"] == "sent"
    assert json.loads(agent.console("runs", id, "--json").stdout)["runs"] == []
    assert agent.console("cancel", id).returncode == 0
    assert json.loads(agent.console("show", id, "--json").stdout)["status"] == "cancelled"
    other = agent.console("add", "echo", "--at", "+1h").stdout.strip()
    assert agent.console("delete", other).returncode == 0
    assert json.loads(agent.console("show", other, "--json").stdout)["status"] == "cancelled"


def test_runs_and_their_output(agent):
    agent.console("command", "echo one; exit 4")
    id = last(agent)["id"]
    runs = json.loads(agent.console("runs", id, "--json").stdout)["runs"]
    assert len(runs) == 1 and runs[0]["status"] == "failed"
    assert "exit" in agent.console("runs", id).stdout
    assert agent.console("runs", id, "--output", "1").stdout == "one\n"


def test_hold_starts_nothing_new_until_release(site, tmp_path):
    agent = site.agent
    assert agent.console("hold").returncode == 0
    try:
        task = site.api.run(site.node, f"echo x >> {tmp_path}/ran")
        until(lambda: site.api.task(task["id"]).get("reason") == "held", "the task is held")
        until(lambda: site.api.get(f"/v1/nodes/{site.node}").ok()["hold"] is True, "the server knows")
        assert "held" in agent.console("explain", task["id"]).stdout.lower() and lines(tmp_path / "ran") == []
    finally:
        assert agent.console("release").returncode == 0
    assert site.api.ended(task["id"])["status"] == "complete" and lines(tmp_path / "ran") == ["x"]


def test_who_holds_is_said(site):
    agent = site.agent
    status = lambda: json.loads(agent.console("status", "--json").stdout)   # noqa: E731
    assert "not on hold" in agent.console("release").stdout
    agent.console("hold")
    agent.restart()
    assert status()["heldBy"] == "device" and "held on this device" in agent.console("status").stdout
    assert "set on it" in agent.console("release").stdout and "heldBy" not in status()
    until(lambda: site.api.get(f"/v1/nodes/{site.node}").ok()["hold"] is False, "the server knows")
    assert site.api.patch(f"/v1/nodes/{site.node}", {"hold": True}).status in (200, 202)
    until(lambda: status()["hold"], "the device holds")
    agent.console("hold")                                      # the operator's stays the operator's
    assert status()["heldBy"] == "operator" and "by an operator" in agent.console("status").stdout and "by an operator" in agent.console("doctor").stdout
    assert "operator" in agent.console("release").stdout
    until(lambda: site.api.get(f"/v1/nodes/{site.node}").ok()["hold"] is False, "the server knows")


def test_hold_from_the_server(site, tmp_path):
    assert site.api.patch(f"/v1/nodes/{site.node}", {"hold": True}).status in (200, 202)
    until(lambda: json.loads(site.agent.console("status", "--json").stdout)["hold"] is True, "the device holds")
    assert site.api.patch(f"/v1/nodes/{site.node}", {"hold": False}).status in (200, 202)
    assert site.agent.console("echo", "on").stdout == "on\n"


def test_status_and_doctor(site):
    status = site.agent.console("status")
    assert status.returncode == 0 and site.server.url in status.stdout and site.node in status.stdout
    doctor = site.agent.console("doctor")
    assert doctor.returncode == 0, doctor
    assert isinstance(json.loads(site.agent.console("doctor", "--json").stdout), (dict, list))


def test_a_verb_waits_for_an_agent_that_is_just_starting(yard):
    agent = yard.agent()
    program = agent.console_program("echo", "soon there")
    try:
        agent.start()
        assert (program.wait(60), program.stdout.read()) == (0, "soon there\n"), program.stderr.read()
    finally:
        end(program)


def test_an_agent_that_is_down_is_said_soon(yard):
    agent = yard.agent()
    for verb, most in (("list", 2.5), ("status", 1.0), ("doctor", 1.0)):
        begin = time.monotonic()
        done = agent.console(verb)
        assert done.returncode != 0 and time.monotonic() - begin < most, (verb, done)


def test_a_ledger_is_as_large_with_the_agent_down(yard):
    agent = yard.agent().start()
    agent.console("echo", "x" * 100_000)
    size = json.loads(agent.console("status", "--json").stdout)["ledger"]["fileBytes"]
    agent.kill()                                               # a log stays behind, as after a loss of power
    log = (agent.state / "ledger.db-wal").stat().st_size
    below = json.loads(agent.console("status", "--json").stdout)["ledger"]["fileBytes"]
    assert log > 0 and below >= size and below == log + (agent.state / "ledger.db").stat().st_size
    agent.start()


def test_runs_are_in_the_same_order_here_and_there(site):
    agent = site.agent
    assert agent.console("command", "--attempts", "2", "--backoff", "1ms", "exit 7").returncode == 7
    id = last(agent)["id"]
    assert [run["run"] for run in json.loads(agent.console("runs", id, "--json").stdout)["runs"]] == [2, 1]
    until(lambda: len(site.api.get(f"/v1/tasks/{id}/runs").json.get("runs", [])) == 2, "the server has both")
    assert [run["run"] for run in site.api.get(f"/v1/tasks/{id}/runs").json["runs"]] == [2, 1]
    assert [line.split()[0] for line in agent.console("runs", id).stdout.splitlines()] == ["RUN", "1", "2"]


def test_without_an_agent_every_verb_says_what_to_do(tmp_path):
    for words in (["echo", "x"], ["list"], ["status"], ["doctor"], ["hold"]):
        done = subprocess.run([BIN / "agenttask", *words, "--state-dir", tmp_path], capture_output=True, text=True, env=environment(), timeout=60, stdin=subprocess.DEVNULL)
        assert done.returncode not in (0, -6, -11) and "agenttaskd" in done.stderr + done.stdout, (words, done)


def test_offline_work_is_on_the_server_later(yard, tmp_path):
    """J3 with the server stopped: all works on the device, and all of it is on the server afterwards, once and in order."""
    site = yard.site()
    site.server.stop()
    agent = site.agent
    assert agent.console("echo", "alone").stdout == "alone\n"
    done = agent.console("command", f"echo x >> {tmp_path}/ran; echo out; exit 6")
    assert (done.returncode, done.stdout) == (6, "out\n")
    program = agent.console_program("command", "--timeout", "0", waits(tmp_path))
    assert program.stdout.readline() == "begun\n"
    program.send_signal(signal.SIGINT)
    assert program.wait(60) == 130
    end(program)
    assert agent.console("status").returncode in (0, 1)
    ids = [t["id"] for t in json.loads(agent.console("list", "--json").stdout)["tasks"]]
    assert len(ids) == 3
    agent.restart()                                            # and survives a restart in between
    site.server.start()

    def known():
        tasks = site.api.get(f"/v1/nodes/{site.node}/tasks").ok()["tasks"]
        return tasks if len(tasks) == 3 and all(t["status"] in ("complete", "failed", "cancelled") for t in tasks) else None

    tasks = until(known, "all three are on the server")
    assert sorted(t["id"] for t in tasks) == sorted(ids)
    assert sorted(t["status"] for t in tasks) == ["cancelled", "complete", "failed"]
    failed = next(t for t in tasks if t["status"] == "failed")
    assert site.api.task(failed["id"])["result"]["data"]["stdout"] == "out\n" and lines(tmp_path / "ran") == ["x"]


def test_an_unenrolled_agent_works_alone(yard):
    agent = yard.agent().start()
    assert agent.console("echo", "x").stdout == "x\n"
    assert agent.console("status").returncode == 0


def test_unenroll_ends_the_tie(yard):
    site = yard.site()
    assert site.agent.console("unenroll").returncode == 0
    assert not site.agent.find_node()
    assert site.agent.console("echo", "x").stdout == "x\n"


def test_another_node_tells_nothing_of_the_former_one_and_shows_it(yard):
    site = yard.site()
    former, far = site.node, site.api.ended(site.api.add(site.node)["id"])["id"]
    near = json.loads(site.agent.console("echo", "x", "--json").stdout)["id"]
    assert site.agent.console("unenroll").returncode == 0
    until(lambda: not site.agent.find_node(), "the device belongs to nobody")
    site.agent.enroll()
    node = until(site.agent.find_node, "the device is another node")
    assert node != former
    own = site.api.run(node, "true")["id"]
    assert site.api.ended(own)["status"] == "complete"
    told = lambda: {task["id"] for task in site.api.get(f"/v1/tasks?node={node}").json["tasks"]}
    assert own in told() and far not in told()
    assert f"{former}, 1 task of it is kept here" in site.agent.console("status").stdout
    assert json.loads(site.agent.console("show", far, "--json").stdout)["nodeId"] == former
    assert json.loads(site.agent.console("show", near, "--json").stdout)["nodeId"] == node


def test_the_local_policy_refuses_what_it_does_not_allow(yard, tmp_path):
    site = yard.site()
    site.agent.stop()
    policy = site.agent.folder / "policy.json"
    policy.write_text(json.dumps({"types": ["echo"]}))
    policy.chmod(0o644)
    site.agent.options += ["--policy", str(policy)]
    site.agent.start()
    assert site.agent.console("echo", "x").stdout == "x\n"
    refused = site.agent.console("command", f"echo x >> {tmp_path}/ran")
    assert refused.returncode == 125 and refused.stderr
    task = site.api.ended(site.api.run(site.node, f"echo x >> {tmp_path}/ran")["id"])
    assert task["status"] == "failed" and task["reason"] == "rejected" and lines(tmp_path / "ran") == []


def test_a_policy_file_that_is_put_there_later_counts_from_a_hangup_on(yard):
    site = yard.site()
    assert site.agent.console("command", "true").returncode == 0
    policy = site.agent.state / "policy.json"
    policy.write_text(json.dumps({"types": ["echo"]}))
    policy.chmod(0o644)
    os.kill(site.agent.program.process.pid, signal.SIGHUP)
    until(lambda: site.agent.console("command", "true").returncode == 125, "the policy is in force")
    policy.unlink()
    os.kill(site.agent.program.process.pid, signal.SIGHUP)
    until(lambda: site.agent.console("command", "true").returncode == 0, "the policy is gone")


def test_output_is_plain_where_it_is_no_terminal_and_with_no_color(site):
    assert "\x1b" not in site.agent.console("list").stdout + site.agent.console("status").stdout
    leader, follower = pty.openpty()
    try:
        subprocess.run(site.agent.words(["list"]), stdout=follower, stderr=follower, stdin=subprocess.DEVNULL, env=environment({"NO_COLOR": "1", "TERM": "xterm"}),
                       timeout=60, check=True)
        assert b"\x1b[" not in os.read(leader, 65536)
    finally:
        os.close(leader)
        os.close(follower)


def test_completion_is_a_script_that_completes(agent):
    script = agent.words(["completion"])[0]
    text = subprocess.run([script, "completion", "bash"], capture_output=True, text=True, env=environment(), timeout=60, check=True).stdout
    asked = text + """
COMP_WORDS=(agenttask exp) COMP_CWORD=1 COMP_LINE="agenttask exp" COMP_POINT=13
eval "$(complete -p agenttask | sed -E 's/.*-F ([^ ]+).*/\\1/')"
echo "${COMPREPLY[@]}"
"""
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, env=environment({"PATH": f"{BIN}:{os.environ['PATH']}"}), timeout=60)
    assert done.stdout.split() == ["explain"], done
