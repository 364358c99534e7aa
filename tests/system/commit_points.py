"""Programs that end themselves at a named commit point, a load that goes on meanwhile, and what was promised about it.

The programs are the shipped ones but for one function (tests/under_test). The truth comes from outside: marks that commands leave in a file, and the answers
that operators and people at the device got.
"""
import contextlib
import http.client
import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

from api import Api
from programs import BIN, Agent, Program, Server, environment, until

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "storm"))

from clients import LocalClient, Lost  # noqa: E402
from truth import BEGIN, END, Truth  # noqa: E402

AGENT, SERVER = BIN / "agenttaskd-under-test", BIN / "agenttask-server-under-test"
#: A point is for `before` and `after` its commit.
MOMENTS = ("before", "after")
#: What a call raises when the program that it asks is ended.
GONE = (OSError, http.client.HTTPException, Lost)


def points_of(program):
    """The names of a program's commit points, as it lists them."""
    done = subprocess.run([program], env=environment({"AGENTTASK_COMMIT_POINTS": "list"}), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout, done
    return done.stdout.split()


def scenarios():
    """A table of what to do at each point, and the decorator that fills it."""
    table = {}

    def scenario(*points):
        def keep(function):
            table.update((point, function) for point in points)
            return function
        return keep
    return table, scenario


class Points:
    """What is armed in one program, and what it met."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True)

    def words(self, program):
        return ["env", f"AGENTTASK_COMMIT_POINTS={self.folder}", program]

    def arm(self, *lines):
        fresh = self.folder / "arming"
        fresh.write_text("".join(line + "\n" for line in lines))
        os.replace(fresh, self.folder / "armed")

    def disarm(self):
        """False: it came too late, the program ends itself."""
        try:
            (self.folder / "armed").unlink()
            return True
        except FileNotFoundError:
            return False

    def lines(self, name):
        file = self.folder / name
        return file.read_text().splitlines() if file.exists() else []

    @property
    def kills(self):
        return self.lines("kills")

    @property
    def reached(self):
        return set(self.lines("reached"))


class UnderTest:
    """What both programs can besides."""

    def end_at(self, line, act=lambda: None):
        """Arms, acts, and waits until the program has ended itself there; what `act` returned, None where the answer was lost."""
        before = len(self.points.kills)
        self.points.arm(line)
        answer = None
        with contextlib.suppress(*GONE):
            answer = act()
        self.await_end(line, before)
        return answer

    def await_end(self, line, before=None):
        try:
            code = self.program.wait(30)
        except subprocess.TimeoutExpired:
            self.points.disarm()
            raise AssertionError(f"it did not come to {line!r} within 30 s:\n{self.program.text()[-3000:]}") from None
        assert code == -signal.SIGKILL, f"exit code {code} instead of a kill at {line!r}:\n{self.program.text()[-3000:]}"
        assert self.points.kills[-1] == line and (before is None or len(self.points.kills) == before + 1), (line, self.points.kills)
        self.program = None

    def start_to_die(self, line):
        """Started armed, it ends while it starts, or soon after."""
        before = len(self.points.kills)
        self.points.arm(line)
        self.begin()
        self.await_end(line, before)

    def ensure(self):
        """Runs, also after a case that left it as it was."""
        self.points.disarm()
        if self.program and not self.program.alive():
            self.program.wait()
            self.program = None
        if not self.program:
            self.start()


class ServerUnderTest(UnderTest, Server):
    def __init__(self, folder, *options):
        super().__init__(folder, *options)
        self.points = Points(self.folder / "points")
        self.start_words = self.points.words(SERVER)

    def begin(self):
        self.program = Program([*self.start_words, "run", "--state-dir", self.state, "--listen", f"127.0.0.1:{self.port}", *self.options],
                               self.folder / "server.log")


class AgentUnderTest(UnderTest, Agent):
    def __init__(self, folder, server=None, *options, name=None):
        super().__init__(folder, server, *options, name=name)
        self.points = Points(self.folder / "points")
        self.start_words = self.points.words(AGENT)

    def begin(self):
        self.program = Program([*self.start_words, "--state-dir", self.state, *(["--name", self.name] if self.name else []), *self.options],
                               self.folder / "agent.log")

    def start(self):
        self.started = time.monotonic()
        return super().start()

    def listens(self):
        assert self.program.alive(), f"the agent ended:\n{self.program.text()}"
        with contextlib.suppress(Lost):
            return bool(self.say("status"))

    def ask(self, call, **arguments):
        """One call of the console: its answer, whatever it is."""
        client = LocalClient(self.state / "run/agent.sock")
        try:
            return client.call(call, **arguments)
        finally:
            client.close()

    def say(self, call, **arguments):
        """The same, where it has to succeed."""
        answer = self.ask(call, **arguments)
        assert answer.status == 200, (call, arguments, answer.status, answer.document)
        return answer.document

    def task(self, id):
        answer = self.ask("getTask", id=id)
        return answer.document if answer.status == 200 else None

    def named(self, description):
        """Its tasks with this description."""
        return [task for task in self.say("getTasks", limit=1000)["tasks"] if task.get("description") == description]

    def connected(self):
        return self.say("status")["server"].get("state") == "connected"

    def hurry(self):
        """One that found no server waits for seconds before its next attempt; a start attempts at once. Nothing that runs is cut off for it."""
        if self.program and time.monotonic() > self.started + 1 and not self.connected() and not self.say("status").get("tasks", {}).get("running"):
            self.kill()
            self.start()

    def find_node(self):
        server = self.say("status")["server"]
        return server["enrolled"] and server["nodeId"]


class Order:
    """A task of the load, and what was said of it."""

    def __init__(self, key, body, local):
        self.key, self.body, self.local = key, body, local
        self.id = body.get("id")
        self.acknowledged = False


class World:
    """A server and an enrolled agent, one of them under test, both under load."""

    def __init__(self, folder, server, agent):
        self.folder, self.server, self.agent = Path(folder), server, agent
        self.marks = self.folder / "marks"
        self.marks.touch()
        self.api = Api(server.port, server.authority, token=server.token)
        self.keys = 0
        self.load = Load(self)

    @property
    def node(self):
        return self.agent.node

    def key(self, name):
        self.keys += 1
        return f"{name}.{self.keys}"

    def body(self, key, middle="", **more):
        """A command that leaves its marks; `id` is chosen here, so that asking twice is asking once."""
        text = "\n".join([BEGIN.format(key=key, marks=self.marks), *([middle] if middle else []), END.format(key=key, marks=self.marks, code=0)])
        return {"type": "command", "data": {"cmd": text}, "description": key, "id": str(uuid.uuid4()), **more}

    def post(self, body, node=None):
        return self.api.post(f"/v1/nodes/{node or self.node}/tasks", body)

    def submit(self, body, node=None):
        """Asks until there is an answer; the id."""
        def ask():
            with contextlib.suppress(*GONE):
                answer = self.post(body, node)
                assert answer.status in (200, 201, 503), (answer.status, answer.body)
                return answer if answer.status < 300 else None
        return until(ask, "the server takes the task").json["id"]

    def run(self, name, middle="", **more):
        """Asks for such a command; its key and id."""
        key = self.key(name)
        return key, self.submit(self.body(key, middle, **more))

    def task(self, id):
        answer = self.api.get(f"/v1/tasks/{id}")
        return answer.json if answer.status == 200 else None

    def ended(self, id):
        """The task once it has ended."""
        def look():
            answer = self.api.get(f"/v1/tasks/{id}?wait=1500")
            if answer.status == 200 and answer.json["status"] in ("complete", "failed", "cancelled"):
                return answer.json
            self.agent.hurry()
        return until(look, f"task {id} ends")

    def marks_of(self, key):
        truth = Truth(self.marks)
        return truth.starts[key], truth.ends[key]

    def ran(self, key):
        """How often it began and came to its end."""
        return tuple(map(len, self.marks_of(key)))

    def holds(self, key, id, ends=("complete", "interrupted"), interrupted_output=None):
        """One task of marks: it ended once, as both sides say, and its result is what its marks say."""
        server = self.ended(id)
        starts, ends_marked = self.marks_of(key)
        how = server["status"] if server["status"] != "failed" else server.get("reason")
        assert how in ends, (how, server)
        assert server["runCount"] == 1 and len(starts) <= 1, (server, starts)
        output = server["result"]["data"]["stdout"]
        if how == "complete":
            assert len(starts) == len(ends_marked) == 1 and output == f"begin {key} {starts[0].run}\n" + output.split("\n", 1)[1], server
            assert output.endswith(f"done {key}\n"), server
        elif starts:
            assert f"begin {key} {starts[0].run}\n".startswith(output) or output.startswith(f"begin {key} {starts[0].run}\n"), (output, starts)
        else:
            assert output == "", output
        assert interrupted_output is None or how != "interrupted" or interrupted_output in output, (interrupted_output, output)
        device = self.agent.task(id)
        assert device and all(device.get(name) == server.get(name) for name in ("status", "reason", "runCount", "startTime", "endTime")), (server, device)
        return server

    def settled(self):
        """Nothing is on its way between device and server."""
        def look():
            self.agent.hurry()
            status = self.agent.say("status")
            return status["server"].get("state") == "connected" and status["ledger"]["outboxReports"] == 0 and not status.get("tasks", {}).get("running")
        until(look, "the outbox is empty")

    @contextlib.contextmanager
    def quiet(self):
        """No load, and all that there was has ended."""
        with self.load.paused():
            for order in self.load.open_orders():
                self.ended(order.id)
            self.settled()
            yield


class Load(threading.Thread):
    """Operators, and people at the device, ask for short commands all the time."""

    def __init__(self, world, pace=0.12):
        super().__init__(name="load")
        self.world, self.pace = world, pace
        self.random = random.Random(7)
        self.orders, self.over, self.step = [], threading.Event(), threading.Lock()

    def run(self):
        while not self.over.wait(self.random.uniform(0, 2 * self.pace)):
            with self.step:
                self.ask()

    def ask(self):
        local = self.random.random() < 0.3
        key = self.world.key("load")
        body = self.world.body(key, self.random.choice(("", "", "sleep 0.2", "head -c 3000 /dev/zero | tr '\\0' x; echo")), tags=["load"])
        if local:
            del body["id"]
        order = Order(key, body, local)
        self.orders.append(order)
        if local:
            with contextlib.suppress(*GONE):
                order.id, order.acknowledged = self.world.agent.say("createTask", task=body)["id"], True
            return
        # Asked until it is answered, but never so long that the one who pauses the load would wait for a server that is down.
        for _ in range(40):
            with contextlib.suppress(*GONE):
                answer = self.world.post(body)
                if answer.status in (200, 201):
                    order.acknowledged = True
                    return
            if self.over.wait(0.02):
                return

    @contextlib.contextmanager
    def paused(self):
        with self.step:
            yield

    def open_orders(self):
        """Acknowledged, and not known to have ended."""
        for order in [order for order in self.orders if order.acknowledged and not getattr(order, "ended", False)]:
            task = self.world.task(order.id)
            order.ended = bool(task) and task["status"] in ("complete", "failed", "cancelled")
        return [order for order in self.orders if order.acknowledged and not order.ended]

    def stop(self):
        self.over.set()
        self.join()

    def account(self):
        """After all: nothing that was acknowledged is lost, nothing began twice, nothing is stuck, and no result lies."""
        truth = Truth(self.world.marks)
        for order in self.orders:
            if order.acknowledged:
                self.world.holds(order.key, order.id)
            else:
                runs = {mark.run for mark in truth.starts[order.key]}
                assert len(runs) == len(truth.starts[order.key]) <= 1, (order.key, truth.starts[order.key])
        for run, marks in truth.of_run.items():
            assert len({mark.key for mark in marks}) == 1 and sum(mark.what == "start" for mark in marks) == 1, (run, marks)
        return sum(order.acknowledged for order in self.orders)


def wait_for(check, what):
    """As `until`, where the program may be away for a moment."""
    def look():
        with contextlib.suppress(*GONE):
            return check()
    return until(look, what)


def soon(seconds):
    return int(time.time() * 1000 + seconds * 1000)


@contextlib.contextmanager
def another_server(world, *options):
    """For what the one under load must not do."""
    other = ServerUnderTest(world.folder / world.key("other"), *options)
    try:
        yield other.start()
    finally:
        if other.program:
            other.kill()
