"""Bad days: kills, restarts, damaged files (contract section 3: nothing is lost and nothing lies; acceptance J1)."""
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from programs import BIN, environment, is_alive, until
from test_fleet import fleet


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


#: Says from outside that it ran and who it is, prints, and stays until told to go.
WAITING = "echo $$ >> {f}/ran; echo begun; sleep 600 & echo $! >> {f}/pids; echo $$ >> {f}/pids; while [ ! -e {f}/go ]; do sleep 0.05; done; echo done"


def begin(site, folder, **options):
    task = site.api.run(site.node, WAITING.format(f=folder), options={"timeout": 0, **options})
    until(lambda: len(lines(folder / "pids")) == 2, "the command runs")
    # Its output so far has to have been taken by the agent: it shows to whoever follows.
    for line in site.api.lines(f"/v1/tasks/{task['id']}/output?follow=1"):
        if line.get("text", "").startswith("begun"):
            break
    return task, [int(pid) for pid in lines(folder / "pids")]


def test_a_killed_agent_reports_the_run_as_interrupted_with_its_output(yard, tmp_path):
    site = yard.site()
    task, pids = begin(site, tmp_path)
    site.agent.kill()
    site.agent.start()
    ended = site.api.ended(task["id"])
    assert ended["status"] == "failed" and ended["reason"] == "interrupted"
    assert ended["result"]["data"]["stdout"] == "begun\n"
    assert not any(map(is_alive, pids)), "what was left of the run was stopped"
    assert len(lines(tmp_path / "ran")) == 1 and ended["runCount"] == 1
    runs = site.api.runs(task["id"])
    assert len(runs) == 1 and runs[0]["reason"] == "interrupted"
    assert site.api.ended(site.api.add(site.node)["id"])["status"] == "complete"


def test_a_killed_agent_runs_again_only_what_asked_for_it(yard, tmp_path):
    site = yard.site()
    task, pids = begin(site, tmp_path, onInterrupt="rerun")
    site.agent.kill()
    site.agent.start()
    until(lambda: len(lines(tmp_path / "ran")) == 2, "it runs again")
    assert not any(map(is_alive, pids))
    (tmp_path / "go").touch()
    ended = site.api.ended(task["id"])
    assert ended["status"] == "complete" and ended["runCount"] == 2 and ended["result"]["data"]["stdout"] == "begun\ndone\n"


def test_what_sheds_its_environment_and_session_does_not_survive_a_killed_agent(yard, tmp_path):
    site = yard.site()
    sleeps = [f"env -i setsid sleep 10{n}" for n in (1, 2)] + [f"(env -i setsid sleep 10{n} >/dev/null 2>&1 </dev/null &)" for n in (3, 4)] + ["env -i sleep 105"]
    task = site.api.run(site.node, " & ".join(sleeps) + " & wait", options={"timeout": 0})
    pids = until(lambda: sleeping(range(101, 106), 5), "all of them sleep")
    site.agent.kill()
    assert all(map(is_alive, pids))
    site.agent.start()
    ended = site.api.ended(task["id"])
    assert ended["reason"] == "interrupted" and ended["result"]["data"]["survivors"] == []
    assert not any(map(is_alive, pids))


def sleeping(seconds, count):
    """The ids of processes that are `sleep N`, when there are `count` of them."""
    wanted = {f"sleep\0{n}\0".encode() for n in seconds}
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cmdline").read_bytes() in wanted:
                found.append(int(entry.name))
        except OSError:
            pass
    return found if len(found) == count else None


def test_an_agent_killed_again_and_again_loses_nothing_and_repeats_nothing(yard, tmp_path):
    """Kills at whatever instruction it is at, under load: every task ends, none starts twice."""
    site = yard.site()
    ids = []
    for round in range(6):
        ids += [site.api.run(site.node, f"echo {round}.{i} >> {tmp_path}/ran; sleep 0.0{i}", options={"timeout": 0})["id"] for i in range(8)]
        until(lambda: len(lines(tmp_path / "ran")) > round * 3, "some of it runs")
        site.agent.kill()
        site.agent.start()
    tasks = [site.api.ended(id) for id in ids]
    ran = lines(tmp_path / "ran")
    assert len(ran) == len(set(ran)), "a run starts at most once"
    for task in tasks:
        assert task["status"] == "complete" or task.get("reason") == "interrupted", task
    # The start is on disk before the first instruction: what was interrupted may or may not have come to its first line.
    assert sum(task["status"] == "complete" for task in tasks) <= len(ran) <= len(tasks)


def test_a_killed_server_loses_nothing(yard, tmp_path):
    site = yard.site()
    task, pids = begin(site, tmp_path)
    queued = [site.api.add(site.node, data={"n": i})["id"] for i in range(5)]
    site.server.kill()
    (tmp_path / "go").touch()
    until(lambda: not is_alive(pids[1]), "the command ends while the server is away")
    site.server.start()
    ended = site.api.ended(task["id"])
    assert ended["status"] == "complete" and ended["result"]["data"]["stdout"] == "begun\ndone\n" and ended["runCount"] == 1
    assert [site.api.ended(id)["result"]["data"]["n"] for id in queued] == list(range(5))
    assert len(lines(tmp_path / "ran")) == 1


def test_a_server_killed_again_and_again_keeps_every_accepted_task(yard, tmp_path):
    site = yard.site()
    accepted, stop = [], threading.Event()

    def enqueue():
        number = 0
        while not stop.is_set():
            number += 1
            try:
                accepted.append(site.api.run(site.node, f"echo {number} >> {tmp_path}/ran")["id"])
            except OSError:
                stop.wait(0.01)

    worker = threading.Thread(target=enqueue)
    worker.start()
    try:
        for round in range(4):
            enough = (round + 1) * 6
            until(lambda: len(accepted) >= enough, "tasks are accepted")
            site.server.kill()
            site.server.start()
    finally:
        stop.set()
        worker.join()
    assert all(site.api.ended(id)["status"] == "complete" for id in accepted)
    ran = lines(tmp_path / "ran")
    # What was accepted without the answer arriving ran too; nothing ran twice.
    assert len(ran) == len(set(ran)) and len(ran) >= len(accepted)


def test_both_killed_in_the_middle_of_a_task(yard, tmp_path):
    site = yard.site()
    task, pids = begin(site, tmp_path)
    site.server.kill()
    site.agent.kill()
    site.server.start()
    site.agent.start()
    ended = site.api.ended(task["id"])
    assert ended["reason"] == "interrupted" and ended["result"]["data"]["stdout"] == "begun\n"
    assert not any(map(is_alive, pids)) and len(lines(tmp_path / "ran")) == 1


def test_a_server_restart_during_a_long_poll_is_a_no_op(yard):
    site = yard.site()
    until(lambda: site.api.get(f"/v1/nodes/{site.node}").ok()["presence"] == "online", "the device polls")
    site.server.restart()
    assert site.api.ended(site.api.add(site.node)["id"])["status"] == "complete"
    assert site.agent.program.alive()


def test_a_graceful_stop_of_the_server_ends_waiting_requests(yard):
    site = yard.site()
    site.agent.stop()
    task = site.api.add(site.node)
    answers = []

    def wait():
        try:
            answers.append(site.api.get(f"/v1/tasks/{task['id']}?wait=55000").status)
        except OSError as gone:
            answers.append(gone)

    waiting = threading.Thread(target=wait)
    waiting.start()
    try:
        until(lambda: site.api.get("/healthz").status == 200, "the server answers")
        assert site.server.stop() == 0
    finally:
        waiting.join(timeout=30)
    assert not waiting.is_alive() and len(answers) == 1


def test_a_graceful_stop_of_the_agent_stops_what_runs(yard, tmp_path):
    site = yard.site()
    task, pids = begin(site, tmp_path)
    assert site.agent.stop() == 0
    assert not any(map(is_alive, pids))
    site.agent.start()
    ended = site.api.ended(task["id"])
    assert ended["status"] == "failed" and ended["reason"] == "interrupted" and len(lines(tmp_path / "ran")) == 1


# ---- databases

def databases(state):
    found = [p for p in state.rglob("*") if p.is_file() and p.read_bytes()[:15] == b"SQLite format 3"]
    assert len(found) == 1, found
    return found[0]


def spoil_header(path):
    content = bytearray(path.read_bytes())
    content[:100] = b"\x5a" * 100
    path.write_bytes(content)


def cut_off(path):
    path.write_bytes(path.read_bytes()[:3000])


def make_newer(path):
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version=9999")
    database.close()


def belongs_to_another(path):
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA application_id=77")
    database.close()


DAMAGE = [(spoil_header, "damaged|not a database|corrupt"), (cut_off, "damaged|not a database|corrupt|malformed"),
          (make_newer, "newer"), (belongs_to_another, "not|belongs|another")]


def snapshot(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file() and not p.name.endswith(("-shm", "-wal", ".lock"))}


@pytest.mark.parametrize("damage,words", DAMAGE, ids=lambda v: getattr(v, "__name__", None))
def test_a_damaged_or_newer_server_database_is_refused_and_left_alone(yard, damage, words):
    import re
    import subprocess
    server = yard.server().start()
    server.stop()
    path = databases(server.state)
    damage(path)
    before = snapshot(server.state)
    done = subprocess.run([BIN / "agenttask-server", "run", "--state-dir", server.state, "--listen", f"127.0.0.1:{server.port}"],
                          capture_output=True, text=True, env=environment(), timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode not in (0, -11, -6), done
    assert str(path) in done.stderr and re.search(words, done.stderr), done.stderr
    assert snapshot(server.state) == before


@pytest.mark.parametrize("damage,words", DAMAGE, ids=lambda v: getattr(v, "__name__", None))
def test_a_damaged_or_newer_ledger_is_told_and_left_alone(yard, damage, words):
    """A device whose ledger is unusable is there and says why, runs nothing, and leaves the file for whoever comes to look."""
    import re
    site = yard.site()
    site.agent.stop()
    path = databases(site.agent.state)
    damage(path)
    before = path.read_bytes()
    site.agent.start()
    problem = until(lambda: site.api.get(f"/v1/nodes/{site.node}").ok().get("ledger"), "the server knows")
    assert re.search(words, problem["detail"]) and str(path) in problem["detail"], problem
    task = site.api.task(site.api.add(site.node)["id"])
    assert task["status"] == "pending" and task["reason"] == "ledger-unwritable", task
    assert path.read_bytes() == before


def start_without_waiting(agent):
    from programs import Program
    return Program([BIN / "agenttaskd", "--state-dir", agent.state, *agent.options], agent.folder / "agent.log")


@pytest.mark.parametrize("lost", [True, False], ids=["lost", "old"])
def test_H5_a_lost_or_old_ledger_is_quarantined_until_released_and_runs_nothing_twice(yard, tmp_path, lost):
    site = yard.site()
    ledger = databases(site.agent.state)

    def files():
        return [path for path in ledger.parent.iterdir() if path.name.startswith(ledger.name)]

    first = site.api.ended(site.api.run(site.node, f"echo first >> {tmp_path}/ran")["id"])
    site.agent.stop()
    saved = {path: path.read_bytes() for path in files()}
    site.agent.start()
    done = site.api.ended(site.api.run(site.node, f"echo second >> {tmp_path}/ran")["id"])
    later = site.api.add(site.node, schedule={"scheduledFor": int(time.time() * 1000) + 3_600_000})["id"]
    until(lambda: site.api.task(later)["status"] == "sent", "the task for later is on the device")
    site.agent.stop()
    for path in files():
        path.unlink()
    if not lost:
        for path, content in saved.items():
            path.write_bytes(content)
    site.agent.start()
    until(lambda: site.api.get(f"/v1/nodes/{site.node}").json.get("quarantinedAt"), "the node is in quarantine")
    waiting = site.api.run(site.node, f"echo third >> {tmp_path}/ran")["id"]
    assert site.api.task(waiting)["reason"] == site.api.task(later)["reason"] == "quarantined"
    listed = fleet(site, "nodes", home=tmp_path)
    assert "quarantined" in listed.stdout and "is in quarantine: " in listed.stderr and f"release {site.node}" in listed.stderr, listed
    assert "quarantine" not in fleet(site, "nodes", "--json", home=tmp_path).stderr
    released = fleet(site, "node", "release", site.node, home=tmp_path)
    assert "was in quarantine" in released.stderr and "quarantined" not in released.stdout, released
    listed = fleet(site, "nodes", home=tmp_path)
    assert "quarantine" not in listed.stdout + listed.stderr, listed
    assert site.api.ended(waiting)["status"] == "complete"
    given_up = site.api.task(later)
    assert (given_up["status"], given_up["reason"]) == ("failed", "interrupted") and "ledger" in given_up["detail"]
    assert lines(tmp_path / "ran") == ["first", "second", "third"]
    for task in (first, done):
        assert site.api.task(task["id"])["status"] == "complete"


def test_a_second_agent_on_the_same_folder_is_refused(yard):
    site = yard.site()
    second = start_without_waiting(site.agent)
    assert second.wait() != 0
    assert "already" in second.text() or "another" in second.text() or "in use" in second.text(), second.text()
    assert site.api.ended(site.api.add(site.node)["id"])["status"] == "complete"


def test_a_restored_server_hears_again_what_the_device_knows(yard, tmp_path):
    """Acceptance H5's first half: a database from a backup opens a new epoch; what ended in the lost time is back."""
    import shutil
    site = yard.site()
    first = site.api.ended(site.api.add(site.node)["id"])
    site.server.stop()
    shutil.copytree(site.server.state, tmp_path / "copy")
    site.server.start()
    lost = site.api.ended(site.api.run(site.node, f"echo lost >> {tmp_path}/ran; echo out")["id"])
    site.server.stop()
    shutil.rmtree(site.server.state)
    shutil.copytree(tmp_path / "copy", site.server.state)
    site.server.start()

    def back():
        answer = site.api.get(f"/v1/tasks/{lost['id']}")
        return answer.json if answer.status == 200 and answer.json["status"] == "complete" else None

    again = until(back, "the lost task is back")
    assert again["runCount"] == 1 and lines(tmp_path / "ran") == ["lost"]
    assert site.api.task(first["id"])["status"] == "complete"
    assert site.api.ended(site.api.add(site.node)["id"])["status"] == "complete"
