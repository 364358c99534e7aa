"""Windows programs under Wine: a drive of their own, the agent and its console on it, and who runs there."""
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests/system"))

import programs  # noqa: E402
from programs import Agent, until  # noqa: E402

#: Where agenttaskd.exe and agenttask.exe are.
PROGRAMS = Path(os.environ.get("AGENTTASK_WINDOWS_BIN") or ROOT / "build/windows/bin")
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


class Drive:
    """A Windows drive C: in a folder, which nobody else uses."""

    def __init__(self, folder, model=None):
        self.folder = Path(folder)
        self.c = self.folder / "drive_c"
        self.variables = {"WINEPREFIX": str(self.folder), "HOME": str(self.folder.parent), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
        if model and (Path(model) / "drive_c").is_dir():
            shutil.copytree(model, self.folder, symlinks=True)
        else:
            self.run("wineboot", "-i", deadline=2 * SLOW)
            self.run("winecfg", "-v", "win10")
        # Alone, before anything else: two first starts at once crash each other.
        self.run("cmd", "/c", "exit 0")

    def words(self, *arguments):
        return ["env", f"WINEPREFIX={self.folder}", str(ROOT / "scripts/wine-run"), *map(str, arguments)]

    def run(self, *arguments, deadline=SLOW, check=True):
        """To its end; what it printed, as bytes."""
        with subprocess.Popen(self.words(*arguments), env=self.variables, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              start_new_session=True) as process:
            try:
                out, err = process.communicate(timeout=deadline)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        done = subprocess.CompletedProcess(arguments, process.returncode, out, err)
        assert not check or done.returncode == 0, done
        return done

    def close(self):
        """Ends what runs on this drive, and its wineserver."""
        subprocess.run(["/usr/lib/wine/wineserver64", "-k"], env=self.variables, timeout=60, check=False)
        subprocess.run(["/usr/lib/wine/wineserver64", "-w"], env=self.variables, timeout=60, check=False)

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

    def console(self, *arguments, text=True, **more):
        done = subprocess.run(self.words(arguments), capture_output=True, env=programs.environment(self.drive.variables), timeout=SLOW,
                              stdin=subprocess.DEVNULL, **more)
        if text:
            done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode(errors="replace")
        return done

    def find_node(self):
        server = json.loads(self.console("status", "--json").stdout)["server"]
        return server["enrolled"] and server["nodeId"]


__all__ = ["PROGRAMS", "ROOT", "SLOW", "Drive", "WindowsAgent", "token_pids", "until"]
