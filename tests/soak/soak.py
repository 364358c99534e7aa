#!/usr/bin/python3 -B
"""A real server and real agents under steady, varied load without faults for a while, watched from outside: memory, descriptors, threads, files.

Schedules run all the time, operators and users steer and look, and one-time tasks come and go. History is kept short, so everything has to be
flat after the warm-up, but for what the tasks that ended take in the databases until their retention. Leaves nothing running. Exits 0 when
nothing grew and nothing broke, 1 otherwise. Below a quarter of an hour the figures are shown and not judged.
"""
import argparse
import csv
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "storm"), str(HERE.parent / "system")]

#: What runs again and again on each device: all that a run can be.
AGAIN = ("quick", "quick", "slow", "tree", "fail", "retried", "stubborn", "keyed", "chatty", "echo", "workflow")
#: What comes and ends by itself.
ONCE = ("quick", "slow", "tree", "fail", "retried", "rerun", "stubborn", "keyed", "later", "unanswered", "echo", "workflow")
#: What a one-time task and its steps may take in a database until their retention: rows, indexes, a tombstone.
A_TASK = 8 << 10
KEPT_RUNS, KEPT_MESSAGES = 10, 100


def arguments():
    parser = argparse.ArgumentParser(prog="./dev soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0, help="how long (default 60)")
    parser.add_argument("--agents", type=int, default=2, help="devices (default 2)")
    parser.add_argument("--every", type=float, default=0, help="seconds between two looks (default: a 600th of the time, at least 1)")
    parser.add_argument("--pace", type=float, default=1.0, help="seconds between two actions of one operator or user, on average; 0: none (default 1)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same decisions (default 1)")
    parser.add_argument("--out", type=Path, default=HERE.parents[1] / "build/soak", help="where soak.csv, soak.txt and soak.svg go (default build/soak)")
    parser.add_argument("--keep", action="store_true", help="leave the folder with logs and databases")
    return parser.parse_args()


class Soak:
    def __init__(self, folder, options):
        from load import Book, Operator, User
        from story import Story
        from work import KINDS
        from world import World
        self.options, self.kinds = options, {kind.name: kind for kind in KINDS}
        self.story, self.rng = Story(folder / "story"), random.Random(options.seed)
        limits = ("--keep-runs", str(KEPT_RUNS), "--keep-messages", str(KEPT_MESSAGES))
        self.world = World(folder, self.story, options.agents, inside=False, disks=False, server_options=limits, agent_options=limits)
        self.times, self.series, self.ended = [], {}, []
        self.book, self.make = Book(), (Operator, User)

    def start(self):
        """The programs, the schedules, and whoever asks for more."""
        self.world.start()
        self.client = self.world.operator(direct=True)
        for device in self.world.devices:
            local = device.local()
            for number, name in enumerate(AGAIN):
                task = self.kinds[name].build(self.rng, f"again-{device.number}-{number}", self.world.marks, self.world.wall())
                task["schedule"] = {"updateInterval": self.rng.randint(2000, 6000), "overlap": "skip"}
                if name == "workflow":
                    task["data"]["of"] = 1       # a message and no next step
                if number % 2:
                    answer = self.client.call("POST", f"/v1/nodes/{device.node}/tasks", task)
                else:
                    answer = local.call("createTask", task=task)
                assert answer.status in (200, 201), answer.document
            local.close()
        if self.options.pace > 0:
            operator, user = self.make
            once = [self.kinds[name] for name in ONCE]
            self.actors = [operator(self.world, self.book, self.options.seed, 0, self.options.pace, once),
                           *(user(self.world, self.book, self.options.seed, device, self.options.pace, once) for device in self.world.devices)]
        else:
            self.actors = []
        for actor in self.actors:
            actor.start()

    def run(self, seconds):
        from measure import look
        every = self.options.every or max(1.0, seconds / 600)
        began = time.monotonic()
        while (passed := time.monotonic() - began) < seconds:
            self.times.append(passed)
            self.ended.append(sum(bool(order.acknowledged) for order in self.book.all()))
            for machine in self.world.machines:
                if not machine.running():
                    self.world.died(machine, machine.owner.program.process.returncode)
                    return
                for name, value in look(machine).items():
                    self.series.setdefault(machine.name, {}).setdefault(name, []).append(value)
            time.sleep(max(0.0, began + len(self.times) * every - time.monotonic()))

    def stop(self):
        """Ends everything as an administrator would; nothing of the work may be left."""
        self.world.over.set()
        for actor in self.actors:
            actor.join()
        self.client.close()
        for machine in reversed(self.world.machines):
            machine.stop()
        for pid, what in self.world.left_over().items():
            self.world.violation("leaves nothing running", f"process {pid} is still there: {what['command']}")

    def close(self):
        self.world.close()
        self.story.close()

    def runs(self):
        """How many runs left the mark of their start."""
        return sum(line.startswith("start ") for line in self.world.marks.file.read_text().splitlines())

    def verdicts(self):
        from measure import MEASURES, judge, warm_up
        first = next(index for index, time in enumerate(self.times) if time >= warm_up(self.times))
        found = {}
        for name, series in self.series.items():
            tasks = (self.ended[-1] - self.ended[first]) / (1 if name == "server" else len(self.world.devices))
            found[name] = [judge(self.times, series[measure.name], measure, A_TASK * tasks if measure.name == "database" else 0.0) for measure in MEASURES]
        return found


def write(out, soak, lines):
    from measure import picture
    out.mkdir(parents=True, exist_ok=True)
    names = {name: list(series) for name, series in soak.series.items()}
    with open(out / "soak.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["seconds", "one-time tasks", *(f"{name}: {what}" for name, whats in names.items() for what in whats)])
        for index, passed in enumerate(soak.times):
            rows.writerow([f"{passed:.1f}", soak.ended[index], *(soak.series[name][what][index] for name, whats in names.items() for what in whats)])
    (out / "soak.txt").write_text("\n".join(lines) + "\n")
    (out / "soak.svg").write_text(picture(soak.times, soak.series))


def report(soak, options):
    """What is to be said, and whether it is good."""
    from measure import SHORTEST, table
    verdicts = soak.verdicts()
    judged = soak.times[-1] >= SHORTEST * 0.95
    passed = soak.times[-1] / 60
    cpu = ", ".join(f"{name} {(series['cpu'][-1] - series['cpu'][0]) / (soak.times[-1] - soak.times[0]) / 10:.1f} %" for name, series in soak.series.items())
    lines = [f"soak: {passed:.1f} min, {options.agents} agents, {soak.runs()} runs, {soak.ended[-1]} one-time tasks, {len(soak.times)} looks",
             f"processor, of one core: {cpu}", *table(verdicts, judged)]
    grew = [f"{name}: {row.measure.name}" for name, rows in verdicts.items() for row in rows if row.grows]
    lines += [f"[{violation['rule']}] {violation['text']}" for violation in soak.world.violations]
    if not judged:
        lines.append("soak: too short to judge, which takes a quarter of an hour")
    elif grew:
        lines.append("soak: these grow: " + ", ".join(grew))
    else:
        lines.append("soak: flat")
    return lines, not soak.world.violations and not (judged and grew)


def leave(*_):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(143)


def main():
    options = arguments()
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    print(f"soak: {options.minutes:g} min, {options.agents} agents, in {folder}", flush=True)
    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    soak = Soak(folder, options)
    try:
        soak.start()
        soak.run(options.minutes * 60)
        soak.stop()
        lines, good = report(soak, options)
        write(options.out, soak, lines)
    finally:
        soak.close()
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    print("\n".join(lines))
    print(f"soak: the table is in {options.out}/soak.csv")
    return 0 if good else 1


if __name__ == "__main__":
    os.environ.setdefault("AGENTTASK_BIN", str(HERE.parents[1] / "build/release/bin"))
    sys.exit(main())
