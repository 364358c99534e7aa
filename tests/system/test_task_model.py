"""Tasks that recur, that ask, and what workers post, on the real programs."""
import json
import shutil
import threading
import time

from device import HandMadeDevice, ended, started
from programs import until

CHOICES = [{"name": "confirm", "description": "Go on"}, {"name": "revise"}]


def ask(api, id, verb, status=202, body=None):
    return api.post(f"/v1/tasks/{id}/{verb}", body).ok(status)


def waits_for_choice(api, id):
    until(lambda: api.task(id)["status"] == "awaiting_choice", "the task asks")


def post_worker(agent, folder="poster"):
    """A worker that posts one message and says its run."""
    place = agent.state / "workers" / folder
    place.mkdir(parents=True)
    (place / "post").write_text("""#!/bin/sh
read -r request
run=$(printf '%s' "$request" | sed -E 's/.*"run":([0-9]+).*/\\1/')
printf '{"call":{"id":1,"name":"createMessage","arguments":{"content":{"text":"run %s"}}}}\\n' "$run"
read -r answer
echo '{"result":{"posted":true}}'
""")
    (place / "post").chmod(0o755)
    (place / "worker.json").write_text(json.dumps({"types": ["POST"], "command": ["./post"]}))


def test_a_recurring_task_runs_on_its_grid_and_a_restart_of_the_server_changes_nothing(yard):
    site = yard.site()
    note = yard.folder / "ticks"
    task = site.api.run(site.node, f"echo tick >> {note}", schedule={"updateInterval": 1000})
    assert "expiresAt" not in task["options"]
    id = task["id"]
    until(lambda: site.api.task(id)["runCount"] >= 2, "two runs")
    site.server.restart()
    until(lambda: site.api.task(id)["runCount"] >= 4, "two more runs")
    ask(site.api, id, "pause")
    paused = until(lambda: (t := site.api.task(id)).get("paused") and t["status"] == "sent" and t, "the device paused it")
    assert paused["reason"] == "paused" and "requested" not in paused, paused
    count = paused["runCount"]
    runs = list(reversed(site.api.runs(id)))
    assert len(runs) == count == len(note.read_text().splitlines())
    occurrences = [run["occurrence"] for run in runs]
    assert occurrences == sorted(set(occurrences)) and occurrences[0] == 1, occurrences
    assert all(run["status"] == "complete" for run in runs)
    # Paused, it runs when somebody says so, and only then.
    ask(site.api, id, "run")
    until(lambda: site.api.task(id)["runCount"] == count + 1, "one run besides")
    time.sleep(1.5)   # longer than its interval: nothing may happen
    until(lambda: site.api.task(id)["status"] == "sent", "that run is over")
    assert site.api.task(id)["runCount"] == count + 1
    assert "occurrence" not in site.api.runs(id)[0]
    ask(site.api, id, "resume")
    until(lambda: site.api.task(id)["runCount"] >= count + 3, "it goes on")
    site.api.delete(f"/v1/tasks/{id}").ok(202)
    gone = site.api.ended(id)
    assert gone["status"] == "cancelled" and gone["deletedAt"], gone
    total = len(note.read_text().splitlines())
    assert total == site.api.task(id)["runCount"]
    for verb in ("pause", "resume", "run"):
        site.api.post(f"/v1/tasks/{id}/{verb}").problem(409, "already-ended")


def test_an_operator_chooses_and_the_others_hear_who_did(site):
    id = site.api.add(site.node, choices=CHOICES)["id"]
    waits_for_choice(site.api, id)
    wrong = site.api.post(f"/v1/tasks/{id}/choose", {"option": "Confirm"}).problem(400, "invalid", "option")
    assert wrong["choices"] == ["confirm", "revise"]
    answers = []

    def choose(option):
        answers.append(site.api.post(f"/v1/tasks/{id}/choose", {"option": option}))

    operators = [threading.Thread(target=choose, args=("confirm" if i % 2 else "revise",)) for i in range(20)]
    for one in operators:
        one.start()
    for one in operators:
        one.join()
    won = [answer.json for answer in answers if answer.status == 202]
    assert len(won) == 1, [answer.status for answer in answers]
    task = site.api.ended(id)
    assert task["status"] == "complete" and "choiceRequested" not in task, task
    [run] = site.api.runs(id)
    assert run["option"] == task["chosen"]["option"] and task["chosen"]["by"].startswith("operator:"), (run, task)
    for answer in answers:
        if answer.status != 202:
            lost = answer.problem(409)
            assert lost["code"] in ("already-chosen", "already-ended"), lost
            assert lost.get("chosen", task["chosen"])["option"] == task["chosen"]["option"]


def test_the_user_of_a_device_that_was_away_was_first(yard):
    site = yard.site()
    id = site.api.add(site.node, choices=CHOICES)["id"]
    waits_for_choice(site.api, id)
    site.agent.stop()
    asked = ask(site.api, id, "choose", body={"option": "confirm"})
    assert asked["choiceRequested"]["option"] == "confirm" and asked["requested"] == ["choose"], asked
    second = site.api.post(f"/v1/tasks/{id}/choose", {"option": "revise"}).problem(409, "already-chosen")
    assert second["chosen"] == asked["choiceRequested"]
    site.server.stop()
    site.agent.start()
    done = site.agent.console("choose", id, "revise")
    assert done.returncode == 0, done
    site.server.start()
    task = site.api.ended(id)
    assert task["chosen"]["option"] == "revise" and task["chosen"]["by"].startswith("user:"), task
    until(lambda: "choiceRequested" not in site.api.task(id), "the operator's answer is settled")
    [run] = site.api.runs(id)
    assert run["option"] == "revise"


def test_an_answer_waits_for_a_device_that_is_away(yard):
    site = yard.site()
    site.agent.stop()
    id = site.api.add(site.node, choices=CHOICES)["id"]
    assert ask(site.api, id, "choose", body={"option": "revise"})["status"] == "pending"
    site.server.restart()
    site.agent.start()
    task = site.api.ended(id)
    assert task["status"] == "complete" and task["chosen"]["option"] == "revise", task


def test_nobody_chose_and_the_default_counts_or_the_task_expires(site):
    soon = int(time.time() * 1000) + 1000
    by_default = site.api.add(site.node, choices=CHOICES, defaultChoice="revise", choiceExpiresAt=soon)["id"]
    without = site.api.add(site.node, choices=CHOICES, choiceExpiresAt=soon)["id"]
    task = site.api.ended(by_default)
    assert task["status"] == "complete" and task["chosen"]["by"] == "default" and task["chosen"]["option"] == "revise", task
    task = site.api.ended(without)
    assert task["status"] == "failed" and task["reason"] == "expired", task
    site.api.post(f"/v1/tasks/{without}/choose", {"option": "revise"}).problem(409, "already-ended")


def test_messages_come_once_for_each_run_also_after_a_restore_of_the_server(yard):
    server = yard.server().start()
    agent = yard.agent(server)
    post_worker(agent)
    agent.start().enroll()
    api = server.api()
    texts = lambda: [m["content"]["text"] for m in api.get("/v1/messages?roomId=lobby").ok()["messages"]]   # noqa: E731
    first = api.add(agent.node, "POST", {}, roomId="lobby")["id"]
    assert api.ended(first)["status"] == "complete"
    until(lambda: texts() == ["run 1"], "the message is on the server")
    server.stop()
    shutil.copytree(server.state, server.folder / "copy")
    server.start()
    second = api.add(agent.node, "POST", {}, roomId="lobby", schedule={"updateInterval": 1000})["id"]
    until(lambda: len(texts()) >= 3, "messages of a task that recurs")
    api.delete(f"/v1/tasks/{second}").ok(202)
    count = api.ended(second)["runCount"]
    until(lambda: len(texts()) == count + 1, "one message for each run")
    server.stop()
    shutil.rmtree(server.state)
    shutil.copytree(server.folder / "copy", server.state)
    server.start()
    until(lambda: len(texts()) == count + 1, "the device told its messages again")
    shown = api.get("/v1/messages?roomId=lobby").ok()["messages"]
    assert len({m["id"] for m in shown}) == count + 1 and {m["nodeId"] for m in shown} == {agent.node}
    assert api.get(f"/v1/messages?taskId={first}").ok()["messages"][0]["run"] == 1
    posted = api.post("/v1/messages", {"roomId": "lobby", "content": {"text": "from an operator"}}).ok(201)
    assert api.get("/v1/messages?roomId=lobby&limit=1").ok()["messages"] == [posted]


def test_a_run_that_was_asked_for_is_not_done_twice_by_a_restored_server(yard):
    site = yard.site()
    note = yard.folder / "runs"
    later = int(time.time() * 1000) + 3_600_000
    id = site.api.run(site.node, f"echo run >> {note}", schedule={"updateInterval": 3_600_000, "scheduledFor": later})["id"]
    until(lambda: site.api.task(id)["status"] == "sent", "the device has it")
    site.agent.stop()
    ask(site.api, id, "run")
    site.server.stop()
    shutil.copytree(site.server.state, site.server.folder / "copy")
    site.server.start()
    site.agent.start()
    until(lambda: site.api.task(id)["runCount"] == 1 and site.api.task(id)["status"] == "sent", "it ran")
    site.server.stop()
    shutil.rmtree(site.server.state)
    shutil.copytree(site.server.folder / "copy", site.server.state)
    site.server.start()
    until(lambda: site.api.task(id)["runCount"] == 1, "the device told what it did")
    until(lambda: "answered then" in (t := site.api.task(id)).get("detail", "") and "requested" not in t, "the device answers for what it did then")
    other = site.api.add(site.node)["id"]
    site.api.ended(other)
    assert note.read_text().splitlines() == ["run"]


def test_a_hostile_device_decides_nothing_about_others_and_invents_no_answers(yard, tmp_path):
    server = yard.server().start()
    api = server.api()
    honest, hostile = HandMadeDevice(server, tmp_path / "honest"), HandMadeDevice(server, tmp_path / "hostile")
    honest.poll()
    hostile.poll()
    id = api.add(honest.node, choices=CHOICES)["id"]
    now = int(time.time() * 1000)
    state = {"status": "sent", "addTime": now, "updatedAt": now, "runCount": 0, "chosen": {"option": "confirm", "by": "user:eve", "time": now}}
    message = {"id": "00000000-0000-4000-8000-000000000001", "roomId": "lobby", "taskId": id, "content": {"text": "x"}, "time": now}
    hostile.send({"kind": "chosen", "taskId": id, "state": state}, {"kind": "message", "message": message}, started(id), ended(id))
    assert api.task(id)["status"] == "pending" and api.get("/v1/messages").ok()["messages"] == []
    honest.poll()
    honest.poll()
    honest.send({"kind": "chosen", "taskId": id, "state": {**state, "chosen": {"option": "invented", "by": "user:eve", "time": now}}},
                {"kind": "chosen", "taskId": id, "state": {**state, "status": "complete"}})
    task = api.task(id)
    assert task["status"] == "sent" and "chosen" not in task, task
    honest.send({"kind": "message", "message": {**message, "content": {"text": "y" * 70_000}}}, {"kind": "message", "message": {**message, "content": "text"}},
                {"kind": "message", "message": message}, {"kind": "message", "message": message})
    assert len(api.get("/v1/messages").ok()["messages"]) == 1
