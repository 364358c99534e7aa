"""Enqueued, delivered, run, its result stored."""
import sqlite3

from plots import Plot

NAME = "whole-path"
ORDER = 40
ABOUT = "Tasks a second through everything: enqueued one a call, delivered, and their results stored on the server. The 100 devices are the load's: they speak the protocol, and keep no ledger."


def run(stage):
    devices, tasks = stage.size(100, 20), stage.size(40_000, 1000)
    server = stage.server()
    load = stage.load(server)
    load.enroll(devices)
    load.hold(devices)
    rates, all_of_them = [], 0
    for _ in stage.rounds(5, 2):
        answer = load.call("enqueue", devices=devices, connections=32, tasks=tasks, awaitStored=True)
        stage.check(not answer["problems"] and answer["accepted"] == tasks and answer["stored"] == tasks, f"all are accepted and stored: {answer}")
        all_of_them += tasks
        rates.append(tasks / answer["secondsToStored"])
    counts = load.counts()
    stage.check(counts["twice"] == 0 and counts["delivered"] == all_of_them and not counts["wrong"] and not counts["problems"], f"each came once: {counts}")
    load.drop()
    server.stop()
    stored = ended(server)
    stage.check(stored == {"complete": all_of_them}, f"each ended once: {all_of_them} were enqueued, the server has {stored}")
    stage.row(f"whole path, {devices} devices, `echo`", "/s", rates, at_least=4000)
    stage.drawings.append(Plot(f"Whole path, {devices} devices", "", "tasks a second to the stored result", {"echo": rates}, bars=True, target=4000))


def ended(server):
    """status -> tasks with exactly one run, in the server's store."""
    with sqlite3.connect(f"file:{server.state}/server.db?mode=ro", uri=True) as store:
        return dict(store.execute("SELECT status, count(*) FROM tasks WHERE (SELECT count(*) FROM runs WHERE task_id = tasks.id) = 1 GROUP BY status"))
