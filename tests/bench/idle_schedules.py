#!/usr/bin/env python3
"""What an idle agent costs with none and with many waiting schedules: ./dev bench idle-schedules [--schedules N] [--seconds S].

Fills a real agent through a real worker (1000 tasks a run, in one transaction each), then watches the process from outside: CPU time,
wake-ups (voluntary context switches of all threads), memory. Both measurements are of one run, so compare them with each other.
"""
import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

A_RUN = 1000
WORKER = r'''#!/usr/bin/python3
import json, sys
request = json.loads(sys.stdin.readline())["execute"]
for number in range(request["options"]["count"]):
    # Due in a day at the earliest: nothing of them is due while we look.
    task = {"type": "echo", "schedule": {"scheduledFor": request["options"]["first"] + number, "updateInterval": 3600000}}
    print(json.dumps({"call": {"id": number, "name": "createTask", "arguments": task}}), flush=True)
    answer = json.loads(sys.stdin.readline())["answer"]
    assert "result" in answer, answer
'''


class Agent:
    def __init__(self, binaries, folder):
        self.binaries, self.state = binaries, folder / "state"
        worker = self.state / "workers" / "fill"
        worker.mkdir(parents=True)
        (worker / "run").write_text(WORKER)
        (worker / "run").chmod(0o755)
        (worker / "worker.json").write_text(json.dumps({"types": ["FILL"], "command": ["./run"]}))
        self.log = (folder / "agent.log").open("w")
        self.process = subprocess.Popen([binaries / "agenttaskd", "--state-dir", self.state, "--log-level", "warning"], stdout=self.log, stderr=self.log)
        self.await_state(lambda status: True)

    def console(self, *words):
        return subprocess.run([self.binaries / "agenttask", "--state-dir", self.state, *map(str, words)], capture_output=True, text=True)

    def await_state(self, condition):
        until = time.monotonic() + 600
        while time.monotonic() < until:
            done = self.console("status", "--json")
            if done.returncode == 0 and condition(json.loads(done.stdout)):
                return
            assert self.process.poll() is None, "the agent has ended"
            time.sleep(0.2)
        raise SystemExit("the agent did not get there in 10 minutes")

    def fill(self, schedules):
        first = int(time.time() * 1000) + 86_400_000
        for begin in range(0, schedules, A_RUN):
            done = self.console("add", "FILL", "--data", json.dumps({"count": min(A_RUN, schedules - begin), "first": first + begin}), "--timeout", "10m")
            assert done.returncode == 0, done
        self.await_state(lambda status: status["tasks"].get("sent", 0) >= schedules)

    def look(self):
        process = pathlib.Path("/proc") / str(self.process.pid)
        cpu = sum(int(field) for field in (process / "stat").read_text().rsplit(")", 1)[1].split()[11:13])
        switches = 0
        for thread in (process / "task").iterdir():
            switches += int(next(line for line in (thread / "status").read_text().splitlines() if line.startswith("voluntary")).split()[1])
        rollup = {line.split(":")[0]: int(line.split()[1]) for line in (process / "smaps_rollup").read_text().splitlines()[1:]}
        return {"cpu": cpu * 1000 // os.sysconf("SC_CLK_TCK"), "switches": switches, "pss": rollup["Pss"], "dirty": rollup["Private_Dirty"]}

    def idle(self, seconds):
        time.sleep(3)  # what was begun comes to rest
        before = self.look()
        time.sleep(seconds)
        after = self.look()
        return {"CPU ms": after["cpu"] - before["cpu"], "wake-ups": after["switches"] - before["switches"], "PSS KiB": after["pss"], "private dirty KiB": after["dirty"]}

    def latency(self):
        times = []
        for _ in range(20):
            begin = time.monotonic()
            assert self.console("echo", "x").stdout.strip() == "x"
            times.append((time.monotonic() - begin) * 1000)
        return round(sorted(times)[10], 1)

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--schedules", type=int, default=100_000)
    parser.add_argument("--seconds", type=int, default=60)
    arguments = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="agenttask-bench-"))
    agent = Agent(arguments.bin.resolve(), folder)
    try:
        rows = {0: agent.idle(arguments.seconds) | {"echo p50 ms": agent.latency()}}
        print(f"filling in {arguments.schedules} schedules", file=sys.stderr, flush=True)
        began = time.monotonic()
        agent.fill(arguments.schedules)
        print(f"filled in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        rows[arguments.schedules] = agent.idle(arguments.seconds) | {"echo p50 ms": agent.latency()}
    finally:
        agent.end()
        shutil.rmtree(folder)
    names = list(rows[0])
    print(f"| waiting schedules | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for schedules, row in rows.items():
        print(f"| {schedules} | {' | '.join(str(row[name]) for name in names)} |")
    print(f"\nIdle for {arguments.seconds} s each.")


if __name__ == "__main__":
    main()
