"""Schedules, pauses, choices and messages on a device of its own, with the real clock (acceptance C, D, E; contract sections 5, 6 and 10)."""
import datetime
import json
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from programs import BIN, environment, until


@pytest.fixture
def agent(yard):
    """An agent without a server."""
    return yard.agent().start()


def add(agent, *words):
    done = agent.console("add", *words)
    assert done.returncode == 0, done
    return done.stdout.strip()


def task(agent, id):
    done = agent.console("show", id, "--json")
    assert done.returncode == 0, done
    return json.loads(done.stdout)


def runs(agent, id):
    return json.loads(agent.console("runs", id, "--json").stdout)["runs"][::-1]


def ticking(agent, marks, *more):
    """A command that leaves a line with its time, every second."""
    return add(agent, "command", "--data", json.dumps({"cmd": f"date +%s%N >> {marks}"}), "--every", "1s", *more)


def count(marks):
    return len(marks.read_text().splitlines()) if marks.exists() else 0


def test_D1_runs_every_second_on_its_grid(agent, tmp_path):
    id = ticking(agent, tmp_path / "marks")
    until(lambda: task(agent, id)["runCount"] >= 4, "it has run four times")
    list = runs(agent, id)
    began = task(agent, id)["addTime"]
    assert [run["occurrence"] for run in list[:4]] == [1, 2, 3, 4] or task(agent, id).get("missedCount", 0) > 0, list
    for run in list:
        assert run["startTime"] - began >= (run["occurrence"] - 1) * 1000, ("before its time", list)
    def between_runs():
        text = agent.console("show", id).stdout
        return text if "Next run:" in text else None
    shown = until(between_runs, "it waits for its next run, and says so")
    assert "every 1s" in shown and "OCCURRENCE" in shown
    assert agent.console("cancel", id).returncode == 0
    done = count(tmp_path / "marks")
    time.sleep(1.2)
    # The run that the cancel met may have been stopped before its mark.
    assert count(tmp_path / "marks") == done and task(agent, id)["runCount"] - done in (0, 1)


def test_D4_pause_resume_and_an_extra_run(agent, tmp_path):
    marks = tmp_path / "marks"
    id = ticking(agent, marks)
    until(lambda: count(marks) >= 2, "it has run twice")
    assert "is paused" in agent.console("pause", id).stdout
    until(lambda: task(agent, id)["status"] == "sent", "it rests")
    before = count(marks)
    time.sleep(2.2)
    assert count(marks) == before
    assert "paused" in agent.console("explain", id).stdout
    agent.restart()
    assert task(agent, id)["paused"] and count(marks) == before
    assert agent.console("run", id, "--wait").returncode == 0
    assert count(marks) == before + 1 and task(agent, id)["reason"] == "paused"
    assert runs(agent, id)[-1].get("occurrence", 0) == 0
    assert "next run" in agent.console("resume", id).stdout
    until(lambda: count(marks) >= before + 3, "it goes on")
    later = [run["startTime"] for run in runs(agent, id)][before + 1:]
    assert all(two - one > 500 for one, two in zip(later, later[1:])), f"no burst: {later}"
    assert task(agent, id).get("missedCount", 0) == 0
    agent.console("cancel", id)


def test_run_waits_with_output_and_exit_code(agent, tmp_path):
    id = add(agent, "command", "--data", '{"cmd":"echo out; exit 7"}', "--at", "in 1h")
    done = agent.console("run", id, "--wait")
    assert (done.returncode, done.stdout) == (7, "out\n"), done
    assert task(agent, id)["status"] == "failed", "it only waited for its time, and that was it"
    done = agent.console("run", id)
    assert done.returncode == 125 and "ended" in done.stderr
    id = add(agent, "command", "--data", '{"cmd":"echo again; exit 3"}', "--every", "1h")
    until(lambda: task(agent, id)["runCount"] == 1 and task(agent, id)["status"] == "sent", "it has run")
    done = agent.console("run", id, "--wait")
    assert (done.returncode, done.stdout) == (3, "again\n"), done
    answer = json.loads(agent.console("run", id, "--wait", "--json").stdout)
    assert answer["run"]["run"] == 3 and answer["task"]["status"] == "sent"


def test_C_a_time_in_the_future_waits_and_one_in_the_past_runs_at_once(agent):
    done = agent.console("add", "echo", "--at", "+2s")
    id = done.stdout.strip()
    assert "runs 20" in done.stderr and "(in " in done.stderr, done
    shown = task(agent, id)
    assert (shown["status"], shown["reason"]) == ("sent", "not-due")
    ended = until(lambda: (lambda t: t if t["status"] == "complete" else None)(task(agent, id)), "it has run")
    assert ended["startTime"] >= ended["schedule"]["scheduledFor"]
    done = agent.console("add", "echo", "--at", "2020-01-01 08:00")
    assert "at once" in done.stderr and "is past" in done.stderr
    until(lambda: task(agent, done.stdout.strip())["status"] == "complete", "it has run")


def test_C_local_times_are_those_of_the_console(agent):
    words = agent.words(["add", "echo", "--at", "tomorrow 09:00"])
    done = subprocess.run(words, capture_output=True, text=True, env=environment({"TZ": "Asia/Kathmandu"}), stdin=subprocess.DEVNULL)
    at = datetime.datetime.fromtimestamp(task(agent, done.stdout.strip())["schedule"]["scheduledFor"] / 1000, datetime.timezone.utc)
    assert (at.hour, at.minute) == (3, 15), "09:00 in Kathmandu"
    assert " 09:00:00 (in " in done.stderr


def test_D4_an_update_changes_the_schedule_from_now_on(agent, tmp_path):
    marks = tmp_path / "marks"
    id = add(agent, "command", "--data", json.dumps({"cmd": f"echo x >> {marks}"}), "--every", "1h")
    until(lambda: count(marks) == 1, "it has run once")
    assert agent.console("update", id, "--every", "1s").returncode == 0
    until(lambda: count(marks) >= 3, "it runs each second")
    assert agent.console("update", id, "--every", "2h", "--at", "in 2h").returncode == 0
    until(lambda: task(agent, id)["status"] == "sent", "it rests")
    before = count(marks)
    assert 7_100_000 < task(agent, id)["nextRunAt"] - time.time() * 1000 <= 7_200_000
    time.sleep(1.3)
    assert count(marks) == before


def test_D3_kills_between_leave_the_grid_and_double_nothing(agent, tmp_path):
    marks = tmp_path / "marks"
    id = ticking(agent, marks)
    for _ in range(5):
        before = task(agent, id)["runCount"]
        until(lambda: task(agent, id)["runCount"] > before, "another run")
        agent.kill()
        agent.start()
    agent.console("pause", id)
    until(lambda: task(agent, id)["status"] == "sent", "it rests")
    list = runs(agent, id)
    numbers = [run["occurrence"] for run in list]
    assert len(numbers) == len(set(numbers)) and numbers == sorted(numbers), "no occurrence starts twice"
    # A run whose start was committed just before the kill may not have come to its first line; none leaves two.
    assert count(marks) <= len(list)
    assert count(marks) >= sum(run["status"] == "complete" for run in list)
    assert {run["status"] for run in list} <= {"complete", "failed"}
    assert {run.get("reason") for run in list if run["status"] == "failed"} <= {"interrupted"}
    began = task(agent, id)["addTime"]
    for run in list:
        assert run["startTime"] - began >= (run["occurrence"] - 1) * 1000, ("before its time", list)
    assert len(list) + task(agent, id).get("missedCount", 0) == task(agent, id)["occurrence"]


def ask(agent, *more, type="echo"):
    return add(agent, type, "--choice", "confirm:Proceed with action", "--choice", "cancel:Leave it", *more)


def test_E_a_choice_is_asked_for_and_made_offline(agent):
    id = ask(agent, "--description", "Delete the files")
    shown = agent.console("list", "--awaiting").stdout
    assert "Delete the files" in shown and "Proceed with action" in shown and f"agenttask choose {id} confirm|cancel" in shown
    assert "confirm" in agent.console("explain", id).stdout
    done = agent.console("choose", id, "maybe")
    assert done.returncode == 125 and "confirm, cancel" in done.stderr
    agent.kill()
    agent.start()
    assert task(agent, id)["status"] == "awaiting_choice"
    agent.console("hold")  # so that the kill comes before the run
    done = agent.console("choose", id[-8:], "confirm")
    assert done.returncode == 0 and "confirm was chosen" in done.stdout
    agent.kill()
    agent.start()
    assert agent.console("choose", id, "cancel").returncode == 1, "the answer was kept"
    agent.console("release")
    ended = until(lambda: (lambda t: t if t["status"] == "complete" else None)(task(agent, id)), "it has run")
    assert ended["chosen"]["option"] == "confirm" and ended["chosen"]["by"].startswith("user:") and ended["runCount"] == 1
    assert "no task waits" in agent.console("list", "--awaiting").stdout


def test_E_of_many_that_choose_at_once_one_wins(agent):
    id = ask(agent)
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda i: (i, agent.console("choose", id, ("confirm", "cancel")[i % 2], "--json")), range(8)))
    won = [i for i, one in done if one.returncode == 0]
    assert len(won) == 1 and all(one.returncode == 1 for i, one in done if i != won[0]), done
    option = ("confirm", "cancel")[won[0] % 2]
    for i, one in done:
        if i != won[0]:
            problem = json.loads(one.stderr)
            assert problem["status"] == 409 and problem["code"] == "already-chosen" and problem["chosen"]["option"] == option
    ended = until(lambda: (lambda t: t if t["status"] == "complete" else None)(task(agent, id)), "it has run")
    assert ended["chosen"]["option"] == option and ended["runCount"] == 1


def test_E_the_default_counts_when_nobody_chose(agent):
    id = ask(agent, "--default", "cancel", "--choose-until", "+1s")
    ended = until(lambda: (lambda t: t if t["status"] == "complete" else None)(task(agent, id)), "it has run")
    assert (ended["chosen"]["option"], ended["chosen"]["by"]) == ("cancel", "default")
    assert agent.console("choose", id, "confirm").returncode == 1, "too late"
    id = ask(agent, "--choose-until", "+1s")
    ended = until(lambda: (lambda t: t if t["status"] == "failed" else None)(task(agent, id)), "it has expired")
    assert ended["reason"] == "expired" and ended["runCount"] == 0
    assert agent.console("choose", id, "confirm").returncode == 125


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root to be somebody else")
def test_E_whoever_is_logged_in_chooses_and_sees_no_more(agent):
    mine, other = ask(agent, "--chooser", "user"), ask(agent)
    for folder in agent.state.parents:  # the folder itself lets people through
        if folder.stat().st_uid == os.getuid() and not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)

    def person(*words, user=4711):
        return subprocess.run(["setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups", *agent.words(words)], capture_output=True,
                              text=True, env=environment(), stdin=subprocess.DEVNULL)
    shown = person("list")
    if "Permission denied" in shown.stderr or "may not talk" in shown.stderr:
        pytest.skip(f"another user can't come near the programs or the socket here: {shown.stderr}")
    assert mine in shown.stdout and other not in shown.stdout, shown
    assert person("choose", other, "confirm").returncode == 125
    for words in (["add", "echo"], ["cancel", mine], ["runs", mine], ["status"], ["messages"], ["run", mine], ["watch", mine]):
        done = person(*words)
        assert done.returncode != 0 and "may not" in done.stderr, (words, done)
    assert person("choose", mine, "confirm", user=65534).returncode == 125, "nobody is no person"
    done = person("choose", mine, "confirm")
    assert done.returncode == 0, done
    assert task(agent, mine)["chosen"]["by"] == "user:4711" and task(agent, other)["status"] == "awaiting_choice"


def test_nothing_but_the_socket_can_be_reached_in_the_state_folder(agent):
    agent.console("command", "echo secret")
    assert agent.state.stat().st_mode & 0o777 == 0o711
    assert [one.name for one in (agent.state / "run").iterdir()] == ["agent.sock"]
    others = {str(one.relative_to(agent.state)): oct(one.stat().st_mode & 0o077) for one in agent.state.rglob("*") if "run" not in (one.parent.name, one.name) and one.name != "workers"}
    assert "ledger.db" in others and "ledger.db-wal" in others and set(others.values()) == {"0o0"}, others
    agent.kill()
    agent.start()
    assert agent.state.stat().st_mode & 0o777 == 0o711


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root to be somebody else")
def test_E_choosers_leave_room_for_those_who_run_the_device(agent):
    for folder in agent.state.parents:  # the folder itself lets people through
        if folder.stat().st_uid == os.getuid() and not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)
    crowd = """
import select, socket, sys
held = []
for _ in range(40):
    one = socket.socket(socket.AF_UNIX)
    one.connect(sys.argv[1])
    if not select.select([one], [], [], 0.3)[0]:  # who is refused hears it at once
        try:
            one.sendall(b'{"call":"getTasks"}\\n')
        except OSError:
            pass
    try:
        held.append((one, one.recv(4096)))
    except OSError:
        held.append((one, b'503'))
print(sum(b'result' in answer for _, answer in held), sum(b'503' in answer for _, answer in held), flush=True)
sys.stdin.read()
"""
    people = subprocess.Popen(["setpriv", "--reuid", "4711", "--regid", "4711", "--clear-groups", "/usr/bin/python3", "-c", crowd, str(agent.state / "run/agent.sock")],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        counts = people.stdout.readline()
        if not counts and "Permission" in people.stderr.read():
            pytest.skip("another user can't come near the socket here")
        assert counts.split() == ["2", "38"]
        assert agent.console("echo", "room").stdout == "room\n"
    finally:
        people.communicate()


def test_E_a_recurring_task_asks_each_time(agent):
    id = ask(agent, "--every", "2s")
    for occurrence in (1, 2):
        until(lambda: task(agent, id)["status"] == "awaiting_choice", "it asks")
        assert agent.console("choose", id, "confirm").returncode == 0
        until(lambda: task(agent, id)["runCount"] == occurrence and task(agent, id)["status"] != "running", "it has run")
    assert [run["option"] for run in runs(agent, id)] == ["confirm", "confirm"]
    agent.console("cancel", id)


def test_messages_are_kept_and_followed(agent):
    assert agent.console("post", "team", "first").returncode == 0
    assert agent.console("post", "other", "elsewhere").returncode == 0
    follower = agent.console_program("messages", "--room", "team", "--follow")
    try:
        assert "first" in follower.stdout.readline()
        agent.console("post", "team", "--data", '{"text":"second","n":2}')
        line = follower.stdout.readline()
        assert "second" in line and "elsewhere" not in line
    finally:
        follower.terminate()
        follower.wait(10)
        follower.stdout.close()
        follower.stderr.close()
    agent.kill()
    agent.start()
    messages = json.loads(agent.console("messages", "--json").stdout)["messages"]
    assert [m["content"].get("text") for m in messages] == ["first", "elsewhere", "second"]
    assert messages[2]["content"]["n"] == 2 and messages[0]["roomId"] == "team"


def fleet(site, *words):
    return subprocess.run([str(BIN / "agenttask"), "fleet", *map(str, words)], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60,
                          env=environment({"AGENTTASK_SERVER": site.server.url, "AGENTTASK_TOKEN": site.server.token, "AGENTTASK_CA": str(site.server.authority)}))


def test_operators_steer_from_anywhere(yard):
    site = yard.site()
    done = fleet(site, "add", site.node, "echo", "--every", "1h", "--choice", "yes:Go", "--choice", "no:Stay")
    assert done.returncode == 0 and "then every 1h" in done.stderr and "agenttask fleet choose" in done.stderr, done
    id = done.stdout.strip()
    until(lambda: site.api.task(id)["status"] == "awaiting_choice", "it asks")
    assert f"agenttask fleet choose {id} yes|no" in fleet(site, "list", "--awaiting").stdout
    assert fleet(site, "choose", id, "maybe").returncode == 125
    done = fleet(site, "choose", id, "yes")
    assert done.returncode == 0 and "yes was chosen" in done.stdout, done
    until(lambda: site.api.task(id)["runCount"] == 1 and site.api.task(id)["status"] == "sent", "it has run")
    assert fleet(site, "choose", id, "no").returncode in (1, 125)
    done = fleet(site, "pause", id)
    assert done.returncode == 0 and "is paused" in done.stdout, done
    done = fleet(site, "resume", id)
    assert done.returncode == 0 and "goes on; next run" in done.stdout, done
    assert fleet(site, "run", id).returncode == 0
    until(lambda: site.api.task(id)["status"] == "awaiting_choice", "the extra run asks too")
    assert site.agent.console("choose", id, "no").returncode == 0
    until(lambda: site.api.task(id)["runCount"] == 2, "the extra run was told")
    shown = fleet(site, "show", id).stdout
    assert "every 1h" in shown and "extra" in shown and "yes" in shown
    site.agent.console("post", "team", "from the device")
    assert fleet(site, "post", "team", "from the operator").returncode == 0
    shown = until(lambda: (lambda t: t if "from the device" in t else None)(fleet(site, "messages", "--room", "team").stdout), "the server has it")
    assert "from the operator" in shown and "operator:" in shown
    name = site.api.get(f"/v1/nodes/{site.node}").ok()["name"]
    assert f"team  {name}  from the device" in shown


def test_operators_hear_that_an_offline_device_has_still_to_say(yard):
    site = yard.site()
    done = fleet(site, "add", site.node, "echo", "--choice", "yes", "--choice", "no")
    id = done.stdout.strip()
    until(lambda: site.api.task(id)["status"] == "awaiting_choice", "it asks")
    site.agent.stop()
    done = fleet(site, "choose", id, "yes")
    assert done.returncode == 0 and "has still to say" in done.stdout, done
    done = fleet(site, "choose", id, "no")
    assert done.returncode == 1 and "yes" in done.stderr, done
    site.agent.start()
    ended = site.api.ended(id)
    assert ended["chosen"]["option"] == "yes" and ended["chosen"]["by"].startswith("operator:")
