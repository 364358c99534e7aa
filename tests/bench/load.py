"""Drives bench_load, the program that is all devices and all operators: one command and one answer at a time, JSON a line."""
import json
import os
import select
import subprocess
from pathlib import Path

#: How long any command may take before the part is given up.
LONGEST = 1800.0


class Load:
    def __init__(self, server, folder):
        self.server = server
        self.errors = open(folder / "load.log", "ab")
        program = Path(os.environ["AGENTTASK_BIN"]) / "bench_load"
        self.process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", program, str(server.port), server.authority], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.errors, start_new_session=True)
        self.begun, self.rest = None, b""
        self.call("operator", token=server.token)

    @property
    def pid(self):
        return self.process.pid

    def call(self, do, **more):
        """One command to its end."""
        self.begin(do, **more)
        return self.end()

    def begin(self, do, **more):
        """For commands that last while something else is done: `end` waits for the answer."""
        assert self.begun is None, f"{self.begun} is not over"
        self.begun = do
        self.process.stdin.write(json.dumps({"do": do, **more}).encode() + b"\n")
        self.process.stdin.flush()

    def end(self, longest=LONGEST):
        while b"\n" not in self.rest:
            ready, _, _ = select.select([self.process.stdout], [], [], longest)
            assert ready, f"the load did not finish {self.begun} in {longest:g} s"
            bytes_read = os.read(self.process.stdout.fileno(), 1 << 16)
            assert bytes_read, f"the load ended in {self.begun}: see {self.errors.name}"
            self.rest += bytes_read
        line, _, self.rest = self.rest.partition(b"\n")
        done, self.begun = self.begun, None
        answer = json.loads(line)
        assert "error" not in answer, f"{done}: {answer['error']}"
        return answer

    # What most parts need.

    def enroll(self, count):
        """So many devices, enrolled with one token through the server's own enrolment."""
        token = self.server.enrollment_token("--uses", str(max(count, 1)))
        answer = self.call("enroll", count=count, token=token)
        assert answer["enrolled"] == count, answer
        return answer

    def hold(self, count, **more):
        """So many of them connected and waiting in a long poll."""
        return self.call("hold", count=count, **more)

    def drop(self, **more):
        self.call("drop", **more)

    def counts(self):
        return self.call("counts")

    def nodes(self, count):
        return self.call("nodes", devices=count)["nodes"]

    def stop(self):
        """Its input ends, and so does it."""
        if self.process.poll() is None:
            self.process.stdin.close()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stdout.close()
        self.errors.close()
