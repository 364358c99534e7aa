"""The HTTPS API as a stranger sees it: http.client over TLS that trusts one authority."""
import http.client
import json
import socket
import ssl

DEADLINE = 70.0   # longer than the longest ?wait=


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    def ok(self, status=200):
        assert self.status == status, f"wanted {status}, got {self.status}: {self.body[:2000]!r}"
        return self.json if self.body else None

    def ok_lines(self):
        assert self.status == 200, (self.status, self.body[:2000])
        return [json.loads(line) for line in self.body.splitlines() if line]

    def problem(self, status, code=None, field=None):
        """Asserts that this is a problem document and returns it."""
        assert self.status == status, f"wanted {status}, got {self.status}: {self.body[:2000]!r}"
        assert self.headers["content-type"].split(";")[0] == "application/problem+json", dict(self.headers)
        document = self.json
        assert document["status"] == status and document["code"] and document["detail"], document
        assert code is None or document["code"] == code, document
        assert field is None or document.get("field") == field, document
        return document


class Api:
    def __init__(self, port, authority, token=None, certificate=None, key=None):
        self.port, self.token = port, token
        self.context = ssl.create_default_context(cafile=str(authority))
        if certificate:
            self.context.load_cert_chain(str(certificate), str(key or certificate))

    def connect(self):
        """A bare TLS connection, for whoever wants to write bytes."""
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE)
        return self.context.wrap_socket(raw, server_hostname="127.0.0.1")

    def call(self, method, path, body=None, headers=None):
        """`body`: bytes as they are, anything else as JSON."""
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.context, timeout=DEADLINE)
        sent = {"Connection": "close", **(headers or {})}
        if self.token is not None:
            sent.setdefault("Authorization", f"Bearer {self.token}")
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        try:
            connection.request(method, path, body=body, headers=sent)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def get(self, path, **more):
        return self.call("GET", path, **more)

    def post(self, path, body=None, **more):
        return self.call("POST", path, body=b"" if body is None else body, **more)

    def patch(self, path, body, **more):
        return self.call("PATCH", path, body=body, **more)

    def delete(self, path, **more):
        return self.call("DELETE", path, **more)

    def lines(self, path):
        """The lines of an answer as they come, each a JSON object, until it ends."""
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.context, timeout=DEADLINE)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {self.token}"})
            answer = connection.getresponse()
            assert answer.status == 200, (answer.status, answer.read())
            for line in answer:
                if line.strip():
                    yield json.loads(line)
        finally:
            connection.close()

    # What most cases need.

    def add(self, node, type="echo", data=None, **fields):
        """addTask; the task as the server accepted it."""
        if data is None and type == "echo":
            data = {"message": "hello"}
        return self.post(f"/v1/nodes/{node}/tasks", {"type": type, "data": data, **fields}).ok(201)

    def run(self, node, cmd, **fields):
        return self.add(node, "command", {"cmd": cmd}, **fields)

    def task(self, id):
        return self.get(f"/v1/tasks/{id}").ok()

    def ended(self, id):
        """The task once it has ended."""
        task = self.get(f"/v1/tasks/{id}?wait=55000").ok()
        assert task["status"] in ("complete", "failed", "cancelled"), task
        return task

    def runs(self, id):
        return self.get(f"/v1/tasks/{id}/runs").ok()["runs"]
