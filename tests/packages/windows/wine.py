"""Windows programs under Wine: a drive of their own, the agent and its console on it, and who runs there."""
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests/system"))

import programs  # noqa: E402
from programs import Agent, until  # noqa: E402

#: Where agenttaskd.exe and agenttask.exe are.
PROGRAMS = Path(os.environ.get("AGENTTASK_WINDOWS_BIN") or ROOT / "build/windows/bin")
WINE = Path("/usr/lib/wine")
#: Wine starts a program slowly, and several at once more slowly.
SLOW = 180.0


def token_pids(token):
    """The processes that have this word in their command line, as Linux sees them."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if token.encode() in words:
                found.append(int(entry.name))
    return found


def ended(api, id, seconds=SLOW):
    """The task as the server knows it once it has ended."""
    def look():
        task = api.get(f"/v1/tasks/{id}?wait=5000").ok()
        return task if task["status"] in ("complete", "failed", "cancelled") else None
    return until(look, f"task {id} ends", seconds)


def finished(words, variables, deadline=SLOW):
    """A program once it has ended, with what it printed, as bytes. In files: what Wine starts beside it keeps a pipe open."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with subprocess.Popen(words, env=variables, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True) as process:
            try:
                code = process.wait(deadline)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(words, code, out.read(), err.read())


class Drive:
    """A Windows machine with a drive C: in a folder, which nobody else uses: start() makes it, boot() and halt() are its switch."""

    def __init__(self, folder):
        self.on = None
        self.folder = Path(folder)
        self.c = self.folder / "drive_c"
        self.variables = {"WINEPREFIX": str(self.folder), "HOME": str(self.folder.parent), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}

    def start(self):
        # Alone, before anything else: two first starts at once crash each other.
        self.run("wineboot", "-i", deadline=2 * SLOW)
        self.run("winecfg", "-v", "win10")
        subprocess.run(["x86_64-w64-mingw32-gcc-posix", "-O1", "-static", "-o", self.c / "idle.exe", Path(__file__).parent / "idle.c"], check=True)
        self.boot()
        return self

    def boot(self):
        """Wine starts services with its first program, and ends them with its last."""
        self.on = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *self.words("C:\\idle.exe", "on")], env=self.variables, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        self.run("cmd", "/c", "exit 0")

    def words(self, *arguments):
        return ["env", f"WINEPREFIX={self.folder}", str(ROOT / "scripts/wine-run"), *map(str, arguments)]

    def run(self, *arguments, deadline=SLOW, check=True):
        """A program of this drive, to its end."""
        done = finished(self.words(*arguments), self.variables, deadline)
        assert not check or done.returncode == 0, done
        return done

    def halt(self):
        """Ends whatever runs there, at once, and its wineserver, which writes the registry down."""
        for word in ("-k", "-w"):
            subprocess.run([WINE / "wineserver64", word], env=self.variables, timeout=60, check=False)
        if self.on:
            self.on.kill()
            self.on.wait()
            self.on = None

    def registry(self):
        """All of it. The machine is halted to read it, and boots again."""
        self.halt()
        text = "".join((self.folder / name).read_text(errors="replace") for name in ("system.reg", "user.reg", "userdef.reg"))
        self.boot()
        return text

    def path(self, *parts):
        """A file on the drive: where Linux has it, and what Windows calls it."""
        return self.c.joinpath(*parts), "C:\\" + "\\".join(parts)


class WindowsAgent(Agent):
    """agenttaskd.exe with a state folder of its own on the drive; the console beside it."""

    def __init__(self, drive, name, server, *options):
        self.drive = drive
        place, self.windows_folder = drive.path("story", name)
        super().__init__(place, server, *options, name=name)
        self.state = self.windows_folder + "\\state"
        self.start_words = drive.words(PROGRAMS / "agenttaskd.exe")

    def words(self, arguments):
        return self.drive.words(PROGRAMS / "agenttask.exe", *super().words(arguments)[1:])

    def console(self, *arguments):
        done = finished(self.words(arguments), programs.environment(self.drive.variables))
        done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode(errors="replace")
        return done

    def find_node(self):
        server = json.loads(self.console("status", "--json").stdout)["server"]
        return server["enrolled"] and server["nodeId"]


__all__ = ["PROGRAMS", "ROOT", "SLOW", "WINE", "Drive", "WindowsAgent", "ended", "token_pids", "until"]
