"""What becomes of one task for many devices when the server is killed at its commits: scenarios of test_server_commit_points.py."""
import uuid

from commit_points import another_server, soon
from crowd import add_nodes
from programs import until

CROWD = 2300     # more than two parts


def accept(world, server, point, moment):
    """Nothing, or one task for each target."""
    with world.quiet():
        key = world.key("call")
        body = {**world.body(key), "target": {"nodes": [world.node, world.away.node]}}
        ask = lambda: world.api.post("/v1/tasks", body)   # noqa: E731
        assert server.end_at(f"{moment} {point}", ask) is None
        server.start()
        assert (world.api.get(f"/v1/batches/{body['id']}").status == 200) == (moment == "after")
        assert ask().status == (200 if moment == "after" else 202)
        assert ask().ok()["targets"] == 2
        tasks = {task["nodeId"]: task["id"] for task in world.api.get(f"/v1/batches/{body['id']}").ok()["tasks"]}
        assert set(tasks) == {world.node, world.away.node}
        world.holds(key, tasks[world.node], ends=("complete",))
        assert [line["task"]["id"] for line in world.away.poll() if line["kind"] == "task" and line["task"]["id"] == tasks[world.away.node]], "once"


def cancel(world, server, point, moment):
    key = world.key("call")
    body = {**world.body(key), "target": {"nodes": [world.away.node]}, "schedule": {"scheduledFor": soon(3600)}}
    world.api.post("/v1/tasks", body).ok(202)
    ask = lambda: world.api.post(f"/v1/batches/{body['id']}/cancel", {})   # noqa: E731
    assert server.end_at(f"{moment} {point}", ask) is None
    server.start()
    assert world.api.get(f"/v1/batches/{body['id']}").ok()["ended"] == (moment == "after")
    assert ask().status == (409 if moment == "after" else 200)
    assert world.api.get(f"/v1/batches/{body['id']}").ok()["counts"]["cancelled"] == 1


def carry_on(world, server, point, moment):
    """What was accepted is carried on by the next server, and the one after it."""
    with another_server(world) as other:
        other.stop()
        nodes = set(add_nodes(other.state / "server.db", CROWD))
        other.start()
        api, id = other.api(), str(uuid.uuid4())
        path, ask = f"/v1/batches/{id}", lambda: api.post("/v1/tasks", {"type": "echo", "id": id, "target": {"all": True}})
        if point == "batch-cancelled":
            ask().ok(202)
            ask = lambda: api.post(f"{path}/cancel", {})   # noqa: E731
        assert other.end_at(f"{moment} {point}", ask) is None
        other.start_to_die(f"{moment} {point}")
        other.start()
        wanted = "cancelled" if point == "batch-cancelled" else "pending"
        batch = until(lambda: (lambda one: "preparing" not in one and one["counts"][wanted] == CROWD and one)(api.get(path).ok()), "it is carried on")
        assert batch["targets"] == CROWD
        tasks, cursor = [], ""
        while cursor is not None:
            page = api.get(f"{path}?limit=1000{cursor}").ok()
            tasks += page["tasks"]
            cursor = page["nextCursor"] and f"&cursor={page['nextCursor']}"
        assert len(tasks) == CROWD and {task["nodeId"] for task in tasks} == nodes and {task["status"] for task in tasks} == {wanted}
