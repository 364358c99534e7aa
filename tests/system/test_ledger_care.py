"""Ledgers that can't be used: an agent that says so, and an administrator who mends them (acceptance H2, H5)."""
import contextlib
import json
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from programs import BIN, DEADLINE, Agent, Program, Server, environment, preloaded, until


def care(agent, *words):
    return subprocess.run([BIN / "agenttaskd", *words, "--state-dir", agent.state], capture_output=True, text=True, env=environment(), timeout=DEADLINE)


def node_of(api, agent):
    return api.get(f"/v1/nodes/{agent.node}").ok()


def status_of(agent):
    return json.loads(agent.console("status", "--json").stdout)


def says_ledger(api, agent):
    """What the server shows of the node's ledger, once it is online and says something."""
    return until(lambda: (lambda n: n["presence"] == "online" and n.get("ledger"))(node_of(api, agent)), "the server knows of the ledger")


def is_well(api, agent):
    until(lambda: "ledger" not in node_of(api, agent) and not status_of(agent).get("ledgerProblem"), "the ledger is used again")


def held_until(flag):
    return f"until [ -e {flag} ]; do sleep 0.01; done; echo ended"


def pages_of(file, table):
    """The pages of a table's rows: a damage there hits rows, and not what leads to them."""
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        size = database.execute("PRAGMA page_size").fetchone()[0]
        try:
            rows = database.execute("SELECT pageno FROM dbstat WHERE name = ? AND pagetype = 'leaf' ORDER BY pageno", (table,)).fetchall()
        except sqlite3.OperationalError:
            pytest.skip("this SQLite has no dbstat to find a table's pages with")
    return size, [row[0] for row in rows]


def set_version(file, change):
    """Gives the tables another version; the one before."""
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as database:
        version = database.execute("PRAGMA user_version").fetchone()[0]
        database.execute(f"PRAGMA user_version = {change(version)}")
        return version


def damage(file, page, size):
    with open(file, "r+b") as stream:
        stream.seek((page - 1) * size)
        stream.write(b"\xee" * size)


def test_an_agent_whose_ledger_is_no_database_stays_connected_and_says_so(yard, tmp_path):
    site = yard.site()
    agent, api = site.agent, site.api
    ran = tmp_path / "ran"
    done = api.run(agent.node, f"echo x >> {ran}")
    assert api.ended(done["id"])["status"] == "complete"
    agent.stop()
    offered = api.run(agent.node, f"echo y >> {ran}")
    ledger = agent.state / "ledger.db"
    good = ledger.read_bytes()
    ledger.write_bytes(b"this is no database at all, whatever its name says" * 200)
    agent.start()
    problem = says_ledger(api, agent)
    assert problem["problem"] == "corrupt" and "agenttaskd ledger salvage" in problem["detail"], problem
    task = api.task(offered["id"])
    assert task["status"] == "pending" and task["reason"] == "ledger-unwritable" and "salvage" in task["detail"], task
    status = agent.console("status")
    assert status.returncode == 1 and "agenttaskd ledger salvage" in status.stdout and "connected" in status.stdout, status.stdout
    doctor = agent.console("doctor")
    assert doctor.returncode == 1 and "agenttaskd ledger salvage" in doctor.stdout, doctor.stdout
    assert agent.console("echo", "x").returncode == 125
    looked = care(agent, "ledger", "check")
    assert looked.returncode == 1 and "NO" in looked.stdout, looked
    nothing = care(agent, "ledger", "salvage")
    assert nothing.returncode == 1 and "ledger reset" in nothing.stderr, nothing
    assert ledger.read_bytes().startswith(b"this is no database"), "it is left as it is"
    assert agent.program.alive() and not ran.read_text().count("y")

    # Put back as it was, it is used again within seconds, with nobody's help; nothing was promised meanwhile.
    ledger.write_bytes(good)
    is_well(api, agent)
    assert api.ended(offered["id"])["status"] == "complete"
    assert "quarantinedAt" not in node_of(api, agent)
    assert ran.read_text() == "x\ny\n"
    busy = care(agent, "ledger", "check")
    assert busy.returncode == 3 and "stop it first" in busy.stderr, busy


def test_a_reset_ledger_is_noticed_and_nothing_runs_twice(yard, tmp_path):
    site = yard.site()
    agent, api = site.agent, site.api
    flag, ran = tmp_path / "flag", tmp_path / "ran"
    running = api.run(agent.node, f"echo x >> {ran}; {held_until(flag)}", options={"timeout": 0})
    until(lambda: api.task(running["id"])["status"] == "running", "it runs")
    later = api.run(agent.node, f"echo z >> {ran}", schedule={"scheduledFor": int(time.time() * 1000) + 3_600_000})
    until(lambda: api.task(later["id"])["status"] == "sent", "the device has it")
    agent.kill()
    for part in agent.state.glob("ledger.db*"):
        part.unlink()
    (agent.state / "ledger.db").write_bytes(b"\x00" * 8192)
    agent.start()
    says_ledger(api, agent)
    assert care(agent, "ledger", "reset").returncode == 2
    assert (agent.state / "ledger.db").read_bytes() == b"\x00" * 8192
    done = care(agent, "ledger", "reset", "--yes")
    assert done.returncode == 0 and "quarantine" in done.stdout, done
    until(lambda: node_of(api, agent).get("quarantinedAt"), "the server sees that the ledger is lost")
    assert api.task(later["id"])["reason"] == "quarantined"
    assert api.post(f"/v1/nodes/{agent.node}/release").status == 200
    for task in (running, later):
        ended = api.ended(task["id"])
        assert ended["status"] == "failed" and ended["reason"] == "interrupted", ended
    assert api.ended(api.add(agent.node)["id"])["status"] == "complete"
    flag.touch()
    assert ran.read_text() == "x\n"
    assert [p.name for p in agent.state.glob("ledger.db.reset-*")]


def test_what_can_be_read_of_a_damaged_ledger_is_saved_and_never_runs_again(yard, tmp_path):
    site = yard.site()
    agent, api = site.agent, site.api
    ran, flag = tmp_path / "ran", tmp_path / "flag"
    ran.mkdir()
    tasks = [api.run(agent.node, f"echo x >> {ran}/{i}; echo {'o' * 300}", description="d" * 900) for i in range(30)]
    for task in tasks:
        assert api.ended(task["id"])["status"] == "complete"
    running = api.run(agent.node, f"echo x >> {ran}/running; {held_until(flag)}", options={"timeout": 0})
    until(lambda: api.task(running["id"])["status"] == "running", "it runs")
    waiting = [api.run(agent.node, f"echo x >> {ran}/waiting{i}", schedule={"scheduledFor": int(time.time() * 1000) + 3_600_000}, description="w" * 900)
               for i in range(8)]
    recurring = api.run(agent.node, f"echo x >> {ran}/recurring", schedule={"updateInterval": 3_600_000, "scheduledFor": int(time.time() * 1000) + 3_600_000})
    for task in [*waiting, recurring]:
        until(lambda: api.task(task["id"])["status"] == "sent", "the device has it")
    agent.stop()     # the run that goes on is stopped, and ends as interrupted
    ledger = agent.state / "ledger.db"
    size, pages = pages_of(ledger, "tasks")
    assert len(pages) > 4
    damage(ledger, pages[len(pages) // 2], size)
    broken = ledger.read_bytes()
    agent.start()
    assert says_ledger(api, agent)["problem"] == "corrupt"
    done = care(agent, "ledger", "salvage", "--json")           # while the agent runs
    assert done.returncode == 0, done
    told = json.loads(done.stdout)
    saved = {t["table"]: t for t in told["tables"]}
    assert told["knowsItsPast"] and saved["tasks"]["saved"] > 20 and not saved["tasks"]["whole"] and "problem" in saved["tasks"]
    assert saved["runs"]["saved"] == 31 and saved["runs"]["whole"]
    assert told["lost"] and Path(told["kept"]).read_bytes() == broken
    is_well(api, agent)
    assert "quarantinedAt" not in node_of(api, agent), "an administrator mended it: no operator has to"
    # All tasks are accounted for: what had ended stays ended, what is lost ended as interrupted, and what is known not to have started waits.
    for task in tasks:
        assert api.ended(task["id"])["status"] == "complete"
    assert told["ended"] == [], told
    for task in waiting:
        if task["id"] in told["lost"]:
            ended = api.ended(task["id"])
            assert (ended["status"], ended["reason"]) == ("failed", "interrupted"), ended
        else:
            until(lambda: api.task(task["id"])["status"] == "sent", "it waits")
    assert api.ended(running["id"])["reason"] == "interrupted"
    recurs = api.task(recurring["id"])
    assert recurs["status"] == "sent" or recurring["id"] in told["lost"], recurs
    assert api.ended(api.run(agent.node, f"echo x >> {ran}/new")["id"])["status"] == "complete"
    flag.touch()
    for i in range(30):
        assert (ran / str(i)).read_text() == "x\n"
    assert not list(ran.glob("waiting*"))
    goes_on = [(i, task) for i, task in enumerate(waiting) if task["id"] not in told["lost"]][-1:]
    for i, task in goes_on:
        assert api.post(f"/v1/tasks/{task['id']}/run").status in (200, 202)
        assert api.ended(task["id"])["status"] == "complete" and (ran / f"waiting{i}").read_text() == "x\n"
    agent.stop()
    assert care(agent, "ledger", "check").returncode == 0
    sound = care(agent, "ledger", "salvage")
    assert sound.returncode == 1 and "sound" in sound.stderr


def test_a_damage_beside_the_tasks_costs_no_task(yard, tmp_path):
    site = yard.site()
    agent, api = site.agent, site.api
    for i in range(60):
        api.post("/v1/messages", {"roomId": "room", "content": {"n": i}})
    posted = [agent.console("post", "room", json.dumps({"text": "m" * 400, "n": i})) for i in range(40)]
    assert posted[0].returncode == 0, posted[0]
    waiting = api.add(agent.node, schedule={"scheduledFor": int(time.time() * 1000) + 3_600_000})
    until(lambda: api.task(waiting["id"])["status"] == "sent", "the device has it")
    agent.stop()
    size, pages = pages_of(agent.state / "ledger.db", "messages")
    damage(agent.state / "ledger.db", pages[len(pages) // 2], size)
    assert care(agent, "ledger", "check").returncode == 1
    done = care(agent, "ledger", "salvage")
    assert done.returncode == 0 and "messages" in done.stdout and "could not be read" in done.stdout, done
    agent.start()
    is_well(api, agent)
    assert api.task(waiting["id"])["status"] == "sent"
    assert api.post(f"/v1/tasks/{waiting['id']}/run").status in (200, 202)
    assert api.ended(waiting["id"])["status"] == "complete"


def test_a_ledger_of_a_newer_version_waits_for_that_version(yard):
    site = yard.site()
    agent, api = site.agent, site.api
    before = api.run(agent.node, "echo before")["id"]
    assert api.ended(before)["status"] == "complete"
    local = agent.console("echo", "of this device", "--json")
    agent.stop()
    ledger = agent.state / "ledger.db"
    version = set_version(ledger, lambda v: v + 1000)
    bytes_before = ledger.read_bytes()
    agent.start()
    problem = says_ledger(api, agent)
    assert problem["problem"] == "newer" and "newer version" in problem["detail"]
    assert problem["detail"].endswith(". Nothing was changed; install the newer version of agenttaskd again, which goes on with it"), problem
    assert "-> install the newer version of agenttaskd again" in agent.console("doctor").stdout
    refused = agent.console("echo", "later")
    assert refused.returncode == 125 and "newer version" in refused.stderr, refused
    waiting = api.add(agent.node)["id"]
    agent.restart()
    assert says_ledger(api, agent)["problem"] == "newer"
    assert ledger.read_bytes() == bytes_before
    refused = care(agent, "ledger", "salvage")
    assert refused.returncode == 1 and "newer version" in refused.stderr
    set_version(ledger, lambda _: version)
    is_well(api, agent)
    assert api.ended(waiting)["status"] == "complete"
    for task in (before, json.loads(local.stdout)["id"]):
        shown = json.loads(agent.console("show", task, "--json").stdout)
        assert shown["status"] == "complete" and shown["runCount"] == 1, shown


def test_a_ledger_that_cannot_be_opened_is_told_also_after_a_restart_of_the_server(yard):
    site = yard.site()
    agent, api = site.agent, site.api
    agent.stop()
    ledger = agent.state / "ledger.db"
    aside = agent.state / "aside"
    ledger.rename(aside)
    ledger.mkdir()
    agent.start()
    assert says_ledger(api, agent)["problem"] in ("io", "denied")
    site.server.restart()
    says_ledger(api, agent)
    ledger.rmdir()
    aside.rename(ledger)
    is_well(api, agent)


@pytest.fixture(scope="module")
def failing_sync(tmp_path_factory):
    library = tmp_path_factory.mktemp("sync") / "failing_sync.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, Path(__file__).with_name("failing_sync.c"), "-ldl"], check=True)
    return library


class Faulty:
    """A program that is started with the library, and the file that makes its syncs fail."""

    def prepare(self, library, flag):
        self.before, self.flag = preloaded(library, FAILING_SYNC_WHILE=flag), flag
        return self

    def launch(self, arguments, log):
        self.program = Program([*self.before, *arguments], log)


class FaultyAgent(Faulty, Agent):
    def start(self):
        self.launch([BIN / "agenttaskd", "--state-dir", self.state], self.folder / "agent.log")
        until(self.listens, f"the agent listens\n{self.program.text()}")
        return self


class FaultyServer(Faulty, Server):
    def start(self):
        self.launch([BIN / "agenttask-server", "run", "--state-dir", self.state, "--listen", f"127.0.0.1:{self.port}"], self.folder / "server.log")
        until(self.ready, f"the server answers\n{self.program.text()}")
        return self


def test_H2_a_failing_fsync_starts_nothing_and_leaves_nothing_half_on_the_device(yard, failing_sync, tmp_path):
    server = yard.server().start()
    agent = FaultyAgent(tmp_path / "agent", server).prepare(failing_sync, tmp_path / "failing")
    yard.made.append(agent)
    agent.start().enroll()
    api, ran = server.api(), tmp_path / "ran"
    assert api.ended(api.run(agent.node, f"echo a >> {ran}")["id"])["status"] == "complete"
    agent.flag.touch()
    asked = api.run(agent.node, f"echo b >> {ran}")
    assert says_ledger(api, agent)["problem"] == "io"
    assert api.task(asked["id"])["reason"] == "ledger-unwritable"
    refused = agent.console("add", "echo", "--data", '{"message":"x"}')
    assert refused.returncode == 125, refused
    assert ran.read_text() == "a\n"
    # Killed here, the ledger holds nothing that was answered with a failure.
    agent.flag.unlink()
    is_well(api, agent)
    assert api.ended(asked["id"])["status"] == "complete"
    assert ran.read_text() == "a\nb\n"
    assert json.loads(agent.console("list", "--json", "--type", "echo").stdout)["tasks"] == []
    agent.stop()
    assert care(agent, "ledger", "check").returncode == 0


def test_H2_a_failing_fsync_is_answered_with_503_by_the_server_and_leaves_nothing(yard, failing_sync, tmp_path):
    server = FaultyServer(tmp_path / "server").prepare(failing_sync, tmp_path / "failing")
    yard.made.append(server)
    server.start()
    agent = yard.agent(server).start().enroll()
    api = server.api()
    kept = api.add(agent.node)
    assert api.ended(kept["id"])["status"] == "complete"
    server.flag.touch()
    refused = api.post(f"/v1/nodes/{agent.node}/tasks", {"type": "echo", "data": {"message": "lost"}, "description": "refused"})
    assert refused.status >= 500, refused.body
    assert api.get("/readyz").status == 503
    assert api.task(kept["id"])["status"] == "complete", "reading goes on"
    server.flag.unlink()
    until(lambda: api.post(f"/v1/nodes/{agent.node}/tasks", {"type": "echo", "data": {"message": "new"}, "description": "taken"}).status == 201, "it writes again")
    described = [t.get("description") for t in api.get("/v1/tasks").ok()["tasks"]]
    assert "refused" not in described and "taken" in described, described
    server.kill()
    server.start()
    described = [t.get("description") for t in api.get("/v1/tasks").ok()["tasks"]]
    assert "refused" not in described and "taken" in described, described
