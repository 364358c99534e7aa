"""Tasks as operators see them: creating, listing, changing, limits (acceptance A1 to A4, J1)."""
import json
import time
import uuid

import pytest

from programs import until

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def absent(tmp_path_factory):
    """A node that is enrolled and away: its tasks stay as they are."""
    from conftest import Yard
    yard = Yard(tmp_path_factory.mktemp("absent"))
    made = yard.site()
    made.agent.stop()
    yield made
    yard.clear()


def test_A1_a_task_with_only_a_type_gets_the_rest(absent):
    before = int(time.time() * 1000)
    task = absent.api.post(f"/v1/nodes/{absent.node}/tasks", {"type": "echo", "data": {}}).ok(201)
    assert uuid.UUID(task["id"]).version == 7
    assert before - 1000 <= task["addTime"] <= int(time.time() * 1000) + 1000
    assert task["metadata"] == {} and task["tags"] == [] and task["status"] == "pending" and task["nodeId"] == absent.node
    assert absent.api.task(task["id"])["data"] == {}


def test_A1_what_is_read_is_what_was_stored(absent):
    wanted = {"type": "command", "description": "ä \U0001f600", "tags": ["one", "two words"], "roomId": "room", "worldId": "world",
              "data": {"argv": ["/bin/echo", "a b"], "env": {"X": "1"}, "stdin": "in"}, "metadata": {"deep": {"list": [1, 2.5, None, True]}},
              "options": {"timeout": 1234, "priority": -5, "maxOutputBytes": 4096, "concurrencyKey": "k", "onInterrupt": "rerun",
                          "retry": {"maxAttempts": 3, "backoff": 10, "maxBackoff": 1000}, "expiresAt": 4102444800000},
              "schedule": {"scheduledFor": 4102444800000 - 1000}}
    task = absent.api.post(f"/v1/nodes/{absent.node}/tasks", wanted).ok(201)
    read = absent.api.task(task["id"])
    for name, value in wanted.items():
        assert read[name] == value, name


def test_A1_the_same_id_again_is_the_same_task_and_another_body_a_conflict(absent):
    body = {"id": str(uuid.uuid4()), "type": "echo", "data": {"message": "once"}}
    path = f"/v1/nodes/{absent.node}/tasks"
    first = absent.api.post(path, body).ok(201)
    again = absent.api.post(path, body)
    assert again.status in (200, 201) and again.json["id"] == first["id"] and again.json["addTime"] == first["addTime"]
    absent.api.post(path, {**body, "data": {"message": "other"}}).problem(409)
    assert absent.api.task(first["id"])["data"] == {"message": "once"}


def test_A1_the_same_idempotency_key_is_the_same_task(absent):
    path, headers = f"/v1/nodes/{absent.node}/tasks", {"Idempotency-Key": "key-" + uuid.uuid4().hex}
    body = {"type": "echo", "data": {"message": "once"}}
    first = absent.api.post(path, body, headers=headers).ok(201)
    assert absent.api.post(path, body, headers=headers).json["id"] == first["id"]
    absent.api.post(path, {**body, "type": "command", "data": {"cmd": "true"}}, headers=headers).problem(409)


def test_A1_a_deleted_task_does_not_come_back(absent):
    body = {"id": str(uuid.uuid4()), "type": "echo", "data": {}}
    path = f"/v1/nodes/{absent.node}/tasks"
    absent.api.post(path, body).ok(201)
    assert absent.api.delete(f"/v1/tasks/{body['id']}").status in (200, 202)
    again = absent.api.post(path, body)
    assert again.status in (200, 201) and again.json["status"] == "cancelled"
    absent.api.post(path, {**body, "data": {"message": "new"}}).problem(409)


def listed(api, query):
    return {t["id"] for t in api.get("/v1/tasks?" + query).ok()["tasks"]}


def test_A2_filters_are_an_intersection_of_whole_words(absent):
    mark = uuid.uuid4().hex[:8]
    api, node = absent.api, absent.node
    both = api.add(node, tags=[f"a{mark}", f"b{mark}"], roomId=f"r{mark}", worldId=f"w{mark}")["id"]
    one = api.add(node, tags=[f"a{mark}"], roomId=f"r{mark}")["id"]
    other = api.run(node, "true", tags=[f"a{mark}"], worldId=f"w{mark}")["id"]
    assert listed(api, f"tag=a{mark}") == {both, one, other}
    assert listed(api, f"tag=a{mark}&tag=b{mark}") == {both}
    assert listed(api, f"tag=a{mark}&type=echo") == {both, one}
    assert listed(api, f"roomId=r{mark}&worldId=w{mark}") == {both}
    assert listed(api, f"worldId=w{mark}&type=command&node={node}&status=pending") == {other}
    for nothing in (f"tag=A{mark}", f"tag=a{mark[:-1]}", f"tag=a{mark}&tag=none", f"roomId=R{mark}", f"roomId=r{mark}&type=none",
                    f"tag=a{mark}&status=running", f"worldId=none{mark}"):
        assert listed(api, nothing) == set(), nothing


def test_A2_an_unknown_value_never_gives_everything(absent):
    api = absent.api
    api.add(absent.node)
    assert listed(api, "type=no-such-type") == set()
    for query in ("status=no-such-status", "node=no-such-node", "colour=blue", "limit=0", "limit=x", "limit=100000", "cursor=nonsense"):
        answer = api.get("/v1/tasks?" + query)
        assert answer.status in (400, 404) or answer.ok()["tasks"] == [], (query, answer.body[:300])


def test_A2_pages_are_stable_while_others_are_added(absent):
    api, mark = absent.api, "page" + uuid.uuid4().hex[:6]
    ids = [api.add(absent.node, tags=[mark])["id"] for _ in range(7)]
    seen, cursor = [], ""
    while True:
        page = api.get(f"/v1/nodes/{absent.node}/tasks?tag={mark}&limit=3{cursor}").ok()
        seen += [t["id"] for t in page["tasks"]]
        assert all("data" not in t and "result" not in t for t in page["tasks"])
        api.add(absent.node, tags=[mark])
        if not page.get("nextCursor"):
            break
        cursor = "&cursor=" + page["nextCursor"]
    assert seen == ids[::-1]
    assert all("data" in t for t in api.get(f"/v1/tasks?tag={mark}&full=1").ok()["tasks"])


def test_A3_an_update_merges_metadata_and_leaves_the_rest(absent):
    api = absent.api
    task = api.add(absent.node, metadata={"keep": 1, "change": {"a": 1}, "gone": True}, description="old", tags=["t"])
    answer = api.patch(f"/v1/tasks/{task['id']}", {"metadata": {"change": {"b": 2}, "gone": None, "new": []}, "description": "new"})
    assert answer.status in (200, 202)
    read = api.task(task["id"])
    assert read["metadata"] == {"keep": 1, "change": {"b": 2}, "new": []}
    assert read["description"] == "new" and read["tags"] == ["t"] and read["data"] == {"message": "hello"}
    assert read["updatedAt"] > task["updatedAt"] or read["updatedAt"] >= task["addTime"]


def test_A3_an_unknown_task_is_not_found(absent):
    unknown = f"/v1/tasks/{uuid.uuid4()}"
    absent.api.patch(unknown, {"description": "x"}).problem(404)
    absent.api.delete(unknown).problem(404)
    absent.api.get(unknown).problem(404)
    absent.api.post(unknown + "/cancel").problem(404)
    absent.api.get(unknown + "/runs").problem(404)
    absent.api.get(unknown + "/output").problem(404)


@pytest.mark.parametrize("value", ["-1", '"60"', "1e18", "1.5", "null", "[]", "true", "9223372036854775808"])
@pytest.mark.parametrize("field", ["schedule.scheduledFor", "schedule.updateInterval", "options.timeout", "options.expiresAt", "options.maxOutputBytes"])
def test_A4_a_time_out_of_range_is_refused_by_its_name(absent, field, value):
    outer, inner = field.split(".")
    body = '{"type":"echo","data":{},"%s":{"%s":%s}}' % (outer, inner, value)
    answer = absent.api.post(f"/v1/nodes/{absent.node}/tasks", body.encode())
    assert 400 <= answer.status < 500, (answer.status, answer.body)
    assert answer.problem(answer.status)["field"].startswith(outer)


def test_A4_not_a_number_is_not_json(absent):
    absent.api.post(f"/v1/nodes/{absent.node}/tasks", b'{"type":"echo","data":{},"options":{"timeout":NaN}}').problem(400)


def nested(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("value", ["\U0001f600 e\u0301 \u0000 \ud7ff", 2**53 + 1, -2**63, 2**64 - 1, 0.1, 1e100, nested(31), {"": {"a\"b": "\\"}}, None, [], {}],
                         ids=lambda v: str(v)[:20].encode("unicode_escape").decode())
def test_A4_data_comes_back_exactly(absent, value):
    task = absent.api.add(absent.node, data={"value": value})
    read = absent.api.task(task["id"])["data"]["value"]
    assert read == value and type(read) is type(value)


def test_A4_a_mebibyte_of_data_fits_and_one_byte_more_does_not(absent):
    frame = len(json.dumps({"message": ""}, separators=(",", ":")))
    path = f"/v1/nodes/{absent.node}/tasks"
    fits = {"message": "x" * (MIB - frame)}
    task = absent.api.post(path, {"type": "echo", "data": fits}).ok(201)
    assert absent.api.task(task["id"])["data"] == fits
    answer = absent.api.post(path, {"type": "echo", "data": {"message": "x" * (MIB - frame + 1)}})
    assert answer.status in (400, 413) and answer.problem(answer.status)["field"] == "data"


@pytest.mark.parametrize("number", ["9007199254740993.0", "1e400", "18446744073709551616", "0.12345678901234567890123"])
def test_A4_a_number_that_cannot_be_kept_is_refused(absent, number):
    absent.api.post(f"/v1/nodes/{absent.node}/tasks", b'{"type":"echo","data":{"n":%s}}' % number.encode()).problem(400)


def test_J1_an_offline_node_gets_its_tasks_in_order_when_it_comes(yard):
    site = yard.site()
    site.agent.stop()
    marks = site.agent.folder / "order"
    ids = [site.api.run(site.node, f"echo {i} >> {marks}", options={"concurrencyKey": "one"})["id"] for i in range(5)]
    for id in ids:
        task = site.api.task(id)
        assert task["status"] == "pending" and task["reason"] == "device-offline"
    site.agent.start()
    tasks = [site.api.ended(id) for id in ids]
    assert marks.read_text().split() == list("01234")
    for task in tasks:
        assert task["status"] == "complete" and task["runCount"] == 1
        # A device may start a task before the poll that acknowledges it has arrived.
        assert task["addTime"] <= task["startTime"] <= task["endTime"] and task["addTime"] <= task["sentTime"], task


def test_J1_an_unknown_node_is_not_found(absent):
    absent.api.post("/v1/nodes/no-such-node/tasks", {"type": "echo", "data": {}}).problem(404)
    absent.api.post(f"/v1/nodes/{uuid.uuid4()}/tasks", {"type": "echo", "data": {}}).problem(404)
    absent.api.get("/v1/nodes/no-such-node").problem(404)
    absent.api.get("/v1/nodes/no-such-node/tasks").problem(404)


def test_J1_a_node_answers_to_its_name(absent):
    node = absent.api.get(f"/v1/nodes/{absent.node}").ok()
    task = absent.api.add(node["name"])
    assert task["nodeId"] == absent.node
    until(lambda: absent.api.get(f"/v1/nodes/{absent.node}").ok()["presence"] == "offline", "the node is called offline")


def test_the_openapi_document_is_there(absent):
    document = absent.api.get("/openapi.json").ok()
    assert document["openapi"].startswith("3.1")
    assert "/v1/nodes/{node}/tasks" in document["paths"] and "/v1/tasks/{id}" in document["paths"]


def test_health_needs_no_token(absent):
    anybody = absent.server.api(token=None)
    assert anybody.get("/healthz").status == 200 and anybody.get("/readyz").status == 200
