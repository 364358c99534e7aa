"""Wall clocks that jump by years and come back, under the real programs (acceptance H3). tests/storm/trouble.c moves them."""
import os
import sys
import time
from pathlib import Path

import pytest

from device import make_request
from programs import until

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "storm"))

from story import Story  # noqa: E402
from world import World  # noqa: E402

pytestmark = pytest.mark.skipif(bool(os.environ.get("AGENTTASK_SANITIZE")), reason="a library before the programs' own does not go together with the sanitizers'")

HOUR = 3_600_000
TEN_YEARS = 10 * 365 * 24 * HOUR
#: Forward, right again, back, right again; then by years.
JUMPS = (2 * HOUR, 0, -2 * HOUR, 0, TEN_YEARS, 0, -TEN_YEARS, 0)


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


def marks(file):
    """When each run began, in seconds that no clock setting moves."""
    return [float(line) for line in file.read_text().split()] if file.exists() else []


def test_H3_an_agents_clock_jumps_while_runs_and_schedules_are_active(world, tmp_path):
    """Ten seconds, as every second of a schedule counts: no burst, no stall, no double run, timeouts unmoved."""
    client, device = world.operator(direct=True), world.devices[0]
    console = device.local()
    file = tmp_path / "marks"
    recurring = add(client, device, type="command", data={"cmd": f"cut -d' ' -f1 /proc/uptime >>{file}"}, schedule={"updateInterval": 1000})
    local_file = tmp_path / "local marks"
    local = console.call("createTask", task={"type": "command", "data": {"argv": ["sh", "-c", f"cut -d' ' -f1 /proc/uptime >>'{local_file}'"]},
                                             "schedule": {"updateInterval": 1000, "overlap": "queue", "catchUp": "all"}}).document["id"]
    later = int(time.time() * 1000) + 24 * HOUR
    tomorrow = add(client, device, type="command", data={"cmd": f"echo ran >{tmp_path / 'tomorrow'}"}, schedule={"scheduledFor": later})
    until(lambda: len(marks(file)) >= 2 and len(marks(local_file)) >= 2, "the schedules run")
    timeouts = []
    for ahead in JUMPS:
        # Each lives through the next jump.
        timeouts.append(console.call("createTask", task={"type": "command", "data": {"cmd": "exec sleep 60"}, "options": {"timeout": 1500}}).document["id"])
        until(lambda: console.call("getTask", id=timeouts[-1]).document["status"] == "running", "it runs")
        if ahead == TEN_YEARS:
            # What is due tomorrow by the wall clock is due, and runs once; so it is put off first.
            assert console.call("updateTask", id=tomorrow, changes={"schedule": {"scheduledFor": later + 2 * TEN_YEARS}}).status == 200
        device.trouble.move_clock(ahead)
        runs = len(marks(file))
        until(lambda: len(marks(file)) > runs, "the schedule goes on", deadline=4)
    for id in timeouts:
        until(lambda: console.call("getTask", id=id).document.get("endTime"), "it times out")
        task = console.call("getTask", id=id).document
        assert (task["status"], task["reason"]) == ("failed", "timeout"), task
        assert 1400 <= task["result"]["data"]["durationMs"] < 3500, task
    for id, times in ((recurring, marks(file)), (local, marks(local_file))):
        assert console.call("cancelTask", id=id).status == 200
        gaps = [after - before for before, after in zip(times, times[1:])]
        assert min(gaps) > 0.5, gaps
        assert max(gaps) < 3, gaps
        runs = console.call("getRuns", id=id).document["runs"]
        occurrences = [run["occurrence"] for run in runs]
        assert len(set(occurrences)) == len(occurrences) == console.call("getTask", id=id).document["runCount"], runs
    assert console.call("getTask", id=tomorrow).document["status"] == "sent"
    assert not (tmp_path / "tomorrow").exists()
    until(lambda: client.call("GET", f"/v1/tasks/{recurring}").document.get("endTime"), "the server hears of it")


def test_H3_a_servers_clock_jumps_while_runs_and_schedules_are_active(world, tmp_path):
    client, device = world.operator(direct=True), world.devices[0]
    file = tmp_path / "marks"
    recurring = add(client, device, type="command", data={"cmd": f"cut -d' ' -f1 /proc/uptime >>{file}"}, schedule={"updateInterval": 1000})
    until(lambda: marks(file), "the schedule runs")
    for ahead in JUMPS:
        long = add(client, device, type="command", data={"cmd": "exec sleep 60"}, options={"timeout": 1000, "expiresAt": 253402300799999})
        until(lambda: client.call("GET", f"/v1/tasks/{long}").document["status"] == "running", "it runs")
        world.server.trouble.move_clock(ahead)
        # Tokens are good, tasks go through, and a wait is as long as it was asked for.
        began = time.monotonic()
        waited = client.call("GET", f"/v1/tasks/{recurring}?wait=300")
        assert waited.status == 200 and 0.25 < time.monotonic() - began < 2, waited.document
        brief = add(client, device)
        task = client.call("GET", f"/v1/tasks/{brief}?wait=5000").document
        assert task["status"] == "complete" and task["runCount"] == 1, task
        task = until(lambda: ended_task(client, long), "it times out", deadline=8)
        assert (task["status"], task["reason"]) == ("failed", "timeout"), task
        assert 900 <= task["result"]["data"]["durationMs"] < 3000, task
    assert client.call("POST", f"/v1/tasks/{recurring}/cancel").status in (200, 202)
    until(lambda: ended_task(client, recurring), "it is cancelled")
    times = marks(file)
    gaps = [after - before for before, after in zip(times, times[1:])]
    assert min(gaps) > 0.5 and max(gaps) < 2.5, gaps
    assert client.call("GET", f"/v1/nodes/{device.node}").document["presence"] == "online"


def ended_task(client, id):
    task = client.call("GET", f"/v1/tasks/{id}").document
    return task if task.get("endTime") else None


def test_H3_an_enrolment_token_ends_by_the_servers_clock_and_is_not_lost_to_a_wrong_one(world, tmp_path):
    server = world.server.owner
    token = server.enrollment_token("--ttl", "1h")
    _, request = make_request(tmp_path / "newcomer")

    def enroll():
        return server.api(token=None).post("/v1/enroll", {"token": token, "request": request, "name": "newcomer", "version": "0.1.0", "platform": "linux-x86_64"})

    world.server.trouble.move_clock(TEN_YEARS)
    assert "expired" in enroll().problem(403)["detail"]
    # Housekeeping looks when the server starts, and so does the authority.
    world.server.kill()
    world.server.begin_only()
    until(lambda: "serving" in server.program.text(), "it serves")
    world.server.trouble.move_clock(0)
    world.server.stop()
    world.server.start()
    assert enroll().ok()["nodeId"]


def test_H3_a_device_stays_when_its_certificate_seemed_to_have_ended(world):
    """The server's clock is years ahead: the certificate seems to have expired, may renew, and serves on when the clock is right."""
    client, device = world.operator(direct=True), world.devices[0]
    for ahead in (TEN_YEARS, 0, -TEN_YEARS, 0):
        world.server.trouble.move_clock(ahead)
        device.stop()
        device.start()
        ended(client, add(client, device))
    assert client.call("GET", f"/v1/nodes/{device.node}").document["presence"] == "online"
