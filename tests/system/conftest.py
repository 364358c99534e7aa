"""What every case starts from."""
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from programs import Agent, Server, is_alive, until  # noqa: E402


def pytest_configure(config):
    """A short folder of our own (a local socket's path is at most 107 bytes), removed at the end unless something failed."""
    if not config.option.basetemp:
        config.option.basetemp = config.own_folder = tempfile.mkdtemp(prefix="agenttask-")


def pytest_sessionfinish(session, exitstatus):
    folder = getattr(session.config, "own_folder", None)
    if folder and exitstatus == 0:
        shutil.rmtree(folder, ignore_errors=True)


class Site:
    """A server, an enrolled agent, and the calls of its administrator."""

    def __init__(self, server, agent):
        self.server, self.agent = server, agent
        self.api = server.api()

    @property
    def node(self):
        return self.agent.node


class Yard:
    """Makes servers and agents below one folder, and ends all of them afterwards."""

    def __init__(self, folder):
        self.folder, self.made, self.count = folder, [], 0

    def place(self, name):
        self.count += 1
        return self.folder / f"{name}{self.count}"

    def server(self, *options):
        self.made.append(Server(self.place("server"), *options))
        return self.made[-1]

    def agent(self, server=None, *options, **more):
        self.made.append(Agent(self.place("agent"), server, *options, **more))
        return self.made[-1]

    def site(self):
        server = self.server().start()
        return Site(server, self.agent(server).start().enroll())

    def clear(self):
        for one in reversed(self.made):
            if one.program:
                one.stop()


@pytest.fixture
def yard(tmp_path):
    """For cases that kill, stop or break things."""
    yard = Yard(tmp_path)
    yield yard
    yard.clear()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """One server and one agent for all cases of a file that leave them as they are."""
    yard = Yard(tmp_path_factory.mktemp("site"))
    yield yard.site()
    yard.clear()


@pytest.fixture(scope="session", autouse=True)
def nothing_left_running(tmp_path_factory):
    """No process may outlive the cases: whose command line names our folder is ours."""
    yield
    folder = str(tmp_path_factory.getbasetemp()).encode()

    def left():
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    line = (entry / "cmdline").read_bytes()
                except OSError:
                    continue
                if folder in line and is_alive(entry.name):
                    found[int(entry.name)] = line.replace(b"\0", b" ").decode(errors="replace")
        return found

    try:
        until(lambda: not left(), "all processes ended", deadline=10)
    except AssertionError:
        survivors = left()
        for pid in survivors:
            os.kill(pid, signal.SIGKILL)
        pytest.fail(f"processes outlived their cases: {survivors}")
