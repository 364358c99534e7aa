"""A fleet that comes back after its server was restarted."""
import time

from look import cpu_seconds
from plots import Plot

NAME = "reconnect"
ORDER = 90
ABOUT = "Devices that wait when their server is stopped and started again: from the moment it answers until all hold a poll. They come back by the rules of the agent (a first retry within five seconds, evenly drawn), and resume their sessions."


def run(stage):
    devices = stage.size(10_000, 200)
    server = stage.server()
    load = stage.load(server)
    load.enroll(devices)
    load.hold(devices)
    times, resumed, failed, cpu = [], [], [], []
    for _ in stage.rounds(3):
        load.call("clear")
        server.stop()
        server.start()
        begin = time.monotonic()
        counts = load.call("awaitHolding", count=devices)
        times.append(time.monotonic() - begin)
        cpu.append(cpu_seconds(server.program.pid))
        handshakes = counts["handshakes"] + counts["resumed"]
        resumed.append(100 * counts["resumed"] / max(handshakes, 1))
        failed.append(sum(counts["problems"].values()) / devices)
        stage.say(f"what failed meanwhile: {counts['problems']}")
        stage.check(counts["holding"] == devices and not counts["wrong"], f"all are back: {counts}")
        refused = {why: count for why, count in counts["problems"].items() if why.startswith("status")}
        stage.check(not refused, f"the server turned nobody away: {refused}")
    load.drop(forget=True)
    stage.row(f"{devices} devices hold a poll again after a restart", "s", times, at_most=15)
    stage.row("sessions resumed across the restart", "%", resumed, at_least=99)
    stage.row("failed calls of each device until then", "", failed, note="the poll that the stop ended, and tries while the server was away")
    rates(stage, server, load, devices, cpu)
    stage.drawings.append(Plot(f"{devices} devices back after a restart", "", "seconds", {"all hold a poll": times}, bars=True, target=15))


def rates(stage, server, load, devices, cpu):
    """Full handshakes with client certificates, as fast as they go: ours, and nginx's."""
    ours, theirs = [], []
    for _ in stage.rounds(3):
        load.drop(forget=True)
        ours.append(devices / load.hold(devices)["seconds"])
        load.drop(forget=True)
        if stage.peers.enabled:
            program, port = stage.peers.nginx(stage, server)
            theirs.append(devices / load.hold(devices, port=port, mute=True)["seconds"])
            load.drop(forget=True)
            stage.end_program(program)
            load.hold(0)         # back to our own port
    stage.row("devices connecting at once, full handshakes and first polls", "/s", ours, peer="nginx, handshake and one request" if theirs else "", peer_values=theirs)
    stage.row("server CPU for each device that came back", "ms", [one / devices * 1000 for one in cpu])
