"""The agent as a service: what it tells its manager, and how it stops while tasks run."""
import json
import os
import signal
import socket
import time

import pytest

from programs import BIN, Agent, Program, Server, until

WAIT_FOR_GO = "echo begun; touch {f}/begun; while [ ! -e {f}/go ]; do sleep 0.02; done; echo done"


def add(agent, line):
    """The id of a task that runs this shell line."""
    added = agent.console("add", "command", "--data", json.dumps({"cmd": line}), "--json")
    assert added.returncode == 0, added
    return json.loads(added.stdout)["id"]


def show(agent, task):
    return json.loads(agent.console("show", task, "--json").stdout)


class Manager:
    """A service manager that only listens."""

    def __init__(self, folder):
        self.address = str(folder / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.address)
        self.socket.settimeout(30)
        self.heard = []

    def next(self, *kinds):
        """The next message of one of these kinds, and when it came; every other one is kept."""
        while True:
            message = dict(line.split("=", 1) for line in self.socket.recv(4096).decode().splitlines())
            self.heard.append(message)
            if any(kind in message for kind in kinds):
                return message, time.monotonic()


class ManagedAgent(Agent):
    """An agent that a service manager started."""

    def __init__(self, folder, address, *options, **variables):
        super().__init__(folder, None, *options)
        self.variables = {"NOTIFY_SOCKET": address, **variables}

    def start(self):
        words = [f"{name}={value}" for name, value in self.variables.items()]
        self.program = Program(["env", *words, BIN / "agenttaskd", "--state-dir", self.state, *self.options], self.folder / "agent.log")
        return self


@pytest.fixture
def manager(tmp_path):
    manager = Manager(tmp_path)
    yield manager
    manager.socket.close()


@pytest.fixture
def managed(yard, manager):
    def make(*options, **variables):
        yard.made.append(ManagedAgent(yard.place("agent"), manager.address, *options, **variables))
        return yard.made[-1].start()
    return make


def test_the_manager_hears_of_start_reload_and_stop(managed, manager):
    agent = managed()
    ready, _ = manager.next("READY")
    assert ready["READY"] == "1" and ready["STATUS"]
    assert agent.console("status").returncode == 0, "ready means that it answers"
    os.kill(agent.program.pid, signal.SIGHUP)
    reloading, _ = manager.next("RELOADING")
    assert 0 < int(reloading["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
    assert manager.next("READY")[0]["READY"] == "1"
    shown = agent.console("command", "env")
    assert shown.returncode == 0 and "NOTIFY" not in shown.stdout and "WATCHDOG" not in shown.stdout
    agent.stop()
    assert manager.next("STOPPING")[0]["STOPPING"] == "1"
    assert not any("WATCHDOG" in message for message in manager.heard), "nobody asked for it"


def test_the_watchdog_hears_signs_of_life_also_while_it_stops(managed, manager, tmp_path):
    agent = managed("--shutdown-drain", "60s", WATCHDOG_USEC="400000")
    command = agent.console_program("command", WAIT_FOR_GO.format(f=tmp_path))
    until((tmp_path / "begun").exists, "it runs")
    times = [manager.next("WATCHDOG")[1] for _ in range(4)]
    assert times[-1] - times[0] < 3 * 0.4 + 2, "more often than asked for"
    os.kill(agent.program.pid, signal.SIGTERM)
    manager.next("STOPPING")
    for _ in range(3):
        manager.next("WATCHDOG")
    (tmp_path / "go").touch()
    assert agent.program.wait() == 0
    assert command.communicate(timeout=30)[0] == "begun\ndone\n"


@pytest.mark.parametrize("variables", [{"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "-5"}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"}])
def test_a_watchdog_that_is_none_of_ours_hears_nothing(managed, manager, variables):
    agent = managed(**variables)
    manager.next("READY")
    agent.stop()
    manager.next("STOPPING")
    assert not any("WATCHDOG" in message for message in manager.heard)


def test_an_address_that_nobody_listens_at_harms_nothing(yard, tmp_path):
    for address in (tmp_path / "nobody", "/" + "x" * 200, "@nobody", "relative"):
        agent = ManagedAgent(yard.place("agent"), address)
        yard.made.append(agent)
        agent.start()
        until(agent.listens, "it runs")
        agent.stop()


def test_shutdown_drain_lets_runs_end_and_starts_nothing_new(yard, tmp_path):
    agent = yard.agent(None, "--shutdown-drain", "60s").start()
    task = add(agent, WAIT_FOR_GO.format(f=tmp_path))
    until((tmp_path / "begun").exists, "it runs")
    os.kill(agent.program.pid, signal.SIGTERM)
    until(lambda: "agenttaskd stops" in agent.program.text(), "it begins to stop")
    add(agent, f"touch {tmp_path}/late")
    assert agent.program.alive()
    (tmp_path / "go").touch()
    assert agent.program.wait() == 0
    agent.program = None
    assert not (tmp_path / "late").exists(), "nothing new starts while it drains"
    agent.start()
    until((tmp_path / "late").exists, "it runs after the start")
    ended = show(agent, task)
    assert ended["status"] == "complete" and ended["runCount"] == 1, ended


def test_what_does_not_end_within_the_drain_is_stopped(yard, tmp_path):
    agent = yard.agent(None, "--shutdown-drain", "300ms").start()
    task = add(agent, WAIT_FOR_GO.format(f=tmp_path))
    until((tmp_path / "begun").exists, "it runs")
    begin = time.monotonic()
    agent.stop()
    assert time.monotonic() - begin >= 0.3
    agent.start()
    ended = show(agent, task)
    assert ended["status"] == "failed" and ended["reason"] == "interrupted", ended


def test_the_server_gives_signs_of_life_until_it_stops(yard, manager):
    server = Server(yard.place("server"))
    server.start_words = ["env", f"NOTIFY_SOCKET={manager.address}", "WATCHDOG_USEC=400000", *server.start_words]
    yard.made.append(server)
    server.start()
    assert manager.next("READY")[0]["STATUS"] == f"serving on port {server.port}"
    times = [manager.next("WATCHDOG")[1] for _ in range(4)]
    assert times[-1] - times[0] < 3 * 0.4 + 2, "more often than asked for"
    server.stop()
    stopping, _ = manager.next("STOPPING")
    assert int(stopping["EXTEND_TIMEOUT_USEC"]) >= 10_000_000, "as long as requests under way may take"
