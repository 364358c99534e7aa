#!/usr/bin/python3 -B
"""A storm over a real server and real agents: load, kills, broken connections; then quiet, and a comparison of everything with everything.

Exits 0 when nothing broke a promise, 1 with the seed and the stories when something did.
"""
import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "system")]


def arguments():
    parser = argparse.ArgumentParser(prog="./dev storm", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=None, help="the same seed makes the same decisions (default: a random one, which is printed)")
    parser.add_argument("--minutes", type=float, default=1.0, help="how long it blows; getting quiet and comparing come on top (default 1)")
    parser.add_argument("--agents", type=int, default=3, help="devices (default 3)")
    parser.add_argument("--calm", type=float, default=2.0, help="seconds between two faults of one machine or link, on average (default 2)")
    parser.add_argument("--pace", type=float, default=0.15, help="seconds between two actions of one operator or user, on average (default 0.15)")
    parser.add_argument("--faults", metavar="NAMES", default="", help="only these, separated by commas; `none` for none (default: all)")
    parser.add_argument("--work", metavar="NAMES", default="", help="only these kinds of tasks, separated by commas")
    parser.add_argument("--stories", type=int, default=5, help="how many tasks' stories to tell when something broke (default 5)")
    parser.add_argument("--folder", help="where to work, made and removed afterwards (default: a new one in the folder for temporary files)")
    parser.add_argument("--keep", action="store_true", help="leave the folder with logs, databases and story; it stays anyway after a violation")
    parser.add_argument("--list", action="store_true", help="the names of faults and kinds of tasks")
    return parser.parse_args()


def chosen(what, all_of_them, names):
    if not names:
        return all_of_them
    wanted = set() if names == "none" else set(names.split(","))
    unknown = wanted - {one.name for one in all_of_them}
    if unknown:
        sys.exit(f"storm: no {what} named {', '.join(sorted(unknown))}: see --list")
    return [one for one in all_of_them if one.name in wanted]


def settle(world, book, story):
    """Everything is put right; then all must come to an end by itself. Whether it did in time."""
    from clients import Lost
    from load import close_open_ones, finish
    for link in world.links.all:
        link.clear()
    for machine in world.machines:
        machine.relieve()
        if not machine.start():
            return False
    story.tell("quiet begins")
    began = world.now()
    deadline, hurry = began + 120, began + 8
    finish(world, book, story, deadline)
    while world.now() < deadline:
        open_ones = close_open_ones(world, book)
        states = [device.status() for device in world.devices]
        for state, device in zip(states, world.devices):
            if state and state.get("hold"):
                device.release()
        waiting = [unfinished(state, world, device) for state, device in zip(states, world.devices)]
        client = world.operator(direct=True)
        try:
            free = all([world.lift_quarantine(device, client) for device in world.devices])
            left = sum(task["status"] not in ("complete", "failed", "cancelled") and not (task["type"] == "NOBODY" and task["status"] == "sent")
                       for task in client.pages("/v1/tasks", "tasks"))
        except Lost:
            free, left = False, 1
        finally:
            client.close()
        if free and not open_ones and not any(waiting) and not left:
            story.tell("quiet", after=round(world.now() - began, 1))
            return True
        if world.now() > hurry:
            # An agent that was cut off for long tries again in minutes, as it should; we do not wait for that.
            hurry = world.now() + 30
            for device, state in zip(world.devices, states):
                if not state or state["server"].get("state") != "connected":
                    device.stop()
                    device.start()
        time.sleep(0.3)
    world.violation("gets quiet", f"not within 120 s: {waiting} on the devices, {left} tasks on the server, {open_ones} open ones")
    return False


def unfinished(state, world, device):
    """How much a device still has to do or to tell."""
    if not state or state["server"].get("state") != "connected":
        return {"state": state and state["server"].get("state")}
    if "ledger" not in state:
        return {"ledger": state.get("ledgerProblem")}
    counts = state["tasks"]
    waits = {name: counts.get(name, 0) for name in ("running", "awaiting_choice") if counts.get(name)}
    if state["ledger"]["outboxReports"]:
        waits["outbox"] = state["ledger"]["outboxReports"]
    return waits


class Storm:
    """One storm from its start to its comparison. `checker` afterwards, where it came so far."""

    def __init__(self, folder, seed, agents, faults, kinds, calm=2.0, pace=0.15):
        from faults import ClockJump, FailingSync, FullDisk, KillAtCommitPoint
        from load import Book
        from story import Story
        from world import World
        self.seed, self.faults, self.kinds, self.calm, self.pace = seed, faults, kinds, calm, pace
        self.story, self.book, self.checker = Story(folder / "story"), Book(), None
        self.world = World(folder, self.story, agents, inside=any(issubclass(fault, (FailingSync, ClockJump)) for fault in faults),
                           disks=FullDisk in faults, points=KillAtCommitPoint in faults)

    def run(self, seconds):
        from checker import Checker
        threads = self.actors()
        for thread in threads:
            thread.start()
        try:
            self.world.over.wait(seconds)
        finally:
            self.world.over.set()
            for thread in threads:
                thread.join()
        settled = settle(self.world, self.book, self.story)
        if settled or all(machine.running() for machine in self.world.machines):
            self.checker = Checker(self.world, self.book).look()
            self.checker.compare()
            for name in self.desk.missing(self.checker.past.server_forgot):
                self.world.violation("not lost", f"{name} was answered with yes, and is not there")

    def actors(self):
        from faults import LINK_FAULTS, MACHINE_FAULTS, Weather
        from desk import Desk
        from load import Operator, User
        world, seed = self.world, self.seed
        blows, cuts = ([fault for fault in self.faults if fault in kind] for kind in (MACHINE_FAULTS, LINK_FAULTS))
        self.desk = Desk(world, self.book, seed, self.pace * 5)
        return [self.desk, *(Operator(world, self.book, seed, number, self.pace, self.kinds) for number in range(2)),
                *(User(world, self.book, seed, device, self.pace * 2, self.kinds) for device in world.devices),
                *(Weather(world, seed, machine.name, machine, blows, self.calm) for machine in world.machines),
                *(Weather(world, seed, f"link {device.number}", device.link, cuts, self.calm * 2) for device in world.devices),
                Weather(world, seed, "front", world.front, cuts, self.calm * 3)]

    def stop(self):
        """Everything ends, as an administrator would end it; nothing of the work may be left."""
        for machine in reversed(self.world.machines):
            machine.stop()
        for pid, what in self.world.left_over().items():
            key = self.checker and self.checker.key_of_run(what["run"])
            if not self.checker or not self.checker.is_forgotten(key):
                self.world.violation("leaves nothing running", f"process {pid} of run {what['run']} is still there: {what['command']}", key=key)

    def close(self):
        """Also after a failure."""
        self.world.close()
        self.story.close()


def leave(*_):
    """Once: what is then put away is not to be disturbed."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(143)


def main():
    options = arguments()
    from commit_points import AGENT, SERVER
    from faults import ALL, FullDisk, KillAtCommitPoint
    from trouble import SmallDisk
    from work import KINDS
    if options.list:
        print("faults:", ", ".join(fault.name for fault in ALL))
        print("work:  ", ", ".join(kind.name for kind in KINDS))
        return 0
    faults, kinds = list(chosen("fault", ALL, options.faults)), chosen("kind of task", KINDS, options.work)
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1_000_000)
    folder = Path(options.folder or tempfile.mkdtemp(prefix="storm-"))
    folder.mkdir(parents=True, exist_ok=True)
    print(f"storm: seed {seed}, {options.minutes:g} min, {options.agents} agents, in {folder}", flush=True)
    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    if FullDisk in faults and not SmallDisk.possible(folder):
        faults.remove(FullDisk)
        print("storm: without full disks: a file system can't be mounted here, which needs root")
    if KillAtCommitPoint in faults and not (AGENT.exists() and SERVER.exists()):
        faults.remove(KillAtCommitPoint)
        print("storm: without kills at commit points: this build has only the programs that are shipped")
    began = time.monotonic()
    storm = Storm(folder, seed, options.agents, faults, kinds, options.calm, options.pace)
    options.interrupted = False
    try:
        storm.world.start()
        storm.run(options.minutes * 60)
        storm.stop()
    except SystemExit:
        options.interrupted = True
        raise
    finally:
        storm.close()
        if options.interrupted and not options.keep:
            shutil.rmtree(folder)
    return report(options, seed, folder, storm, time.monotonic() - began)


def kills_at_points(story, side, machines):
    """How often the programs of one side were ended at which commit points: before + after; and which they passed unharmed, or never."""
    if not machines[0].points:
        return
    names = {machine.name for machine in machines}
    kills = Counter(event["point"] for event in story.of("killed") if event["at"] in names and event.get("point"))
    points = list(dict.fromkeys(line.split()[1] for line in machines[0].known_points))
    reached = {line.split()[1] for machine in machines for line in machine.points.reached}
    met = {point: [kills[f"{moment} {point}"] for moment in ("before", "after")] for point in points}
    told = [f"{point} {before}+{after}" for point, (before, after) in met.items() if before + after]
    yield f"at commit points, {side}: {kills.total()} at {len(told)} of {len(points)}, before+after: " + (", ".join(told) or "none")
    yield f"    passed unharmed: {', '.join(point for point in points if point in reached and not sum(met[point])) or 'none'}"
    yield f"    never passed:    {', '.join(point for point in points if point not in reached) or 'none'}"


def report(options, seed, folder, storm, took):
    world, story, checker = storm.world, storm.story, storm.checker
    print(f"storm: {took:.0f} s; kills: server {story.count('killed', 'server')}, agents {story.count('killed', 'agent')}")
    for side, machines in (("server", [world.server]), ("agents", world.devices)):
        for line in kills_at_points(story, side, machines):
            print(line)
    print("faults: " + (", ".join(f"{name} {count}" for name, count in sorted(Counter(e["fault"] for e in story.of("fault")).items())) or "none"))
    orders = storm.book.all()
    print(f"asked for {len(orders)} tasks: {sum(bool(o.acknowledged) for o in orders)} acknowledged, {sum(bool(o.refused) for o in orders)} refused; "
          f"repeated {sum(o.attempts > 1 for o in orders)}")
    if checker:
        states = Counter(" ".join(filter(None, (task["status"], task.get("reason")))) for task in checker.server.tasks.values())
        print("ended:  " + ", ".join(f"{state} {count}" for state, count in states.most_common()))
        print(f"ran:    {sum(m.what == 'start' for m in checker.truth.marks)} starts, {sum(m.what == 'end' for m in checker.truth.marks)} ends marked")
        print(f"checks: {sum(checker.made.values())}: " + ", ".join(f"{rule} {count}" for rule, count in checker.made.most_common()))
    print(f"violations: {len(world.violations)}")
    told = 0
    for key in dict.fromkeys(violation["key"] or violation["text"] for violation in world.violations):
        same = [v for v in world.violations if key in (v["key"], v["text"])]
        for violation in same:
            print(f"[{violation['rule']}] {violation['key'] or violation.get('at') or ''}: {violation['text']}")
        told += 1
        if told <= options.stories and checker and same[0]["key"]:
            print("\n".join(checker.tell(key, 16)))
    if world.violations:
        print(f"storm: seed {seed} FAILED; logs, databases and the whole story are in {folder}")
        return 1
    if not options.keep:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    os.environ.setdefault("AGENTTASK_BIN", str(HERE.parents[1] / "build/dev/bin"))
    sys.exit(main())
