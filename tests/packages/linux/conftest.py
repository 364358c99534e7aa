"""The packages under test, and machines to put them on."""
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import machine as machines   # noqa: E402

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = Path(os.environ.get("AGENTTASK_PACKAGES") or ROOT / "build/packages")


def newest(pattern):
    found = sorted(PACKAGES.glob(pattern))
    if not found:
        pytest.skip(f"there is no {pattern} in {PACKAGES}: make it with ./dev package")
    return found[-1]


class Debs:
    """The packages as they were made, and as a later version of them: the same programs, a new text."""

    def __init__(self, folder):
        self.folder = folder
        self.version = re.fullmatch(r"agenttask-agent_(.+)_\w+\.deb", newest("agenttask-agent_*.deb").name)[1]
        self.next_version = f"{self.version}+next1"
        for name in ("agenttask-agent", "agenttask-server"):
            now = newest(f"{name}_*.deb")
            (folder / f"{name}.deb").write_bytes(now.read_bytes())
            self._make_next(name, now)

    def _make_next(self, name, now):
        tree = self.folder / f"{name}.tree"
        subprocess.run(["dpkg-deb", "-R", now, tree], check=True)
        control = tree / "DEBIAN/control"
        control.write_text(re.sub(r"^Version: .*$", f"Version: {self.next_version}", control.read_text(), flags=re.M))
        example = tree / "usr/share/doc" / name / {"agenttask-agent": "agent.conf.example", "agenttask-server": "server.conf.example"}[name]
        example.write_text(example.read_text() + "\n# A setting that is new in this version would stand here.\n")
        (tree / "DEBIAN/md5sums").unlink(missing_ok=True)
        subprocess.run(["dpkg-deb", "--root-owner-group", "-Zgzip", "-b", tree, self.folder / f"{name}-next.deb"], check=True, capture_output=True)


@pytest.fixture(scope="session")
def debs(tmp_path_factory):
    return Debs(tmp_path_factory.mktemp("packages"))


@pytest.fixture(scope="module")
def machine(request, debs):
    """Booted for one file of tests, which go on from each other in their order."""
    problem = machines.why_not()
    if problem:
        pytest.skip(problem)
    one = machines.Machine(request.module.__name__.replace("_", "-"), debs.folder)
    yield one
    one.stop()


# What follows a failure in a story would fail for it alone.

def pytest_runtest_makereport(item, call):
    if call.excinfo is not None and not call.excinfo.errisinstance(pytest.skip.Exception) and "machine" in item.fixturenames:
        item.parent.story_broke = item.name


def pytest_runtest_setup(item):
    broke = getattr(item.parent, "story_broke", None)
    if broke:
        pytest.skip(f"the story broke off at {broke}")
