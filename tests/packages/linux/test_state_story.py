"""State that lies elsewhere, and state that a newer version has written."""
import json

from machine import until
from story import install, journal, status

AGENT = "agenttask.service"
SERVER = "agenttask-server.service"
STATE = "/var/lib/agenttask"
NEWER = 9999   # a schema that no program of today knows


def purge(machine, name="agenttask-agent"):
    machine.run(f"dpkg --purge {name}")


def active(machine, unit):
    return machine.unit(unit, "ActiveState")["ActiveState"] == "active"


def set_schema(machine, file, number):
    """What SQLite calls user_version is four bytes of the file's header; the one before. Nobody has it open."""
    before = int(machine.says(f"od -An -tx1 -j60 -N4 {file} | tr -d ' '"), 16)
    octal = "".join(f"\\{byte:03o}" for byte in number.to_bytes(4, "big"))
    machine.run(f"test ! -s {file}-wal && printf '{octal}' | dd of={file} bs=1 seek=60 conv=notrunc status=none")
    return before


def problem(machine):
    return status(machine).get("ledgerProblem", "")


# ---- elsewhere

def test_a_link_in_place_of_the_state_is_refused_by_systemd_and_goes_with_a_purge(machine):
    machine.run(f"mkdir -p /srv/disk/agent && ln -s /srv/disk/agent {STATE} && touch /srv/disk/agent/left")
    install(machine, "agenttask-agent.deb")
    assert not active(machine, AGENT)
    until(lambda: "Not a directory" in journal(machine, AGENT), lambda: f"systemd says why\n{machine.tail()}")
    purge(machine)
    assert machine.says("find /srv/disk") == "/srv/disk\n/srv/disk/agent", "nothing of it is left there"
    assert not machine.succeeds(f"test -e {STATE} || test -L {STATE}")
    assert machine.says("dpkg-query -W -f '${db:Status-Status}' agenttask-agent 2>/dev/null || true") in ("", "not-installed")


def test_the_state_is_a_file_system_of_its_own(machine):
    for name, unit in (("agenttask-agent", AGENT), ("agenttask-server", SERVER)):
        folder = f"/var/lib/{name.removesuffix('-agent')}"
        machine.run(f"mkdir {folder} && mount -t tmpfs -o size=64m tmpfs {folder}")
        install(machine, f"{name}.deb")
        assert active(machine, unit)
        purge(machine, name)
        assert machine.succeeds(f"mountpoint -q {folder}") and machine.says(f"ls -A {folder}") == "", "the disk stays, empty"
        machine.run(f"umount {folder} && rmdir {folder}")


# ---- newer

def test_an_older_agent_leaves_what_a_newer_one_has_written(machine, debs):
    install(machine, "agenttask-agent-next.deb")
    assert machine.says('agenttask echo "before"') == "before"
    kept = json.loads(machine.says("agenttask add echo --data '{\"text\":\"later\"}' --at 'in 10 days' --json"))["id"]
    machine.run("systemctl stop agenttask")
    version = set_schema(machine, f"{STATE}/ledger.db", NEWER)
    digest = machine.says(f"sha256sum {STATE}/ledger.db")
    told = install(machine, "agenttask-agent.deb")
    assert "downgrading" in told.stdout + told.stderr
    assert machine.says("dpkg-query -W -f '${db:Status-Status} ${Version}' agenttask-agent") == f"installed {debs.version}"
    assert active(machine, AGENT)
    until(lambda: "newer version" in problem(machine), lambda: f"it says what is wrong\n{machine.tail()}")
    assert "install the newer version of agenttaskd again" in machine.says("agenttask doctor", check=False)
    assert "newer version" in journal(machine, AGENT)
    assert not machine.succeeds("agenttask echo 'no'"), "it begins nothing"
    assert machine.says(f"sha256sum {STATE}/ledger.db") == digest, "and changes nothing"
    # Here the newer version is one that knows it again.
    machine.run("systemctl stop agenttask")
    assert set_schema(machine, f"{STATE}/ledger.db", version) == NEWER
    install(machine, "agenttask-agent-next.deb")
    assert active(machine, AGENT)
    until(lambda: not problem(machine) and "tasks" in status(machine), "it goes on")
    tasks = json.loads(machine.says("agenttask list --json"))["tasks"]
    assert sorted(task["status"] for task in tasks) == ["complete", "sent"] and kept in [task["id"] for task in tasks], tasks
    assert machine.says('agenttask echo "after"') == "after"
    purge(machine)


def test_an_older_server_leaves_what_a_newer_one_has_written(machine, debs):
    install(machine, "agenttask-server-next.deb")
    machine.run("agenttask-server operator reset --label ann")
    machine.run("systemctl stop agenttask-server")
    file = machine.says("find /var/lib/agenttask-server -name '*.db'")
    version = set_schema(machine, file, NEWER)
    digest = machine.says(f"sha256sum {file}")
    told = install(machine, "agenttask-server.deb")
    assert machine.says("dpkg-query -W -f '${db:Status-Status}' agenttask-server") == "installed", told
    until(lambda: "newer version" in journal(machine, SERVER), lambda: f"it says what is wrong\n{machine.tail()}")
    assert not active(machine, SERVER)
    machine.run("systemctl stop agenttask-server")
    assert machine.says(f"sha256sum {file}") == digest
    assert set_schema(machine, file, version) == NEWER
    install(machine, "agenttask-server-next.deb")
    until(lambda: active(machine, SERVER), lambda: f"it goes on\n{machine.tail()}")
    assert "ann" in machine.says("agenttask-server operator list")
    purge(machine, "agenttask-server")
