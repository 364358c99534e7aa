"""A Windows drive under Wine, servers of this machine, and nothing left of either."""
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from wine import PROGRAMS, WINE, Drive  # noqa: E402
from programs import BIN, Server  # noqa: E402


def pytest_collection_modifyitems(items):
    needed = (PROGRAMS / "agenttaskd.exe", PROGRAMS / "agenttask.exe", BIN / "agenttask-server", WINE / "wine64", WINE / "wineserver64")
    missing = [str(file) for file in needed if not file.exists()]
    missing += [tool for tool in ("wixl", "msibuild", "x86_64-w64-mingw32-gcc-posix") if not shutil.which(tool)]
    if missing:
        for item in items:
            item.add_marker(pytest.mark.skip(reason="there is no " + ", no ".join(missing)))


@pytest.fixture(scope="session")
def place():
    """A folder for all that there is, removed in the end: a drive is large."""
    folder = Path(tempfile.mkdtemp(prefix="agenttask-windows-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def drive(place):
    """One for all: to make it takes most of a minute. idle.exe lies on it (see idle.c)."""
    drive = Drive(place / "prefix")
    try:
        yield drive.start()
    finally:
        drive.halt()


@pytest.fixture(scope="module")
def server(place, request):
    server = Server(place / request.module.__name__).start()
    yield server
    if server.program:
        server.stop()
