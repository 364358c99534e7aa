"""Backups, restores, disk images: what administrators do with whole machines (acceptance H5)."""
import json
import shutil
import stat
import subprocess
import threading
import time
import uuid

import pytest

from device import HandMadeDevice, make_request
from programs import BIN, DEADLINE, Agent, environment, until


def restore(server, backup, *options, check=True):
    return server.command("restore", backup, *options, check=check)


class Counted:
    """Tasks that leave a line for each of their runs."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()

    def add(self, api, node, **fields):
        name = uuid.uuid4().hex
        return api.run(node, f"echo ran >> {self.folder / name}; echo done-{name}", description=name, **fields)

    def runs(self, task):
        file = self.folder / task["description"]
        return len(file.read_text().splitlines()) if file.exists() else 0


@pytest.fixture
def counted(tmp_path):
    return Counted(tmp_path / "counted")


def load(api, node, counted, seconds):
    """Adds tasks on a thread for a while; the list of them once it was joined."""
    tasks, end = [], time.monotonic() + seconds

    def work():
        while time.monotonic() < end:
            tasks.append(counted.add(api, node))
    thread = threading.Thread(target=work)
    thread.start()
    return thread, tasks


def test_H5_a_restored_server_gets_back_what_the_devices_did_and_nothing_runs_twice(yard, counted, tmp_path):
    server = yard.server().start()
    api = server.api()
    steady, away, revoked = (yard.agent(server).start().enroll() for _ in range(3))
    before = [counted.add(api, steady.node) for _ in range(5)]
    for task in before:
        assert api.ended(task["id"])["status"] == "complete"
    away.stop()
    waiting = counted.add(api, away.node)                       # known to the backup as pending, delivered after it
    old_token = server.enrollment_token("--uses", "5")
    operator = api.post("/v1/operators", {"label": "left-later", "role": "operator"}).ok(201)

    backup = tmp_path / "backup"
    thread, during = load(api, steady.node, counted, 1.0)
    server.command("backup", backup)                            # while tasks come, go and end
    thread.join()
    manifest = json.loads((backup / "backup.json").read_text())
    assert manifest["contents"]["nodes"] == 3 and manifest["contents"]["tasks"] >= 6
    for path in backup.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    again = server.command("backup", backup, check=False)
    assert again.returncode == 1 and "nothing is overwritten" in again.stderr

    # Life goes on, and is forgotten by the server.
    away.start()
    assert api.ended(waiting["id"])["status"] == "complete"
    after = [counted.add(api, steady.node) for _ in range(3)]
    for task in during + after:
        assert api.ended(task["id"])["status"] == "complete"
    newcomer = yard.agent(server).start().enroll()
    of_newcomer = counted.add(api, newcomer.node)
    assert api.ended(of_newcomer["id"])["status"] == "complete"
    away.stop()
    undelivered = counted.add(api, away.node)
    away_again = away
    assert api.delete(f"/v1/nodes/{revoked.node}").status == 200
    assert api.delete(f"/v1/operators/{operator['id']}").status == 200

    running = restore(server, backup, "--replace", check=False)
    assert running.returncode == 1 and "stop it first" in running.stderr
    server.stop()
    plain = restore(server, backup, check=False)
    assert plain.returncode == 1 and "--replace" in plain.stderr
    told = json.loads(restore(server, backup, "--replace", "--json").stdout)
    assert told["nodes"] == 3 and told["voidedTokens"] == 1 and told["keptAside"]
    server.start()
    away_again.start()

    # Each device is heard again by itself, and every task it knows is there with its result.
    for task in before + during + after + [waiting]:
        found = until(lambda: (lambda a: a.json if a.status == 200 and a.json["status"] == "complete" else None)(api.get(f"/v1/tasks/{task['id']}")),
                      f"{task['id']} is back")
        assert found["result"]["data"]["stdout"].strip() == f"done-{task['description']}"
    def known():
        return {n["id"]: n for n in api.get("/v1/nodes").ok()["nodes"]}

    nodes = until(lambda: (lambda found: found if newcomer.node in found else None)(known()), "the newcomer is heard")
    for agent in (steady, away_again, revoked):
        assert "quarantinedAt" not in nodes[agent.node], nodes
    api.get(f"/v1/tasks/{undelivered['id']}").problem(404)      # it was not in the backup, and nobody else had it
    # One that enrolled since is known by its certificate and nothing else: an operator has to say that it belongs.
    assert nodes[newcomer.node]["quarantinedAt"] and "backup" in nodes[newcomer.node]["quarantineReason"]
    api.get(f"/v1/tasks/{of_newcomer['id']}").problem(404)
    assert api.post(f"/v1/nodes/{newcomer.node}/release").status == 200
    until(lambda: api.get(f"/v1/tasks/{of_newcomer['id']}").status == 200, "the newcomer's task is back")
    assert api.ended(counted.add(api, newcomer.node)["id"])["status"] == "complete"
    # What was revoked since the backup is valid again: that is what a backup is, and it is said.
    assert "revokedAt" not in nodes[revoked.node]
    assert server.api(token=operator["token"]).get("/v1/nodes").status == 200
    # Tokens from before are void, also those that the backup holds.
    stranger = yard.agent(server).start()
    refused = stranger.console("enroll", server.url, old_token)
    assert refused.returncode == 125 and "withdrawn" in refused.stderr, refused
    # And nothing ran twice, nor does what comes now.
    assert api.ended(counted.add(api, steady.node)["id"])["status"] == "complete"
    for task in before + during + after + [waiting, of_newcomer]:
        assert counted.runs(task) == 1, task


def test_a_device_that_renewed_its_certificate_after_the_backup_goes_on_by_itself(yard, tmp_path):
    server = yard.server().start()
    device = HandMadeDevice(server, tmp_path / "device")
    device.poll()
    server.command("backup", tmp_path / "backup")
    device.key, request = make_request(tmp_path / "device", "renewed")
    old, device.certificate = device.certificate, tmp_path / "device" / "renewed.pem"
    renewed = server.api(token=None, certificate=old, key=tmp_path / "device" / "device.key").post("/v1/device/renew", {"request": request}).ok()
    device.certificate.write_text(renewed["certificate"])
    device.poll()
    server.stop()
    restore(server, tmp_path / "backup", "--replace")
    server.start()
    epoch = device.epoch
    device.poll()
    assert device.epoch > epoch
    assert "quarantinedAt" not in server.api().get(f"/v1/nodes/{device.node}").ok()
    # A certificate that our authority issued, and that is not of the lost time, is a stranger's: it was forgotten for a reason.
    late = HandMadeDevice(server, tmp_path / "late")
    server.stop()
    restore(server, tmp_path / "backup", "--replace")
    server.start()
    assert late.api.post("/v1/device/poll", late.poll_body()).status == 200      # lost time now reaches to the second restore
    assert server.api().get(f"/v1/nodes/{late.node}").ok()["quarantinedAt"]


def test_a_backup_that_was_touched_is_refused(yard, tmp_path):
    server = yard.server()
    backup = tmp_path / "backup"
    server.command("backup", backup)
    for name in ("server.db", "authority/authority.key", "backup.json"):
        copy = tmp_path / "copy"
        shutil.copytree(backup, copy)
        content = bytearray((copy / name).read_bytes())
        content[len(content) // 2] ^= 0x55
        (copy / name).write_bytes(content)
        refused = restore(server, copy, "--replace", check=False)
        assert refused.returncode == 1 and "nothing was changed" in refused.stderr, refused
        shutil.rmtree(copy)
    (backup / "backup.json").unlink()
    assert "no backup" in restore(server, backup, "--replace", check=False).stderr
    server.start()


def test_a_server_comes_back_on_an_empty_machine(yard, tmp_path):
    server = yard.server().start()
    agent = yard.agent(server).start().enroll()
    api = server.api()
    task = api.add(agent.node)
    assert api.ended(task["id"])["status"] == "complete"
    server.command("backup", tmp_path / "backup")
    server.stop()
    shutil.rmtree(server.state)
    told = restore(server, tmp_path / "backup").stdout
    assert "kept aside" not in told and (server.state / "server.conf").exists()
    server.start()
    until(lambda: api.get(f"/v1/nodes/{agent.node}").ok()["presence"] == "online", "the device is back")
    assert api.task(task["id"])["status"] == "complete"
    assert api.ended(api.add(agent.node)["id"])["status"] == "complete"


def test_machines_from_one_image_are_nodes_of_their_own(yard, tmp_path):
    server = yard.server().start()
    api = server.api()
    first = yard.agent(server).start().enroll()
    assert api.ended(api.add(first.node)["id"])["status"] == "complete"
    image = lambda *more: subprocess.run([BIN / "agenttaskd", "prepare-image", "--state-dir", first.state, *more], capture_output=True, text=True,  # noqa: E731
                                         env=environment(), timeout=DEADLINE)
    runs = image("--yes")
    assert runs.returncode == 3 and "the agent runs" in runs.stderr
    first.stop()
    token = server.enrollment_token("--uses", "2")
    (first.state / "agent.conf").write_text(f"server = {server.url}\nenrollment-token = {token}\n")
    (first.state / "policy.json").write_text('{"types": ["echo"]}')
    (first.state / "policy.json").chmod(0o600)
    assert image().returncode == 2 and (first.state / "identity.json").exists()
    done = image("--yes")
    assert done.returncode == 0 and first.node in done.stdout and server.url in done.stdout, done
    left = {p.name for p in first.state.iterdir()}
    assert not {n for n in left if n.startswith(("ledger", "identity", "enrollment"))}, left
    assert {"agent.conf", "policy.json"} <= left
    copies = []
    for name in ("one", "two"):
        copy = Agent(tmp_path / name, server, name=name)
        shutil.copytree(first.state, copy.state)
        yard.made.append(copy)
        copy.start()
        copy.node = until(copy.find_node, "the copy enrolled by itself")
        copies.append(copy)
    assert len({first.node, *(c.node for c in copies)}) == 3
    for copy in copies:
        assert api.ended(api.add(copy.node)["id"])["status"] == "complete"
        assert "quarantinedAt" not in api.get(f"/v1/nodes/{copy.node}").ok()
