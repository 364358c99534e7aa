"""An agent on its own whose inbox is filled by a worker of its own: a thousand tasks a run, in one transaction each."""
import json
import sqlite3
import time

A_RUN = 1000
WORKER = r'''#!/usr/bin/python3
import json, sys
options = json.loads(sys.stdin.readline())["execute"]["options"]
for number in range(options["count"]):
    task = dict(options["task"])
    if options.get("apart"):
        task["schedule"] = dict(task["schedule"], scheduledFor=task["schedule"]["scheduledFor"] + number)
    print(json.dumps({"call": {"id": number, "name": "createTask", "arguments": task}}), flush=True)
    answer = json.loads(sys.stdin.readline())["answer"]
    assert "result" in answer, answer
'''


def make_worker(state):
    folder = state / "workers" / "fill"
    folder.mkdir(parents=True)
    for one in (folder.parent, folder):
        one.chmod(0o755)
    (folder / "run").write_text(WORKER)
    (folder / "run").chmod(0o755)
    (folder / "worker.json").write_text(json.dumps({"types": ["FILL"], "command": ["./run"]}))


class FilledAgent:
    def __init__(self, stage, *options):
        self.agent = stage.agent(None, *options, prepare=make_worker)

    @property
    def pid(self):
        return self.agent.program.pid

    def tasks(self):
        """status -> how many tasks are in it."""
        return json.loads(self.agent.console("status", "--json").stdout).get("tasks", {})

    def fill(self, count, task, apart=False):
        """So many of one task; with `apart` each is due a millisecond after the one before."""
        for begin in range(0, count, A_RUN):
            shifted = json.loads(json.dumps(task))
            if apart:
                shifted["schedule"]["scheduledFor"] += begin
            data = {"count": min(A_RUN, count - begin), "task": shifted, "apart": apart}
            done = self.agent.console("add", "FILL", "--data", json.dumps(data), "--timeout", "10m")
            assert done.returncode == 0, done

    def fill_due(self, count, task):
        """So many that are due at one time to come, once all wait for it; that time, in milliseconds."""
        patience = 8 + count / 300
        due = int((time.time() + patience) * 1000)
        self.fill(count, dict(task, schedule={"scheduledFor": due}))
        self.await_tasks("sent", count, patience)
        assert time.time() * 1000 < due, "the machine is too slow to fill the inbox in time: try again when it has less to do"
        return due

    def drained(self, count):
        """Waits until so many are complete, and stops the agent."""
        self.await_tasks("complete", count, 600)
        self.agent.stop()

    def await_tasks(self, status, count, most):
        """Until so many are in this state. Looks seldom: each look takes what the agent could use."""
        end = time.monotonic() + most
        while (there := self.tasks().get(status, 0)) < count:
            assert time.monotonic() < end, f"after {most:.0f} s {there} of {count} tasks are {status}"
            time.sleep(0.5)

    def runs(self, type):
        """Of one type: tasks, those with exactly one run that ended well, when the first run began and when the last ended."""
        with sqlite3.connect(f"file:{self.agent.state}/ledger.db?mode=ro", uri=True) as ledger:
            tasks, once = ledger.execute(
                "SELECT count(*), sum(status = 'complete' AND (SELECT count(*) FROM runs WHERE task = tasks.sequence AND runs.status = 'complete') = 1) "
                "FROM tasks WHERE type = ?", (type,)).fetchone()
            first, last = ledger.execute("SELECT min(runs.start_time), max(runs.end_time) FROM runs JOIN tasks ON tasks.sequence = runs.task WHERE type = ?",
                                         (type,)).fetchone()
        return tasks, once, first, last
