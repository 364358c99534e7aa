"""What a run may try to outlive its end: escape.py FILE TRICK… does the tricks in turn, writes its process id into FILE, and stays."""
import os
import resource
import signal
import sys
import time


def fork_away():
    """Double fork: the parent is gone, so somebody else's child."""
    for _ in range(2):
        if os.fork():
            os._exit(0)


def scrub():
    """No environment, which /proc shows as it was at exec."""
    rest = sys.argv[sys.argv.index("scrub") + 1:]
    os.execve(sys.executable, [sys.executable, "-I", os.path.abspath(__file__), sys.argv[1], *rest], {})


TRICKS = {
    "fork": fork_away,
    "session": lambda: os.fork() and os._exit(0) or os.setsid(),
    "deaf": lambda: [signal.signal(number, signal.SIG_IGN) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)],
    "close": lambda: os.closerange(0, 1024),
    "scrub": scrub,
    "limit": lambda: resource.setrlimit(resource.RLIMIT_RTTIME, (10**9, 10**9)),     # the mark that is inherited
    "rename": lambda: open("/proc/self/comm", "w").write("kworker/0:1"),
}

if __name__ == "__main__":
    place, tricks = sys.argv[1], sys.argv[2:]
    for trick in tricks:
        TRICKS[trick]()
    with open(place + ".new", "w") as file:
        file.write(str(os.getpid()))
    os.rename(place + ".new", place)
    while True:
        time.sleep(0.05)
