"""A device made by hand from docs/protocol.md: what an agent of another make, or a hostile one, would send."""
import hashlib
import json
import secrets
import subprocess
import time
import uuid

from api import Api


def openssl(*words, **more):
    done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, **more)
    assert done.returncode == 0, done
    return done.stdout


def make_request(folder, name="device"):
    """A key of our own and a certificate request for it."""
    folder.mkdir(parents=True, exist_ok=True)
    key, request = folder / f"{name}.key", folder / f"{name}.csr"
    openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", request, "-subj", "/CN=whoever")
    return key, request.read_text()


def advance(chain, line):
    return hashlib.sha256(bytes.fromhex(chain) + line.encode()).hexdigest()


class HandMadeDevice:
    def __init__(self, server, folder, name=None, token=None):
        self.server, self.folder = server, folder
        self.key, self.request = make_request(folder)
        self.name = name or f"hand-made-{uuid.uuid4().hex[:8]}"
        self.token = token or server.enrollment_token()
        answer = self.ask_to_enroll().ok()
        self.node = answer["nodeId"]
        self.take(answer["certificate"])
        self.epoch, self.directives, self.reports = 0, (0, ""), (0, "")
        self.incarnation = secrets.token_hex(16)

    def ask_to_enroll(self, **changed):
        return self.server.api(token=None).post("/v1/enroll", {"token": self.token, "request": self.request, "name": self.name, "version": "0.1.0",
                                                               "platform": "linux-x86_64", **changed})

    def take(self, certificate):
        self.certificate = self.folder / "device.pem"
        self.certificate.write_text(certificate)

    @property
    def api(self):
        return self.server.api(token=None, certificate=self.certificate, key=self.key)

    def poll_body(self, wait=0, **changed):
        cursor = lambda c: {"sequence": c[0], "chain": c[1]}   # noqa: E731
        return {"protocol": "1.0", "version": "0.1.0", "platform": "linux-x86_64", "name": self.name, "epoch": self.epoch, "directives": cursor(self.directives),
                "reports": cursor(self.reports), "incarnation": self.incarnation, "predecessors": [], "wait": wait, "time": int(time.time() * 1000),
                "hold": False, "watching": [], **changed}

    def poll(self, **more):
        """Polls, follows a resync, applies what comes; the directives."""
        while True:
            answer = self.api.post("/v1/device/poll", self.poll_body(**more))
            assert answer.status == 200, (answer.status, answer.body)
            lines = answer.body.decode().splitlines()
            head = json.loads(lines[0])
            if head.get("resync"):
                self.adopt(head["epoch"])
                self.send({"kind": "snapshot-end", "tasks": 0})
                continue
            for line in lines[1:]:
                assert json.loads(line)["sequence"] == self.directives[0] + 1
                self.directives = (self.directives[0] + 1, advance(self.directives[1], line))
            return [json.loads(line) for line in lines[1:]]

    def adopt(self, epoch):
        self.epoch, self.directives, self.reports = epoch, (0, ""), (0, "")

    def batch(self, *reports):
        """The bytes of a batch after what is acknowledged, and the cursor at its end."""
        sequence, chain = self.reports
        lines = []
        for report in reports:
            sequence += 1
            line = json.dumps({"sequence": sequence, **report}, separators=(",", ":"))
            chain = advance(chain, line)
            lines.append(line)
        head = {"protocol": "1.0", "epoch": self.epoch, "incarnation": self.incarnation, "after": {"sequence": self.reports[0], "chain": self.reports[1]}}
        return ("\n".join([json.dumps(head), *lines]) + "\n").encode(), (sequence, chain)

    def post(self, body):
        return self.api.post("/v1/device/reports", body, headers={"Content-Type": "application/x-ndjson"})

    def send(self, *reports):
        """Posts reports in order and expects them to be stored."""
        body, end = self.batch(*reports)
        answer = self.post(body).ok()
        assert not answer.get("resync") and answer["reports"]["sequence"] == end[0] and answer["reports"]["chain"] == end[1], answer
        self.reports = end


def started(task, run=1):
    return {"kind": "started", "taskId": task, "run": run, "time": int(time.time() * 1000)}


def ended(task, run=1, status="complete", result=None, **state):
    now = int(time.time() * 1000)
    result = result if result is not None else {"success": True, "data": {"by": "hand"}}
    return {"kind": "ended", "taskId": task,
            "run": {"run": run, "taskId": task, "status": status, "startTime": now, "endTime": now, "result": result},
            "state": {"status": status, "addTime": now, "startTime": now, "endTime": now, "updatedAt": now, "runCount": run, **state}}
