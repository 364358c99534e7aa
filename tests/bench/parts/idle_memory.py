"""Server memory of an idle device."""
from look import memory, settle
from plots import Plot
from programs import BIN, free_port

NAME = "idle-memory"
ORDER = 10
ABOUT = "Server memory for each idle device: TLS 1.3, client certificate, a long poll that is held. Growth of the resident set by the number of devices; floor: OpenSSL's objects alone."


def run(stage):
    devices = stage.size(15_000, 400)
    server = stage.server()
    load = stage.load(server)
    load.enroll(devices)
    load.hold(devices)           # the first contact is behind them then
    load.drop(forget=True)
    found = {"agenttask-server": [], "OpenSSL alone": [], "nginx": []}
    curves = {}
    for _ in stage.rounds(3):
        server.restart()
        curves["agenttask-server"] = measure(load, server.program.pid, devices, steps=5)
        found["agenttask-server"].append(for_each(curves["agenttask-server"]))
        check(stage, load, devices)
        load.drop(forget=True)
        curves["OpenSSL alone"] = floor(stage, server, load, devices)
        found["OpenSSL alone"].append(for_each(curves["OpenSSL alone"]))
        if stage.peers.enabled:
            curves["nginx"] = nginx(stage, server, load, devices)
            found["nginx"].append(for_each(curves["nginx"]))
    ours = found["agenttask-server"]
    stage.row(f"server memory per idle device, {devices} of them", "kB", ours, peer="OpenSSL alone", peer_values=found["OpenSSL alone"], ratio_at_most=1.1)
    if found["nginx"]:
        stage.row("the same beside nginx", "kB", ours, peer="nginx, connections kept after a 204", peer_values=found["nginx"],
                  note="nginx holds no poll here: a kept connection without a request is the least it has")
    stage.drawings.append(Plot("Server memory by idle devices", "devices", "resident MB", {name: [(x, y / 1e6) for x, y in points] for name, points in curves.items()}))


def measure(load, pid, devices, steps=1, **more):
    """[(devices, resident bytes)] as they come."""
    settle(pid)
    points = [(0, memory(pid)["resident"])]
    for step in range(1, steps + 1):
        count = devices * step // steps
        load.hold(count, **more)
        settle(pid)
        points.append((count, memory(pid)["resident"]))
    return points


def for_each(points):
    """Kilobytes for each device."""
    (_, before), (count, after) = points[0], points[-1]
    return (after - before) / count / 1000


def check(stage, load, devices):
    counts = load.counts()
    stage.check(counts["holding"] == devices and not counts["wrong"] and not counts["problems"], f"all {devices} devices hold a poll: {counts}")


def floor(stage, server, load, devices):
    port = free_port()
    program = stage.listening([BIN / "floor_idle_tls", str(port), server.authority.parent / "server.pem", server.authority], port, "floor")
    points = measure(load, program.pid, devices, port=port, mute=True)
    load.drop(forget=True)
    stage.end_program(program)
    return points


def nginx(stage, server, load, devices):
    program, port = stage.peers.nginx(stage, server)
    points = measure(load, program.pid, devices, port=port, mute=True)
    load.drop(forget=True)
    stage.end_program(program)
    return points
