"""Who may what: tokens, certificates, enrolment, and devices that reach for others' tasks (acceptance J2)."""
import json
import sqlite3
import ssl
import time
import uuid

import pytest

from device import HandMadeDevice, ended, make_request, openssl, started
from programs import until


def test_J2_a_device_cannot_read_or_touch_through_the_operators_api(site, tmp_path):
    task = site.api.add(site.node)
    device = HandMadeDevice(site.server, tmp_path / "d").api
    for answer in (device.get(f"/v1/tasks/{task['id']}"), device.get("/v1/tasks"), device.get(f"/v1/nodes/{site.node}/tasks"), device.get("/v1/nodes"),
                   device.post(f"/v1/tasks/{task['id']}/cancel"), device.delete(f"/v1/tasks/{task['id']}"),
                   device.post(f"/v1/nodes/{site.node}/tasks", {"type": "echo", "data": {}})):
        assert answer.status in (401, 403), answer.body
        answer.problem(answer.status)


def test_J2_a_report_about_anothers_task_changes_nothing(site, tmp_path):
    held = site.api.add(site.node, schedule={"scheduledFor": int(time.time() * 1000) + 3_600_000})
    device = HandMadeDevice(site.server, tmp_path / "d")
    device.poll()
    device.send(started(held["id"]), ended(held["id"]), {"kind": "output", "taskId": held["id"], "run": 1, "chunk": {"stream": "stdout", "offset": 0, "text": "x"}})
    task = site.api.task(held["id"])
    assert task["status"] in ("pending", "sent") and "result" not in task and site.api.runs(held["id"]) == []
    # Its stream goes on behind the refused reports.
    own = site.api.add(device.node)
    assert [d["task"]["id"] for d in device.poll()] == [own["id"]]
    device.send(started(own["id"]), ended(own["id"]))
    assert site.api.task(own["id"])["status"] == "complete"


def test_J2_a_report_about_an_unknown_or_ended_task_changes_nothing(site, tmp_path):
    device = HandMadeDevice(site.server, tmp_path / "d")
    device.poll()
    unknown = str(uuid.uuid4())
    device.send(started(unknown), ended(unknown))
    site.api.get(f"/v1/tasks/{unknown}").problem(404)
    task = site.api.add(device.node)["id"]
    device.poll()
    device.send(started(task), ended(task))
    before = site.api.task(task)
    device.send(ended(task, run=1, status="failed", result={"success": False, "error": {"code": "x", "message": "y"}}), started(task, run=2))
    after = site.api.task(task)
    assert after["status"] == "complete" and after["result"] == before["result"] and after["endTime"] == before["endTime"]


@pytest.mark.parametrize("broken", [
    {"kind": "ended", "state": {"status": "exploded"}}, {"kind": "ended", "state": {"status": "pending"}}, {"kind": "no-such-kind"}, {"kind": 7}, {},
    {"kind": "output", "run": 1, "chunk": {"stream": "stdin", "offset": 0, "text": ""}}, {"kind": "output", "run": 1, "chunk": {"stream": "stdout", "offset": -1, "text": ""}},
    {"kind": "started", "run": 0, "time": 1}, {"kind": "created", "task": {"id": "x"}}], ids=lambda b: json.dumps(b)[:50])
def test_J2_an_invented_status_or_report_is_refused_and_the_stream_goes_on(site, tmp_path, broken):
    device = HandMadeDevice(site.server, tmp_path / "d")
    device.poll()
    task = site.api.add(device.node)["id"]
    device.poll()
    device.send({"taskId": task, **broken})
    assert site.api.task(task)["status"] == "pending" and site.api.runs(task) == []
    device.poll()                                            # acknowledges the task
    device.send(started(task), ended(task))
    assert site.api.task(task)["status"] == "complete"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"protocol":"1.0"}', b"\xff\xfe", b'{"protocol":"9.0","epoch":1,"directives":{},"reports":{},"incarnation":"x"}'])
def test_a_broken_poll_or_batch_is_refused(site, tmp_path, body):
    device = HandMadeDevice(site.server, tmp_path / "d")
    for path in ("/v1/device/poll", "/v1/device/reports"):
        answer = device.api.post(path, body)
        assert 400 <= answer.status < 500, (path, answer.body)
        answer.problem(answer.status)
    assert device.poll() == []


def test_a_batch_that_is_cut_off_or_repeated_has_no_double_effect(site, tmp_path):
    device = HandMadeDevice(site.server, tmp_path / "d")
    device.poll()
    task = site.api.add(device.node)["id"]
    device.poll()
    whole, end = device.batch(started(task), ended(task))
    device.post(whole[:-40])                                  # the last line is cut: whatever it answers
    answer = device.post(whole).ok()
    assert answer["reports"]["sequence"] == end[0] and not answer.get("resync")
    assert device.post(whole).ok()["reports"]["sequence"] == end[0]
    device.reports = end
    assert site.api.task(task)["status"] == "complete" and len(site.api.runs(task)) == 1


def test_a_poll_is_repeated_until_its_cursor_moves(site, tmp_path):
    device = HandMadeDevice(site.server, tmp_path / "d")
    device.poll()
    task = site.api.add(device.node)["id"]
    cursor = device.directives
    assert [d["task"]["id"] for d in device.poll()] == [task]
    assert site.api.task(task)["status"] == "pending", "only the cursor makes it sent"
    after, device.directives = device.directives, cursor
    assert [d["task"]["id"] for d in device.poll()] == [task]
    device.directives = after
    assert device.poll() == [] and site.api.task(task)["status"] == "sent"


def test_a_cancel_of_what_was_offered_is_the_devices_to_decide(site, tmp_path):
    """Acceptance J1: its delivery was under way, so the server asks and shows what the device says."""
    device = HandMadeDevice(site.server, tmp_path / "d")
    device.poll()
    task = site.api.add(device.node)["id"]
    device.poll()                                             # offered, not acknowledged
    answer = site.api.post(f"/v1/tasks/{task}/cancel")
    assert answer.status == 202 and answer.json["status"] == "pending"
    assert [d["kind"] for d in device.poll()] == ["cancel"]
    device.send(started(task), ended(task))                   # it had run meanwhile
    assert site.api.task(task)["status"] == "complete"


def test_J1_only_the_device_expires_what_it_was_offered(site, tmp_path):
    """One was offered and not acknowledged, the other never offered: the server decides about the second alone."""
    device = HandMadeDevice(site.server, tmp_path / "d")
    device.poll()
    soon = {"options": {"expiresAt": int(time.time() * 1000) + 1000}}
    offered = site.api.add(device.node, **soon)["id"]
    device.poll()
    alone = site.api.add(device.node, **soon)["id"]
    expired = site.api.ended(alone)
    assert expired["status"] == "failed" and expired["reason"] == "expired"
    assert site.api.task(offered)["status"] == "pending"
    device.poll()
    device.send(started(offered), ended(offered))             # it began in time
    assert site.api.task(offered)["status"] == "complete"


def test_another_past_opens_a_new_epoch(site, tmp_path):
    device = HandMadeDevice(site.server, tmp_path / "d")
    device.poll()
    epoch = device.epoch
    task = site.api.add(device.node)["id"]
    device.poll()
    device.directives = (device.directives[0], "ab" * 32)
    assert [d["task"]["id"] for d in device.poll()] == [task] and device.epoch > epoch
    # One that invents pasts in a loop is told to wait, while others are served.
    refused = device.api.post("/v1/device/poll", device.poll_body(reports={"sequence": 99, "chain": "cd" * 32}))
    refused.problem(429, "too-often")
    assert 1 <= int(refused.headers["retry-after"]) <= 10
    other = HandMadeDevice(site.server, tmp_path / "o")
    other.poll()
    epoch, other.reports = other.epoch, (99, "cd" * 32)
    other.poll()
    assert other.epoch > epoch


# ---- operators

def test_operators_calls_want_a_token(site):
    for path in ("/v1/tasks", "/v1/nodes", f"/v1/nodes/{site.node}", "/v1/operators", "/v1/enrollment-tokens"):
        anybody = site.server.api(token=None)
        anybody.get(path).problem(401)
        for token in ("", "wrong", site.server.token[:-1], site.server.token + "x", "x" * 5000):
            answer = anybody.get(path, headers={"Authorization": f"Bearer {token}"})
            answer.problem(401)
            assert "bearer" in answer.headers["www-authenticate"].lower()
        anybody.get(path, headers={"Authorization": "Basic dXNlcjpwYXNz"}).problem(401)


def make_operator(site, role, **more):
    made = site.api.post("/v1/operators", {"label": f"test {role}", "role": role, **more}).ok(201)
    return made, site.server.api(token=made["token"])


def test_the_three_roles(site):
    task = site.api.add(site.node)["id"]
    _, viewer = make_operator(site, "viewer")
    _, operator = make_operator(site, "operator")
    _, admin = make_operator(site, "admin")
    add = {"type": "echo", "data": {}}
    assert viewer.get(f"/v1/tasks/{task}").status == 200 and viewer.get("/v1/nodes").status == 200
    viewer.post(f"/v1/nodes/{site.node}/tasks", add).problem(403)
    viewer.post(f"/v1/tasks/{task}/cancel").problem(403)
    viewer.patch(f"/v1/nodes/{site.node}", {"labels": {"a": "b"}}).problem(403)
    assert operator.post(f"/v1/nodes/{site.node}/tasks", add).status == 201
    for refused in (operator, viewer):
        refused.post("/v1/operators", {"label": "x", "role": "admin"}).problem(403)
        refused.post("/v1/enrollment-tokens", {}).problem(403)
    assert admin.post("/v1/enrollment-tokens", {}).status == 201


def test_a_revoked_operator_is_out_at_once_also_in_a_waiting_request(site, tmp_path):
    import threading
    made, operator = make_operator(site, "operator")
    task = site.api.add(site.node, schedule={"scheduledFor": int(time.time() * 1000) + 3_600_000})["id"]
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(operator.get(f"/v1/tasks/{task}?wait=55000")))
    waiting.start()
    try:
        assert site.api.delete(f"/v1/operators/{made['id']}").status in (200, 204)
        operator.get("/v1/tasks").problem(401)
    finally:
        site.api.post(f"/v1/tasks/{task}/cancel")
        waiting.join()
    assert answers[0].status == 401, answers[0].body


def test_an_expired_operator_is_out(site):
    _, operator = make_operator(site, "operator", expiresAt=int(time.time() * 1000) + 1000)
    assert operator.get("/v1/tasks").status == 200
    until(lambda: operator.get("/v1/tasks").status == 401, "the token expires", deadline=10)


def test_operator_reset_makes_a_new_administrator_and_the_secret_is_not_stored(yard):
    server = yard.server().start()
    token = server.command("operator", "reset").stdout.strip().splitlines()[-1].strip()
    assert server.api(token=token).get("/v1/operators").status == 200
    for path in server.state.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert token.encode() not in content and server.token.encode() not in content, path


def test_secrets_on_disk_are_the_services_own(site):
    for state in (site.server.state, site.agent.state):
        assert state.stat().st_mode & 0o066 == 0, state  # people pass through the agent's to its socket
        for path in state.rglob("*"):
            if path.is_file() and any(word in path.name for word in ("key", "token", "server.pem", ".db", "identity")):
                assert path.stat().st_mode & 0o077 == 0, path


# ---- enrolment

def test_enrolment_repeated_with_the_same_key_gives_the_same_answer(site, tmp_path):
    device = HandMadeDevice(site.server, tmp_path / "d")
    again = device.ask_to_enroll().ok()
    assert again["nodeId"] == device.node and again["certificate"] == device.certificate.read_text()


def test_a_used_up_unknown_or_broken_enrolment_token_is_refused(site, tmp_path):
    device = HandMadeDevice(site.server, tmp_path / "d")
    _, other = make_request(tmp_path / "e")
    device.ask_to_enroll(request=other).problem(403)
    secret, fingerprint = device.token.split(".")
    for token in ("A" * len(secret) + "." + fingerprint, secret, "", "x.y", device.token[:-2], 7):
        answer = device.ask_to_enroll(token=token)
        assert answer.status in (400, 403), answer.body
    for request in ("", "x", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", device.key.read_text()):
        device.ask_to_enroll(token=site.server.enrollment_token(), request=request).problem(400)


def test_an_expired_enrolment_token_is_refused(site, tmp_path):
    token = site.server.enrollment_token("--ttl", "1s")
    _, request = make_request(tmp_path / "e")
    body = {"token": token, "request": request, "name": "late", "version": "0.1.0", "platform": "linux-x86_64"}
    time.sleep(1.2)   # the one thing to wait for is time itself
    site.server.api(token=None).post("/v1/enroll", body).problem(403)


def test_a_refused_token_ends_the_attempts_and_a_new_one_enrols(yard):
    server = yard.server().start()
    used = server.enrollment_token()
    assert yard.agent(server).start().console("enroll", server.url, used).returncode == 0
    agent = yard.agent(server).start()
    done = agent.console("enroll", server.url, used)
    assert done.returncode == 125 and "used up" in done.stderr and "agenttask enroll URL TOKEN" in done.stderr and "by itself" not in done.stderr, done
    told = json.loads(agent.console("status", "--json").stdout)["server"]
    assert told["state"] == "refused" and told["enrollment"]["refused"] is True and "nextAttempt" not in told, told
    assert "used up" in agent.console("status").stdout and "used up" in agent.console("doctor").stdout
    done = agent.console("enroll", server.url, server.enrollment_token())
    assert done.returncode == 0 and not done.stderr, done      # nothing of the former attempt
    assert agent.console("status").returncode == 0
    # Enrolled, and asked to enrol again with a token that is not taken: that is said, and what there was goes on.
    done = agent.console("enroll", server.url, used)
    assert done.returncode == 125 and "used up" in done.stderr, done
    told = json.loads(agent.console("status", "--json").stdout)["server"]
    assert told["state"] == "connected" and told["enrollment"]["refused"] is True, told


def test_a_token_with_uses_and_labels(site, tmp_path):
    token = site.server.enrollment_token("--uses", "2", "--label", "room=7")
    first = HandMadeDevice(site.server, tmp_path / "a", token=token)
    second = HandMadeDevice(site.server, tmp_path / "b", token=token)
    assert first.node != second.node
    assert site.api.get(f"/v1/nodes/{first.node}").ok()["labels"] == {"room": "7"}
    _, request = make_request(tmp_path / "c")
    first.ask_to_enroll(request=request).problem(403)


def test_the_agent_refuses_a_server_whose_authority_is_not_the_tokens(yard):
    """Whoever sits in the middle shows another authority; the fingerprint in the token tells."""
    right, wrong = yard.server().start(), yard.server().start()
    agent = yard.agent(wrong).start()
    asking = agent.console_program("enroll", wrong.url, right.enrollment_token())
    try:
        until(lambda: "fingerprint" in agent.console("status", "--json").stdout, "the agent says why")
        assert not agent.find_node()
    finally:
        asking.kill()
        asking.communicate()


def test_an_agent_enrols_when_the_server_comes_and_works_until_then(yard):
    server = yard.server().start()
    token = server.enrollment_token()
    server.stop()
    agent = yard.agent(server).start()
    asking = agent.console_program("enroll", server.url, token)
    try:
        until(lambda: "cannot reach" in agent.console("status", "--json").stdout, "the agent tries")
        assert agent.console("echo", "alone").stdout == "alone\n"
        server.start()
        until(agent.find_node, "it enrols by itself")
        until(lambda: any(t["status"] == "complete" for t in server.api().get("/v1/tasks").ok()["tasks"]), "what it did before is on the server")
    finally:
        asking.kill()
        asking.communicate()


# ---- devices' certificates

def test_a_device_call_without_a_certificate_is_refused(site):
    anybody = site.server.api(token=None)
    for path in ("/v1/device/poll", "/v1/device/reports", "/v1/device/output", "/v1/device/renew"):
        anybody.post(path, {}).problem(401)
        site.api.post(path, {}).problem(401)                  # an administrator is no device


def test_a_certificate_of_another_authority_is_refused(site, yard, tmp_path):
    stranger = HandMadeDevice(yard.server().start(), tmp_path / "s")
    foreign = site.server.api(token=None, certificate=stranger.certificate, key=stranger.key)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        foreign.post("/v1/device/poll", stranger.poll_body())
    openssl("req", "-x509", "-new", "-key", stranger.key, "-out", tmp_path / "self.pem", "-subj", f"/CN={site.node}", "-days", "2")
    own_made = site.server.api(token=None, certificate=tmp_path / "self.pem", key=stranger.key)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        own_made.post("/v1/device/poll", stranger.poll_body())


def test_a_revoked_device_is_out_at_once_also_in_an_open_poll(site, tmp_path):
    import threading
    device = HandMadeDevice(site.server, tmp_path / "d")
    device.poll()
    answers = []

    def wait():
        try:
            answers.append(device.api.post("/v1/device/poll", device.poll_body(wait=55000)).status)
        except OSError:
            answers.append("cut")

    polling = threading.Thread(target=wait)
    polling.start()
    until(lambda: site.api.get(f"/v1/nodes/{device.node}").ok()["presence"] == "online", "it polls")
    begin = time.monotonic()
    assert site.api.delete(f"/v1/nodes/{device.node}").status in (200, 204)
    polling.join()
    assert time.monotonic() - begin < 30 and answers[0] in (401, 403, "cut"), answers
    answer = device.api.post("/v1/device/poll", device.poll_body())
    answer.problem(answer.status)
    assert answer.status in (401, 403)
    assert device.api.post("/v1/device/renew", {"request": device.request}).status in (401, 403)


def test_a_certificate_serves_as_no_servers(site, tmp_path):
    device = HandMadeDevice(site.server, tmp_path / "d")
    text = openssl("x509", "-in", device.certificate, "-noout", "-text")
    assert "TLS Web Client Authentication" in text and "TLS Web Server Authentication" not in text and "CA:TRUE" not in text


def test_renewal_gives_a_certificate_that_works(site, tmp_path):
    device = HandMadeDevice(site.server, tmp_path / "d")
    device.poll()
    key, request = make_request(tmp_path / "d", "next")
    renewed = device.api.post("/v1/device/renew", {"request": request}).ok()
    device.key = key
    device.take(renewed["certificate"])
    assert device.poll() == []


def test_an_expired_certificate_may_only_renew(yard, tmp_path):
    """Signed with the server's own authority, known to it, and past its end."""
    server = yard.server().start()
    device = HandMadeDevice(server, tmp_path / "d")
    device.poll()
    server.stop()
    fingerprint = lambda path: openssl("x509", "-in", path, "-noout", "-fingerprint", "-sha256").split("=")[1].strip().replace(":", "").lower()   # noqa: E731
    before = fingerprint(device.certificate)
    make_expired(server, device, tmp_path)
    database = next(p for p in server.state.iterdir() if p.is_file() and p.read_bytes()[:15] == b"SQLite format 3")
    with sqlite3.connect(database) as connection:
        changed = connection.execute("UPDATE certificates SET fingerprint = ?, expires_at = ? WHERE fingerprint = ?",
                                     (fingerprint(device.certificate), int(time.time() * 1000) - 86_400_000, before)).rowcount
    connection.close()
    assert changed == 1
    server.start()
    device.api.post("/v1/device/poll", device.poll_body()).problem(403, "certificate-expired")
    device.api.post("/v1/device/reports", b"").problem(403, "certificate-expired")
    renewed = device.api.post("/v1/device/renew", {"request": device.request}).ok()
    device.take(renewed["certificate"])
    assert device.poll() == []


def make_expired(server, device, folder):
    """The device's certificate again, from the year 2020, by `openssl ca`, which can set both ends."""
    home = folder / "ca"
    (home / "new").mkdir(parents=True)
    (home / "index.txt").touch()
    (home / "serial").write_text("1000\n")
    (home / "ca.cnf").write_text(f"""[ca]
default_ca=ours
[ours]
dir={home}
database={home}/index.txt
serial={home}/serial
new_certs_dir={home}/new
default_md=sha256
policy=any
x509_extensions=client
unique_subject=no
[any]
commonName=supplied
[client]
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=clientAuth
""")
    authority = server.state / "authority"
    out = home / "expired.pem"
    openssl("ca", "-batch", "-notext", "-config", home / "ca.cnf", "-cert", authority / "authority.pem", "-keyfile", authority / "authority.key",
            "-startdate", "20200101000000Z", "-enddate", "20200201000000Z", "-subj", f"/CN={device.node}", "-in", write(home / "request.csr", device.request), "-out", out)
    device.take(out.read_text())


def write(path, text):
    path.write_text(text)
    return path
