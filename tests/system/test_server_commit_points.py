"""kill -9 of the server on both sides of each of its commit points, one by one, while a device works and operators ask for more (acceptance H1).

Before its commit nothing has happened, so whoever got no answer asks again; after it, it has happened once, whoever heard of it.
"""
import contextlib
import json
import shutil
import signal
import sqlite3
import subprocess

import pytest

import fleet_call_points
from commit_points import GONE, MOMENTS, SERVER, AgentUnderTest, Points, ServerUnderTest, World, another_server, points_of, scenarios, soon, wait_for
from device import HandMadeDevice, ended, make_request, started
from programs import BIN, environment, until

SCENARIOS, scenario = scenarios()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    server = ServerUnderTest(folder / "server").start()
    agent = AgentUnderTest(folder / "agent", server)
    world = World(folder, server, agent.start().enroll())
    world.away = device(world)
    world.load.start()
    yield world
    world.load.stop()
    server.ensure()
    agent.stop()
    server.stop()


def device(world, server=None):
    """One that we play ourselves, after its first contact: what is asked of it waits at the server until it polls."""
    made = HandMadeDevice(server or world.server, world.folder / world.key("device"))
    made.poll()
    made.poll()
    return made


@contextlib.contextmanager
def alone(world):
    """Nobody but the case writes at the server: no load, and the agent is ended. It comes back at once afterwards."""
    with world.quiet():
        world.agent.kill()
        try:
            yield
        finally:
            world.server.ensure()
            world.agent.start()


def raw_poll(one, **changed):
    return one.api.post("/v1/device/poll", one.poll_body(**changed))


# ---- each point has a scenario

def test_H1_every_commit_point_of_the_server_has_a_scenario():
    assert set(points_of(SERVER)) == set(SCENARIOS)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("point", SCENARIOS)
def test_H1_killed_at(world, point, moment):
    world.server.ensure()
    world.agent.program or world.agent.start()
    SCENARIOS[point](world, world.server, point, moment)


# ---- what operators ask for

@scenario("task-created")
def enqueue(world, server, point, moment):
    with world.quiet():
        key = world.key("new")
        body = world.body(key)
        assert server.end_at(f"{moment} {point}", lambda: world.post(body)) is None
        server.start()
        assert (world.task(body["id"]) is not None) == (moment == "after")
        assert world.submit(body) == body["id"] and world.submit(body) == body["id"]
        world.holds(key, body["id"], ends=("complete",))


scenario("batch-created")(fleet_call_points.accept)
scenario("batch-cancel-asked")(fleet_call_points.cancel)
scenario("batch-tasks-made", "batch-cancelled")(fleet_call_points.carry_on)


#: The call, what shows that it was done, and what has to be done before. The device is away, and nothing was offered to it.
CHANGES = {
    "task-updated": ("PATCH", "", {"metadata": {"n": 1}}, lambda task: task["metadata"].get("n") == 1, None),
    "task-deleted": ("DELETE", "", None, lambda task: bool(task.get("deletedAt")) and task["status"] == "cancelled", None),
    "cancel-asked": ("POST", "/cancel", {}, lambda task: task["status"] == "cancelled", None),
    "choice-asked": ("POST", "/choose", {"option": "yes"}, lambda task: (task.get("choiceRequested") or {}).get("option") == "yes", None),
    "pause-asked": ("POST", "/pause", {}, lambda task: "pause" in task.get("requested", []), None),
    "resume-asked": ("POST", "/resume", {}, lambda task: "resume" in task.get("requested", []), "/pause"),
    "run-asked": ("POST", "/run", {}, lambda task: "run" in task.get("requested", []), None),
}


@scenario(*CHANGES)
def change(world, server, point, moment):
    method, path, body, done, first = CHANGES[point]
    more = {"choices": [{"name": name, "description": name} for name in ("yes", "no")]} if point == "choice-asked" else {"schedule": {"scheduledFor": soon(3600)}}
    id = world.submit(world.body(world.key("change"), **more), world.away.node)
    if first:
        world.api.post(f"/v1/tasks/{id}{first}", {})
    ask = lambda: world.api.call(method, f"/v1/tasks/{id}{path}", body=body)   # noqa: E731
    assert server.end_at(f"{moment} {point}", ask) is None
    server.start()
    assert done(world.task(id)) == (moment == "after"), world.task(id)
    again = ask()
    assert again.status in (200, 202) or (again.status == 409 and moment == "after"), (again.status, again.body)
    assert done(world.task(id)) and world.task(id)["runCount"] == 0


@scenario("message-posted")
def message(world, server, point, moment):
    room = world.key("room")
    assert server.end_at(f"{moment} {point}", lambda: world.api.post("/v1/messages", {"roomId": room, "content": {"text": "hello"}})) is None
    server.start()
    assert len(world.api.get(f"/v1/messages?roomId={room}").ok()["messages"]) == (moment == "after")


@scenario("node-changed")
def label(world, server, point, moment):
    value = world.key("label")
    change = lambda: world.api.patch(f"/v1/nodes/{world.away.node}", {"labels": {"place": value}})   # noqa: E731
    assert server.end_at(f"{moment} {point}", change) is None
    server.start()
    assert (world.api.get(f"/v1/nodes/{world.away.node}").ok()["labels"].get("place") == value) == (moment == "after")
    change().ok()


@scenario("node-revoked")
def revoke(world, server, point, moment):
    one = device(world)
    id = world.submit(world.body(world.key("revoked")), one.node)
    assert server.end_at(f"{moment} {point}", lambda: world.api.delete(f"/v1/nodes/{one.node}")) is None
    server.start()
    assert raw_poll(one).status == (200 if moment == "before" else 403)
    world.api.delete(f"/v1/nodes/{one.node}").ok()
    assert raw_poll(one).status == 403 and world.task(id)["status"] in ("cancelled", "failed")


@scenario("token-created")
def token(world, server, point, moment):
    label = world.key("token")
    assert server.end_at(f"{moment} {point}", lambda: world.api.post("/v1/enrollment-tokens", {"label": label})) is None
    server.start()
    tokens = world.api.get("/v1/enrollment-tokens").ok()["enrollmentTokens"]
    assert sum(one["label"] == label for one in tokens) == (moment == "after")


@scenario("token-removed")
def remove_token(world, server, point, moment):
    made = world.api.post("/v1/enrollment-tokens", {"label": world.key("token")}).ok(201)
    assert server.end_at(f"{moment} {point}", lambda: world.api.delete(f"/v1/enrollment-tokens/{made['id']}")) is None
    server.start()
    assert world.api.delete(f"/v1/enrollment-tokens/{made['id']}").status == (200 if moment == "before" else 404)
    assert enroll(world, made["token"], world.folder / world.key("device"), "late").status == 403


@scenario("operator-created")
def operator(world, server, point, moment):
    label = world.key("operator")
    assert server.end_at(f"{moment} {point}", lambda: world.api.post("/v1/operators", {"label": label, "role": "viewer"})) is None
    server.start()
    assert sum(one["label"] == label for one in world.api.get("/v1/operators").ok()["operators"]) == (moment == "after")


@scenario("operator-revoked")
def revoke_operator(world, server, point, moment):
    made = world.api.post("/v1/operators", {"label": world.key("operator"), "role": "viewer"}).ok(201)
    theirs = server.api(token=made["token"])
    assert theirs.get("/v1/tasks?limit=1").status == 200
    assert server.end_at(f"{moment} {point}", lambda: world.api.delete(f"/v1/operators/{made['id']}")) is None
    server.start()
    assert theirs.get("/v1/tasks?limit=1").status == (200 if moment == "before" else 401)
    world.api.delete(f"/v1/operators/{made['id']}").ok()
    assert theirs.get("/v1/tasks?limit=1").status == 401


# ---- what devices ask for

def enroll(world, token, folder, name, request=None):
    body = {"token": token, "request": request or make_request(folder)[1], "name": name, "version": "0.1.0", "platform": "linux-x86_64"}
    return world.server.api(token=None).post("/v1/enroll", body)


@scenario("device-enrolled")
def enrolment(world, server, point, moment):
    token, name, folder = server.enrollment_token(), world.key("newcomer"), world.folder / world.key("device")
    request = make_request(folder)[1]
    named = lambda: [node["id"] for node in world.api.get(f"/v1/nodes?name={name}").ok()["nodes"]]   # noqa: E731
    assert server.end_at(f"{moment} {point}", lambda: enroll(world, token, folder, name, request)) is None
    server.start()
    assert len(named()) == (moment == "after")
    answer = enroll(world, token, folder, name, request).ok()
    assert named() == [answer["nodeId"]] and enroll(world, token, folder, name, request).ok() == answer
    assert enroll(world, token, world.folder / world.key("device"), name).status == 403, "it was good for one device"


@scenario("certificate-renewed")
def renewal(world, server, point, moment):
    one = device(world)
    renew = lambda: one.api.post("/v1/device/renew", {"request": one.request})   # noqa: E731
    assert server.end_at(f"{moment} {point}", renew) is None
    server.start()
    assert raw_poll(one).status == 200, "what it has stays good"
    one.take(renew().ok()["certificate"])
    assert raw_poll(one).status == 200


@scenario("poll-applied", "directives-offered")
def offer(world, server, point, moment):
    """Who decides about the task hangs on this commit alone."""
    with alone(world):
        one = device(world)
        id = world.submit(world.body(world.key("offer")), one.node)
        assert server.end_at(f"{moment} {point}", lambda: raw_poll(one)) is None
        server.start()
        cancel = world.api.post(f"/v1/tasks/{id}/cancel", {})
        assert (cancel.status, cancel.json["status"]) == ((200, "cancelled") if moment == "before" else (202, "pending"))
        assert [directive["kind"] for directive in one.poll()] == ([] if moment == "before" else ["task", "cancel"])
        if moment == "after":
            one.send(ended_alone(id))
        assert world.task(id)["status"] == "cancelled"


def ended_alone(id):
    """The report of a task that was cancelled before it ran."""
    report = ended(id, status="cancelled", runCount=0)
    del report["run"], report["state"]["startTime"]
    return report


@scenario("directives-acknowledged")
def acknowledge(world, server, point, moment):
    with alone(world):
        one = device(world)
        id = world.submit(world.body(world.key("acknowledged")), one.node)
        assert [directive["kind"] for directive in one.poll()] == ["task"]
        assert server.end_at(f"{moment} {point}", lambda: raw_poll(one)) is None
        server.start()
        assert world.task(id)["status"] == ("pending" if moment == "before" else "sent")
        assert one.poll() == [] and world.task(id)["status"] == "sent"


@scenario("incarnation-followed")
def restart_of_an_agent(world, server, point, moment):
    with alone(world):
        one = device(world)
        before, one.incarnation = one.incarnation, "f" * 32
        assert server.end_at(f"{moment} {point}", lambda: raw_poll(one, predecessors=[before])) is None
        server.start()
        id = world.submit(world.body(world.key("followed")), one.node)
        answer = raw_poll(one, predecessors=[before])
        assert answer.status == 200 and id.encode() in answer.body
        assert not world.api.get(f"/v1/nodes/{one.node}").ok().get("quarantinedAt")


@scenario("reports-applied")
def reports(world, server, point, moment):
    with alone(world):
        one = device(world)
        id = world.submit(world.body(world.key("reported")), one.node)
        one.poll()
        one.poll()
        body, end = one.batch(started(id), ended(id))
        assert server.end_at(f"{moment} {point}", lambda: one.post(body)) is None
        server.start()
        assert world.task(id)["status"] == ("sent" if moment == "before" else "complete")
        for _ in range(2):
            assert one.post(body).ok()["reports"] == {"sequence": end[0], "chain": end[1]}
        task = world.task(id)
        assert (task["status"], task["runCount"], task["result"]["data"]["by"]) == ("complete", 1, "hand") and len(world.api.runs(id)) == 1


def other_past(one):
    """It says that it was further than the server knows."""
    return raw_poll(one, directives={"sequence": one.directives[0] + 5, "chain": "ab" * 32})


@scenario("epoch-opened")
def new_epoch(world, server, point, moment):
    with alone(world):
        one = device(world)
        id = world.submit(world.body(world.key("epoch")), one.node)
        assert server.end_at(f"{moment} {point}", lambda: other_past(one)) is None
        server.start()
        for _ in range(2):
            head = other_past(one).ok_lines()[0]
            assert head["resync"] and head["epoch"] > one.epoch
        one.adopt(head["epoch"])
        one.send({"kind": "snapshot-end", "tasks": 0})
        assert [directive["task"]["id"] for directive in one.poll()] == [id] and one.poll() == [] and world.task(id)["status"] == "sent"


@scenario("snapshot-complete")
def snapshot(world, server, point, moment):
    with alone(world):
        one = device(world)
        id = world.submit(world.body(world.key("snapshot")), one.node)
        one.adopt(other_past(one).ok_lines()[0]["epoch"])
        body, end = one.batch({"kind": "snapshot-end", "tasks": 0})
        assert server.end_at(f"{moment} {point}", lambda: one.post(body)) is None
        server.start()
        assert one.post(body).ok()["reports"]["sequence"] == 1
        one.reports = end
        assert [directive["task"]["id"] for directive in one.poll()] == [id] and one.poll() == []


def copied(one):
    """A poll of a ledger that knows nothing of the last contact."""
    return raw_poll(one, incarnation="c" * 32, epoch=0, directives={"sequence": 0, "chain": ""}, reports={"sequence": 0, "chain": ""})


@scenario("device-quarantined")
def quarantine(world, server, point, moment):
    with alone(world):
        one = device(world)
        assert server.end_at(f"{moment} {point}", lambda: copied(one)) is None
        server.start()
        assert bool(world.api.get(f"/v1/nodes/{one.node}").ok().get("quarantinedAt")) == (moment == "after")
        id = world.submit(world.body(world.key("quarantined")), one.node)
        answer = copied(one)
        assert answer.status == 200 and answer.ok_lines()[0]["quarantined"] and id.encode() not in answer.body


@scenario("node-released")
def release(world, server, point, moment):
    one = device(world)
    assert copied(one).ok_lines()[0]["quarantined"]
    free = lambda: not world.api.get(f"/v1/nodes/{one.node}").ok().get("quarantinedAt")   # noqa: E731
    assert server.end_at(f"{moment} {point}", lambda: world.api.post(f"/v1/nodes/{one.node}/release")) is None
    server.start()
    assert free() == (moment == "after")
    world.api.post(f"/v1/nodes/{one.node}/release").ok()
    assert free() and copied(one).ok_lines()[0]["resync"]


# ---- what the server does by itself

@scenario("tasks-expired")
def expiry(world, server, point, moment):
    id = server.end_at(f"{moment} {point}", lambda: world.submit(world.body(world.key("expires"), options={"expiresAt": soon(0.5)}), world.away.node))
    server.start()
    task = wait_for(lambda: world.task(id)["status"] == "failed" and world.task(id), "it expires")
    assert task["reason"] == "expired" and task["runCount"] == 0


@scenario("clock-recorded")
def first_look_at_the_clock(world, server, point, moment):
    key, id = world.run("before")
    server.kill()
    server.start_to_die(f"{moment} {point}")
    server.start()
    world.holds(key, id)


@scenario("tasks-purged")
def purge(world, server, point, moment):
    with another_server(world, "--retention", "0s") as other:
        api, one = other.api(), device(world, other)
        task = api.add(one.node, id=world.body("")["id"])
        request = {"type": "echo", "data": {"message": "hello"}, "id": task["id"]}
        assert api.post(f"/v1/tasks/{task['id']}/cancel", {}).ok()["status"] == "cancelled"
        for _ in range(2):
            other.kill()
            other.start_to_die(f"{moment} {point}")
            other.start()
            again = api.post(f"/v1/nodes/{one.node}/tasks", request)
            assert again.status in (200, 409), (again.status, again.body)
            assert one.poll() == [], "it never comes to the device"


@scenario("runs-trimmed")
def trim(world, server, point, moment):
    with another_server(world) as other:
        api, one = other.api(), device(world, other)
        id = api.add(one.node, schedule={"updateInterval": 1000})["id"]
        one.poll()
        one.poll()
        for run in range(1, 6):
            report = ended(id, run)
            report["state"].update(status="sent", runCount=run)
            del report["state"]["endTime"]
            one.send(started(id, run), report)
        assert len(api.runs(id)) == 5
        other.kill()
        other.options = ["--keep-runs", "2"]
        other.start_to_die(f"{moment} {point}")
        other.start()
        runs = until(lambda: (lambda runs: len(runs) == 2 and runs)(api.runs(id)), "old runs go")
        assert sorted(run["run"] for run in runs) == [4, 5] and api.task(id)["runCount"] == 5


@scenario("presence-stored")
def stop(world, server, point, moment):
    """Written every half minute, and at the end."""
    raw_poll(world.away)
    server.end_at(f"{moment} {point}", lambda: server.program.process.send_signal(signal.SIGTERM))
    server.start()
    world.holds(*world.run("stopped"))


def administer(server, line, *words):
    """An administration verb on the command line, ended there."""
    server.points.arm(line)
    done = subprocess.run([*server.points.words(SERVER), *words, "--state-dir", server.state], capture_output=True, text=True, env=environment(), timeout=60,
                          stdin=subprocess.DEVNULL)
    assert done.returncode == -signal.SIGKILL and server.points.kills[-1] == line and not done.stdout, done


@scenario("administered")
def administration(world, server, point, moment):
    count = lambda: len(world.api.get("/v1/enrollment-tokens").ok()["enrollmentTokens"])   # noqa: E731
    before = count()
    administer(server, f"{moment} {point}", "token", "create")
    assert count() == before + (moment == "after") and server.program.alive()


class Unborn(ServerUnderTest):
    """Whose `init` is ended in the middle."""

    def __init__(self, folder, line):
        self.line = line
        super().__init__(folder)

    def command(self, *words, check=True):
        if words == ("init",):
            self.points = Points(self.folder / "first")
            administer(self, self.line, "init")
            began = (self.state / "authority" / "authority.pem").exists()
            again = super().command("init", check=False)
            assert (again.returncode == 0) != began and (not began or "operator reset" in again.stderr), again
            if not began:
                return again
            words = ("operator", "reset")
        return super().command(*words, check=check)


@scenario("authority-key-kept", "authority-kept", "server-certificate-kept", "schema-migrated")
def birth(world, server, point, moment):
    """Either `init` can be done again, or `operator reset` makes what it did not come to show."""
    other = Unborn(world.folder / world.key("born"), f"{moment} {point}")
    try:
        other.start()
        one = device(world, other)
        id = other.api().add(one.node)["id"]
        assert [directive["task"]["id"] for directive in one.poll()] == [id]
    finally:
        if other.program:
            other.kill()


@scenario("ticket-keys-kept")
def session_keys(world, server, point, moment):
    keys = server.state / "ticket.keys"
    server.kill()
    keys.unlink()
    server.start_to_die(f"{moment} {point}")
    assert keys.exists() == (moment == "after")
    server.start()
    assert keys.exists()
    world.holds(*world.run("session"))


# ---- backups, and what takes their place

@scenario("backup-written", "backup-kept")
def backup(world, server, point, moment):
    """Either there is the whole backup, or none, and the next one is not in its own way."""
    folder = world.folder / world.key("backup")
    administer(server, f"{moment} {point}", "backup", folder)
    whole = (point, moment) == ("backup-kept", "after")
    assert folder.exists() == whole
    again = server.command("backup", folder, check=False)
    assert (again.returncode == 1 and "nothing is overwritten" in again.stderr) if whole else again.returncode == 0, again
    assert not folder.with_name(folder.name + ".part").exists()
    restored = subprocess.run([BIN / "agenttask-server", "restore", folder, "--state-dir", world.folder / world.key("restored")], capture_output=True, text=True,
                              env=environment(), timeout=60)
    assert restored.returncode == 0, restored


class Former:
    """A server that was killed in the middle of its life, and a backup from before: both know `old`, only the server knows `new`."""

    def __init__(self, world):
        self.server = ServerUnderTest(world.folder / "former").start()
        api, one = self.server.api(), device(world, self.server)
        self.backup, self.template = world.folder / "former-backup", world.folder / "former-template"
        self.old = api.add(one.node)["id"]
        self.server.command("backup", self.backup)
        self.new = api.add(one.node)["id"]
        self.server.kill()
        shutil.copytree(self.server.state, self.template)

    def put_back(self):
        shutil.rmtree(self.server.state)
        shutil.copytree(self.template, self.server.state)

    def serves(self):
        """What a server that is started there knows."""
        self.server.start()
        try:
            answers = {name: self.server.api().get(f"/v1/tasks/{id}").status for name, id in (("old", self.old), ("new", self.new))}
        finally:
            self.server.kill()
        return {name for name, status in answers.items() if status == 200}

    def is_kept_aside(self):
        """In one folder, whole, with its log."""
        for folder in self.server.state.glob("replaced-*"):
            with contextlib.closing(sqlite3.connect(folder / "server.db")) as database:
                if database.execute("SELECT count(*) FROM tasks WHERE id = ?", (self.new,)).fetchone()[0]:
                    return {"authority", "ticket.keys"} <= {file.name for file in folder.iterdir()}
        return False


RESTORE = ["restore-staged", *(f"restore-{part}-aside" for part in ("authority", "database", "log", "keys")),
           *(f"restore-{part}-in" for part in ("database", "keys", "settings", "authority")), "restore-finished"]


@scenario(*RESTORE)
def restore(world, server, point, moment):
    """Until all is made ready there is the former server; then nothing but the restored one, whoever finishes it, and however often that is cut off."""
    if not hasattr(world, "former"):
        world.former = Former(world)
    former, line = world.former, f"{moment} {point}"
    untouched, done = line == "before restore-staged", line == "after restore-finished"
    for by_a_start in (True, False):
        former.put_back()
        if point == "restore-settings-in":
            (former.server.state / "server.conf").unlink()
        administer(former.server, line, "restore", "--replace", former.backup)
        if not untouched and not done:
            refused = former.server.command("token", "create", check=False)
            assert refused.returncode == 1 and "is not finished" in refused.stderr, refused
            assert former.server.command("init", check=False).returncode == 1
        if by_a_start:
            if not untouched and moment == "before":
                former.server.start_to_die(line)
            assert former.serves() == ({"old", "new"} if untouched else {"old"})
        else:
            leave = ["--replace"] if untouched or done else []
            told = json.loads(former.server.command("restore", former.backup, "--json", *leave).stdout)
            assert ("cutOffBefore" in told) == (not leave), told
            assert former.serves() == {"old"}
        assert untouched and by_a_start or former.is_kept_aside()
        assert (former.server.state / "server.conf").exists()
        assert not list(former.server.state.glob("restore.*"))


# ---- under load

def test_H1_kills_at_what_the_load_passes(world):
    """Whatever request it meets."""
    world.server.ensure()
    for point in ("task-created", "poll-applied", "directives-offered", "directives-acknowledged", "reports-applied", "incarnation-followed"):
        for moment in MOMENTS:
            # An agent that found nobody would wait for seconds; a start attempts at once, and is what `incarnation-followed` needs.
            with contextlib.suppress(*GONE):
                world.server.end_at(f"{moment} {point}", lambda: (world.agent.kill(), world.agent.start()))
            world.server.start()
    world.holds(*world.run("after"))


def test_H1_the_load_lost_nothing(world):
    world.load.stop()
    world.server.ensure()
    assert world.load.account()
