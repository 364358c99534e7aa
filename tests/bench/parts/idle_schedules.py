"""What waiting schedules cost an idle agent."""
import time

from device_filling import FilledAgent
from look import cpu_seconds, memory, wake_ups

NAME = "idle-schedules"
ORDER = 110
ABOUT = "An agent without a server that holds many waiting schedules, beside the same agent with none before: memory, wake-ups, processor time, and an echo through its console."
MIB = 1 << 20


def run(stage):
    schedules, seconds = stage.size(100_000, 2000), stage.size(60, 5)
    filled = FilledAgent(stage)
    before = look(filled, seconds)
    stage.say(f"filling in {schedules} schedules")
    # Due in a day at the earliest: nothing of them is due while we look.
    first = int(time.time() * 1000) + 86_400_000
    filled.fill(schedules, {"type": "echo", "data": {"message": "hi"}, "schedule": {"scheduledFor": first, "updateInterval": 3_600_000}}, apart=True)
    filled.await_tasks("sent", schedules, 60)
    filled.agent.restart()       # what filling them in took is not what they cost
    after = look(filled, seconds)
    with_none = "with none"
    limits = {"echo p50": 1.2, "proportional": 1.2}
    for name, unit in (("proportional", "MiB"), ("dirty", "MiB"), ("echo p50", "ms"), ("wake-ups", ""), ("processor", "ms")):
        stage.row(f"idle agent with {schedules} schedules: {name}", unit, [after[name]], peer=with_none, peer_values=[before[name]],
                  ratio_at_most=limits.get(name), note=f"in {seconds} s" if name in ("wake-ups", "processor") else "")


def look(filled, seconds):
    time.sleep(3)                # what was begun comes to rest
    cpu, woke = cpu_seconds(filled.pid), wake_ups(filled.pid)
    time.sleep(seconds)
    found = {"processor": (cpu_seconds(filled.pid) - cpu) * 1000, "wake-ups": wake_ups(filled.pid) - woke}
    took = memory(filled.pid)
    return found | {"proportional": took["proportional"] / MIB, "dirty": took["dirty"] / MIB, "echo p50": echo(filled.agent)}


def echo(agent):
    times = []
    for _ in range(20):
        begin = time.monotonic()
        assert agent.console("echo", "x").stdout.strip() == "x"
        times.append((time.monotonic() - begin) * 1000)
    return sorted(times)[10]
