"""What a run of a command costs."""
import json

from device_filling import FilledAgent

NAME = "run-cost"
ORDER = 70
ABOUT = "`/bin/true` with its output captured, one after another in one slot of an agent: start committed, run contained, end with its result committed, and what lies between two runs. Floor: posix_spawn with capture between two commits."


def run(stage):
    runs = stage.size(1000, 50)
    ours, floor = [], []
    for _ in stage.rounds(5):
        filled = FilledAgent(stage, "--slots", "1")
        filled.fill_due(runs, {"type": "command", "data": {"argv": ["/bin/true"]}})
        filled.drained(runs + -(-runs // 1000))
        count, once, first, last = filled.runs("command")
        stage.check(count == runs and once == runs, f"each of {runs} ran once: there are {count}, and {once} did")
        ours.append((last - first) / runs)
        stage.end(filled.agent)
        place = stage.place("floor")
        place.mkdir()
        done = json.loads(stage.floor("floor_run_commands", place, runs, "/bin/true"))
        floor.append(done["seconds"] / runs * 1000)
    stage.row("run of `/bin/true`, to the next one's start", "ms", ours, peer="posix_spawn with capture, two commits", peer_values=floor, ratio_at_most=1.5)
