"""What the storm does to the machines and the ways between them. Each fault is applied, held for a while and undone by `strike`.

A subject (the server, an agent, a link) meets one fault at a time, drawn from its own random numbers; subjects meet theirs side by side.
"""
import random
import threading


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


MACHINE_FAULTS = [Kill, KillTwice, Stop]
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
