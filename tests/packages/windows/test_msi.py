"""The installer under Wine: the life of one device from a refused installation to a removal that leaves nothing. Each case goes on where the last one ended."""
import json
import os
import re
import subprocess
import uuid
from pathlib import Path

import pytest

from wine import PROGRAMS, ROOT, SLOW, ended, token_pids, until

UNINSTALL = "HKLM\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Uninstall"
DATA = ("ProgramData", "AgentTask")
#: What msiexec answers under Wine, where exit codes end at 255: a failed installation, and one with a failed action.
FAILED = (1603 & 0xFF, 1627 & 0xFF)
#: What nothing of it may be called in the registry once it is gone.
OURS = re.compile(r'Services\\\\AgentTask\]|Application\\\\AgentTask\]|Program Files\\\\AgentTask|\[Software\\\\AgentTask|="AgentTask')


@pytest.fixture(scope="module")
def packages(place):
    """The package that is shipped, and two later versions with the same programs."""
    shipped = sorted(Path(os.environ.get("AGENTTASK_PACKAGES") or ROOT / "build/packages/windows").glob("*.msi"))
    if len(shipped) != 1:
        pytest.skip(f"there is not one MSI but {len(shipped)}: ./dev package windows makes it")
    this = re.fullmatch(r"agenttask-agent-([0-9.]+)-x64\.msi", shipped[0].name)[1]
    made = {this: shipped[0]}
    for more in (1, 2):
        version = f"{int(this.split('.')[0]) + more}.0.0"
        made[version] = place / f"agenttask-agent-{version}-x64.msi"
        subprocess.run([ROOT / "scripts/windows-msi", version, PROGRAMS, made[version]], check=True)
    return made


class Machine:
    """A device on which the packages are installed."""

    def __init__(self, drive, packages):
        self.drive = drive
        self.token = None
        self.this, self.next, self.later = packages
        for version, package in packages.items():
            drive.path(f"agent-{version}.msi")[0].write_bytes(package.read_bytes())

    def msiexec(self, *words):
        """The exit code, and the log."""
        log, name = self.drive.path("msi.log")
        log.unlink(missing_ok=True)
        done = self.drive.run("msiexec", *words, "/qn", "/l*v", name, check=False, deadline=2 * SLOW)
        return done.returncode, log.read_bytes().replace(b"\0", b"") if log.exists() else b""

    def begin(self, *words):
        """A program that goes on."""
        return subprocess.Popen(self.drive.words(*words), env=self.drive.variables, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL, start_new_session=True)

    def install(self, version, *words):
        return self.msiexec("/i", self.package(version), *words)

    @staticmethod
    def package(version):
        return f"C:\\agent-{version}.msi"

    def service(self):
        """running, missing, or how else it is."""
        asked = self.drive.run("sc", "query", "AgentTask", check=False)
        state = re.search(rb"STATE +: \d+ +(\w+)", asked.stdout)
        assert state or asked.returncode, asked
        return state[1].decode().lower() if state else "missing"

    def console(self, *words):
        done = self.drive.run("C:\\Program Files\\AgentTask\\agenttask.exe", *words, check=False)
        done.stdout = done.stdout.decode()
        return done

    def status(self):
        told = self.console("status", "--json").stdout
        return json.loads(told) if told.startswith("{") else None

    def task(self, id):
        told = self.console("show", id, "--json").stdout
        return json.loads(told) if told.startswith("{") else None

    def connected(self):
        status = self.status()
        return status and status["server"].get("state") == "connected" and status

    def identity(self):
        file = self.data / "state" / "identity.json"
        return json.loads(file.read_text()) if file.exists() else None

    @property
    def data(self):
        return self.drive.path(*DATA)[0]

    @property
    def programs(self):
        return self.drive.path("Program Files", "AgentTask")[0]

    def versions(self):
        """Those that Windows says are installed."""
        told = self.drive.run("reg", "query", UNINSTALL, "/s", check=False).stdout.decode(errors="replace")
        ours = [part for part in told.split("HKEY_LOCAL_MACHINE") if re.search(r"DisplayName +REG_SZ +AgentTask Agent", part)]
        return [re.search(r"DisplayVersion +REG_SZ +(\S+)", part)[1] for part in ours]


@pytest.fixture(scope="module")
def machine(drive, packages):
    return Machine(drive, packages)


def assert_nothing_is_there(machine):
    assert machine.service() == "missing"
    assert not machine.programs.exists() and not machine.data.exists()
    found = OURS.findall(machine.drive.registry())
    assert not found, found


def test_half_an_enrolment_is_refused(machine):
    for half in ("SERVER_URL=https://nobody:8443", "ENROLL_TOKEN=agt_nothing"):
        code, log = machine.install(machine.this, half)
        assert code in FAILED and b"LaunchConditions. Return value 0" in log, (code, log[-2000:])
    assert_nothing_is_there(machine)


def test_a_token_that_is_none_undoes_the_installation(machine, server):
    code, log = machine.install(machine.this, f"SERVER_URL={server.url}", "ENROLL_TOKEN=not-a-token")
    assert code in FAILED and b"PrepareEnrollment. Return value 0" in log, (code, log[-2000:])
    assert machine.service() == "missing" and not machine.programs.exists()
    assert not [file for file in machine.data.rglob("*") if file.is_file()]


def test_it_installs_while_the_server_is_away(machine, server):
    machine.token = server.enrollment_token()
    server.stop()
    code, log = machine.install(machine.this, f"SERVER_URL={server.url}", f"ENROLL_TOKEN={machine.token}", "NODE_NAME=desk-1")
    assert code == 0, log[-4000:]
    # Wine's log shows every property; that of Windows shows none of these.
    assert b"MsiHiddenProperties = ENROLL_TOKEN" in log
    assert machine.service() == "running" and machine.versions() == [machine.this]
    status = until(machine.status, "the console finds the agent", SLOW)
    assert status["server"]["enrollment"]["url"] == server.url and not status["server"]["enrollment"]["refused"]
    server.start()
    node = until(lambda: next(iter(server.api().get("/v1/nodes").ok()["nodes"]), None), "the device is there", SLOW)
    assert node["name"] == "desk-1" and node["platform"] == "windows-x86_64"
    done = ended(server.api(), server.api().run(node["id"], "echo installed")["id"])
    assert done["result"]["data"]["stdout"].strip() == "installed"


def test_agenttask_is_in_the_search_path(machine):
    done = machine.drive.run("agenttask", "echo", "found")
    assert done.stdout.decode().strip() == "found"


def test_the_token_is_used_up_and_lies_nowhere(machine):
    until(machine.identity, "the identity is on disk", SLOW)
    registry = machine.drive.registry()
    assert machine.token not in registry
    assert '"ImagePath"="\\"C:\\\\Program Files\\\\AgentTask\\\\agenttaskd.exe\\""' in registry, "no C:\\Program.exe is tried first"
    machine.drive.path("msi.log")[0].unlink()
    secret = machine.token.encode()
    for file in machine.drive.c.rglob("*"):
        if file.is_file() and not file.is_symlink() and "system32" not in file.parts and "syswow64" not in file.parts:
            read = file.read_bytes()
            assert secret not in read and secret.decode().encode("utf-16-le") not in read, file


def test_after_a_boot_it_is_there_again(machine, server):
    before = machine.identity()
    machine.drive.halt()
    machine.drive.boot()
    until(machine.connected, "the service started with the machine", SLOW)
    assert machine.identity() == before
    assert ended(server.api(), server.api().run(before["nodeId"], "echo up")["id"])["status"] == "complete"


def test_an_upgrade_keeps_who_the_device_is_and_what_it_did(machine, server):
    """Settings, too; and what runs has time to end."""
    api, before = server.api(), machine.identity()
    past = api.add(before["nodeId"], "echo", {"message": "before"})
    ended(api, past["id"])
    settings = b"# ours\r\nslots = 3\r\nshutdown-drain = 45s\r\n"
    (machine.data / "agent.conf").write_bytes(settings)
    machine.drive.run("sc", "stop", "AgentTask", check=False)
    until(lambda: machine.service() == "stopped", "it stopped", SLOW)
    machine.drive.run("sc", "start", "AgentTask")
    until(machine.connected, "it runs with the new settings", SLOW)
    running = api.add(before["nodeId"], "command", {"argv": ["C:\\idle.exe", "drained", "until", "C:\\go"]}, options={"timeout": 0})
    until(lambda: api.task(running["id"])["status"] == "running", "it runs", SLOW)
    # It ends once the installer has asked the agent to stop, and not before.
    installer = machine.begin("msiexec", "/i", machine.package(machine.next), "/qn")
    until(lambda: machine.service() == "stop_pending", "the agent waits for it", SLOW)
    (machine.drive.c / "go").touch()
    assert installer.wait(SLOW) == 0
    assert machine.service() == "running" and machine.versions() == [machine.next]
    status = until(machine.connected, "it is connected", SLOW)
    assert machine.identity() == before and (machine.data / "agent.conf").read_bytes() == settings and status["slots"] == 3
    assert len(api.get("/v1/nodes").ok()["nodes"]) == 1
    assert machine.task(past["id"])["status"] == "complete", "the ledger knows its past"
    drained = ended(api, running["id"])
    assert drained["status"] == "complete" and drained["runCount"] == 1 and drained["result"]["data"]["stdout"].split() == ["begun", "ended"], drained
    assert ended(api, api.add(before["nodeId"], "echo")["id"])["status"] == "complete"


def test_there_is_no_way_back(machine):
    code, log = machine.install(machine.this)
    # Wine's log has no words of conditions: scripts/windows-msi holds that the package has them.
    assert code in FAILED and b"LaunchConditions. Return value 0" in log, (code, log[-2000:])
    assert machine.service() == "running" and machine.versions() == [machine.next] and machine.connected()


def test_a_repair_brings_back_what_is_missing(machine):
    before = machine.identity()
    (machine.programs / "agenttask.exe").unlink()
    code, log = machine.install(machine.next, "REINSTALL=ALL", "REINSTALLMODE=amus")
    assert code == 0, log[-4000:]
    assert until(machine.connected, "it runs", SLOW) and machine.identity() == before and machine.versions() == [machine.next]


def test_a_task_inside_the_agent_upgrades_nothing(machine, server):
    """It would be stopped half way, with the agent."""
    api, node = server.api(), machine.identity()["nodeId"]
    before = machine.status()["agent"]["pid"]
    done = ended(api, api.run(node, f"msiexec /i {machine.package(machine.later)} /qn /l*v C:\\inside.log")["id"])
    assert (done["status"], done["reason"]) == ("failed", "exit-status") and done["result"]["data"]["exitCode"] in (1603, 1627), done
    log = machine.drive.path("inside.log")[0].read_bytes().replace(b"\0", b"")
    assert b"RefuseTasksOfTheAgent. Return value 0" in log, log[-4000:]
    assert machine.versions() == [machine.next] and machine.status()["agent"]["pid"] == before, "nothing was changed"


def test_a_task_upgrades_the_agent_that_runs_it(machine, server):
    api, node = server.api(), machine.identity()["nodeId"]
    before = machine.status()["agent"]["pid"]
    task = api.run(node, f"echo x>>C:\\upgrades& echo begun& msiexec /i {machine.package(machine.later)} /qn", options={"outlivesAgent": True, "timeout": 300_000})
    done = ended(api, task["id"], 2 * SLOW)
    assert done["status"] == "complete" and done["runCount"] == 1, done
    assert done["result"]["data"]["exitCode"] == 0 and done["result"]["data"]["stdout"].strip() == "begun", done
    assert machine.versions() == [machine.later]
    assert (machine.drive.c / "upgrades").read_bytes().split() == [b"x"], "it began once"
    assert until(machine.connected, "the new one is there", SLOW)["agent"]["pid"] != before
    assert machine.identity()["nodeId"] == node and machine.service() == "running"
    # The program that recorded it may still be at its end, and is in the way of its folder's.
    assert all(folder.suffix == ".outliving-gone" for folder in (machine.data / "state" / "spool").iterdir())


def test_a_removal_keeps_who_the_device_is_and_nothing_else(machine, server):
    api, before = server.api(), machine.identity()
    word = uuid.uuid4().hex
    outside = api.add(before["nodeId"], "command", {"argv": ["C:\\idle.exe", word, "tree"]}, options={"outlivesAgent": True, "timeout": 0})
    until(lambda: len(token_pids(word)) >= 3, "a task runs outside the agent", SLOW)
    code, log = machine.msiexec("/x", machine.package(machine.later))
    assert code == 0, log[-4000:]
    until(lambda: not token_pids(word), "nobody is left who could tell of its end, so it ends")
    assert machine.service() == "missing" and not machine.programs.exists()
    assert machine.identity() == before
    found = OURS.findall(machine.drive.registry())
    assert not found, found
    code, log = machine.install(machine.this)
    assert code == 0, log[-4000:]
    until(machine.connected, "the device is itself again", SLOW)
    assert machine.identity() == before
    assert ended(api, outside["id"])["reason"] == "interrupted"
    until(lambda: not list((machine.data / "state" / "spool").iterdir()), "nothing of them is left", SLOW)


def test_a_removal_for_good_leaves_nothing(machine):
    code, log = machine.msiexec("/x", machine.package(machine.this), "PURGE=1")
    assert code == 0, log[-4000:]
    assert_nothing_is_there(machine)
