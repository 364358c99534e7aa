"""What a program is made to suffer from inside (trouble.c) and from its disk."""
import ctypes
import mmap
import os
import shutil
import struct
import subprocess
from pathlib import Path

from programs import preloaded

CLONE_NEWNS = 0x20000
SOURCE = Path(__file__).with_name("trouble.c")


def compile_trouble(folder):
    library = folder / "trouble.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, SOURCE, "-ldl"], check=True)
    return library


class Trouble:
    """One program's syncs and wall clock. Threads: any."""

    def __init__(self, library, file):
        self.library, self.file = library, file
        file.write_bytes(bytes(16))
        with open(file, "r+b") as opened:
            self.shared = mmap.mmap(opened.fileno(), 16)

    def wrapper(self):
        """Goes before the program's words."""
        return preloaded(self.library, STORM_TROUBLE=self.file)

    def move_clock(self, milliseconds):
        self.shared[0:8] = struct.pack("q", milliseconds)

    @property
    def clock_ahead(self):
        return struct.unpack("q", self.shared[0:8])[0]

    def fail_syncs(self, error):
        self.shared[8:16] = struct.pack("q", error)

    def clear(self):
        self.move_clock(0)
        self.fail_syncs(0)

    def close(self):
        self.shared.close()


class SmallDisk:
    """A file system of its own, in memory, for one folder. Needs root."""

    SIZE = 96 << 20

    def __init__(self, folder):
        self.folder = folder
        aside = folder.with_name(folder.name + ".aside")
        folder.rename(aside)
        folder.mkdir(mode=aside.stat().st_mode & 0o777)
        try:
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={self.SIZE},mode=700", "storm", folder], check=True, capture_output=True, text=True)
        except subprocess.CalledProcessError:
            folder.rmdir()
            aside.rename(folder)
            raise
        for one in aside.iterdir():
            shutil.move(one, folder / one.name)
        aside.rmdir()

    @staticmethod
    def possible(folder):
        """Whether a file system can be mounted here. From then on, mounts of this thread and of those that it starts are its own: they
        go with the process, however it ends."""
        trial = folder / "trial"
        trial.mkdir()
        try:
            if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
                return False
            subprocess.run(["mount", "--make-rprivate", "/"], check=True, capture_output=True)
            disk = SmallDisk(trial)
            disk.remove(keep=False)
            return True
        except (subprocess.CalledProcessError, OSError):
            return False
        finally:
            shutil.rmtree(trial, ignore_errors=True)

    def resize(self, size):
        subprocess.run(["mount", "-o", f"remount,size={size}", self.folder], check=True, capture_output=True)

    def fill(self, room):
        """Leaves so many bytes, in whole pages."""
        facts = os.statvfs(self.folder)
        used = (facts.f_blocks - facts.f_bfree) * facts.f_frsize
        # What is written meanwhile makes it too small to be set; then there is a little more room.
        for more in (0, 1 << 18, 1 << 20, 1 << 22):
            try:
                return self.resize(max(used + room + more, 1 << 16))
            except subprocess.CalledProcessError:
                continue

    def clear(self):
        self.resize(self.SIZE)

    def remove(self, keep):
        """Back to an ordinary folder, with what is on it where that is wanted."""
        aside = self.folder.with_name(self.folder.name + ".aside")
        if keep:
            shutil.copytree(self.folder, aside, ignore=lambda folder, names: [n for n in names if n.endswith(".sock")])
        subprocess.run(["umount", "-l", self.folder], check=True)
        if keep:
            self.folder.rmdir()
            aside.rename(self.folder)
