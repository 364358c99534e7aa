"""What a long past, and much that waits, cost."""
import shutil
import time

from look import memory, settle
from plots import Plot
from store_filling import A_TASK, copy_task

NAME = "history"
ORDER = 100
ABOUT = "Latency and memory of a server with many ended tasks in its store, and of one with many waiting schedules, beside one with neither, in turn. The stores are filled with copies of a real task while the servers are stopped."
DEVICES = 10
MIB = 1 << 20


def run(stage):
    ended, waiting = stage.size(10_000_000, 20_000), stage.size(1_000_000, 5000)
    room = int(shutil.disk_usage(stage.folder).free * 0.7 / A_TASK)
    if ended + waiting > room:
        ended = max(room - waiting, 1000)
        stage.say(f"the disk has room for {ended} ended tasks")
    sites = {"neither": Site(stage), f"{ended} ended tasks": Site(stage, ended=ended), f"{waiting} waiting schedules": Site(stage, waiting=waiting)}
    found = {name: [] for name in sites}
    for _ in stage.rounds(5, 2):
        for name, site in sites.items():
            found[name].append(site.latency(stage))
    took = {name: memory(site.server.program.pid)["resident"] / MIB for name, site in sites.items()}
    (plain, base), *others = found.items()
    for name, rounds in others:
        for which in ("p50", "p99"):
            limit = {"ratio_at_most": 1.2} if which == "p50" else {}
            stage.row(f"echo with {name}: result visible, {which}", "ms", [one[which] for one in rounds], peer=f"with {plain}",
                      peer_values=[one[which] for one in base], **limit)
        stage.row(f"server memory with {name}: resident set", "MiB", [took[name]], peer=f"with {plain}", peer_values=[took[plain]], ratio_at_most=1.2)
    stage.drawings.append(Plot("Echo by what is in the store: p50 of each round", "", "ms", {name: [one["p50"] for one in rounds] for name, rounds in found.items()}, bars=True))


class Site:
    """A server, its store filled, and a load of which one device is there."""

    def __init__(self, stage, ended=0, waiting=0):
        self.tasks = stage.size(1000, 50)
        self.server = stage.server()
        self.load = stage.load(self.server)
        self.load.enroll(DEVICES)
        nodes = self.load.nodes(DEVICES)
        self.load.hold(1)
        if ended:
            sample = self.server.api().ended(self.server.api().add(nodes[0])["id"])["id"]
            self.fill(stage, sample, nodes, ended)
        if waiting:
            day = 86_400_000
            sample = self.server.api().add(nodes[1], schedule={"scheduledFor": int(time.time() * 1000) + 300 * day, "updateInterval": 3_600_000})["id"]
            self.fill(stage, sample, nodes[1:], waiting)
        if not ended and not waiting:
            self.load.drop()
            self.server.restart()    # as the others
            self.load.hold(1)

    def fill(self, stage, sample, nodes, count):
        self.load.drop()
        self.server.stop()
        begin = time.monotonic()

        def progress(done):
            if done % 1_000_000 == 0:
                stage.say(f"{done} of {count} tasks after {time.monotonic() - begin:.0f} s")

        copy_task(self.server, sample, nodes, count, progress)
        self.server.start()
        self.load.hold(1)
        settle(self.server.program.pid, 120)
        read = self.server.api().get("/v1/tasks?limit=1").ok()
        stage.check(bool(read["tasks"]), "the filled store can be read")

    def latency(self, stage):
        answer = self.load.call("latency", devices=1, tasks=self.tasks, pause=2, toResult=True)
        stage.check(not answer["problems"], f"all complete: {answer['problems']}")
        return answer["result"]
