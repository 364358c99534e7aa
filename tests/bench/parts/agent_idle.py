"""An agent that waits."""
import json
import time

from look import memory, settle, wake_ups
from plots import Plot
from programs import BIN, free_port

NAME = "agent-idle"
ORDER = 80
ABOUT = "An enrolled agent in its long poll, nothing to do: memory, and how often it wakes. Floor of the memory: libcurl with one authority in a long poll, and an open SQLite database."
MIB = 1 << 20


def run(stage):
    wait, polls = stage.size(55, 5), stage.size(4, 2)
    server = stage.server()
    agent = stage.agent(server, "--poll-wait", f"{wait}s")
    agent.restart()              # as after a boot: what its enrolment took is gone
    settle(agent.program.pid)
    time.sleep(wait)             # also what is done once after a start is behind it
    series = watch(stage, server.api(), agent, wait * polls)
    took = memory(agent.program.pid)
    floor = floor_memory(stage, server, agent)
    polled, woke, bursts = len(series["polls"]), series["woke"], series["bursts"]
    stage.check(polled >= polls - 1, f"it polled about {polls} times: {polled}")
    libraries = "libcurl and SQLite alone"
    stage.row("agent idle: private dirty memory", "MiB", [took["dirty"] / MIB], peer=libraries, peer_values=[floor["dirty"] / MIB], at_most=2.2)
    stage.row("agent idle: proportional set size", "MiB", [took["proportional"] / MIB], peer=libraries, peer_values=[floor["proportional"] / MIB], at_most=7)
    stage.row("agent idle: resident set", "MiB", [took["resident"] / MIB], peer="MeshCentral's agent", peer_values=[12.4], given=True)
    stage.row("agent idle: wake-ups a poll, all threads", "", [woke / max(polled, 1)], at_most=4, note=f"{woke} in {wait * polls} s with {polled} polls of {wait} s; MeshCentral's agent: 11 in 300 s, icinga2's: 21 a second (given)")
    stage.row("agent idle: times it woke without a poll", "", [max(0, bursts - polled)], at_most=0)
    stage.drawings.append(Plot("Wake-ups of an idle agent", "seconds", "wake-ups since the beginning", {f"polls of {wait} s": series["points"]}))


def watch(stage, api, agent, seconds):
    """Looks four times a second; a burst is wake-ups in looks that follow each other."""
    pid, node = agent.program.pid, f"/v1/nodes/{agent.node}"
    first = last = wake_ups(pid)
    begin = time.monotonic()
    points, bursts, awake, polls = [(0, 0)], 0, False, set()
    seen = api.get(node).ok()["lastSeen"]
    look = 0
    while (passed := time.monotonic() - begin) < seconds:
        look += 1
        time.sleep(max(0.0, look * 0.25 - passed))
        now = wake_ups(pid)
        bursts += now > last and not awake
        awake = now > last
        last = now
        points.append((time.monotonic() - begin, now - first))
        if look % 4 == 0 and (there := api.get(node).ok()["lastSeen"]) != seen:
            seen = there
            polls.add(there)
    stage.check(agent.program.alive(), "the agent runs")
    return {"woke": last - first, "bursts": bursts, "polls": polls, "points": points}


def floor_memory(stage, server, agent):
    """The libraries alone, against a server that never answers, with the agent's own certificate."""
    port = free_port()
    stage.listening([BIN / "floor_idle_tls", str(port), server.authority.parent / "server.pem", server.authority], port, "floor")
    place = stage.place("poll")
    place.mkdir()
    identity = json.loads((agent.state / "identity.json").read_text())
    for name in ("certificate", "key", "authority"):
        (place / name).write_text(identity[name])
    words = [BIN / "floor_idle_poll", f"https://127.0.0.1:{port}/", place / "authority", place / "certificate", place / "key", place / "floor.db"]
    program = stage.program(words, "poll-run")
    time.sleep(2)
    stage.check(program.alive(), f"the floor waits: {program.text()}")
    found = memory(program.pid)
    stage.end_program(program)
    return found
