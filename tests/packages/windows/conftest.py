"""A Windows drive under Wine for each file of cases, a server of this machine, and nothing left of either."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from wine import PROGRAMS, ROOT, Drive  # noqa: E402
from programs import BIN, Server  # noqa: E402


def pytest_collection_modifyitems(items):
    missing = [str(file) for file in (PROGRAMS / "agenttaskd.exe", PROGRAMS / "agenttask.exe", BIN / "agenttask-server") if not file.exists()]
    if not Path("/usr/lib/wine/wine64").exists():
        missing.append("wine64")
    if missing:
        for item in items:
            item.add_marker(pytest.mark.skip(reason="there is no " + ", no ".join(missing)))


@pytest.fixture(scope="session")
def idle(tmp_path_factory):
    """The program idle.exe (see idle.c)."""
    made = tmp_path_factory.mktemp("programs") / "idle.exe"
    subprocess.run(["x86_64-w64-mingw32-gcc-posix", "-O1", "-static", "-o", made, Path(__file__).parent / "idle.c"], check=True)
    return made


@pytest.fixture(scope="module")
def drive(tmp_path_factory, idle):
    # One that is ready is copied: making one takes most of a minute.
    drive = Drive(tmp_path_factory.mktemp("wine") / "prefix", os.environ.get("AGENTTASK_WINE_MODEL") or ROOT / "build/windows/wine")
    shutil.copy(idle, drive.c / "idle.exe")
    yield drive
    drive.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("server") / "one").start()
    yield server
    if server.program:
        server.stop()
