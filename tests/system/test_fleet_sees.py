"""What operators see from afar of devices, their workers, and why tasks wait."""
import json
import shutil

from programs import until
from test_fleet import fleet

WORKER = '#!/bin/sh\nread -r request\necho \'{"result":{}}\'\n'


def put_worker(agent, folder, **manifest):
    """A worker folder, as whole as it ever is: moved into its place."""
    made = agent.folder / f"made-{folder}"
    made.mkdir()
    (made / "program").write_text(WORKER)
    (made / "program").chmod(0o755)
    (made / "worker.json").write_text(json.dumps({"command": ["./program"], **manifest}))
    place = agent.state / "workers" / folder
    place.parent.mkdir(parents=True, exist_ok=True)
    made.rename(place)
    return place


def test_a_nodes_workers_and_services_are_those_of_its_folder(yard, tmp_path):
    server = yard.server().start()
    agent = yard.agent(server)
    put_worker(agent, "kiosk", types=["KIOSK"], services=["screen"])
    agent.start().enroll()
    api = server.api()

    def shows(types, services, problems):
        seen = api.get(f"/v1/nodes/{agent.node}").ok()
        if "workers" not in seen:
            return None
        own = [one for one in seen.get("workers", []) if one not in ("command", "echo", "service")]
        return sorted(own) == types and sorted(seen["services"]) == services and seen["workerProblems"] == problems and seen

    until(lambda: shows(["KIOSK"], ["screen"], 0), "the worker that was there from the start is known")
    waiting = api.add(agent.node, "LATER", {})
    until(lambda: api.task(waiting["id"]).get("reason") == "no-worker", "the task waits for a worker")
    later = put_worker(agent, "later", types=["LATER"], services=["adder"])
    until(lambda: shows(["KIOSK", "LATER"], ["adder", "screen"], 0), "a folder that is added is known")
    assert api.ended(waiting["id"])["status"] == "complete"
    put_worker(agent, "thief", types=["echo"])
    until(lambda: shows(["KIOSK", "LATER"], ["adder", "screen"], 1), "one that can't be used is counted")

    site = type("At", (), {"server": server})
    table = fleet(site, "nodes", home=tmp_path).stdout.splitlines()
    assert "WORKERS" in table[0] and "SERVICES" in table[0] and "KIOSK, LATER" in table[1] and "screen, adder" in table[1], table
    page = fleet(site, "node", "show", agent.node, home=tmp_path).stdout
    assert "KIOSK" in page and "echo" in page and "screen, adder" in page and "1 worker;" in page, page
    asked = json.loads(fleet(site, "node", "show", agent.node, "--json", home=tmp_path).stdout)
    assert sorted(asked["services"]) == ["adder", "screen"]

    gone = agent.folder / "gone"
    later.rename(gone)
    shutil.rmtree(gone)
    until(lambda: shows(["KIOSK"], ["screen"], 1), "a folder that is removed is known")
    shutil.rmtree(agent.state / "workers" / "kiosk")
    until(lambda: shows([], [], 1), "the last is gone")
    head = fleet(site, "nodes", home=tmp_path).stdout.splitlines()[0]
    assert "WORKERS" not in head and "SERVICES" not in head, head
    # What it was when the device was away counts once it is back.
    agent.stop()
    put_worker(agent, "kiosk-2", types=["KIOSK"])
    agent.start()
    until(lambda: shows(["KIOSK"], [], 1), "what changed meanwhile is known")


def test_fleet_explains_why_a_task_waits_and_how_it_ended(yard, tmp_path):
    server = yard.server().start()
    agent = yard.agent(server).start().enroll()
    site = type("At", (), {"server": server})
    api = server.api()
    explain = lambda *words: fleet(site, "explain", *words, home=tmp_path).stdout   # noqa: E731

    held = api.add(agent.node, "NOBODY", {})["id"]
    until(lambda: api.task(held).get("reason") == "no-worker", "it waits for a worker")
    said = explain(held)
    assert "It waits on the device (no-worker)." in said and f"agenttask fleet node show {agent.node}" in said, said
    assert json.loads(explain(held, "--json"))["reason"] == "no-worker"
    failed = api.run(agent.node, "echo the last word >&2; exit 3")["id"]
    api.ended(failed)
    said = explain(failed)
    assert "(exit-status)" in said and "The last line of its standard error: the last word\n" in said and f"agenttask fleet output {failed}" in said, said

    agent.stop()
    until(lambda: api.get(f"/v1/nodes/{agent.node}").ok()["presence"] == "offline", "the device is away")
    assert "is not connected (last seen" in explain(held) and "this is what it said last" in explain(held)
    pending = api.run(agent.node, "true")["id"]
    api.post(f"/v1/tasks/{held}/cancel").ok(202)
    said = explain(pending)
    assert "It waits for its device." in said and "the task goes out when it comes" in said and "last seen" in said, said
    said = explain(held)
    assert "Asked of its device, which has not taken it yet: cancel." in said, said
    agent.start()
    api.ended(pending)
    assert "It completed" in explain(pending) and "not connected" not in explain(pending)


def test_fleet_reads_the_messages_of_a_world(yard, tmp_path):
    server = yard.server().start()
    site = type("At", (), {"server": server})
    for room, world, text in (("r1", "w", "one"), ("r2", "w", "two"), ("r1", "", "three"), ("r1", "v", "four")):
        fleet(site, "post", room, text, *(["--world", world] if world else []), home=tmp_path)
    said = fleet(site, "messages", "--world", "w", home=tmp_path).stdout.splitlines()
    assert [line.split()[-1] for line in said] == ["one", "two"], said
    found = json.loads(fleet(site, "messages", "--world", "w", "--room", "r2", "--json", home=tmp_path).stdout)["messages"]
    assert [one["content"]["text"] for one in found] == ["two"]
    assert fleet(site, "messages", "--world", "W", home=tmp_path).stdout == "no messages\n"
