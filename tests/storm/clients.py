"""Who asks for tasks: an operator over HTTPS and a user at the device over the local socket. Connections are kept while they last."""
import http.client
import json
import socket
import ssl

TIMEOUT = 8.0


class Lost(Exception):
    """No answer came: nobody knows whether it was done."""


class Answer:
    def __init__(self, status, document):
        self.status, self.document = status, document

    @property
    def code(self):
        return self.document.get("code", "") if self.status >= 400 else ""


class OperatorClient:
    """Threads: one."""

    def __init__(self, port, authority, token):
        self.port, self.token = port, token
        self.context = ssl.create_default_context(cafile=str(authority))
        self.connection = None

    def call(self, method, path, body=None, headers=None):
        status, content = self.exchange(method, path, body, headers)
        return Answer(status, json.loads(content) if content else {})

    def lines(self, path):
        """The lines of an answer, each an object."""
        status, content = self.exchange("GET", path)
        if status != 200:
            raise Lost(f"{path}: {status} {content[:200]}")
        return [json.loads(line) for line in content.splitlines() if line.strip()]

    def exchange(self, method, path, body=None, headers=None):
        sent = {"Authorization": f"Bearer {self.token}", **(headers or {})}
        if body is not None:
            sent["Content-Type"] = "application/json"
        try:
            if not self.connection:
                self.connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.context, timeout=TIMEOUT)
            self.connection.request(method, path, body=None if body is None else json.dumps(body).encode(), headers=sent)
            answer = self.connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Lost(f"{type(error).__name__}: {error}") from None
        return answer.status, content

    def close(self):
        if self.connection:
            self.connection.close()
            self.connection = None

    def pages(self, path, name, limit=1000):
        """All entries of a list, newest first."""
        found, cursor = [], None
        while True:
            joint = "&" if "?" in path else "?"
            answer = self.call("GET", f"{path}{joint}limit={limit}" + (f"&cursor={cursor}" if cursor else ""))
            if answer.status != 200:
                raise Lost(f"{path}: {answer.status} {answer.document}")
            found += answer.document[name]
            cursor = answer.document.get("nextCursor")
            if not cursor:
                return found


class LocalClient:
    """Threads: one."""

    def __init__(self, path):
        self.path, self.socket = str(path), None

    def call(self, name, **arguments):
        """The result as an answer with status 200, or the problem with its own."""
        line = self.say(name, arguments)
        answer = json.loads(line)
        return Answer(200, answer["result"]) if "result" in answer else Answer(answer["problem"]["status"], answer["problem"])

    def say(self, name, arguments):
        """The first line of the answer."""
        try:
            if not self.socket:
                self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                self.socket.settimeout(TIMEOUT)
                self.socket.connect(self.path)
                self.lines = self.socket.makefile("rb")
            self.socket.sendall(json.dumps({"call": name, "arguments": arguments}, separators=(",", ":")).encode() + b"\n")
            line = self.lines.readline()
            if not line.endswith(b"\n"):
                raise OSError("the agent hung up")
        except OSError as error:
            self.close()
            raise Lost(f"{type(error).__name__}: {error}") from None
        return line

    def close(self):
        if self.socket:
            self.socket.close()
            self.socket = None

    def pages(self, name, of, **arguments):
        found, cursor = [], None
        while True:
            answer = self.call(name, limit=1000, **arguments, **({"cursor": cursor} if cursor else {}))
            if answer.status != 200:
                raise Lost(f"{name}: {answer.document}")
            found += answer.document[of]
            cursor = answer.document.get("nextCursor")
            if not cursor:
                return found
