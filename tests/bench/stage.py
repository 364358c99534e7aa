"""Where one part of the benchmark plays: its folder, its programs, how large it is, what it found."""
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from load import Load
from programs import BIN, Agent, Program, Server, until
from results import Row


class Stage:
    def __init__(self, part, options, peers):
        self.part, self.quick, self.options, self.peers = part, options.quick, options, peers
        # Short, as a local socket's path has to fit; on the disk, as commits shall cost what they cost there.
        self.folder = Path(tempfile.mkdtemp(prefix="bench-", dir=options.folder))
        self.started, self.rows, self.failures, self.drawings = [], [], [], []
        self.places = 0

    def size(self, full, quick):
        """What the whole run takes, or the quick one."""
        return quick if self.quick else full

    def rounds(self, full, quick=1):
        return range(self.options.rounds or self.size(full, quick))

    def say(self, text):
        print(f"bench: {self.part}: {text}", file=sys.stderr, flush=True)

    def check(self, holds, what):
        """Something that has to be so whatever the times are: a task that was lost, or came twice."""
        if not holds:
            self.failures.append(what)
            self.say(f"CHECK FAILED: {what}")

    def row(self, what, unit, values, **more):
        self.rows.append(Row(what, unit, [float(value) for value in values], **more))
        return self.rows[-1]

    # ---- programs

    def place(self, name):
        self.places += 1
        place = self.folder / f"{name}{self.places}"
        return place

    def server(self, *options, start=True):
        """Ours, for as many connections as descriptors allow."""
        server = Server(self.place("server"), "--max-connections", "19900", "--max-connections-per-address", "19900", "--log-level", "warning", *options)
        self.started.append(server)
        return server.start() if start else server

    def agent(self, server=None, *options, start=True, prepare=None):
        """A real one, enrolled where there is a server. `prepare` gets its state folder before it starts."""
        agent = Agent(self.place("agent"), server, "--log-level", "warning", *options)
        if prepare:
            prepare(agent.state)
        self.started.append(agent)
        if not start:
            return agent
        agent.start()
        return agent.enroll() if server else agent

    def load(self, server):
        place = self.place("load")
        place.mkdir()
        load = Load(server, place)
        self.started.append(load)
        return load

    def program(self, words, name):
        """Something else that runs until it is ended."""
        place = self.place(name)
        place.mkdir(exist_ok=True)
        program = Program(words, place / "log")
        self.started.append(Ended(program))
        return program

    def listening(self, words, port, name):
        """A program that listens on a port of the loopback, once it does."""
        program = self.program(words, name)
        until(lambda: self.answers(program, port), f"{name} listens", deadline=30)
        return program

    @staticmethod
    def answers(program, port):
        assert program.alive(), program.text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    def floor(self, name, *words):
        """One of our floors, to its end; its output."""
        done = subprocess.run([BIN / name, *map(str, words)], capture_output=True, text=True, timeout=600, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done
        return done.stdout

    def end(self, one):
        """Ends one before the part is over."""
        self.started.remove(one)
        one.stop()

    def end_program(self, program):
        """The same for what `program` and `listening` gave."""
        self.end(next(one for one in self.started if isinstance(one, Ended) and one.program is program))

    def clear(self):
        """Nothing stays: neither a process nor a file."""
        while self.started:
            try:
                self.started.pop().stop()
            except (AssertionError, OSError, subprocess.SubprocessError) as problem:
                self.failures.append(f"a program did not end as it should: {str(problem)[:500]}")
        if self.failures and self.options.keep:
            self.say(f"logs are in {self.folder}")
        else:
            shutil.rmtree(self.folder, ignore_errors=True)


class Ended:
    """A program that is no service of ours: it may end with any code when it is told to, and what it left in its group ends with it."""

    def __init__(self, program):
        self.program = program

    def stop(self):
        if self.program.alive():
            pid, patience = self.program.pid, time.monotonic() + 20
            self.program.process.terminate()
            # Not taken note of yet, so that the number of its group is nobody else's.
            while not os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) and time.monotonic() < patience:
                time.sleep(0.02)
            os.killpg(pid, signal.SIGKILL)
        self.program.wait()


def descriptors():
    """How many files one process may have open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
