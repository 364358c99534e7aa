"""What a process takes, seen from /proc."""
import os
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def memory(pid):
    """Bytes: `resident`, `proportional` (shared pages by how many share them), `dirty` (private and written)."""
    found = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, rest = line.partition(":")
        found[name] = int(rest.split()[0]) * 1024
    return {"resident": found["Rss"], "proportional": found["Pss"], "dirty": found["Private_Dirty"]}


def cpu_seconds(pid):
    """User and system time of all its threads since it began."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def wake_ups(pid):
    """How often its threads waited and were woken since they began."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        status = (thread / "status").read_text()
        total += int(status.split("\nvoluntary_ctxt_switches:")[1].split()[0])
    return total


def settle(pid, most=30.0):
    """Waits until the process uses little time: a twelfth of a core, as devices that wait ask anew now and then."""
    end = time.monotonic() + most
    while time.monotonic() < end:
        before = cpu_seconds(pid)
        time.sleep(1.0)
        if cpu_seconds(pid) - before <= 1 / 12:
            return True
    return False


def machine():
    """What it ran on, for the report."""
    model = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "unknown")
    memory_total = int(Path("/proc/meminfo").read_text().split()[1]) // 1024
    return f"{os.cpu_count()} × {model}, {memory_total} MiB, Linux {os.uname().release}"
