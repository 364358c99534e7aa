"""What happened, in order: every action of the storm and every answer it got. Kept in memory and, line by line, in a file."""
import json
import threading
import time


def now():
    """Seconds since the boot: the clock that the marks of the commands use, and that nothing sets."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Story:
    """Threads: any."""

    def __init__(self, file):
        self.file = open(file, "w", buffering=1)
        self.began = now()
        self.events = []
        self.changed = threading.Condition()

    def tell(self, what, key=None, **facts):
        """`what` in a word or two; `key` names the task it is about; `at` what it happened to: `server`, `agent 2`."""
        event = {"time": now(), "what": what, **({"key": key} if key else {}), **facts}
        with self.changed:
            self.events.append(event)
            if not self.file.closed:
                self.file.write(json.dumps(event) + "\n")
            self.changed.notify_all()
        return event

    def wait_for(self, what, timeout):
        """Waits for the next event of this name; whether it came."""
        with self.changed:
            seen = len(self.events)
            return self.changed.wait_for(lambda: any(e["what"] == what for e in self.events[seen:]), timeout)

    def count(self, what, at=None):
        with self.changed:
            return sum(e["what"] == what and (at is None or e.get("at", "").startswith(at)) for e in self.events)

    def about(self, key):
        with self.changed:
            return [e for e in self.events if e.get("key") == key]

    def of(self, *whats, at=None):
        with self.changed:
            return [e for e in self.events if e["what"] in whats and (at is None or e.get("at") == at)]

    def line(self, event):
        """One event for people."""
        facts = " ".join(f"{name}={json.dumps(value) if isinstance(value, (dict, list)) else value}"
                         for name, value in event.items() if name not in ("time", "what", "key"))
        return f"{event['time'] - self.began:9.3f}  {event['what']:<18} {facts}"[:400]

    def close(self):
        with self.changed:
            self.file.close()
