"""Plays the agent to one worker process, line by line, as docs/workers.md says."""
import json
import queue
import signal
import subprocess
import threading
import uuid
from pathlib import Path

from programs import BIN, DEADLINE, environment

#: Complete worker folders, as the build made them.
WORKERS = BIN.parent / "workers"
ANSWERS = ("valid", "call", "progress", "result", "error")


def is_answer(said):
    """Whether a line of a worker is one of the protocol; else it is output."""
    if not isinstance(said, dict) or len(set(said) & set(ANSWERS)) != 1:
        return False
    return set(said) <= {"valid", "detail"} if "valid" in said else len(said) == 1


def task_of(type, data=None, **more):
    return {"id": str(uuid.uuid4()), "type": type, "data": data or {}, "metadata": {}, "tags": [], "status": "running",
            "roomId": "lobby", **more}


class WorkerProcess:
    """One process of a worker: `say` a line to it, `hear` the next of its lines. `printed` is what it printed besides."""

    def __init__(self, program, folder=None):
        folder = Path(folder or Path(program).parent)
        self.process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", str(program)], cwd=folder, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), start_new_session=True)
        self.printed, self.errors, self.heard = [], b"", queue.Queue()
        self.readers = [threading.Thread(target=self.read_output), threading.Thread(target=self.read_errors)]
        for reader in self.readers:
            reader.start()

    def read_output(self):
        for line in self.process.stdout:
            try:
                said = json.loads(line)
            except ValueError:
                said = None
            if is_answer(said):
                self.heard.put(said)
            else:
                self.printed.append(line.decode(errors="replace").rstrip("\n"))
        self.heard.put(None)

    def read_errors(self):
        self.errors = self.process.stderr.read()

    def say(self, line):
        self.write(json.dumps(line) + "\n")

    def write(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def hear(self):
        """The next line of the protocol; None at the end of its output."""
        try:
            return self.heard.get(timeout=DEADLINE)
        except queue.Empty:
            raise AssertionError(f"the worker said nothing; it printed {self.printed}") from None

    def hear_call(self, name):
        """The next line is a call of this name: its id and arguments."""
        said = self.hear()
        assert said and said.get("call", {}).get("name") == name, (name, said, self.printed)
        assert set(said["call"]) == {"id", "name", "arguments"}, said
        return said["call"]["id"], said["call"]["arguments"]

    def answer(self, id, result):
        self.say({"answer": {"id": id, "result": result}})

    def refuse(self, id, code, message="no", **more):
        self.say({"answer": {"id": id, "problem": {"code": code, "message": message, **more}}})

    def expect_call(self, name, result, /, **arguments):
        """It calls with exactly these arguments, and gets this result."""
        id, given = self.hear_call(name)
        assert given == arguments, (name, given)
        self.answer(id, result)

    def execute(self, task, run=1, **options):
        self.task = task
        self.say({"execute": {"protocol": "1.0", "runId": str(uuid.uuid4()), "run": run,
                              "options": {**task["data"], **options}, "task": task}})
        return self

    def validate(self, task):
        self.say({"validate": {"task": task}})
        return self

    def serve(self, service, method, /, **arguments):
        self.say({"serve": {"service": service, "method": method, "arguments": arguments}})
        return self

    def stop(self, cause):
        """As the agent does it: the line, then the signal."""
        self.say({"stop": {"cause": cause}})
        self.process.send_signal(signal.SIGTERM)

    def end(self):
        """Waits for its end: the exit code."""
        try:
            code = self.process.wait(DEADLINE)
        finally:
            self.close()
        return code

    def close(self):
        self.process.kill()
        self.process.wait()
        for reader in self.readers:
            reader.join()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            try:
                stream.close()
            except BrokenPipeError:
                pass

    def ends_with(self, outcome):
        """Its last line is this one, after which it leaves with the code that belongs to it."""
        assert self.hear() == outcome, (self.printed, self.errors)
        assert self.hear() is None
        assert self.end() == (1 if "error" in outcome else 0), self.errors
