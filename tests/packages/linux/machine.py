"""Throw-away machines: a real systemd as PID 1 in a container, over a minimal Debian that is made once and kept.

Needs root, mmdebstrap, systemd-nspawn and cgroups of version 2; `why_not()` says what is missing. The base is kept in the folder
AGENTTASK_LAB (else ~/.cache/agenttask-lab), which is never below the repository. Machines live in memory and are gone afterwards.
"""
import os
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

LAB = Path(os.environ.get("AGENTTASK_LAB") or Path.home() / ".cache/agenttask-lab")
SUITE = "bookworm"
#: What the packages depend on, since machines have no network; and what tests ask with.
INCLUDED = ("systemd", "systemd-sysv", "dbus", "debconf", "passwd", "ca-certificates", "libssl3", "libcurl4", "libsqlite3-0",
            "libstdc++6", "iproute2", "procps", "openssl", "curl", "nlohmann-json3-dev", "pkg-config")
WATCHES = Path("/proc/sys/fs/inotify/max_user_instances")
GROUPS = Path("/sys/fs/cgroup")
DEADLINE = 60


def why_not():
    """Why no machine can be booted here; empty: one can."""
    if os.geteuid() != 0:
        return "machines need root"
    missing = [tool for tool in ("mmdebstrap", "systemd-nspawn", "nsenter", "setpriv", "unshare", "dpkg-deb") if not shutil.which(tool)]
    if missing:
        return f"{', '.join(missing)} is missing: apt-get install mmdebstrap systemd-container"
    return ""


def base():
    """The root of a minimal Debian, made at the first call: about a minute."""
    made = LAB / f"{SUITE}-{abs(hash_of(INCLUDED)):x}.tar"
    root = made.with_suffix("")
    LAB.mkdir(parents=True, exist_ok=True)
    if not made.exists():
        part = made.with_suffix(".part")
        done = subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", "--format=tar", f"--include={','.join(INCLUDED)}",
                               '--aptopt=Acquire::Languages "none"', "--dpkgopt=path-exclude=/usr/share/man/*",
                               SUITE, str(part)], capture_output=True, text=True)
        assert done.returncode == 0, f"mmdebstrap could not make a base:\n{done.stderr[-2000:]}"
        part.rename(made)
    if not (root / "etc").is_dir():
        part = root.with_name(root.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        subprocess.run(["tar", "-C", part, "-xf", made], check=True)
        part.rename(root)
    return root


def hash_of(names):
    """The same in each process, unlike hash()."""
    value = 0
    for byte in ",".join(names).encode():
        value = (value * 131 + byte) % 0xFFFFFFFF
    return value


def until(question, what, seconds=DEADLINE):
    """The first answer that is true."""
    end = time.monotonic() + seconds
    while True:
        answer = question()
        if answer:
            return answer
        assert time.monotonic() < end, f"not within {seconds} s: {what() if callable(what) else what}"
        time.sleep(0.1)


#: What runs until nspawn takes over. nspawn wants /run/systemd of its own, and a group that it may change.
BOOT = """set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /run/systemd
umount -R /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 none /sys/fs/cgroup
mkdir -p /sys/fs/cgroup/{name}
echo $$ >/sys/fs/cgroup/{name}/cgroup.procs
mount -t tmpfs -o size=2g tmpfs {place}
mkdir {place}/upper {place}/work {place}/root
mount -t overlay overlay -o lowerdir={base},upperdir={place}/upper,workdir={place}/work {place}/root
exec systemd-nspawn --quiet -D {place}/root -M {name} --boot --register=no --keep-unit --console=pipe --private-network \
  --bind-ro={packages}:/packages {more}
"""


class Machine:
    """One booted system. `run` is what root types there."""

    def __init__(self, name, packages, *more):
        self.name = f"{name}-{os.getpid()}"
        self.place = LAB / "machines" / self.name
        self.log = LAB / "machines" / f"{self.name}.log"
        self.place.mkdir(parents=True)
        Path("/run/systemd/nspawn").mkdir(parents=True, exist_ok=True)
        if int(WATCHES.read_text()) < 512:   # else PID 1 ends without a word
            WATCHES.write_text("1024")
        script = BOOT.format(name=self.name, place=self.place, base=base(), packages=packages, more=shlex.join(more))
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "bash", "-c", script], stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=subprocess.STDOUT, start_new_session=True)
        self.leader = None
        until(self._find_leader, lambda: f"the machine has a PID 1\n{self.log.read_text()}")
        until(lambda: self.run("systemctl is-system-running", check=False).stdout.strip() in ("running", "degraded"),
              lambda: f"the machine is up\n{self.log.read_text()[-3000:]}")

    def _find_leader(self):
        assert self.process.poll() is None, self.log.read_text()
        below = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for pid in below:
            if "systemd" in Path(f"/proc/{pid}/comm").read_text() and "nspawn" not in Path(f"/proc/{pid}/comm").read_text():
                self.leader = pid
        return self.leader

    def words(self, command, user=None):
        if user:
            command = f"runuser -u {user} -- bash -c {shlex.quote(command)}"
        return ["nsenter", "-t", self.leader, "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "--", "env", "-i",
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8", "NO_COLOR=1",
                "DEBIAN_FRONTEND=noninteractive", "bash", "-c", command]

    def run(self, command, check=True, user=None, given=None, seconds=120):
        """A shell line, as root or as somebody else, to its end."""
        done = subprocess.run(self.words(command, user), capture_output=True, text=True, timeout=seconds,
                              input=given if given is not None else "")
        assert not check or done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}[{done.returncode}]\n{self.tail()}"
        return done

    def says(self, command, **more):
        return self.run(command, **more).stdout.strip()

    def succeeds(self, command):
        return self.run(command, check=False).returncode == 0

    def tail(self):
        done = subprocess.run(self.words("journalctl -q --no-pager -n 30 -u 'agenttask*'"), capture_output=True, text=True)
        return f"--- journal\n{done.stdout}"

    def start(self, command):
        """A shell line that goes on."""
        return subprocess.Popen(self.words(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def unit(self, name, *properties):
        """What systemd knows of a unit, as a dictionary."""
        shown = self.says(f"systemctl show {name} -p {','.join(properties)}")
        return dict(line.split("=", 1) for line in shown.splitlines())

    def stop(self):
        if self.leader and self.process.poll() is None:
            os.kill(int(self.leader), signal.SIGRTMIN + 4)   # power off
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                pass
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for mount in GROUPS, GROUPS / "unified":
            for folder in sorted((mount / self.name).glob("**/"), reverse=True):
                try:
                    folder.rmdir()
                except OSError:
                    pass
        shutil.rmtree(self.place, ignore_errors=True)
        self.log.unlink(missing_ok=True)
