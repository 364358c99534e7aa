"""The machines of the storm: one server and several agents, real programs, each agent with a link of its own to the server."""
import copy
import os
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from clients import LocalClient, Lost, OperatorClient
from link import Links
from commit_points import AGENT, MOMENTS, SERVER, Points, points_of
from programs import BIN, Agent, Program, Server
from story import now
from trouble import SmallDisk, Trouble, compile_trouble
from work import Marks, install_worker


class Machine:
    """A program that is started and ended again and again. `busy` is held by whoever changes it."""
    shipped = under_test = None     # the program

    def __init__(self, world, name):
        self.world, self.name = world, name
        self.busy = threading.RLock()
        self.lives = []           # (pid, began, ended or None)
        self.trouble = Trouble(world.library, world.folder / f"trouble of {name}") if world.library else None
        self.disk = self.points = None

    def is_under_test(self):
        """From now on it may be ended at commit points; before its first start."""
        self.points, self.aimed_at = Points(self.owner.folder / "points"), Counter()
        self.known_points = [f"{moment} {point}" for point in points_of(self.under_test) for moment in MOMENTS]

    def program_words(self):
        return [*self.wrapper(), *(self.points.words(self.under_test) if self.points else [self.shipped])]

    def begin(self, program):
        self.owner.program = program
        self.lives.append([program.pid, self.world.now(), None])
        self.world.story.tell("started", at=self.name, pid=program.pid)

    def relieve(self):
        """Nothing in the program or on its disk troubles it any more."""
        if self.trouble:
            self.trouble.clear()
        if self.disk:
            self.disk.clear()

    def wrapper(self):
        return self.trouble.wrapper() if self.trouble else []

    def running(self):
        return bool(self.owner.program and self.owner.program.alive())

    def ended(self):
        """After its end: what it left, and no program."""
        program, self.owner.program = self.owner.program, None
        code = program.wait()
        self.lives[-1][2] = self.world.now()
        return code

    def kill(self):
        with self.busy:
            if not self.owner.program:
                return
            unexpected = not self.running()
            self.owner.program.process.kill()
            code = self.ended()
            if unexpected:
                self.world.died(self, code)
            else:
                self.world.story.tell("killed", at=self.name)

    def ended_itself(self, seconds):
        """Whether it came to an armed commit point in this time; afterwards nothing is armed."""
        with self.busy:
            end, before = time.monotonic() + seconds, len(self.points.kills)
            while self.running() and time.monotonic() < end and not self.world.over.is_set():
                time.sleep(0.004)
            if self.points.disarm() and self.running():
                return False
            code = self.ended()
            if len(self.points.kills) == before:
                self.world.died(self, code)
            else:
                self.world.story.tell("killed", at=self.name, point=self.points.kills[-1])
            return True

    def stop(self):
        with self.busy:
            if not self.owner.program:
                return
            if not self.running():
                self.world.died(self, self.ended())
                return
            self.owner.program.process.send_signal(signal.SIGTERM)
            try:
                self.owner.program.process.wait(30)
            except subprocess.TimeoutExpired:
                self.world.violation("stops", self.name + " did not stop within 30 s", at=self.name)
                self.owner.program.process.kill()
            code = self.ended()
            self.world.story.tell("stopped", at=self.name, code=code)
            # Whoever is asked to stop before it listens to that is ended by the signal.
            if code != 0 and not (code == -signal.SIGTERM and self.world.now() - self.lives[-1][1] < 2):
                self.world.died(self, code)

    def begin_only(self):
        self.begin(self.world.starter.submit(lambda: Program(self.arguments(), self.owner.folder / "log")).result())

    def start(self):
        """Starts it and waits until it answers; whether it does."""
        with self.busy:
            if self.running():
                return True
            if self.owner.program:
                self.world.died(self, self.ended())
            self.begin_only()
            # A server without room serves, and says that it is not ready.
            end = time.monotonic() + (3 if self.may_fail_to_start else 20)
            while time.monotonic() < end:
                if not self.running():
                    break
                if self.answers():
                    self.world.story.tell("answers", at=self.name)
                    return True
                time.sleep(0.01)
            if self.running() and self.may_fail_to_start:
                return False
            if self.running():
                self.world.violation("starts", self.name + " does not answer 20 s after its start", at=self.name)
                return False
            code = self.ended()
            if not self.may_fail_to_start:
                self.world.died(self, code)
            self.world.story.tell("did not start", at=self.name, code=code)
            return False

    #: Set by faults that take from it what it needs to start, or to be ready.
    may_fail_to_start = False


class ServerMachine(Machine):
    shipped, under_test = BIN / "agenttask-server", SERVER

    def __init__(self, world):
        super().__init__(world, "server")
        self.owner = Server(world.folder / "server")
        self.owner.authority = Path(shutil.copy(self.owner.authority, world.folder))     # for everybody, whatever becomes of its disk

    def arguments(self):
        return [*self.program_words(), "run", "--state-dir", self.owner.state, "--listen",
                f"127.0.0.1:{self.owner.port}", *self.world.server_options]

    def answers(self):
        try:
            return OperatorClient(self.owner.port, self.owner.authority, self.owner.token).call("GET", "/readyz").status == 200
        except Lost:
            return False


class Device(Machine):
    shipped, under_test = BIN / "agenttaskd", AGENT

    def __init__(self, world, number):
        super().__init__(world, f"agent {number}")
        self.number = number
        self.owner = Agent(world.folder / f"agent{number}", name=f"storm-{number}")
        self.owner.state.mkdir(mode=0o700)
        self.link = world.links.add(world.server.owner.port)
        install_worker(self.owner.state, world.marks)

    @property
    def node(self):
        return self.owner.node

    def clone(self):
        """Another machine with a copy of all that this one keeps; it is not running."""
        other = copy.copy(self)
        other.name, other.busy, other.lives, other.disk = f"clone of {self.name}", threading.RLock(), [], None
        other.owner = Agent(self.world.folder / f"clone{self.number}-{len(self.world.clones)}", name=self.owner.name)
        shutil.copytree(self.owner.state, other.owner.state, ignore=shutil.ignore_patterns("*.sock"))
        other.owner.node = self.owner.node
        if self.points:
            other.points = Points(other.owner.folder / "points")
        self.world.clones.append(other)
        return other

    def arguments(self):
        return [*self.program_words(), "--state-dir", self.owner.state, "--name", self.owner.name, "--poll-wait", "5s",
                "--slots", "6", *self.world.agent_options]

    def local(self):
        return LocalClient(self.owner.state / "run/agent.sock")

    def answers(self):
        return self.status() is not None

    def status(self):
        client = self.local()
        try:
            answer = client.call("status")
            return answer.document if answer.status == 200 else None
        except Lost:
            return None
        finally:
            client.close()

    def release(self):
        """Ends a hold, where it answers."""
        client = self.local()
        try:
            client.call("release")
        except Lost:
            pass
        finally:
            client.close()

    def enroll(self):
        token = self.world.server.owner.enrollment_token()
        done = self.owner.console("enroll", f"https://127.0.0.1:{self.link.port}", token)
        assert done.returncode == 0, done
        end = time.monotonic() + 20
        while not self.owner.find_node():
            assert time.monotonic() < end, "the agent did not enrol"
            time.sleep(0.02)
        self.owner.node = self.owner.find_node()


class World:
    """`inside`: programs can be troubled from inside; `disks`: each program's folder is a small disk; `points`: they can be ended at commit points."""

    def __init__(self, folder, story, agents, inside=True, disks=True, server_options=("--keep-runs", "10000"), agent_options=("--keep-runs", "10000"), points=False):
        self.server_options, self.agent_options = server_options, agent_options
        self.folder, self.story, self.now = Path(folder), story, now
        self.violations = []
        self.library = compile_trouble(self.folder) if inside else None
        self.starter = ThreadPoolExecutor(max_workers=1)     # a program dies with the thread that started it
        self.marks = Marks(self.folder)
        self.links = Links()
        self.server = ServerMachine(self)
        self.clones = []
        self.devices = [Device(self, number) for number in range(agents)]
        self.front = self.links.add(self.server.owner.port)     # the operators' way to the server
        self.over = threading.Event()       # no more load, no more faults
        self.disks = disks
        for machine in self.machines if points else ():
            machine.is_under_test()

    @property
    def machines(self):
        return [self.server, *self.devices]

    def start(self):
        for machine in self.machines if self.disks else ():
            machine.disk = SmallDisk(machine.owner.state)
        for machine in self.machines:
            assert machine.start(), f"{machine.name} does not start; see {machine.owner.folder}/log"
        for device in self.devices:
            device.enroll()

    def operator(self, direct=False):
        port = self.server.owner.port if direct else self.front.port
        return OperatorClient(port, self.server.owner.authority, self.server.owner.token)

    def wall(self):
        """The wall clock in milliseconds."""
        return int(time.time() * 1000)

    def lift_quarantine(self, device, client):
        """Asks for its release where it is in quarantine; whether it is free, and knows."""
        try:
            node = client.call("GET", f"/v1/nodes/{device.node}")
            if node.status == 200 and node.document.get("quarantinedAt"):
                client.call("POST", f"/v1/nodes/{device.node}/release")
                return False
            status = device.status()
            return node.status == 200 and bool(status) and not status.get("quarantine")
        except Lost:
            return False

    @staticmethod
    def hurry(device):
        """Cut off often enough it waits for minutes before it tries again, as it should; a start tries at once. What is being said is not cut off."""
        if (device.status() or {}).get("server", {}).get("state") != "connected":
            device.kill()
            device.start()

    def release(self, device, client):
        """Releases it, until it is free and knows. Three minutes: a line that is cut each second lets few handshakes of a slow program through."""
        end, hurry = self.now() + 180, self.now() + 8
        while self.now() < end:
            if self.lift_quarantine(device, client):
                return
            if self.now() > hurry:
                hurry = self.now() + 8
                self.hurry(device)
            time.sleep(0.1)
        self.violation("quarantine", f"{device.name} is still in quarantine 180 s after its release", at=device.name)

    def restored_between(self, begin, end):
        """Whether the server's database was put back in that time."""
        return any(begin <= event["time"] <= end for event in self.story.of("database put back"))

    def violation(self, rule, text, key=None, at=None, **facts):
        self.violations.append({"rule": rule, "text": text, "key": key, "at": at, **facts})
        self.story.tell("VIOLATION", key=key, rule=rule, text=text)

    def died(self, machine, code):
        """It ended by itself, which it never should."""
        log = (machine.owner.folder / "log").read_text(errors="replace")
        self.violation("lives", f"{machine.name} ended by itself with code {code}; the end of its log:\n{log[-1500:]}", at=machine.name)

    def who(self, pid, time):
        """The machine whose program had this pid then: the last that got it, as the system gives them anew."""
        had = [(life[1], machine.name) for machine in [*self.machines, *self.clones] for life in machine.lives if life[0] == pid and life[1] - 1 <= time]
        return max(had)[1] if had else None

    def troubled_between(self, machine, begin, end, what=None):
        """Whether its disk or its syncs failed in that time."""
        return any(e["since"] <= end and begin <= e["time"] for e in self.story.of("trouble over", at=machine.name) if what in (None, e["trouble"]))

    def down_between(self, machine, begin, end):
        """Whether the machine was ended in that time."""
        return any(life[2] is not None and begin <= life[2] <= end for life in machine.lives)

    def close(self):
        """Ends everything, also after a failure, and says which processes of the work were left."""
        self.over.set()
        for machine in [*self.machines, *self.clones]:
            if machine.owner.program:
                machine.owner.program.process.kill()
                machine.ended()
        self.links.stop()
        for machine in self.machines:
            if machine.disk:
                machine.disk.remove(keep=bool(self.violations))
            if machine.trouble:
                machine.trouble.close()
        left = self.left_over()
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.starter.shutdown()

    def left_over(self):
        """The processes that the work started and that still run, by the word in their environment."""
        wanted, found = f"STORM={self.marks.token}".encode(), {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                environment = (entry / "environ").read_bytes().split(b"\0")
                if wanted in environment:
                    found[int(entry.name)] = {"command": (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:120],
                                              "run": next((e[17:].decode() for e in environment if e.startswith(b"AGENTTASK_RUN_ID=")), "")}
            except OSError:
                continue
        return found
