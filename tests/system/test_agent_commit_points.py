"""kill -9 of the agent on both sides of each of its commit points, one by one, while others ask for work (acceptance H1).

Before its commit nothing has happened; after it, it has happened once, whoever heard of it. Then everything goes on by itself.
"""
import contextlib
import json
import shutil
import signal
import sqlite3
import subprocess

import pytest

from commit_points import AGENT, GONE, MOMENTS, SERVER, AgentUnderTest, World, points_of, scenarios, soon, wait_for
from programs import BIN, Server, environment, until

SCENARIOS, scenario = scenarios()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    server = Server(folder / "server").start()
    agent = AgentUnderTest(folder / "agent", server)
    install_workers(agent, folder)
    world = World(folder, server, agent.start().enroll())
    world.load.start()
    yield world
    world.load.stop()
    agent.ensure()
    agent.stop()
    server.stop()


def install_workers(agent, folder):
    """PROBE leaves marks, says how far it is, and creates the next task where it is asked to; CAUTIOUS runs when a file is there; STRICT wants data."""
    mark = 'read t x </proc/uptime; echo "{what} $key $AGENTTASK_RUN_ID {more} $t" >>' + str(folder / "marks")
    program = f"""#!/bin/sh
read -r request
case $request in '{{"validate"'*) [ -e {folder}/permitted ] && echo '{{"valid":true}}' || echo '{{"valid":false,"detail":"not yet"}}'; exit;; esac
key=${{request#*'"key":"'}}; key=${{key%%'"'*}}
{mark.format(what="start", more="$PPID $$")}
case $request in
*'"wants":"progress"'*) echo '{{"progress":{{"text":"half way"}}}}'; sleep 600 </dev/null;;
*'"wants":"child"'*) echo '{{"call":{{"id":1,"name":"createTask","arguments":{{"type":"PROBE","description":"'$key'.child","data":{{"key":"'$key'.child"}}}}}}}}'; read -r answer;;
esac
echo '{{"result":{{"key":"'$key'"}}}}'
{mark.format(what="end", more="0")}
"""
    for type, more in (("PROBE", {}), ("CAUTIOUS", {"validate": True}), ("STRICT", {"dataSchema": {"type": "object", "required": ["must"]}})):
        install_worker(agent, type, program, **more)


def install_worker(agent, type, program, **more):
    agent.state.mkdir(mode=0o700, exist_ok=True)
    made = agent.folder / f"making-{type}"
    made.mkdir()
    (made / "program").write_text(program)
    (made / "program").chmod(0o755)
    (made / "worker.json").write_text(json.dumps({"types": [type], "command": ["./program"], **more}))
    (agent.state / "workers").mkdir(mode=0o755, exist_ok=True)
    made.rename(agent.state / "workers" / type)


def probe(world, type="PROBE", **data):
    """Asks for a task of a worker; its key and id."""
    key = world.key(type.lower())
    return key, world.submit({**world.body(key), "type": type, "data": {"key": key, **data}})


def in_ledger(agent, id):
    """Whether the ledger of an agent that does not run has the task."""
    with contextlib.closing(sqlite3.connect(agent.state / "ledger.db")) as database:
        return database.execute("SELECT count(*) FROM tasks WHERE id = ?", (id,)).fetchone()[0] == 1


# ---- each point has a scenario

def test_H1_every_commit_point_of_the_agent_has_a_scenario():
    assert set(points_of(AGENT)) == set(SCENARIOS)


def test_what_is_shipped_can_not_be_told_to_die():
    for program in (AGENT, SERVER):
        shipped = program.with_name(program.name.removesuffix("-under-test"))
        assert b"AGENTTASK_COMMIT_POINTS" in program.read_bytes() and b"AGENTTASK_COMMIT_POINTS" not in shipped.read_bytes()


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("point", SCENARIOS)
def test_H1_killed_at(world, point, moment):
    world.agent.ensure()
    SCENARIOS[point](world, world.agent, point, moment)


# ---- what people at the device ask for

@scenario("task-created")
def local_task(world, agent, point, moment):
    key = world.key("local")
    body = world.body(key)
    del body["id"]
    with world.quiet():
        assert agent.end_at(f"{moment} {point}", lambda: agent.say("createTask", task=body)) is None
        agent.start()
        there = agent.named(key)
    assert len(there) == (moment == "after")
    if there:
        world.holds(key, there[0]["id"], ends=("complete",))
    else:
        assert world.ran(key) == (0, 0)


#: The call, what shows that it was done, and what has to be done before.
CHANGES = {
    "task-updated": ("updateTask", {"changes": {"metadata": {"n": 1}}}, lambda task: task["metadata"].get("n") == 1, None),
    "task-cancelled": ("cancelTask", {}, lambda task: task["status"] == "cancelled", None),
    "task-deleted": ("deleteTask", {}, lambda task: bool(task.get("deletedAt")) and task["status"] == "cancelled", None),
    "task-paused": ("pauseTask", {}, lambda task: bool(task.get("paused")), None),
    "task-resumed": ("resumeTask", {}, lambda task: not task.get("paused"), "pauseTask"),
}


@scenario(*CHANGES)
def change(world, agent, point, moment):
    call, arguments, done, first = CHANGES[point]
    key, id = world.run("change", schedule={"scheduledFor": soon(3600)})
    wait_for(lambda: agent.task(id), "the task is on the device")
    if first:
        agent.say(first, id=id)
    assert agent.end_at(f"{moment} {point}", lambda: agent.say(call, id=id, **arguments)) is None
    agent.start()
    assert done(agent.task(id)) == (moment == "after"), agent.task(id)
    again = agent.ask(call, id=id, **arguments)
    assert again.status == 200 or (again.status, again.code) == (409, "already-ended"), again.document
    assert done(agent.task(id))
    wait_for(lambda: done(world.task(id)), "the server knows")
    if point not in ("task-cancelled", "task-deleted"):
        agent.say("cancelTask", id=id)
    assert world.ran(key) == (0, 0)


@scenario("run-requested")
def run_now(world, agent, point, moment):
    key, id = world.run("run-now", schedule={"scheduledFor": soon(3600)})
    wait_for(lambda: agent.task(id), "the task is on the device")
    assert agent.end_at(f"{moment} {point}", lambda: agent.say("runTask", id=id)) is None
    agent.start()
    if moment == "before":
        assert agent.task(id)["status"] == "sent" and world.ran(key) == (0, 0)
        agent.say("runTask", id=id)
    world.holds(key, id, ends=("complete",))


@scenario("choice-made")
def choose(world, agent, point, moment):
    choices = [{"name": name, "description": name} for name in ("yes", "no")]
    key, id = world.run("choice", 'echo "chose $AGENTTASK_OPTION"', choices=choices)
    wait_for(lambda: (agent.task(id) or {}).get("status") == "awaiting_choice", "it asks")
    assert agent.end_at(f"{moment} {point}", lambda: agent.say("chooseTask", id=id, option="yes")) is None
    agent.start()
    second = agent.ask("chooseTask", id=id, option="no")
    assert second.status == (200 if moment == "before" else 409), second.document
    task = world.holds(key, id, ends=("complete",))
    won = "no" if moment == "before" else "yes"
    assert task["chosen"]["option"] == won and f"chose {won}\n" in task["result"]["data"]["stdout"]


@scenario("message-posted")
def message(world, agent, point, moment):
    room = world.key("room")
    assert agent.end_at(f"{moment} {point}", lambda: agent.say("createMessage", roomId=room, content={"text": "hello"})) is None
    agent.start()
    count = len(agent.say("getMessages", roomId=room)["messages"])
    assert count == (moment == "after")
    world.settled()
    assert len(world.api.get(f"/v1/messages?roomId={room}").ok()["messages"]) == count


@scenario("hold-changed")
def hold(world, agent, point, moment):
    assert agent.end_at(f"{moment} {point}", lambda: agent.say("hold")) is None
    agent.start()
    assert agent.say("release")["wasHeld"] == (moment == "after")


# ---- the life of runs

@scenario("directives-received")
def directives(world, agent, point, moment):
    with world.quiet():
        # One that is due is started in the same commit, one that waits for its time is not.
        for waits, ends in (({"schedule": {"scheduledFor": soon(3)}}, "complete"), ({}, "complete" if moment == "before" else "interrupted")):
            key = world.key("directive")
            id = agent.end_at(f"{moment} {point}", lambda: world.submit(world.body(key, **waits)))
            assert in_ledger(agent, id) == (moment == "after") and world.task(id)["status"] == "pending" and world.ran(key) == (0, 0)
            agent.start()
            world.holds(key, id, ends=(ends,))
            assert world.ran(key) == ((1, 1) if ends == "complete" else (0, 0))


@scenario("run-started")
def start(world, agent, point, moment):
    with world.quiet():
        key = world.key("start")
        id = agent.end_at(f"{moment} {point}", lambda: world.submit(world.body(key)))
        assert world.ran(key) == (0, 0), "the start is on disk before the first instruction"
        agent.start()
        world.holds(key, id, ends=("complete",) if moment == "before" else ("interrupted",))
        assert world.ran(key) == ((1, 1) if moment == "before" else (0, 0))


@scenario("output-kept")
def output(world, agent, point, moment):
    with world.quiet():
        key = world.key("output")
        id = agent.end_at(f"{moment} {point}", lambda: world.submit(world.body(key, "sleep 600")))
        agent.start()
        world.holds(key, id, ends=("interrupted",), interrupted_output=f"begin {key}" if moment == "after" else "")
        assert world.ran(key) == (1, 0)


@scenario("progress-noted")
def progress(world, agent, point, moment):
    key, id = None, None

    def ask():
        nonlocal key, id
        key, id = probe(world, wants="progress")
    agent.end_at(f"{moment} {point}", ask)
    agent.start()
    assert world.ended(id)["reason"] == "interrupted" and world.ran(key) == (1, 0)


@scenario("run-ended")
def end(world, agent, point, moment):
    with world.quiet():
        key = world.key("end")
        id = agent.end_at(f"{moment} {point}", lambda: world.submit(world.body(key)))
        assert world.ran(key) == (1, 1)
        agent.start()
        # What was printed is there in any case.
        world.holds(key, id, ends=("complete",) if moment == "after" else ("interrupted",), interrupted_output=f"done {key}\n")
        assert world.ran(key) == (1, 1)


@scenario("wishes-granted")
def wishes(world, agent, point, moment):
    key, id = None, None

    def ask():
        nonlocal key, id
        key, id = probe(world, wants="child")
    agent.end_at(f"{moment} {point}", ask)
    agent.start()
    children = agent.named(f"{key}.child")
    if moment == "before":
        assert world.ended(id)["reason"] == "interrupted" and not children and world.ran(f"{key}.child") == (0, 0)
    else:
        assert world.ended(id)["status"] == "complete" and len(children) == 1
        assert world.ended(children[0]["id"])["status"] == "complete" and world.ran(f"{key}.child") == (1, 1)
    assert world.ran(key) == (1, 1)


@scenario("run-interrupted")
def recovery(world, agent, point, moment):
    with world.quiet():
        key, id = world.run("cut-off", "sleep 600")
        wait_for(lambda: world.ran(key) == (1, 0) and agent.task(id)["status"] == "running", "it runs")
        agent.kill()
        agent.start_to_die(f"{moment} {point}")
        agent.start()
        world.holds(key, id, ends=("interrupted",))
        assert len(world.api.runs(id)) == 1 and world.ran(key) == (1, 0)


@scenario("outliving-requested", "outliving-claimed", "outliving-withdrawn", "outliving-stop-asked", "outliving-ended")
def outside(world, agent, point, moment):
    """A command outside the agent's service; each window more closely in test_outliving.py. Its recorder is the one that comes to claim and end."""
    line = f"{moment} {point}"
    key = world.key("outside")
    body = world.body(key, "sleep 600" if point == "outliving-stop-asked" else "", options={"outlivesAgent": True})
    id = body["id"]
    before = len(agent.points.kills)
    if point in ("outliving-claimed", "outliving-ended"):
        agent.points.arm(line)
        world.submit(body)
        until(lambda: len(agent.points.kills) > before, "its recorder ends itself")
        agent.kill()    # nobody has to wait until it takes the recorder for gone
    elif point == "outliving-stop-asked":
        world.submit(body)
        wait_for(lambda: world.ran(key) == (1, 0) and agent.task(id)["status"] == "running", "it runs")
        agent.end_at(line, lambda: world.api.post(f"/v1/tasks/{id}/cancel"))
    else:
        agent.end_at("after outliving-requested" if point == "outliving-withdrawn" else line, lambda: world.submit(body))
        if point == "outliving-withdrawn":
            agent.start_to_die(line)
    agent.start()
    how = {"outliving-stop-asked": ("cancelled",), "outliving-ended": ("complete",) if moment == "after" else ("interrupted",)}.get(point, ("interrupted",))
    world.holds(key, id, ends=how)
    assert world.ran(key) == {"outliving-stop-asked": (1, 0), "outliving-ended": (1, 1)}.get(point, (0, 0))


@scenario("task-refused")
def refused(world, agent, point, moment):
    id = agent.end_at(f"{moment} {point}", lambda: probe(world, "STRICT")[1])
    agent.start()
    task = world.ended(id)
    assert (task["status"], task["reason"], task["runCount"]) == ("failed", "invalid", 0)


@scenario("task-deferred")
def deferred(world, agent, point, moment):
    permission = world.folder / "permitted"
    key, id = None, None

    def ask():
        nonlocal key, id
        key, id = probe(world, "CAUTIOUS")
    agent.end_at(f"{moment} {point}", ask)
    agent.start()
    wait_for(lambda: agent.task(id).get("reason") == "validate-false", "its worker says not yet")
    permission.touch()
    assert world.ended(id)["status"] == "complete" and world.ran(key) == (1, 1)
    permission.unlink()


@scenario("tasks-parked")
def parked(world, agent, point, moment):
    type = world.key("NOBODY")
    id = agent.end_at(f"{moment} {point}", lambda: world.submit({"type": type, "id": world.body("")["id"]}))
    agent.start()
    wait_for(lambda: world.task(id).get("reason") == "no-worker", "the server knows why it waits")
    assert world.api.post(f"/v1/tasks/{id}/cancel?wait=20000").ok()["status"] == "cancelled"


@scenario("workers-changed")
def worker_appears(world, agent, point, moment):
    type = world.key("LATE")
    key, id = probe(world, type)
    wait_for(lambda: (agent.task(id) or {}).get("reason") == "no-worker", "it waits for its worker")
    program = (agent.state / "workers" / "PROBE" / "program").read_text()
    agent.end_at(f"{moment} {point}", lambda: install_worker(agent, type, program))
    agent.start()
    assert world.ended(id)["status"] == "complete" and world.ran(key) == (1, 1)


@scenario("time-advanced")
def due(world, agent, point, moment):
    key = world.key("due")
    id = agent.end_at(f"{moment} {point}", lambda: world.submit(world.body(key, schedule={"scheduledFor": soon(0.3)})))
    assert world.ran(key) == (0, 0)
    agent.start()
    world.holds(key, id, ends=("complete",))


@scenario("waits-reported")
def told_why(world, agent, point, moment):
    agent.say("hold")
    key = world.key("held")
    id = agent.end_at(f"{moment} {point}", lambda: world.submit(world.body(key)))
    agent.start()
    wait_for(lambda: world.task(id).get("reason") == "held", "the server knows why it waits")
    assert world.ran(key) == (0, 0)
    assert agent.say("release")["wasHeld"]
    world.holds(key, id, ends=("complete",))


# ---- between the device and its server

@scenario("reports-acknowledged")
def acknowledged(world, agent, point, moment):
    with world.quiet():
        key = world.key("report")
        id = agent.end_at(f"{moment} {point}", lambda: world.submit(world.body(key)))
        agent.start()
        world.holds(key, id)
        world.settled()
        assert len(world.api.runs(id)) == 1


@scenario("incarnation-begun", "incarnation-acknowledged", "tasks-purged")
def starts(world, agent, point, moment):
    agent.kill()
    agent.start_to_die(f"{moment} {point}")
    agent.start()
    world.holds(*world.run("start"), ends=("complete",))
    assert not world.api.get(f"/v1/nodes/{world.node}").ok().get("quarantinedAt")


@contextlib.contextmanager
def stranger(world, enrolled=False):
    """A device that is not the one under load, for what happens once in its life."""
    other = AgentUnderTest(world.folder / world.key("stranger"), world.server, name=world.key("stranger"))
    try:
        if enrolled:
            other.start().enroll()
            wait_for(other.connected, "it is connected")
        yield other
    finally:
        if other.program:
            other.kill()


def belongs(world, other):
    """It has one node, and does what is asked of it, once."""
    node = until(other.find_node, "it enrols")
    assert [one["id"] for one in world.api.get(f"/v1/nodes?name={other.name}").ok()["nodes"]] == [node]
    key = world.key("stranger")
    id = world.submit(world.body(key), node)
    assert world.api.ended(id)["status"] == "complete" and world.ran(key) == (1, 1)


def works_alone(world, other):
    key = world.key("alone")
    body = world.body(key)
    del body["id"]
    id = other.say("createTask", task=body)["id"]
    wait_for(lambda: other.task(id)["status"] == "complete", "it runs without a server")
    assert world.ran(key) == (1, 1)


def care(other, line, *words):
    """What an administrator does with its ledger; ended there where `line` says so."""
    program = BIN / "agenttaskd"
    if line:
        other.points.arm(line)
        program = AGENT
    done = subprocess.run([*other.points.words(program), "ledger", *words, "--state-dir", other.state], capture_output=True, text=True, env=environment(), timeout=60)
    if line:
        assert done.returncode == -signal.SIGKILL and other.points.kills[-1] == line and not done.stdout, done
    return done


def damaged(other):
    """It waits with one task, and the page of an index is gone; the ledger as it is. Beside it lies a log."""
    other.start()
    id = other.say("createTask", task={"type": "echo", "data": {"message": "x"}, "schedule": {"scheduledFor": soon(3600)}})["id"]
    other.kill()
    ledger = other.state / "ledger.db"
    with contextlib.closing(sqlite3.connect(ledger, isolation_level=None)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = database.execute("PRAGMA page_size").fetchone()[0]
        page = database.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'messages_by_room'").fetchone()[0]
    with open(ledger, "r+b") as stream:
        stream.seek((page - 1) * size)
        stream.write(b"\xee" * size)
    (other.state / "ledger.db-wal").write_bytes(b"a log that says nothing")
    return id, ledger.read_bytes()


def kept(other, what):
    return [file for file in other.state.glob(f"ledger.db.{what}-*") if not file.name.endswith("-wal")]


@scenario("ledger-saved", "ledger-put-away", "saved-ledger-taken")
def salvage(world, agent, point, moment):
    """There is the damaged ledger or the saved one, and the next that looks finishes it, or does it again."""
    line = f"{moment} {point}"
    away = line in ("after ledger-put-away", "before saved-ledger-taken", "after saved-ledger-taken")
    for by_the_agent in (True, False):
        with stranger(world) as other:
            id, broken = damaged(other)
            care(other, line, "salvage")
            assert (other.state / "ledger.db").exists() == (line not in ("after ledger-put-away", "before saved-ledger-taken"))
            if by_the_agent:
                if line == "before saved-ledger-taken":
                    other.start_to_die(line)
                other.start()
                assert bool(other.say("status").get("ledgerProblem")) == (not away)
            if not by_the_agent or not away:
                done = care(other, None, "salvage")
                sound = line == "after saved-ledger-taken"
                assert (done.returncode == 1 and "is sound" in done.stderr) if sound else done.returncode == 0, done
            if not by_the_agent:
                other.start()
            wait_for(lambda: other.task(id), "its task is there")
            assert other.task(id)["status"] == "sent"
            assert [file.read_bytes() == broken for file in kept(other, "damaged")] == [True]
            assert kept(other, "damaged")[0].with_name(kept(other, "damaged")[0].name + "-wal").read_bytes() == b"a log that says nothing"
            assert not (other.state / "ledger.db.saved").exists()
            other.kill()
            assert care(other, None, "check").returncode == 0
            if point == "ledger-put-away":
                reset(other, id, line)


def reset(other, id, line):
    """There is the ledger as it was, or none and what it was beside."""
    ledger = other.state / "ledger.db"
    before = ledger.read_bytes()
    care(other, line, "reset", "--yes")
    away = line.startswith("after")
    assert ledger.exists() != away and [file.read_bytes() == before for file in kept(other, "reset")] == [True] * away
    again = care(other, None, "reset", "--yes")
    assert again.returncode == away and len(kept(other, "reset")) == 1, again
    other.start()
    assert other.task(id) is None


@scenario("schema-migrated")
def first_start(world, agent, point, moment):
    with stranger(world) as other:
        other.start_to_die(f"{moment} {point}")
        other.start()
        works_alone(world, other)


@scenario("enrollment-wished", "identity-kept", "enrollment-forgotten", "node-adopted", "epoch-adopted")
def enrolment(world, agent, point, moment):
    with stranger(world) as other:
        other.start()
        wish = {"url": world.server.url, "token": world.server.enrollment_token()}
        answer = other.end_at(f"{moment} {point}", lambda: other.say("enroll", **wish))
        assert point != "enrollment-wished" or answer is None
        other.start()
        if (point, moment) == ("enrollment-wished", "before"):
            assert not other.say("status")["server"]["enrolled"]
            other.say("enroll", **wish)
        belongs(world, other)


@scenario("identity-forgotten")
def unenrolment(world, agent, point, moment):
    with stranger(world, enrolled=True) as other:
        assert other.end_at(f"{moment} {point}", lambda: other.say("unenroll")) is None
        other.start()
        if moment == "before":
            until(other.find_node, "it knows who it is")
        works_alone(world, other)
        assert bool(other.find_node()) == (moment == "before")


def old_ledger(world, other):
    """Its ledger is what it was before its last task, and the server is about to notice."""
    other.kill()
    shutil.copytree(other.state, other.folder / "copy", ignore=shutil.ignore_patterns("*.sock"))
    other.start()
    key = world.key("forgotten")
    id = world.submit(world.body(key), other.node)
    assert world.api.ended(id)["status"] == "complete"
    other.kill()
    for file in other.state.glob("ledger.db*"):
        file.unlink()
    for file in (other.folder / "copy").glob("ledger.db*"):
        shutil.copy2(file, other.state)
    return key


@scenario("quarantine-noted")
def quarantine(world, agent, point, moment):
    with stranger(world, enrolled=True) as other:
        ran_before = old_ledger(world, other)
        other.start_to_die(f"{moment} {point}")
        waiting = world.key("quarantined")
        id = world.submit(world.body(waiting), other.node)
        other.start()
        wait_for(lambda: other.say("status").get("quarantine"), "it knows")
        assert world.task(id)["reason"] == "quarantined" and world.ran(waiting) == (0, 0)
        assert world.api.post(f"/v1/nodes/{other.node}/release").ok().get("quarantinedAt") is None
        assert world.api.ended(id)["status"] == "complete" and world.ran(waiting) == (1, 1) and world.ran(ran_before) == (1, 1)


@scenario("server-left")
def left_in_quarantine(world, agent, point, moment):
    with stranger(world, enrolled=True) as other:
        old_ledger(world, other)
        other.start()
        wait_for(lambda: other.say("status").get("quarantine"), "it knows")
        other.end_at(f"{moment} {point}", lambda: other.say("unenroll"))
        other.start()
        wait_for(lambda: not other.say("status").get("quarantine"), "nobody holds it any more")
        works_alone(world, other)


# ---- under load

def test_H1_kills_at_what_the_load_passes(world):
    """Whatever task it meets."""
    world.agent.ensure()
    for point in ("task-created", "directives-received", "run-started", "output-kept", "run-ended", "reports-acknowledged", "run-interrupted"):
        for moment in MOMENTS:
            with contextlib.suppress(*GONE):
                if point == "run-interrupted":
                    world.agent.end_at("after run-started")
                    world.agent.start_to_die(f"{moment} {point}")
                else:
                    world.agent.end_at(f"{moment} {point}")
            world.agent.start()
    world.holds(*world.run("after"), ends=("complete",))


def test_H1_the_load_lost_nothing(world):
    world.load.stop()
    world.agent.ensure()
    assert world.load.account()
