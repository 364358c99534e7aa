"""Wall clocks that jump by years and come back, under the real programs (acceptance H3). tests/storm/trouble.c moves them."""
import os
import sys
from pathlib import Path

import pytest

from programs import until

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "storm"))

from story import Story  # noqa: E402
from world import World  # noqa: E402

pytestmark = pytest.mark.skipif(bool(os.environ.get("AGENTTASK_SANITIZE")), reason="a library before the programs' own does not go together with the sanitizers'")

#: What is recorded while a clock is back looks as old as that when it is right again, and is purged with all that is past its retention.
looks_old = pytest.mark.xfail(strict=True, reason="retention counts from what the wall clock said when it was recorded")

TEN_YEARS = 10 * 365 * 86_400_000


@pytest.fixture
def world(tmp_path):
    story = Story(tmp_path / "story")
    world = World(tmp_path, story, 1, inside=True, disks=False)
    try:
        world.start()
        yield world
        assert world.violations == []
    finally:
        world.close()
        story.close()


def add(client, device, **fields):
    answer = client.call("POST", f"/v1/nodes/{device.node}/tasks", {"type": "echo", "data": {"message": "hello"}, "options": {"expiresAt": 253402300799999}, **fields})
    assert answer.status == 201, answer.document
    return answer.document["id"]


def ended(client, id):
    return until(lambda: client.call("GET", f"/v1/tasks/{id}?wait=5000").document.get("endTime") is not None, "the task ends")


@looks_old
def test_H3_what_ended_while_the_servers_clock_was_back_stays_readable(world):
    client, device = world.operator(direct=True), world.devices[0]
    world.server.trouble.move_clock(-TEN_YEARS)
    id = add(client, device)
    ended(client, id)
    world.server.kill()
    world.server.trouble.move_clock(0)
    world.server.start()
    client.close()
    later = add(client, device)
    ended(client, later)
    assert client.call("GET", f"/v1/tasks/{id}").status == 200


@pytest.mark.parametrize("ahead", [-TEN_YEARS, TEN_YEARS], ids=["back", "ahead"])
def test_H3_a_server_starts_with_a_wrong_clock_and_serves_when_it_is_right(world, ahead):
    client, device = world.operator(direct=True), world.devices[0]
    world.server.trouble.move_clock(ahead)
    world.server.kill()
    world.server.begin_only()
    until(lambda: "serving" in world.server.owner.program.text() or not world.server.running(), "it serves")
    assert world.server.running(), world.server.owner.program.text()
    world.server.trouble.move_clock(0)
    world.server.stop()
    world.server.start()
    client.close()
    ended(client, add(client, device))


@looks_old
def test_H3_what_ended_while_the_devices_clock_was_back_is_kept(world):
    client, device = world.operator(direct=True), world.devices[0]
    console = device.local()
    device.trouble.move_clock(-TEN_YEARS)
    made = console.call("createTask", task={"type": "echo", "data": {"message": "hello"}})
    assert made.status == 200, made.document
    id = made.document["id"]
    until(lambda: console.call("getTask", id=id).document.get("endTime"), "the task ends")
    device.trouble.move_clock(0)
    until(lambda: client.call("GET", f"/v1/tasks/{id}").document.get("endTime"), "the server hears of it")
    until(lambda: device.status()["ledger"]["outboxReports"] == 0, "everything is told")
    device.kill()
    device.start()
    console.close()
    ended(client, add(client, device))
    assert console.call("getTask", id=id).status == 200
