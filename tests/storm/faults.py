"""What the storm does to the machines and the ways between them. Each fault is applied, held for a while and undone by `strike`.

A subject (the server, an agent, a link) meets one fault at a time, drawn from its own random numbers; subjects meet theirs side by side.
"""
import contextlib
import errno
import random
import shutil
import sqlite3
import threading
import time


class Fault:
    """`weight`: how often it is drawn beside the others of its subject."""
    name = ""
    weight = 1

    def __init__(self, world, rng):
        self.world, self.rng, self.story = world, rng, world.story

    def strike(self, subject):
        raise NotImplementedError

    def hold(self, seconds):
        self.world.over.wait(seconds)


# ---- machines

class Kill(Fault):
    """kill -9: at any moment, or just after something was made durable or said, where a commit is likely to be near."""
    name, weight = "kill", 10

    def strike(self, machine):
        near = self.rng.choice((None, "acknowledged", "acknowledged", "mark", "answers"))
        delay = self.rng.choice((0, 0, self.rng.uniform(0, 0.004), self.rng.uniform(0, 0.05)))
        if near == "mark":
            self.next_mark(1.0)
        elif near:
            self.story.wait_for(near, 1.0)
        self.hold(delay)
        if self.world.over.is_set():
            return
        machine.kill()
        # As often as not it comes back at once, and sometimes the others go on for a while without it.
        self.hold(self.rng.choice((0, 0, 0.05, self.rng.uniform(0, 2))))
        machine.start()

    def next_mark(self, timeout):
        size = self.world.marks.file.stat().st_size
        for _ in range(int(timeout / 0.004)):
            if self.world.marks.file.stat().st_size > size or self.world.over.wait(0.004):
                return


class KillAtCommitPoint(Fault):
    """kill -9 at the instruction before or after a commit that has a name, as the programs under test can: at the first of some that are drawn at
    random, or at one that the program passes and that was aimed at the least."""
    name, weight = "kill at a commit point", 10

    def strike(self, machine):
        passed = sorted(sorted(machine.points.reached), key=lambda line: (machine.aimed_at[line], self.rng.random()))
        lines = passed[:1] if self.rng.random() < 0.65 else self.rng.sample(machine.known_points, 10)
        machine.aimed_at.update(lines)
        with machine.busy:
            if not machine.start():
                return
            if self.rng.random() < 0.4:
                # Some are passed only at a start.
                machine.kill()
                machine.points.arm(*lines)
                machine.begin_only()
            else:
                machine.points.arm(*lines)
            machine.ended_itself(self.rng.uniform(1, 4))
        self.hold(self.rng.choice((0, 0, 0.05, self.rng.uniform(0, 2))))
        machine.start()


class KillTwice(Fault):
    """Killed again while it still recovers from the first time."""
    name, weight = "kill while starting", 3

    def strike(self, machine):
        machine.kill()
        with machine.busy:
            machine.begin_only()
            self.hold(self.rng.uniform(0, 0.08))
            machine.kill()
        machine.start()


class Stop(Fault):
    """A restart as an administrator does it."""
    name, weight = "restart", 1

    def strike(self, machine):
        machine.stop()
        machine.start()


class FailingSync(Fault):
    """fsync fails for a while; then it works again. Sometimes the program is killed meanwhile."""
    name, weight = "failing fsync", 2

    def strike(self, machine):
        with self.trouble(machine, "failing fsync"):
            machine.trouble.fail_syncs(errno.EIO)
            self.suffer(machine)

    def suffer(self, machine):
        self.hold(self.rng.uniform(0.5, 4))
        if self.rng.random() < 0.25:
            machine.kill()
            machine.start()
            self.hold(self.rng.uniform(0, 1))

    @contextlib.contextmanager
    def trouble(self, machine, what):
        """Says when it began and when it was over; afterwards the program has to run."""
        with machine.busy:
            machine.may_fail_to_start = True
            begun = self.story.tell("trouble", at=machine.name, trouble=what)
            try:
                yield
            finally:
                until = self.world.now()
                machine.relieve()
                machine.may_fail_to_start = False
                self.story.tell("trouble over", at=machine.name, trouble=what, since=begun["time"], until=until)
            machine.start()


class FullDisk(FailingSync):
    """No room, or next to none, where the program keeps its things."""
    name, weight = "full disk", 2

    def strike(self, machine):
        if not machine.disk:
            return
        with self.trouble(machine, "full disk"):
            machine.disk.fill(self.rng.choice((0, 0, self.rng.randint(0, 1 << 17))))
            self.suffer(machine)


HOUR = 3_600_000


class ClockJump(Fault):
    """Somebody sets the wall clock, perhaps again, and then right."""
    name, weight = "clock jump", 2
    jumps = (5_000, 90_000, 2 * HOUR, 2 * HOUR)

    def strike(self, machine):
        for _ in range(self.rng.randint(1, 2)):
            ahead = self.rng.choice((1, -1)) * self.rng.choice(self.jumps)
            machine.trouble.move_clock(ahead)
            self.story.tell("clock", at=machine.name, ahead=ahead)
            self.hold(self.rng.uniform(0.3, 4))
            if self.rng.random() < 0.2:
                # It may make itself a certificate that is not valid yet for those whose clocks are right: nobody waits for its answer.
                machine.kill()
                machine.begin_only()
                self.hold(self.rng.uniform(0, 1))
        machine.trouble.move_clock(0)
        self.story.tell("clock", at=machine.name, ahead=0)
        if machine is self.world.server:
            machine.stop()
        machine.start()


class ClockJumpOfYears(ClockJump):
    name, weight = "clock jump of years", 1
    jumps = (10 * 365 * 24 * HOUR,)


class NewWorker(Fault):
    """Somebody replaces the workers of a device: for a moment nobody knows their tasks."""
    name, weight = "new worker", 2

    def strike(self, machine):
        if machine is self.world.server:
            return
        # All in one file system, which may be a small disk of the machine's own.
        state = machine.owner.state
        folder, fresh, aside = state / "workers" / "storm", state / "new worker", state / "old worker"
        shutil.copytree(folder, fresh)
        folder.rename(aside)
        self.hold(self.rng.choice((0, self.rng.uniform(0, 1))))
        fresh.rename(folder)
        shutil.rmtree(aside)


class OldDatabase(Fault):
    """The server's database is put back from a copy that was made while it ran: a new epoch, and everything comes back from the devices."""
    name, weight = "old database", 0.3

    def strike(self, machine):
        if machine is not self.world.server:
            return
        file, copy = machine.owner.state / "server.db", self.world.folder / "server.db.copy"
        with machine.busy:
            if not machine.start():
                return
            taken = self.world.now()
            copy_database(file, copy)
        for _ in range(self.rng.randint(0, 2)):
            self.hold(self.rng.uniform(0.5, 3))
            machine.kill()
            machine.start()
        self.hold(self.rng.uniform(0.5, 3))
        with machine.busy:
            machine.kill()
            put_back(copy, file)
            self.story.tell("database put back", at=machine.name, since=taken)
            machine.start()


class OldLedger(Fault):
    """A device's ledger is put back from a copy: it is quarantined at its first contact, until an operator releases it."""
    name, weight = "old ledger", 0.3

    def strike(self, machine):
        if machine is self.world.server:
            return
        with machine.busy:
            machine.kill()
            copy = self.world.folder / f"{machine.name}.copy"
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(machine.owner.state, copy, ignore=shutil.ignore_patterns("*.sock"))
            taken = self.world.now()
            machine.start()
            if not self.met(machine):
                return machine.start()
            met = self.world.now()
        self.hold(self.rng.uniform(0.5, 5))
        with machine.busy:
            machine.kill()
            for name in ("ledger.db", "ledger.db-wal"):
                (machine.owner.state / name).unlink(missing_ok=True)
                if (copy / name).exists():
                    shutil.copy2(copy / name, machine.owner.state / name)
            event = self.story.tell("ledger put back", at=machine.name, since=taken, met=met)
            machine.start()
            self.quarantine(machine, event)

    def met(self, machine):
        """Whether the server took a poll of this start of the agent, in time."""
        end = self.world.now() + 20
        while self.world.now() < end and not self.world.over.is_set():
            status = machine.status()
            if status and status["server"].get("state") == "connected":
                return True
            time.sleep(0.05)
        return False

    def server_forgot(self, event):
        """Whether the server was put back, too, to before it met what the device's old copy does not know: then nobody can tell."""
        return any(put["time"] > event["since"] and put["since"] < event.get("met", 0) for put in self.story.of("database put back"))

    def quarantine(self, *machines_and_event):
        """Waits until the node is in quarantine and its agents know; nothing starts there until it is released."""
        *machines, event = machines_and_event
        client = self.world.operator(direct=True)
        known = released = None
        end, hurry = self.world.now() + 60, self.world.now() + 8
        while not self.world.over.is_set():
            if self.world.now() > hurry:
                hurry = self.world.now() + 8
                for machine in machines:
                    self.world.hurry(machine)
            if all((machine.status() or {}).get("quarantine") for machine in machines):
                known = self.world.now()
                break
            if self.world.now() > end:
                if self.server_forgot(event):
                    break
                self.world.violation("quarantine", f"{machines[0].name}: not in quarantine 60 s after its ledger was put back or copied", at=machines[0].name)
                break
            time.sleep(0.05)
        if known:
            self.story.tell("quarantine", at=machines[0].name)
            self.hold(self.rng.uniform(0.3, 2.5))
            released = self.world.now()
        for machine in machines[1:]:
            machine.kill()
        self.world.release(machines[0], client)
        client.close()
        self.story.tell("released", at=machines[0].name, since=event["since"], known=known, released=released or self.world.now())


class Clone(OldLedger):
    """A device is copied with all it has, and both start: both are quarantined. The copy goes, the node is released."""
    name, weight = "clone", 0.3

    def strike(self, machine):
        if machine is self.world.server:
            return
        with machine.busy:
            machine.kill()
            clone = machine.clone()
            event = self.story.tell("copied", at=machine.name, since=self.world.now())
            machine.start()
            clone.start()
            self.quarantine(machine, clone, event)
            shutil.rmtree(clone.owner.folder)


def copy_database(file, copy):
    """As it is at one moment, while the program writes to it."""
    copy.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as source, contextlib.closing(sqlite3.connect(copy)) as target:
        source.backup(target)


def put_back(copy, file):
    for old in file.parent.glob(file.name + "*"):
        old.unlink()
    shutil.copy2(copy, file)
    file.chmod(0o600)


# ---- links

class Cut(Fault):
    """The connection goes after so many bytes: in a handshake, a head, the middle of a body."""
    name, weight = "cut", 6

    def strike(self, link):
        for _ in range(self.rng.randint(1, 4)):
            link.cut_after(self.rng.choice((self.rng.randint(1, 400), self.rng.randint(1, 6000), self.rng.randint(1, 60_000))),
                           self.rng.choice(("up", "down")), self.rng.random() < 0.5)
            self.hold(self.rng.uniform(0, 0.8))


class CutAll(Fault):
    name, weight = "cut all", 2

    def strike(self, link):
        link.cut_now(self.rng.random() < 0.5)


class Delay(Fault):
    name, weight = "delay", 3

    def strike(self, link):
        link.delay = self.rng.choice((0.02, 0.1, 0.4))
        self.hold(self.rng.uniform(0.5, 4))
        link.delay = 0.0


class Refuse(Fault):
    name, weight = "refuse", 2

    def strike(self, link):
        link.refuses = True
        link.cut_now(True)
        self.hold(self.rng.uniform(0.2, 3))
        link.refuses = False


class HalfOpen(Fault):
    """Bytes are taken and go nowhere; later the connections break, or stay so until somebody gives up."""
    name, weight = "half open", 1

    def strike(self, link):
        link.swallow(True)
        self.hold(self.rng.uniform(0.5, 4))
        link.swallow(False)
        if self.rng.random() < 0.7:
            link.cut_swallowing()


MACHINE_FAULTS = [Kill, KillAtCommitPoint, KillTwice, Stop, FailingSync, FullDisk, NewWorker, ClockJump, ClockJumpOfYears, OldDatabase, OldLedger, Clone]
LINK_FAULTS = [Cut, CutAll, Delay, Refuse, HalfOpen]
ALL = MACHINE_FAULTS + LINK_FAULTS


class Weather(threading.Thread):
    """Strikes one subject again and again until the storm is over."""

    def __init__(self, world, seed, name, subject, faults, calm):
        super().__init__(name=f"weather of {name}")
        self.world, self.subject, self.at, self.calm = world, subject, name, calm
        self.rng = random.Random(f"{seed}/{self.name}")
        self.faults = [fault(world, self.rng) for fault in faults]

    def run(self):
        try:
            while self.faults and not self.world.over.wait(self.rng.expovariate(1 / self.calm)):
                fault = self.rng.choices(self.faults, [fault.weight for fault in self.faults])[0]
                self.world.story.tell("fault", fault=fault.name, at=self.at)
                fault.strike(self.subject)
        except Exception as error:
            self.world.violation("storm", f"{self.name} gave up: {type(error).__name__}: {error}")
            raise
