"""The installer under Wine: an installation that joins its server, an upgrade that keeps who the device is, no way back, and a removal."""
import json
import subprocess

import pytest

from wine import PROGRAMS, ROOT, SLOW, until

STATE = ("ProgramData", "AgentTask", "state")


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """One version after the other, of the same programs."""
    folder = tmp_path_factory.mktemp("msi")
    made = {}
    for version in ("0.1.0", "0.2.0"):
        made[version] = folder / f"agent-{version}.msi"
        subprocess.run([ROOT / "scripts/windows-msi", version, PROGRAMS, made[version]], check=True)
    return made


class Machine:
    """A device on which the packages are installed, all of its life in one file of cases."""

    def __init__(self, drive):
        self.drive = drive
        self.token = None

    def msiexec(self, *words):
        """The exit code, and the log."""
        log, name = self.drive.path("msi.log")
        log.unlink(missing_ok=True)
        done = self.drive.run("msiexec", *words, "/qn", "/l*v", name, check=False, deadline=2 * SLOW)
        return done.returncode, log.read_bytes().replace(b"\0", b"") if log.exists() else b""

    def install(self, package, *words):
        copy, name = self.drive.path(package.name)
        copy.write_bytes(package.read_bytes())
        return self.msiexec("/i", name, *words)

    def service(self):
        return self.drive.run("sc", "query", "AgentTask", check=False).stdout.decode(errors="replace")

    def console(self, *words):
        return self.drive.run("C:\\Program Files\\AgentTask\\agenttask.exe", *words, check=False)

    def status(self):
        done = self.console("status", "--json")
        return json.loads(done.stdout) if done.stdout.startswith(b"{") else None

    def registry(self):
        """All of it, once Wine has written it down."""
        subprocess.run(["/usr/lib/wine/wineserver64", "-k15"], env=self.drive.variables, timeout=60, check=False)
        return "".join((self.drive.folder / name).read_text(errors="replace") for name in ("system.reg", "user.reg", "userdef.reg"))

    def identity(self):
        file = self.drive.path(*STATE, "identity.json")[0]
        return json.loads(file.read_text()) if file.exists() else None


@pytest.fixture(scope="module")
def machine(drive):
    return Machine(drive)


def test_a_silent_installation_joins_its_server(machine, packages, server):
    machine.token = server.enrollment_token()
    code, log = machine.install(packages["0.1.0"], f"SERVER_URL={server.url}", f"ENROLL_TOKEN={machine.token}", "NODE_NAME=desk-1")
    assert code == 0, log[-4000:]
    # Wine's log shows every property; that of Windows shows none of these.
    assert b"MsiHiddenProperties = ENROLL_TOKEN" in log
    node = until(lambda: next(iter(server.api().get("/v1/nodes").ok()["nodes"]), None), "the device is there", SLOW)
    assert node["name"] == "desk-1" and node["platform"] == "windows-x86_64"
    ended = server.api().ended(server.api().add(node["id"], "command", {"cmd": "echo installed"})["id"])
    assert ended["result"]["data"]["stdout"].strip() == "installed"
    assert "RUNNING" in machine.service()


def test_the_token_is_used_up_and_lies_nowhere(machine):
    until(machine.identity, "the identity is on disk", SLOW)
    data = machine.drive.path("ProgramData", "AgentTask")[0]
    for file in data.rglob("*"):
        if file.is_file():
            assert machine.token.encode() not in file.read_bytes(), file
    for name in ("system.reg", "user.reg"):
        assert machine.token not in (machine.drive.folder / name).read_text(errors="replace"), name


def test_an_upgrade_keeps_who_the_device_is_and_what_it_did(machine, packages, server):
    before = machine.identity()
    task = server.api().add(before["nodeId"], "echo", {"message": "before"})
    server.api().ended(task["id"])
    code, log = machine.install(packages["0.2.0"])
    assert code == 0, log[-4000:]
    assert "RUNNING" in until(lambda: "RUNNING" in machine.service() and machine.service(), "the service runs", SLOW)
    assert machine.identity() == before
    assert len(server.api().get("/v1/nodes").ok()["nodes"]) == 1
    done = until(lambda: machine.console("show", task["id"], "--json").stdout, "the ledger knows its past", SLOW)
    assert json.loads(done)["status"] == "complete"
    assert server.api().ended(server.api().add(before["nodeId"], "echo")["id"])["status"] == "complete"


def test_there_is_no_way_back(machine, packages):
    code, log = machine.install(packages["0.1.0"])
    assert code != 0 and b"newer version" in log, (code, log[-2000:])
    assert "RUNNING" in machine.service()


def test_half_an_enrolment_is_refused(machine, packages):
    code, log = machine.install(packages["0.2.0"], "SERVER_URL=https://nobody:8443", "REINSTALL=ALL")
    assert code == 0 or b"SERVER_URL and ENROLL_TOKEN" in log


def test_a_removal_keeps_who_the_device_is_and_nothing_else(machine, packages):
    before = machine.identity()
    code, log = machine.msiexec("/x", "C:\\agent-0.2.0.msi")
    assert code == 0, log[-4000:]
    assert "AgentTask" not in machine.service() or "1060" in machine.service()
    assert not machine.drive.path("Program Files", "AgentTask")[0].exists()
    assert machine.identity() == before
    registry = machine.registry()
    assert "Services\\\\AgentTask]" not in registry and "Application\\\\AgentTask]" not in registry and "Program Files\\\\AgentTask" not in registry


def test_a_removal_for_good_leaves_nothing(machine, packages):
    code, log = machine.install(packages["0.1.0"])
    assert code == 0, log[-4000:]
    until(lambda: "RUNNING" in machine.service(), "the device is itself again", SLOW)
    code, log = machine.msiexec("/x", "C:\\agent-0.1.0.msi", "PURGE=1")
    assert code == 0, log[-4000:]
    assert not machine.drive.path("ProgramData", "AgentTask")[0].exists()
