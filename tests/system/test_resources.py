"""Nothing left of what programs need: disk, descriptors, memory, processes, room for reports. They refuse with a reason, lose nothing, stay idle and recover by themselves."""
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from programs import BIN, Agent, Program, Server, environment, is_alive, until
from test_containment import add, ended, show

MEBIBYTE = 1024 * 1024
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="this needs root")


# ---- what is looked at

def explain(agent, task):
    answer = json.loads(agent.console("explain", task, "--json").stdout)
    return answer["reason"], answer["detail"]


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def stays_idle(pid, seconds=1.0):
    """Over a second a loop that never pauses takes a second."""
    before = cpu_seconds(pid)
    time.sleep(seconds)
    return cpu_seconds(pid) - before < 0.3 * seconds


def limit(pid, which, soft, user=None):
    """Sets a soft limit of a running program, as its user where that is somebody else; returns what it was."""
    before = next(line for line in Path(f"/proc/{pid}/limits").read_text().splitlines() if line.startswith(LIMITS[which])).split("  ")
    before = [word.strip() for word in before if word.strip()][1]
    become = ["setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups"] if user else []
    subprocess.run([*become, "prlimit", "--pid", str(pid), f"--{which}={soft}:"], check=True)
    return before


LIMITS = {"nofile": "Max open files", "nproc": "Max processes"}


# ---- no disk

class SmallDisk:
    """A file system of its own in memory for one folder."""

    def __init__(self, folder, size):
        self.folder, self.filler = folder, folder / "filler"
        folder.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "agenttask-test", folder], check=True)

    def fill(self):
        """To the last block, also what gets free meanwhile."""
        with open(self.filler, "ab", buffering=0) as file:
            for size in (MEBIBYTE, 4096, 1):
                while True:
                    try:
                        file.write(b"x" * size)
                    except OSError:
                        break

    def empty(self):
        self.filler.unlink()

    def free(self):
        facts = os.statvfs(self.folder)
        return facts.f_bavail * facts.f_frsize

    def remount(self, how):
        subprocess.run(["mount", "-o", f"remount,{how}", self.folder], check=True)

    def remove(self):
        subprocess.run(["umount", self.folder], check=True)


@pytest.fixture
def small_disk(tmp_path):
    made = []

    def make(folder, size="24m"):
        made.append(SmallDisk(folder, size))
        return made[-1]
    yield make
    for disk in made:
        disk.remove()


@as_root
def test_H2_a_run_ends_on_a_full_disk_and_nothing_new_starts(small_disk, yard, tmp_path):
    agent = yard.agent()
    disk = small_disk(agent.state)
    try:
        agent.start()
        reserve = agent.state / "reserve"
        go, task = tmp_path / "go", None
        task = add(agent, f"head -c 200000 /dev/urandom | base64; echo begun > {tmp_path}/begun; while [ ! -e {go} ]; do sleep 0.02; done; echo done; exit 3")
        until((tmp_path / "begun").exists, "the run has begun")
        assert reserve.stat().st_blocks * 512 >= 512 * 1024, "a thirty-second of the disk is kept"
        disk.fill()
        go.touch()
        result = ended(agent, task)
        assert result["reason"] == "exit-status" and result["result"]["data"]["exitCode"] == 3
        # Its output came before the disk was full; its last words came after, and are counted.
        assert result["result"]["data"]["stdoutBytes"] > 266_000
        assert not reserve.exists(), "the end had to come from somewhere"
        # What is free again is not enough to keep room for the next end.
        refused = agent.console("add", "command", "--data", json.dumps({"cmd": f"touch {tmp_path}/second"}), "--json")
        if refused.returncode == 0:
            second = json.loads(refused.stdout)["id"]
            until(lambda: explain(agent, second)[0] == "ledger-unwritable", "it says why it does not start")
        else:
            assert refused.returncode == 125 and "disk" in refused.stderr or "full" in refused.stderr, refused
            second = None
        assert stays_idle(agent.program.pid)
        assert not (tmp_path / "second").exists()
        disk.empty()
        second = second or until(lambda: (a := agent.console("add", "command", "--data", json.dumps({"cmd": f"touch {tmp_path}/second"}), "--json"))
                                 .returncode == 0 and json.loads(a.stdout)["id"], "there is room again")
        assert ended(agent, second)["status"] == "complete" and (tmp_path / "second").exists()
        assert reserve.exists(), "it is kept again"
        agent.stop()
    finally:
        if agent.program:
            agent.kill()


@as_root
def test_H2_a_run_cut_off_is_interrupted_on_a_full_disk_too(small_disk, yard, tmp_path):
    agent = yard.agent()
    disk = small_disk(agent.state)
    try:
        agent.start()
        task = add(agent, "echo out; sleep 600")
        # What the agent had not taken in when it was killed is nobody's.
        until(lambda: any(b"out\n" in file.read_bytes() for file in (agent.state / "spool").rglob("*") if file.is_file()), "its output is kept")
        agent.kill()
        disk.fill()
        agent.start()
        result = ended(agent, task)
        assert result["reason"] == "interrupted" and result["result"]["data"]["stdout"] == "out\n"
        disk.empty()
        next_one = until(lambda: (a := agent.console("add", "command", "--data", '{"cmd":"true"}', "--json")).returncode == 0 and json.loads(a.stdout)["id"], "there is room again")
        assert ended(agent, next_one)["status"] == "complete"
        agent.stop()
    finally:
        if agent.program:
            agent.kill()


@as_root
def test_H2_a_server_on_a_full_disk_refuses_and_keeps_what_it_has(small_disk, tmp_path):
    disk = small_disk(tmp_path / "disk")
    server = Server(disk.folder / "server").start()
    try:
        api = server.api()
        token = server.enrollment_token()
        agent = Agent(tmp_path / "agent", server).start().enroll(token)
        try:
            kept = [api.add(agent.node, "nobody-knows-this", {"n": n})["id"] for n in range(20)]
            disk.fill()
            refused = None
            for _ in range(200):     # the log of the database has room of its own for a while
                answer = api.post(f"/v1/nodes/{agent.node}/tasks", {"type": "nobody-knows-this", "data": {"text": "x" * 100_000}})
                if answer.status != 201:
                    refused = answer
                    break
                kept.append(answer.json["id"])
            assert refused is not None and refused.status in (500, 503, 507), (refused.status, refused.body)
            assert refused.json["detail"]
            for id in kept:
                assert api.get(f"/v1/tasks/{id}").status == 200
            assert stays_idle(server.program.pid)
            disk.empty()
            task = until(lambda: (a := api.post(f"/v1/nodes/{agent.node}/tasks", {"type": "echo", "data": {"message": "again"}})).status == 201 and a.json, "there is room again")
            assert api.ended(task["id"])["status"] == "complete"
            assert api.get("/readyz").status == 200
            for id in kept:
                assert api.task(id)["status"] in ("pending", "sent")
        finally:
            agent.stop()
    finally:
        server.stop()


@as_root
def test_an_agent_on_a_read_only_disk_says_so_and_goes_on(small_disk, yard):
    agent = yard.agent()
    disk = small_disk(agent.state)
    try:
        task = add(agent.start(), "echo kept")
        ended(agent, task)
        agent.stop()
        disk.remount("ro")
        agent.program = Program([BIN / "agenttaskd", "--state-dir", agent.state], agent.folder / "agent.log")
        until(lambda: "Read-only file system" in agent.program.text(), "it says what is wrong")
        assert stays_idle(agent.program.pid) and agent.program.alive()
        disk.remount("rw")
        until(agent.listens, "it goes on by itself")
        assert until(lambda: agent.console("show", task, "--json").returncode == 0 and show(agent, task)["status"], "its ledger is open") == "complete"
        assert ended(agent, add(agent, "echo on"))["status"] == "complete"
        agent.stop()
    finally:
        if agent.program:
            agent.kill()


@as_root
def test_a_server_on_a_read_only_disk_refuses_to_start(small_disk, tmp_path):
    disk = small_disk(tmp_path / "disk")
    server = Server(disk.folder / "server")
    disk.remount("ro")
    done = subprocess.run([BIN / "agenttask-server", "run", "--listen", f"127.0.0.1:{server.port}", "--state-dir", server.state],
                          capture_output=True, text=True, env=environment(), timeout=60)
    assert done.returncode > 0 and str(server.state) in done.stderr and ("rights" in done.stderr or "ead-only" in done.stderr), done
    disk.remount("rw")
    server.start().stop()


# ---- no descriptors

def open_descriptors(pid):
    return max(int(name) for name in os.listdir(f"/proc/{pid}/fd")) + 1


# To look whether an object is there, the sanitizer of undefined behaviour opens a pipe; without descriptors it reports one that is.
@pytest.mark.skipif("undefined" in os.environ.get("AGENTTASK_SANITIZE", ""), reason="the sanitizer itself needs descriptors")
def test_an_agent_without_a_descriptor_waits_and_goes_on(yard, tmp_path):
    agent = yard.agent().start()
    pid = agent.program.pid
    due = json.loads(agent.console("add", "command", "--data", json.dumps({"cmd": f"touch {tmp_path}/ran"}), "--at", "in 2s", "--json").stdout)["id"]
    before = limit(pid, "nofile", 3)
    # Consoles knock, and a task is due; neither gets a descriptor.
    caller = subprocess.Popen(agent.words(["show", due, "--json"]), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    assert stays_idle(pid, 3)
    assert not (tmp_path / "ran").exists() and agent.program.alive()
    limit(pid, "nofile", before)
    out, err = caller.communicate(timeout=60)      # it waited, or was told to come again
    assert caller.returncode == 0 or "try again" in err or "accept" in err, (out, err)
    assert ended(agent, due)["status"] == "complete" and (tmp_path / "ran").exists()
    assert len(json.loads(agent.console("runs", due, "--json").stdout)["runs"]) == 1
    assert agent.program.text().count("cannot accept a console") <= 2, agent.program.text()


@pytest.mark.skipif("undefined" in os.environ.get("AGENTTASK_SANITIZE", ""), reason="the sanitizer itself needs descriptors")
def test_a_server_without_a_descriptor_waits_and_goes_on(yard):
    site = yard.site()
    pid = site.server.program.pid
    kept = site.api.add(site.node, "nobody-knows-this", {})["id"]
    before = limit(pid, "nofile", 3)
    knocking = [socket.create_connection(("127.0.0.1", site.server.port)) for _ in range(5)]
    assert stays_idle(pid, 2) and site.server.program.alive()
    limit(pid, "nofile", before)
    for one in knocking:
        one.close()
    until(site.server.ready, "the server answers again")
    assert site.api.task(kept)["id"] == kept
    assert site.api.ended(site.api.add(site.node)["id"])["status"] == "complete"
    assert site.server.program.text().count("cannot accept connections") <= 2


# ---- no processes, no memory

class OrdinaryAgent(Agent):
    """An agent of an ordinary user whom nobody else is, so that the limits of this user are its own."""

    USER = 54321

    def start(self):
        user = str(self.USER)
        self.program = Program(["setpriv", "--reuid", user, "--regid", user, "--clear-groups", BIN / "agenttaskd", "--state-dir", self.state, *self.options],
                               self.folder / "agent.log")
        until(self.listens, f"the agent listens\n{self.program.text()}")
        return self


@pytest.fixture
def ordinary():
    """Its folder is where such a user can come; the one of all other cases is not."""
    if os.geteuid() != 0:
        pytest.skip("becoming an ordinary user needs root")
    folder = Path(tempfile.mkdtemp(prefix="agenttask-"))
    folder.chmod(0o755)
    agent = OrdinaryAgent(folder / "agent", None, "--slots", "4")
    os.chown(agent.folder, OrdinaryAgent.USER, OrdinaryAgent.USER)
    yield agent.start()
    if agent.program:
        agent.stop()
    shutil.rmtree(folder)


def waits_for_the_system(agent, task):
    return until(lambda: (why := explain(agent, task))[0] == "no-slot" and why[1], f"{task} says that the system is short")


def test_without_a_process_left_tasks_wait_and_go_on(ordinary, tmp_path):
    pid = ordinary.program.pid
    ended(ordinary, add(ordinary, "true"))
    due = json.loads(ordinary.console("add", "command", "--data", '{"cmd":"echo ran"}', "--at", "in 1s", "--json").stdout)["id"]
    before = limit(pid, "nproc", 1, OrdinaryAgent.USER)
    assert stays_idle(pid, 3) and ordinary.program.alive()
    told = ordinary.console("status")
    assert told.returncode not in (0, 1) and "no thread for another console" in told.stdout + told.stderr, told
    limit(pid, "nproc", before, OrdinaryAgent.USER)
    result = ended(ordinary, due)
    assert result["status"] == "complete" and result["result"]["data"]["stdout"] == "ran\n"
    assert len(json.loads(ordinary.console("runs", due, "--json").stdout)["runs"]) == 1


@as_root
@pytest.mark.parametrize("error", ["ENOMEM", "EAGAIN"])
def test_where_no_child_can_be_made_tasks_wait_and_go_on(yard, tmp_path, error):
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    if "thread" in os.environ.get("AGENTTASK_SANITIZE", ""):
        pytest.skip("the thread sanitizer makes another call of vfork")
    agent = yard.agent().start()
    said = tmp_path / "strace"
    tracer = subprocess.Popen(["strace", "-f", "-qq", "-o", said, "-p", str(agent.program.pid), "-e", "trace=vfork",
                               "-e", f"inject=vfork:error={error}"], stderr=subprocess.DEVNULL)
    try:
        until(lambda: "TracerPid:\t0" not in Path(f"/proc/{agent.program.pid}/status").read_text(), "strace holds the agent")
        task = add(agent, f"touch {tmp_path}/ran")
        assert "no process can be started" in waits_for_the_system(agent, task)
        assert not (tmp_path / "ran").exists()
        # Work that needs no process of its own waits, too: a device so short starts nothing.
        assert show(agent, task)["status"] == "sent" and show(agent, task)["runCount"] == 0
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(30)
    assert ended(agent, task)["status"] == "complete" and show(agent, task)["runCount"] == 1


def test_a_command_that_gets_no_memory_fails_and_says_so(yard):
    agent = yard.agent().start()
    result = ended(agent, add(agent, "ulimit -v 1000; /bin/ls /"))
    assert result["status"] == "failed" and result["reason"] == "exit-status" and result["result"]["data"]["exitCode"] != 0
    assert ended(agent, add(agent, "echo on"))["status"] == "complete"


# ---- no room for reports

def test_the_outbox_keeps_to_its_budget_and_drops_no_end(yard, tmp_path):
    server = yard.server().start()
    agent = yard.agent(server, "--outbox-budget", "1MiB").start().enroll()
    server.stop()

    def outbox():
        return json.loads(agent.console("status", "--json").stdout)["ledger"]["outboxBytes"]

    # Output fills it up to seven eighths.
    flood = "head -c 200000 /dev/zero | tr '\\0' x; exit 3"
    dropped, tasks = 0, []
    while not dropped:
        assert len(tasks) < 12
        tasks.append(add(agent, flood))
        data = ended(agent, tasks[-1])["result"]["data"]
        assert data["exitCode"] == 3 and data["stdoutBytes"] == 200_000
        dropped = data.get("outputDropped", 0)
    assert data["truncated"] and len(tasks) > 2, "some output found room"
    assert outbox() <= MEBIBYTE
    # Ends find room until it is full; then nothing starts.
    waits = None
    while not waits:
        assert len(tasks) < 40
        added = agent.console("add", "echo", "--data", json.dumps({"message": "y" * 50_000}), "--json")
        tasks.append(json.loads(added.stdout)["id"])
        waits = until(lambda: show(agent, tasks[-1])["status"] == "complete" or explain(agent, tasks[-1])[0] == "outbox-full" and "full", "it ran, or says why not") == "full"
    last = tasks[-1]
    assert "reports" in explain(agent, last)[1] and show(agent, last)["status"] == "sent"
    assert agent.console("status").returncode == 1 and "outbox" in agent.console("status").stdout
    full = outbox()
    agent.kill()          # it is all on disk
    agent.start()
    assert outbox() >= full and explain(agent, last)[0] in ("outbox-full", "")
    until(lambda: explain(agent, last)[0] == "outbox-full", "it still waits")
    for task in tasks[:-1]:
        assert show(agent, task)["status"] in ("complete", "failed")
    # The server comes back: it hears of each end, and what waited runs.
    server.start()
    api = server.api()
    for task in tasks:
        until(lambda: api.get(f"/v1/tasks/{task}").status == 200, "the server heard of it")
        far, near = api.ended(task), show(agent, task)
        assert far["status"] == near["status"] and far.get("reason") == near.get("reason")
        if far["type"] == "command":
            assert far["result"]["data"]["stdoutBytes"] == 200_000 and far["result"]["data"]["exitCode"] == 3
            assert far["result"]["data"].get("outputDropped") == near["result"]["data"].get("outputDropped")
    until(lambda: outbox() == 0, "the outbox is empty")


# ---- more output than anybody wants

def resident_kilobytes(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))


def test_G4_two_streams_of_bytes_that_are_no_text_and_no_line(yard):
    agent = yard.agent().start()
    pid = agent.program.pid
    size = 200_000_000
    before = most = resident_kilobytes(pid)
    flood = f"head -c {size} /dev/zero | tr '\\0' '\\377'"
    task = add(agent, f"{flood} >&2 & {flood}; wait; exit 4")
    while show(agent, task)["status"] not in ("complete", "failed"):
        most = max(most, resident_kilobytes(pid))
    data = ended(agent, task)["result"]["data"]
    assert data["exitCode"] == 4 and data["stdoutBytes"] == size and data["stderrBytes"] == size and data["truncated"]
    assert data["stdoutEncoding"] == data["stderrEncoding"] == "base64"
    if not os.environ.get("AGENTTASK_SANITIZE"):              # sanitizers keep what was freed
        assert most - before < 64 * 1024, (before, most)


def test_G4_a_grandchild_that_goes_on_writing_holds_up_nobody(yard, tmp_path):
    agent = yard.agent().start()
    begun = time.monotonic()
    task = add(agent, f"(while echo noise; do sleep 0.01; done; touch {tmp_path}/cut) & echo $! > {tmp_path}/pid; echo out; exit 0")
    result = ended(agent, task)
    assert result["status"] == "complete" and "out\n" in result["result"]["data"]["stdout"]
    assert time.monotonic() - begun < 10
    # Nobody reads its pipe any more, which it is told as any program is.
    writer = int((tmp_path / "pid").read_text())
    until(lambda: not is_alive(writer), "the writer has ended")
