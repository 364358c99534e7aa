"""A large fleet that waits, over several server processes."""
import time

from look import cpu_seconds, memory, settle
from plots import Plot

NAME = "fleet"
ORDER = 120
ABOUT = "Idle devices over several server processes, each with a store of its own, as one process may have 20,000 descriptors: memory and processor time while all hold their polls."
A_SERVER = 17_000


def run(stage):
    devices, each = stage.size(100_000, 400), stage.size(A_SERVER, 200)
    shares = [min(each, devices - begin) for begin in range(0, devices, each)]
    pairs = []
    for share in shares:
        server = stage.server()
        load = stage.load(server)
        pairs.append((server, load, share))
        load.enroll(share)
        load.hold(share)
        load.drop(forget=True)
        server.restart()
        stage.say(f"{sum(part for _, _, part in pairs)} devices enrolled")
    points, processor = [(0, 0.0)], []
    before = sum(memory(server.program.pid)["resident"] for server, _, _ in pairs)
    for number, (server, load, share) in enumerate(pairs, 1):
        load.hold(share)
        settle(server.program.pid)
        resident = sum(memory(other.program.pid)["resident"] for other, _, _ in pairs)
        points.append((sum(part for _, _, part in pairs[:number]), (resident - before) / 1e6))
    processor = watch(stage, pairs)
    counts = [load.counts() for _, load, _ in pairs]
    stage.check(all(one["holding"] == share and not one["wrong"] and not one["problems"] for one, (_, _, share) in zip(counts, pairs)), f"all hold their polls: {counts}")
    a_device = [(y2 - y1) / (x2 - x1) * 1000 for (x1, y1), (x2, y2) in zip(points, points[1:])]
    stage.row(f"{devices} idle devices over {len(pairs)} servers: holding", "", [sum(one["holding"] for one in counts)], at_least=devices)
    stage.row("memory for each of them, by server", "kB", a_device, note="linear where the spread is small")
    stage.row("processor of all servers together while they wait", "% of a core", [processor], note="a device asks anew every 55 s")
    stage.drawings.append(Plot("Idle devices over several servers", "devices", "resident MB of all servers, less what they take alone", {"agenttask-server": points}))


def watch(stage, pairs):
    """Processor time of all servers, in percent of a core, over a whole round of polls."""
    seconds = stage.size(110, 5)
    before = sum(cpu_seconds(server.program.pid) for server, _, _ in pairs)
    time.sleep(seconds)
    return (sum(cpu_seconds(server.program.pid) for server, _, _ in pairs) - before) / seconds * 100
