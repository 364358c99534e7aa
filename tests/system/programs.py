"""Real servers, agents and consoles in folders of their own, started and ended by process id."""
import json
import os
import random
import signal
import socket
import subprocess
import time
from pathlib import Path

from api import Api

BIN = Path(os.environ.get("AGENTTASK_BIN") or Path(__file__).resolve().parents[2] / "build/dev/bin")
#: How long anything may take before it counts as failed. Only a failing test waits so long.
DEADLINE = 60.0


def until(check, what, deadline=DEADLINE):
    """Asks `check` until it answers something true, and returns that."""
    end = time.monotonic() + deadline
    pause = 0.005
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline} s: {what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)


def preloaded(library, **variables):
    """The words before a program's own that load `library` before the program's libraries; the address sanitizer would mind."""
    sanitizer = ":".join(filter(None, [os.environ.get("ASAN_OPTIONS"), "verify_asan_link_order=0"]))
    return ["env", f"LD_PRELOAD={library}", f"ASAN_OPTIONS={sanitizer}", *(f"{name}={value}" for name, value in variables.items())]


def free_port():
    """A port below those that the system hands out, so that it stays free while a server restarts."""
    while True:
        port = random.randrange(15000, 30000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def is_alive(pid):
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def environment(extra=None):
    """What a service has, and no more; and no time for tasks when an agent is stopped, where a test does not ask for it."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS") if name in os.environ}
    return {**kept, "LANG": "C.UTF-8", "AGENTTASK_SHUTDOWN_DRAIN": "0", **(extra or {})}


class Program:
    """One running program with its log; `stop` and `kill` wait for its end."""

    def __init__(self, arguments, log):
        self.log = log
        self.output = open(log, "ab")
        self.start_of_log = self.output.tell()
        # setpriv: should the tests themselves be killed, what they started goes with them. It execs, so the process id is the program's.
        self.process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.output,
                                        env=environment(), start_new_session=True)
        self.pid = self.process.pid

    def text(self):
        return self.log.read_bytes()[self.start_of_log:].decode(errors="replace")

    def alive(self):
        return self.process.poll() is None

    def wait(self, deadline=DEADLINE):
        try:
            code = self.process.wait(deadline)
        finally:
            self.output.close()
        return code

    def stop(self):
        if self.alive():
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.wait()
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"{self.process.args[3]} did not stop within {DEADLINE} s:\n{self.text()[-4000:]}")
        # Also how a sanitizer says that it found something.
        assert code == 0, f"{self.process.args[3]} stopped with exit code {code}:\n{self.text()[-8000:]}"
        return code

    def kill(self):
        self.process.kill()
        return self.wait()


class Service:
    """One of ours that is started, stopped and killed, perhaps again and again: `program` while it runs."""

    def stop(self):
        if self.program:
            program, self.program = self.program, None
            return program.stop()

    def kill(self):
        program, self.program = self.program, None
        return program.kill()

    def restart(self):
        self.stop()
        return self.start()


class Server(Service):
    """agenttask-server with a state folder of its own, on one port of the loopback for its whole life."""

    def __init__(self, folder, *options):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True)
        self.state = self.folder / "state"
        self.port = free_port()
        self.options = list(options)
        self.program = None
        self.start_words = [BIN / "agenttask-server"]    # how it is started: its command line before the verb
        made = self.command("init")
        self.token = made.stdout.strip().splitlines()[-1].strip()
        self.authority = self.state / "authority" / "authority.pem"
        self.url = f"https://127.0.0.1:{self.port}"

    def command(self, *arguments, check=True):
        """An administration verb, to its end."""
        done = subprocess.run([BIN / "agenttask-server", *arguments, "--state-dir", self.state], capture_output=True, text=True,
                              env=environment(), timeout=DEADLINE, stdin=subprocess.DEVNULL)
        assert not check or done.returncode == 0, (arguments, done)
        return done

    def start(self):
        self.program = Program([*self.start_words, "run", "--state-dir", self.state, "--listen", f"127.0.0.1:{self.port}", *self.options],
                               self.folder / "server.log")
        until(self.ready, f"the server answers\n{self.program.text()}")
        return self

    def ready(self):
        assert self.program.alive(), f"the server ended:\n{self.program.text()}"
        try:
            return self.api(token=None).get("/readyz").status == 200
        except OSError:
            return False

    def api(self, token="", **more):
        """Calls as the first administrator; with another token, or None for none."""
        return Api(self.port, self.authority, token=self.token if token == "" else token, **more)

    def enrollment_token(self, *options):
        return self.command("token", "create", *options).stdout.strip().splitlines()[-1].strip()


class Agent(Service):
    """agenttaskd with a state folder of its own."""

    def __init__(self, folder, server=None, *options, name=None):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True)
        self.state = self.folder / "state"
        self.server = server
        self.options = list(options)
        self.program = None
        self.start_words = [BIN / "agenttaskd"]    # how it is started: its command line before the options
        self.name = name
        self.node = None

    def start(self):
        name = ["--name", self.name] if self.name else []
        self.program = Program([*self.start_words, "--state-dir", self.state, *name, *self.options], self.folder / "agent.log")
        until(self.listens, f"the agent listens\n{self.program.text()}")
        return self

    def listens(self):
        assert self.program.alive(), f"the agent ended:\n{self.program.text()}"
        return self.console("status").returncode in (0, 1)  # 1: it runs, and something is wrong, such as no server

    def enroll(self, token=None):
        token = token or self.server.enrollment_token()
        done = self.console("enroll", self.server.url, token)
        assert done.returncode == 0, done
        self.node = until(self.find_node, "the agent knows its node's id")
        return self

    def find_node(self):
        server = json.loads(self.console("status", "--json").stdout)["server"]
        return server["enrolled"] and server["nodeId"]

    def console(self, *arguments, text=True, **more):
        """A verb of the console, to its end."""
        return subprocess.run(self.words(arguments), capture_output=True, text=text, env=environment(), timeout=DEADLINE,
                              stdin=subprocess.DEVNULL, **more)

    def console_program(self, *arguments):
        """A verb of the console that goes on: a Popen with pipes."""
        return subprocess.Popen(self.words(arguments), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                env=environment(), text=True, start_new_session=True)

    def words(self, arguments):
        """--state-dir goes before `--`, where the command's own words begin."""
        words = [str(a) for a in arguments]
        at = words.index("--") if "--" in words else len(words)
        return [str(BIN / "agenttask"), *words[:at], "--state-dir", str(self.state), *words[at:]]
