"""Bytes that no friend would send: each gets a clear error, and nothing is lost or changed."""
import json
import socket
import ssl
import threading
import time
import uuid

import pytest

from programs import until


def tasks_path(site):
    return f"/v1/nodes/{site.node}/tasks"


def everything(site):
    """How many tasks there are: what is refused must change nothing."""
    return len(site.api.get("/v1/tasks?limit=1000").ok()["tasks"])


def refused(site, body, status, code=None, field=None, path=None, headers=None):
    before = everything(site)
    problem = site.api.post(path or tasks_path(site), body, headers=headers).problem(status, code, field)
    assert everything(site) == before
    return problem


@pytest.mark.parametrize("body", [b"", b"{", b"nonsense", b'{"type":"echo",}', b'{"type":"echo"} x', b"'{}'", b'{"type":"echo","data":{}}{}',
                                  b'{"type":"echo","data":{"n":01}}', b'{"type":"echo","data":{"s":"\t"}}', b"\xef\xbb\xbf{}"],
                         ids=lambda b: repr(b)[:30])
def test_malformed_json_is_refused(site, body):
    refused(site, body, 400)


@pytest.mark.parametrize("at", [1, 10, 25, 40])
def test_truncated_json_is_refused(site, at):
    whole = b'{"type":"echo","data":{"message":"hello"},"tags":["a"]}'
    refused(site, whole[:at], 400)


@pytest.mark.parametrize("body", ['[]', '"text"', '7', 'null', 'true'])
def test_json_that_is_no_object_is_refused(site, body):
    refused(site, body.encode(), 400)


@pytest.mark.parametrize("bad", [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"], ids=lambda b: b.hex())
def test_what_is_not_utf8_is_refused(site, bad):
    refused(site, b'{"type":"echo","data":{"message":"' + bad + b'"}}', 400)


def test_a_lone_surrogate_is_refused(site):
    refused(site, b'{"type":"echo","data":{"message":"\\ud800"}}', 400)


def test_too_deep_is_refused(site):
    refused(site, b'{"type":"echo","data":{"a":' + b"[" * 100 + b"]" * 100 + b"}}", 400)
    refused(site, b"[" * 200_000, 400)


def test_duplicate_keys_are_refused(site):
    refused(site, b'{"type":"echo","type":"command","data":{}}', 400, field="type")


@pytest.mark.parametrize("field,value", [("colour", 1), ("Type", "echo"), ("nodeID", "x"), ("status", "complete"), ("result", {}), ("addTime", 1)])
def test_unknown_fields_are_refused_by_name(site, field, value):
    refused(site, {"type": "echo", "data": {}, field: value}, 400, field=field)


def test_unknown_fields_inside_are_refused_by_name(site):
    refused(site, {"type": "echo", "data": {}, "options": {"timeOut": 1}}, 400, field="options.timeOut")
    refused(site, {"type": "command", "data": {"cmd": "true", "command": "x"}}, 400, field="data.command")


@pytest.mark.parametrize("field,value", [("type", 1), ("type", ""), ("type", None), ("data", "x"), ("data", []), ("tags", "a"), ("tags", [1]), ("metadata", []),
                                         ("description", {}), ("options", []), ("schedule", "now"), ("id", 7), ("id", "not-a-uuid"), ("roomId", 1)])
def test_wrong_types_are_refused_by_name(site, field, value):
    problem = refused(site, {"type": "echo", "data": {}, field: value}, 400)
    assert problem["field"].startswith(field), problem


@pytest.mark.parametrize("data,field", [({}, "data"), ({"cmd": 1}, "data.cmd"), ({"cmd": "a", "argv": ["b"]}, "data"), ({"argv": []}, "data.argv"),
                                        ({"argv": [1]}, "data.argv"), ({"cmd": "x", "env": {"A": 1}}, "data.env"), ({"cmd": "x", "env": {"A=B": "1"}}, "data.env"),
                                        ({"cmd": "x", "cwd": 5}, "data.cwd"), ({"cmd": "x\u0000y"}, "data.cmd"), ({"cmd": "x", "shell": "fish"}, "data.shell")])
def test_data_of_a_command_is_checked_at_the_door(site, data, field):
    problem = refused(site, {"type": "command", "data": data}, 400)
    assert problem["field"].startswith(field), problem


@pytest.mark.parametrize("field,value", [("schedule", {"updateInterval": 999}), ("schedule", {"updateInterval": -60000}), ("schedule", {"updateInterval": "1m"}),
                                         ("schedule", {"updateInterval": 10**18}), ("schedule", {"jitter": -1}), ("schedule", {"overlap": "never"}),
                                         ("schedule", {"catchUp": 1}), ("schedule", {"cron": "* * * * *"}), ("choices", [{"name": ""}]), ("choices", ["a"]),
                                         ("choices", [{"name": "a"}, {"name": "a"}]), ("choices", [{"name": str(i)} for i in range(33)]),
                                         ("choices", [{"name": "a" * 129}]), ("defaultChoice", "a"), ("chooser", "user"), ("choiceExpiresAt", 5)])
def test_schedules_and_choices_are_checked_at_the_door(site, field, value):
    problem = refused(site, {"type": "echo", "data": {}, field: value}, 400)
    assert problem["field"].startswith(field), problem


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"option":1}', b'{"option":null}', b'{"option":"a","option":"b"}', b'{"option":"\xff"}', b'{"option":"a","by":"me"}'])
def test_a_bad_answer_changes_nothing(site, body):
    id = site.api.add(site.node, choices=[{"name": "a"}])["id"]
    answer = site.api.post(f"/v1/tasks/{id}/choose", body)
    answer.problem(400)
    assert "choiceRequested" not in site.api.task(id)
    for verb in ("pause", "resume", "run"):
        site.api.post(f"/v1/tasks/{id}/{verb}", {"unknown": 1}).problem(400, field="unknown")
    site.api.delete(f"/v1/tasks/{id}")


def test_unknown_paths_and_methods(site):
    site.api.get("/v1/nothing").problem(404)
    site.api.get("/").problem(404)
    answer = site.api.call("PUT", "/v1/tasks")
    answer.problem(405)
    assert "GET" in answer.headers["allow"]
    site.api.get("/v1/tasks/%zz").problem(400)
    site.api.get("/v1/tasks/not-a-uuid").problem(404)
    site.api.get("/v1/tasks?limit=" + "9" * 30).problem(400)


def test_a_body_of_ten_megabytes_is_refused(site):
    refused(site, b'{"type":"echo","data":{"message":"' + b"x" * 10_000_000 + b'"}}', 413)


def test_a_body_of_two_mebibytes_is_the_limit(site):
    """The limit itself is accepted by the transport (and its data refused as too large), one more byte is not."""
    frame = b'{"type":"echo","data":{"message":""}}'
    limit = 2 * 1024 * 1024
    padding = b" " * (limit - len(frame))
    site.api.post(tasks_path(site), frame + padding).ok(201)
    refused(site, frame + padding + b" ", 413)


# ---- below JSON: the bytes of HTTP and TLS

def talk(site, *pieces, pause=0.0):
    """Sends the pieces and returns all that comes back until the server closes, or a whole answer came."""
    with site.api.connect() as connection:
        for piece in pieces:
            try:
                connection.sendall(piece)
            except OSError:
                break
            if pause:
                time.sleep(pause)
        answer = b""
        try:
            while chunk := connection.recv(65536):
                answer += chunk
        except OSError:
            pass
        return answer


def status_of(answer):
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else None


@pytest.mark.parametrize("request_bytes,statuses", [
    (b"NONSENSE\r\n\r\n", (400,)),
    (b"GET / HTTP/1.1\r\n\r\n", (400, 404, 401)),
    (b"GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n", (400, 505)),
    (b"POST /v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", (400,)),
    (b"POST /v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", (400,)),
    (b"POST /v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n", (400, 413)),
    (b"POST /v1/tasks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", (400,)),
    (b"POST /v1/tasks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\nhello\r\n0\r\n\r\n", (400,)),
    (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n", (400,)),
    (b"GET /healthz\x00 HTTP/1.1\r\nHost: x\r\n\r\n", (400,)),
    (b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", (400, 404)),
    (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", (400, 414, 431)),
    (b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X-Much: " + b"y" * 100_000 + b"\r\n\r\n", (431,)),
    (b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: y\r\n" % i for i in range(5000)) + b"\r\n", (431,)),
], ids=lambda v: repr(v)[:60] if isinstance(v, bytes) else None)
def test_hostile_requests_get_a_status_and_the_door(site, request_bytes, statuses):
    assert status_of(talk(site, request_bytes)) in statuses


def test_a_body_shorter_than_announced_changes_nothing(site):
    body = b'{"type":"echo","data":{}}'
    head = b"POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n" % (
        tasks_path(site).encode(), site.server.token.encode(), len(body) + 10)
    before = everything(site)
    with site.api.connect() as connection:
        connection.sendall(head + body)
    until(lambda: site.server.api(token=None).get("/healthz").status == 200, "the server goes on")
    assert everything(site) == before


def test_a_large_chunked_body_is_cut_off(site):
    head = b"POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nTransfer-Encoding: chunked\r\n\r\n" % (
        tasks_path(site).encode(), site.server.token.encode())
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    answer = talk(site, head, *([chunk] * 160))
    assert status_of(answer) in (413, None) and b"201" not in answer[:20]
    assert site.server.api(token=None).get("/healthz").status == 200


def test_what_is_no_tls_is_dropped(site):
    with socket.create_connection(("127.0.0.1", site.server.port), timeout=30) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            while raw.recv(4096):
                pass
        except ConnectionError:
            pass
    assert site.server.api(token=None).get("/healthz").status == 200


def test_tls_below_1_3_is_refused(site):
    context = ssl.create_default_context(cafile=str(site.server.authority))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection(("127.0.0.1", site.server.port), timeout=30) as raw:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            context.wrap_socket(raw, server_hostname="127.0.0.1").recv(1)


def test_slow_and_half_open_connections_hold_up_nobody(site):
    """A hundred peers that begin and never finish: at each step of a request, and before TLS."""
    held = []
    try:
        for i in range(100):
            raw = socket.create_connection(("127.0.0.1", site.server.port), timeout=30)
            held.append(raw)
            if i % 4:
                held[-1] = connection = site.api.context.wrap_socket(raw, server_hostname="127.0.0.1")
                connection.sendall((b"G", b"POST /v1/tasks HTTP/1.1\r\nHost: x\r\n",
                                    b"POST /v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")[i % 4 - 1])
        start = time.monotonic()
        task = site.api.ended(site.api.add(site.node)["id"])
        assert task["status"] == "complete" and time.monotonic() - start < 10
    finally:
        for one in held:
            one.close()


def test_a_request_that_never_ends_is_ended_by_the_server(site):
    """Ten seconds for the headers; a byte now and then does not help."""
    closed = threading.Event()
    with site.api.connect() as connection:
        def trickle():
            try:
                while not closed.wait(0.5):
                    connection.sendall(b"a")
            except OSError:
                pass
        connection.sendall(b"GET /healthz HTTP/1.1\r\nX-Slow: ")
        sender = threading.Thread(target=trickle)
        sender.start()
        try:
            connection.settimeout(40)
            answer = b""
            try:
                while chunk := connection.recv(4096):
                    answer += chunk
            except ConnectionError:
                pass
            assert status_of(answer) in (408, None)
        finally:
            closed.set()
            sender.join()


def test_a_peer_that_does_not_read_its_answer_holds_up_nobody(site):
    for _ in range(20):
        site.api.add(site.node, data={"message": "x" * 100_000})
    with site.api.connect() as connection:
        connection.sendall(b"GET /v1/tasks?full=1&limit=1000 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n" % site.server.token.encode() * 3)
        assert site.api.ended(site.api.add(site.node)["id"])["status"] == "complete"


def test_updates_are_checked_like_creates(site):
    task = site.api.add(site.node, schedule={"scheduledFor": int(time.time() * 1000) + 3_600_000})
    path = f"/v1/tasks/{task['id']}"
    site.api.patch(path, {"data": {}}).problem(400, field="data")
    site.api.patch(path, {"options": {"timeout": -1}}).problem(400, field="options.timeout")
    site.api.patch(path, b"{").problem(400)
    site.api.patch(path, {"metadata": {"k": "x" * 70_000}}).problem(400)
    assert site.api.task(task["id"])["options"] == task["options"]


def test_random_bytes_kill_nothing(site):
    import random
    random.seed(20261122)
    made, room = 0, uuid.uuid4().hex
    for _ in range(200):
        noise = random.randbytes(random.randrange(1, 400))
        body = json.dumps({"type": "echo", "roomId": room, "data": {"message": uuid.uuid4().hex}}).encode()
        at = random.randrange(len(body))
        answer = site.api.post(tasks_path(site), body[:at] + noise + body[at:])
        assert answer.status in (201, 400, 413, 422), (answer.status, answer.body)
        made += answer.status == 201
    assert len(site.api.get(f"/v1/tasks?roomId={room}&limit=1000").ok()["tasks"]) <= made, "what was refused changed nothing"
    assert site.api.ended(site.api.add(site.node)["id"])["status"] == "complete"
