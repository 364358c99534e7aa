"""Workers for AgentTask in Python, 3.9 or later. One file, nothing to install: copy it beside your worker.

    #!/usr/bin/python3 -B
    import agenttask_worker as agenttask

    @agenttask.worker("GREET")
    def greet(context, options, task):
        context.create_message({"text": f"Hello, {options['name']}!"})
        return {"greeted": options["name"]}

    agenttask.run()

docs/workers.md is the guide. What you print is output of the run, as is standard error; a line that looks like the
protocol's (`{"result": …}`) would be taken for one. Standard input is the agent's: children read an end of file.
When the run shall stop (timeout, cancel, shutdown), `Stopped` is raised wherever the main thread is; clean up in
`finally`. Not for several threads: call and print from the main one.
"""
import json
import os
import signal
import sys

_LONGEST_LINE = 2 * 1024 * 1024
_DEEPEST = 68
_workers, _services = {}, {}


class Failure(Exception):
    """Raise it, and the run fails with this code and message. Any other exception has the code `exception`."""

    def __init__(self, code, message, data=None):
        super().__init__(message)
        self.code, self.data = code, data


class Problem(Failure):
    """A call was refused; nothing was changed. `field` says what was wrong in its arguments, or is None."""

    def __init__(self, code, message, field=None):
        super().__init__(code, message)
        self.field = field


class Stopped(BaseException):
    """The run shall end: `cause` is timeout, cancel, replaced, shutdown, signal or agent-gone."""

    def __init__(self, cause):
        super().__init__(f"stopped: {cause}")
        self.cause = cause


def worker(type, validate=None):
    """Decorates `execute(context, options, task)`, which answers the result's data: a dict or None. `validate(task)`
    answers True, False, or why the task may not run now."""
    def take(execute):
        _workers[type] = (execute, validate)
        return execute
    return take


def service(name):
    """Decorates `serve(method, arguments)`, which answers anything that JSON can say."""
    def take(serve):
        _services[name] = serve
        return serve
    return take


class Service:
    def __init__(self, context, name, worker):
        self._context, self.name, self.worker = context, name, worker

    def call(self, method, /, **arguments):
        return self._context.call("callService", name=self.name, method=method, arguments=arguments)


class Context:
    """What a run may ask of the agent. What it creates, changes, deletes and posts comes true together with its
    success, or not at all; it sees its own wishes at once."""

    def __init__(self, agent, run_id, run):
        self._agent, self.run_id, self.run = agent, run_id, run

    def call(self, name, /, **arguments):
        return self._agent.call(name, arguments)

    def create_task(self, **request):
        """As the body of addTask: type="…", data={…}, schedule={…}, choices=[…], … Answers the task."""
        return self.call("createTask", **request)

    def get_tasks(self, **filter):
        """Newest first. The filter: type, tags (all of them), roomId, worldId, status, limit."""
        return self.call("getTasks", **filter)

    def get_tasks_by_type(self, type):
        return self.call("getTasksByType", type=type)

    def get_task(self, id):
        """None when it is unknown."""
        return self.call("getTask", id=id)

    def update_task(self, id, **changes):
        """As in PATCH: metadata is merged key by key. Answers the task."""
        return self.call("updateTask", id=id, changes=changes)

    def delete_task(self, id):
        """Cancels it where it has not ended, and marks it deleted. The run's own task ends with this run."""
        self.call("deleteTask", id=id)

    def create_message(self, content, **where):
        """`content` is a dict, as a rule with `text`. `roomId` and `worldId`: else those of the task."""
        return self.call("createMessage", content=content, **where)

    def get_messages(self, roomId, **more):
        """The newest of a room, oldest first; at most `limit`."""
        return self.call("getMessages", roomId=roomId, **more)

    def get_service(self, name):
        """None when no worker on this device offers it."""
        found = self.call("getService", name=name)
        return found and Service(self, name, found["worker"])

    def progress(self, text, percent=None):
        """Shown as the task's detail while it runs; the agent keeps one a second."""
        self._agent.send({"progress": {"text": text} if percent is None else {"text": text, "percent": percent}})


def _check(value, depth=1):
    """Finds what JSON or the agent has no room for. It would take such a line for output, and answer nothing."""
    if isinstance(value, (dict, list, tuple)):
        if depth > _DEEPEST:
            raise Problem("invalid", f"a line for the agent is nested deeper than {_DEEPEST} levels")
        for part in value.values() if isinstance(value, dict) else value:
            _check(part, depth + 1)
    elif isinstance(value, int) and not -2**63 <= value < 2**64:
        raise Problem("invalid", f"{value} does not fit into 64 bits")


def _encode(line):
    _check(line)
    try:
        text = json.dumps(line, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
        size = len(text.encode())
    except UnicodeEncodeError:
        raise Problem("not-utf-8", "text for the agent is not UTF-8: encode it (base64 is usual), or leave it out") from None
    except (TypeError, ValueError) as error:
        raise Problem("invalid", f"not JSON: {error}") from None
    if size > _LONGEST_LINE:
        raise Problem("too-large", f"a line for the agent has {size} bytes; at most {_LONGEST_LINE} fit")
    return text


class _Printed:
    """Standard output that remembers whether a line has been begun: the agent's lines are never put into one."""

    def __init__(self, stream):
        self._stream, self.line_is_open = stream, False

    def write(self, text):
        if text:
            self.line_is_open = not text.endswith("\n")
        return self._stream.write(text)

    def __getattr__(self, name):
        return getattr(self._stream, name)


class _Agent:
    def __init__(self):
        self._lines = os.fdopen(os.dup(0), encoding="utf-8")
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
        self._printed = sys.stdout = _Printed(sys.stdout)
        self._last_call, self._stopping = 0, False
        signal.signal(signal.SIGTERM, lambda *_: self._stop("signal"))

    def _stop(self, cause):
        if not self._stopping:       # once: a stop shall not disturb the cleaning up after a stop
            self._stopping = True
            raise Stopped(cause)

    def send(self, line):
        text = _encode(line)
        self._printed.write(("\n" if self._printed.line_is_open else "") + text + "\n")
        self._printed.flush()

    def read(self, member):
        """Waits for the agent's line with this member; None at the end of its lines."""
        while True:
            line = self._lines.readline()
            said = json.loads(line) if line else {"stop": {"cause": "agent-gone"}}
            if "stop" in said:
                self._stop(said["stop"].get("cause", "signal"))
                if not line:
                    raise Problem("agent-gone", "the agent ended before it answered")
            elif member is None or member in said:
                return said

    def call(self, name, arguments):
        self._last_call += 1
        self.send({"call": {"id": self._last_call, "name": name, "arguments": arguments}})
        answer = {}
        while answer.get("id") != self._last_call:       # one that a raised `Stopped` left unread is passed over
            answer = self.read("answer")["answer"]
        if "problem" in answer:
            problem = answer["problem"]
            raise Problem(problem.get("code", ""), problem.get("message", ""), problem.get("field"))
        return answer.get("result")


def _registered(parts, name, what):
    if name not in parts:
        raise Failure(f"unknown-{what}", f"this program has no {what} {name}; does worker.json name too many?")
    return parts[name]


def _answer(agent, request):
    if "validate" in request:
        task = request["validate"]["task"]
        _, validate = _registered(_workers, task["type"], "type")
        answer = validate(task) if validate else True
        return {"valid": False, "detail": answer} if isinstance(answer, str) else {"valid": bool(answer)}
    if "execute" in request:
        asked = request["execute"]
        if not asked["protocol"].startswith("1."):
            raise Failure("protocol", f"the agent speaks protocol {asked['protocol']}, this worker 1.0")
        execute, _ = _registered(_workers, asked["task"]["type"], "type")
        result = execute(Context(agent, asked["runId"], asked["run"]), asked["options"], asked["task"])
        if result is not None and not isinstance(result, dict):
            raise Failure("invalid-result", f"execute answers a dict, or None; this was {result!r:.100}")
        return {"result": result or {}}
    if "serve" in request:
        asked = request["serve"]
        return {"result": _registered(_services, asked["service"], "service")(asked["method"], asked.get("arguments", {}))}
    raise Failure("protocol", "the agent asked neither validate nor execute nor serve: this worker is too old")


def run():
    """Answers what the agent asks, once, and leaves: exit code 0 done, 1 failed, 2 no agent asked anything."""
    if sys.stdin is None or sys.stdin.isatty():
        sys.stderr.write("This is a worker of AgentTask: the agent starts it. Try it with: agenttask worker test FOLDER\n")
        sys.exit(2)
    agent = _Agent()
    try:
        request = agent.read(None)
    except Stopped:
        sys.stderr.write("agenttask worker: the agent ended, or said stop, before it asked for anything\n")
        sys.exit(2)
    try:
        agent.send(_answer(agent, request))
    except (Exception, Stopped) as exception:
        if isinstance(exception, Failure):
            error = {"code": exception.code, "message": str(exception)}
            if exception.data:
                error["data"] = exception.data
        elif isinstance(exception, Stopped):
            error = {"code": "stopped", "message": str(exception)}
        else:
            sys.excepthook(type(exception), exception, exception.__traceback__)
            error = {"code": "exception", "message": f"{type(exception).__name__}: {exception}"}
        error["message"] = error["message"].encode(errors="replace").decode()
        agent.send({"error": error})
        sys.exit(1)
