"""Compares, after everything is quiet: what was acknowledged, what ran, what was reported, what the server shows, what the ledger shows.

Each rule is one method; what breaks it goes to the world's violations with the key of the task, and `tell` prints its story.
"""
import json
import re
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor

from calls import of_device
from past import Past
from truth import Truth
from work import CHILD, REFUSED, ROOM, STEP, Order

ENDED = ("complete", "failed", "cancelled")
#: What server and device must agree on.
SHARED = ("type", "status", "reason", "runCount", "startTime", "endTime", "result", "metadata", "chosen", "data", "description")
SHARED_OF_RUN = ("run", "status", "reason", "startTime", "endTime", "occurrence", "option")


class View:
    """All tasks as one side shows them: by id, each with its `runs`."""

    def __init__(self, name):
        self.name, self.tasks, self.by_key = name, {}, defaultdict(list)

    def add(self, key, task, runs):
        task["runs"] = sorted(runs, key=lambda run: run["run"])
        self.tasks[task["id"]] = task
        self.by_key[key].append(task)


def look_at_server(world, ids, key_of):
    """What the server shows of all tasks that it lists, and of those asked for."""
    view, client = View("server"), world.operator(direct=True)
    listed = [task["id"] for task in client.pages("/v1/tasks", "tasks")]

    def look(part):
        one, found = world.operator(direct=True), []
        for id in part:
            task = one.call("GET", f"/v1/tasks/{id}")
            if task.status == 200:
                found.append((task.document, one.pages(f"/v1/tasks/{id}/runs", "runs")))
        one.close()
        return found

    wanted = list(dict.fromkeys([*listed, *ids]))
    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(look, (wanted[0::2], wanted[1::2])):
            for task, runs in found:
                view.add(key_of(task), task, runs)
    view.messages = client.pages(f"/v1/messages?roomId={ROOM}", "messages")
    client.close()
    return view


def look_at_device(device, ids, key_of):
    view, client = View(device.name), device.local()
    listed = [task["id"] for task in client.pages("getTasks", "tasks")]
    for id in dict.fromkeys([*listed, *ids]):
        task = client.call("getTask", id=id)
        if task.status == 200:
            view.add(key_of(task.document), task.document, client.call("getRuns", id=id).document["runs"])
    answer = client.call("getMessages", roomId=ROOM, limit=1000)
    view.messages = answer.document["messages"] if answer.status == 200 else []
    client.close()
    return view


def output_of_run(client, task, run):
    """Standard output of a run as the server gives it."""
    answer = client.lines(f"/v1/tasks/{task['id']}/output?run={run}")
    return "".join(said["text"] for said in answer if said.get("stream") == "stdout" and "text" in said)


class Checker:
    def __init__(self, world, book):
        self.world, self.book, self.story = world, book, world.story
        self.made, self.unsure = Counter(), set()
        self.client = world.operator(direct=True)

    def look(self):
        """Takes down what everybody shows: everything must be quiet."""
        self.truth = Truth(self.world.marks.file, self.key_of_mark)
        self.past = Past(self.story, self.truth)
        ids = defaultdict(list)
        for order in self.book.all():
            if order.id or "id" in order.body:
                ids[order.node].append(order.id or order.body["id"])
        self.server = look_at_server(self.world, [id for part in ids.values() for id in part], self.key_of)
        self.devices = [look_at_device(device, ids[device.number], self.key_of) for device in self.world.devices]
        return self

    def key_of(self, task):
        number = next((device.number for device in self.world.devices if device.node == task.get("nodeId")), None)
        return of_device(task.get("description", ""), number, self.book.orders)

    def key_of_mark(self, mark):
        machine = self.world.who(mark.agent, mark.time) or ""
        return of_device(mark.key, machine.rsplit(" ", 1)[-1], self.book.orders)

    def check(self, rule, holds, text, key=None, **facts):
        self.made[rule] += 1
        if not holds:
            self.world.violation(rule, text() if callable(text) else text, key=key, **facts)
        return holds

    def compare(self):
        children = self.children()
        for order in [*self.book.all(), *children]:
            self.check_order(order)
        self.check_calls()
        self.check_strangers({order.key for order in [*self.book.all(), *children]} | {f"{name}.{step}" for name in self.unsure for step in (1, 2, 3)})
        self.check_marks()
        self.check_troubled()
        self.check_bursts()
        self.check_quarantine()
        self.check_keys()
        self.check_messages()
        self.client.close()     # it connects again when it is needed

    # ---- one task

    def check_order(self, order):
        key, ledger = order.key, self.devices[order.node]
        shown, kept = self.server.by_key[key], ledger.by_key[key]
        found = {task["id"] for task in shown + kept}
        # A database that was put back has forgotten which key it had answered.
        most = 1 + (len(self.past.databases) if order.idempotency and "id" not in order.body else 0)
        self.check("repeats", len(found) <= most, lambda: f"there are {len(found)} tasks for one request: {sorted(found)}", key)
        if order.refused:
            self.check("refused is nothing", not found and not self.truth.starts[key], f"refused ({order.refused}), yet it exists or ran", key)
            return
        if len(found) > 1:
            return
        server, device = next(iter(shown), None), next(iter(kept), None)
        if not server:
            self.check_absent(order, device)
            return
        if self.past.loose(order):
            self.check_loose(order, server)
            return
        self.check("not lost", device or not order.acknowledged or not order.by.startswith("user"), "acknowledged by the device, and not in its ledger", key)
        self.check_agreement(order, server, device)
        self.check_end(order, server)
        self.check_starts(order, server)
        self.check_seen(order, server)
        self.check_changes(order, server)
        if order.kind.marks and server["status"] in ENDED and server["runCount"]:
            self.check_runs(order, server)

    def check_absent(self, order, device):
        """The server does not show it."""
        key = order.key
        forgotten = not device and (self.past.database_lost(order) or self.past.ledger_lost(order))
        self.check("not lost", not order.acknowledged or forgotten, "acknowledged, and the server does not show it", key)
        self.check("not lost", not device, "in the ledger, and the server does not show it", key)
        # Both pasts were put back: then nobody can know.
        forgotten = self.past.ledger_lost(order) or (self.past.database_lost(order) and self.past.device_forgot(order))
        self.check("not lost", not self.truth.starts[key] or forgotten, "it ran, and nobody knows it", key)

    def check_loose(self, order, server):
        """Its device's ledger is not the one that began it: it came to an end, and ran at most once for each of the ledgers."""
        key, runs = order.key, [mark.run for mark in self.truth.starts[order.key]]
        waits = order.kind.name == "nobody" and server["status"] == "sent"
        self.check("not stuck", server["status"] in ENDED or waits, f"still {state(server)}", key)
        self.check("starts once", len(runs) == len(set(runs)), lambda: f"one run began twice: {runs}", key)
        ledgers = 1 + sum(event["at"] == f"agent {order.node}" for event in self.past.ledgers)
        most = ledgers * most_runs(server)
        self.check("starts once", order.kind.recurring or len(runs) <= most, lambda: f"{len(runs)} runs began, where at most {most} may", key)
        self.check_seen(order, server)

    def check_agreement(self, order, server, device):
        if not device:
            # Only what was never offered is unknown to the device.
            alone = server["status"] in ("cancelled", "failed") and not server["runCount"] and not self.truth.starts[order.key]
            self.check("server and device agree", alone, f"the server shows {state(server)}, the ledger does not have it", order.key)
            return
        for name in SHARED:
            # The default of expiresAt and the like are the same on both sides; what is absent is absent on both.
            self.check("server and device agree", server.get(name) == device.get(name),
                       lambda: f"{name}: the server shows {short(server.get(name))}, the ledger {short(device.get(name))}", order.key)
        runs = [[{name: run.get(name) for name in SHARED_OF_RUN} for run in side["runs"]] for side in (server, device)]
        self.check("server and device agree", runs[0] == runs[1], lambda: f"runs: the server shows {short(runs[0])}, the ledger {short(runs[1])}", order.key)

    def check_end(self, order, server):
        key, end = order.key, (server["status"], server.get("reason") or "")
        if order.kind.name == "nobody" and (not order.taken or self.past.databases) and not (order.cancels and end[0] == "cancelled"):
            self.check("waits for a reason", end == ("sent", "no-worker"), f"wanted sent, no-worker; it is {state(server)}", key)
            return
        if not self.check("not stuck", server["status"] in ENDED, f"still {state(server)}", key):
            return
        self.check("not stuck", all(run["status"] != "running" for run in server["runs"]), "ended, and a run of it goes on", key)
        if end[0] == "cancelled":
            self.check("ends truly", order.cancels, "cancelled, and nobody asked for it", key)
        elif end == ("failed", "interrupted"):
            self.check("ends truly", self.could_be_interrupted(order, server), "interrupted, and its agent was not ended meanwhile", key)
        elif end == ("failed", "worker-error") and server.get("detail") == f"exit code {REFUSED}":
            began = self.last_start(order)
            troubled = self.world.troubled_between(self.world.devices[order.node], began, began + 60)
            self.check("ends truly", troubled, "its worker was refused something, and the disk was well", key)
        elif end == ("failed", "worker-error") and ("cannot start in the folder" in server.get("detail", "") or server.get("detail") == "exit code 2"):
            # The shell itself ends with 2 where its script goes under its hands.
            replaced = any(e["fault"] == "new worker" and e["time"] > order.asked for e in self.story.of("fault", at=self.world.devices[order.node].name))
            self.check("ends truly", replaced, "its worker was gone, and nobody had replaced it", key)
        elif end == ("failed", "worker-error") and "No space left" in server.get("detail", ""):
            full = self.world.troubled_between(self.world.devices[order.node], order.asked, self.world.now(), "full disk")
            self.check("ends truly", full, "failed for want of room, and there was room", key)
        else:
            self.check("ends truly", end in order.kind.ends, f"{state(server)} is no end of such a task: {order.kind.ends}", key)
        if end == ("failed", "timeout"):
            took = server["result"]["data"]["durationMs"] - order.body["options"]["timeout"]
            # A run's time begins before its process, which a busy machine takes a while to start.
            self.check("timeouts on time", -250 <= took <= 12_000 and server["result"]["data"]["timedOut"], f"{took} ms past its timeout", key)
        if order.kind.name == "echo" and end[0] == "complete":
            self.check("results are true", server["result"]["data"] == order.body["data"], "an echo that is not what was said", key)

    def last_start(self, order):
        """A moment before its last run began; where none left a mark, when it was asked for."""
        starts = self.truth.starts[order.key]
        return starts[-1].time - 0.1 if starts else order.asked

    def could_be_interrupted(self, order, server):
        """Its agent was ended, or could not write, after the last run began; or before its work came to its first word."""
        began = self.last_start(order)
        device = self.world.devices[order.node]
        if any(not self.world.who(mark.agent, mark.time) for mark in self.truth.starts[order.key][-1:]):
            return True
        return self.world.down_between(device, began, self.world.now()) or self.world.troubled_between(device, began - 1, self.world.now())

    def check_starts(self, order, server):
        key = order.key
        runs = [mark.run for mark in self.truth.starts[key]]
        self.check("starts once", len(runs) == len(set(runs)), lambda: f"one run began twice: {runs}", key)
        if not order.kind.marks:
            return
        self.check("starts once", len(set(runs)) <= server["runCount"], f"{len(set(runs))} runs began, {server['runCount']} are known", key)
        options, most = server["options"], most_runs(server)
        if not order.kind.recurring:
            self.check("starts once", len(runs) <= most, lambda: f"{len(runs)} runs began, where at most {most} may", key)
        else:
            numbers = [run["occurrence"] for run in server["runs"] if run.get("occurrence")]
            self.check("starts once", len(numbers) == len(set(numbers)), lambda: f"an occurrence ran twice: {numbers}", key)
        if options.get("onInterrupt") != "rerun" and not order.kind.recurring:
            after = [run for run in server["runs"] if run.get("reason") == "interrupted" and run["run"] < server["runCount"]]
            self.check("starts once", not after, "it ran again after an interruption, which nobody allowed", key)

    def check_seen(self, order, server):
        """What had ended stays as it was."""
        for time, who, task in order.seen:
            undone = self.past.undone(order, time, who, task) or who != "server" and self.past.loose(order)
            if task["status"] in ENDED and not undone:
                same = all(task.get(name) == server.get(name) for name in ("status", "reason"))
                self.check("an end is an end", same, lambda: f"the {who} had shown {state(task)}, now it is {state(server)}", order.key)

    def check_changes(self, order, server):
        """What was answered as done was done, and nothing else was."""
        key, n = order.key, server["metadata"].get("n")
        forgotten = self.past.forgot(order, order.updated) or self.past.forgot(order, order.deleted)
        self.check("changes are true", n in order.updates or n is None and (not order.updated or forgotten),
                   lambda: f"metadata.n is {n}; asked for {order.updates}, one of them was answered as done: {bool(order.updated)}", key)
        self.check("changes are true", not order.deleted or server.get("deletedAt") or forgotten, "its delete was accepted, and it is not deleted", key)
        if "choices" in order.body and server["runCount"]:
            option = server.get("chosen", {}).get("option")
            self.check("changes are true", option in [*order.choices, order.body.get("defaultChoice")], lambda: f"{option} was chosen, and nobody said so", key)
            self.check("changes are true", all(run.get("option") == option for run in server["runs"]), lambda: f"it ran with another choice than {option}", key)

    def lost_on_a_full_disk(self, order, run):
        """Whether nothing that a run printed could be kept, so that what is kept does not tell which of the marks are its own."""
        return (run.get("result", {}).get("data", {}).get("truncated")
                and self.world.troubled_between(self.world.devices[order.node], order.asked, self.world.now(), "full disk"))

    def check_runs(self, order, server):
        """Each run against the marks that it left."""
        outputs = [output_of_run(self.client, server, run["run"]) for run in server["runs"]]
        named = [re.match(rf"begin {re.escape(order.name)} (\S+)\n", printed) for printed in outputs]
        nobodys = {mark.run for mark in self.truth.starts[order.key]} - {began.group(1) for began in named if began}
        for run, printed, began in zip(server["runs"], outputs, named):
            mark = began.group(1) if began else None
            if not mark and self.lost_on_a_full_disk(order, run):
                if len(nobodys) != 1:
                    continue
                mark = next(iter(nobodys))
            if order.kind.name in ("workflow", "step", "cautious"):
                continue
            ends = [m for m in self.truth.ends[order.key] if m.run == mark]
            if mark:
                self.check("results are true", [m for m in self.truth.starts[order.key] if m.run == mark], f"run {run['run']} printed what nobody marked", order.key)
            if run["status"] == "complete":
                wanted = order.kind.output(order.name, mark) if order.kind.output else None
                self.check("results are true", mark and ends and ends[0].code == 0, f"run {run['run']} is complete, and left no mark of its end", order.key)
                facts = run["result"]["data"]
                if facts["truncated"] and wanted and self.world.troubled_between(self.world.devices[order.node], order.asked, self.world.now(), "full disk"):
                    self.check("results are true", facts["stdoutBytes"] == len(wanted), f"run {run['run']} printed {len(wanted)} bytes and counts {facts}", order.key)
                    continue
                self.check("results are true", wanted is None or printed == wanted, lambda: f"run {run['run']} is complete and printed {short(printed)}", order.key)
            elif run.get("reason") == "exit-status":
                code = run["result"]["data"].get("exitCode")
                self.check("results are true", ends and ends[0].code == code, f"run {run['run']} ended with {code}, and its mark says otherwise", order.key)
            elif order.kind.output and printed:
                self.check("results are true", order.kind.output(order.name, mark).startswith(printed), lambda: f"run {run['run']} printed {short(printed)}", order.key)

    # ---- all together

    def check_calls(self):
        """What was accepted for many devices counts one task for each, and all of them are over."""
        for call in {order.call.name: order.call for order in self.book.all() if order.call}.values():
            first = call.orders[0]
            if not first.acknowledged or any(self.past.loose(order) for order in call.orders):
                continue
            answer = self.client.call("GET", f"/v1/batches/{call.batch}?limit=1000")
            if not self.check("not lost", answer.status == 200 or self.past.database_lost(first), "the server does not show a batch that it accepted", first.key):
                continue
            if answer.status == 200:
                batch, nodes = answer.document, sorted(self.world.devices[order.node].node for order in call.orders)
                self.check("each target once", sorted(task["nodeId"] for task in batch["tasks"]) == nodes,
                           lambda: f"asked for on {nodes}; its tasks are on {sorted(task['nodeId'] for task in batch['tasks'])}", first.key)
                shown = Counter(task["status"] for task in batch["tasks"])
                counts = {status: count for status, count in batch["counts"].items() if count}
                self.check("each target once", counts == shown and batch["targets"] == len(nodes) and batch["ended"] and not batch.get("preparing"),
                           lambda: f"it counts {counts} of {batch['targets']}, ended: {batch['ended']}; its tasks are {dict(shown)}", first.key)

    def children(self):
        """The steps of workflows that steps created, as orders of their own; each must have come of a complete step, once."""
        found = []
        for order in self.book.all():
            if order.kind.name != "workflow":
                continue
            name = order.key.removesuffix(".1")
            if self.past.loose(order):
                self.unsure.add(name)
            for step in () if name in self.unsure else (1, 2):
                parents = [task for task in self.server.by_key[f"{name}.{step}"] if task["status"] == "complete"]
                children = self.server.by_key[f"{name}.{step + 1}"]
                self.check("each step once", len(children) == len(parents), f"{len(parents)} complete steps {step} made {len(children)} steps {step + 1}",
                           f"{name}.{step}")
                if children:
                    child = Order(f"{name}.{step + 1}", CHILD, order.node, "worker", {"data": {}, "options": {}}, id=children[0]["id"], asked=order.asked,
                                  acknowledged=order.asked)
                    # Cancels and deletes of a child are asked for by its id only where somebody found it: nobody does.
                    found.append(child)
        return found

    def check_troubled(self):
        """While nothing can be made durable, nothing is accepted and nothing starts."""
        for machine in self.world.machines:
            for over in self.story.of("trouble over", at=machine.name):
                if over["trouble"] != "failing fsync":
                    continue
                begin, end = over["since"] + 1, over["until"] - 0.02    # marks tell hundredths
                started = [m.key for m in self.truth.marks if m.what == "start" and begin < m.time < end and self.world.who(m.agent, m.time) == machine.name]
                self.check("nothing without a commit", not started, lambda: f"{machine.name} started {started} while fsync failed")
                place = "op" if machine.name == "server" else f"user{machine.number}-"
                accepted = [o.key for o in self.book.all() if o.key.startswith(place) and o.attempts == 1 and begin < o.acknowledged and o.answered < end]
                self.check("nothing without a commit", not accepted, lambda: f"{machine.name} accepted {accepted} while fsync failed")

    def check_quarantine(self):
        """From when a device knows that it is in quarantine until its release it starts nothing."""
        for event in self.past.ledgers:
            if event["known"]:
                begun = [m.key for m in self.truth.marks if m.what == "start" and event["known"] + 0.5 < m.time < event["released"]
                         and (self.world.who(m.agent, m.time) or "").endswith(event["at"])]
                self.check("quarantined starts nothing", not begun, lambda: f"{event['at']} started {begun} in quarantine")

    def check_bursts(self):
        """What repeats does not run more often than its interval and those who asked for a run allow."""
        for order in self.book.all():
            starts = self.truth.starts[order.key]
            if not order.kind.recurring or len(starts) < 2 or self.past.loose(order):
                continue
            # One whose answer was lost may have been taken.
            asked = sum(e["what"] == "run" or (e["what"] == "no answer" and e.get("to") == "run") for e in self.story.about(order.key))
            most = (starts[-1].time - order.asked) * 1000 / order.body["schedule"]["updateInterval"] + 1.2 + asked
            self.check("no burst", len(starts) <= most, lambda: f"{len(starts)} runs, where at most {most:.1f} were due", order.key)

    def check_strangers(self, known):
        for view in (self.server, *self.devices):
            for task in view.tasks.values():
                self.check("nothing from nowhere", self.key_of(task) in known, f"the {view.name} has a task that nobody asked for: {task['id']}")

    def check_marks(self):
        """Every run that began is one task's and was begun by a program of ours."""
        for run, marks in self.truth.of_run.items():
            self.check("starts once", len({mark.key for mark in marks}) == 1, f"run {run} is of several tasks", marks[0].key)

    def check_keys(self):
        """Tasks with the same concurrencyKey do not run side by side on one device."""
        lanes = defaultdict(list)
        for order in self.book.all():
            lane = order.body["options"].get("concurrencyKey")
            for start in self.truth.starts[order.key] if lane else ():
                if (self.world.who(start.agent, start.time) or "").startswith("clone"):
                    continue
                end = next((m.time for m in self.truth.ends[order.key] if m.run == start.run), None)
                lanes[order.node, lane].append((start.time, end, order.key))
        for lane in lanes.values():
            lane.sort()
            for (begin, end, key), (next_begin, _, other) in zip(lane, lane[1:]):
                self.check("one at a time", end is None or end <= next_begin + 0.011, f"{other} began while it ran", key)

    def check_messages(self):
        """One message for each successful run of a step, on the server and on its device."""
        for name, messages, tasks in [("server", self.server.messages, self.server.tasks.values())] + \
                                     [(v.name, v.messages, v.tasks.values()) for v in self.devices]:
            if len(messages) >= 1000 and name != "server":
                continue
            posted = Counter(message["content"]["text"] for message in messages)
            for task in tasks:
                if task["type"] == STEP and task["status"] in ENDED and task["description"].rsplit(".", 1)[0] not in self.unsure:
                    key = task["description"]
                    wanted = int(task["status"] == "complete")
                    self.check("messages once", posted[key] == wanted, f"the {name} has {posted[key]} messages of it, its status is {task['status']}", key)

    def key_of_run(self, run):
        return next((marks[0].key for id, marks in self.truth.of_run.items() if id == run), None)

    def is_forgotten(self, key):
        """Its run was lost with the ledger that knew it, so nobody could stop what was left of it."""
        return key in self.book.orders and self.past.loose(self.book.orders[key]) or bool(key) and key.rsplit(".", 1)[0] in self.unsure

    # ---- telling

    def tell(self, key, lines):
        """What happened to that task in order, and what each side shows. `lines`: of each log, the last."""
        events = [e for e in self.story.about(key) if e["what"] != "VIOLATION"]
        order = self.book.orders.get(key)
        node = order.node if order else next((v for v, view in enumerate(self.devices) if view.by_key[key]), None)
        marks = [(m.time, f"mark {m.what} of run {m.run}" + (f" by {self.world.who(m.agent, m.time)} pid {m.agent}" if m.what == "start" else f" code {m.code}"))
                 for m in self.truth.starts[key] + self.truth.ends[key]]
        told = [(e["time"], self.story.line(e)[11:]) for e in events] + marks
        if told:
            begin, end = min(t for t, _ in told) - 0.1, max(t for t, _ in told) + 3
            around = [e for e in self.story.of("killed", "stopped", "started", "answers", "fault", "trouble", "trouble over", "clock", "database put back", "ledger put back", "quarantine", "released")
                      if begin <= e["time"] <= end and e.get("at") in ("server", f"agent {node}", f"link {node}")]
            told += [(e["time"], self.story.line(e)[11:]) for e in around[:60]]
        yield from (f"  {time - self.story.began:9.3f}  {text}" for time, text in sorted(told))
        for view in (self.server, *([self.devices[node]] if node is not None else [])):
            for task in view.by_key[key] or [None]:
                yield f"  {view.name}: {brief(task)}"
        ids = {task["id"] for view in (self.server, *self.devices) for task in view.by_key[key]}
        for machine in self.world.machines:
            log = (machine.owner.folder / "log").read_text(errors="replace").splitlines()
            yield from [f"  {machine.name}'s log: {line}" for line in log if any(id in line for id in ids)][-lines:]


def state(task):
    return ", ".join(str(task[name]) for name in ("status", "reason", "detail") if task.get(name))


def most_runs(task):
    return task["options"].get("retry", {}).get("maxAttempts", 1) + (3 if task["options"].get("onInterrupt") == "rerun" else 0)


def brief(task):
    """A task without what the story says anyway."""
    if not task:
        return "does not have it"
    shown = {name: value for name, value in task.items() if name not in ("data", "runs", "description", "nodeId", "type", "tags", "choices", "result")}
    runs = [{name: run[name] for name in SHARED_OF_RUN if run.get(name) is not None} for run in task["runs"]]
    return short(shown, 700) + " result " + short(task.get("result"), 300) + " runs " + short(runs, 700)


def short(value, most=300):
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= most else text[:most // 2] + " … " + text[-most // 2:]
