"""One task for many devices."""
import contextlib
import http.client
import json
import sqlite3
import ssl
import threading
import time

from crowd import add_nodes
from plots import Plot

NAME = "fleet-call"
ORDER = 35
ABOUT = ("One task for many devices in one call: seconds until the 202, with every task on disk, while some of them hold polls and another operator goes on enqueuing; "
         "beanstalkd puts the same number one by one, synced at every put.")
CONNECTIONS = 64
DATA = {"message": "to all of you"}


def run(stage):
    many, connected = stage.size(100_000, 5000), stage.size(1000, 20)
    server = stage.server()
    load = stage.load(server)
    load.enroll(connected)
    load.drop()
    server.stop()
    # Devices that are away are rows of the store; what enrolling so many takes is measured elsewhere.
    away = add_nodes(server.state / "server.db", many - connected)
    server.start()
    load.hold(connected)
    peer = stage.peers.beanstalkd(stage) if stage.peers.enabled else None
    seconds, rates, delivered, longest, theirs = [], [], [], [], []
    for number in stage.rounds(5, 2):
        load.call("clear")
        with others(server, away[0]) as waits:
            began = time.monotonic()
            batch = call(server, "POST", "/v1/tasks", {"type": "echo", "data": DATA, "target": {"all": True}}, 202)
            seconds.append(time.monotonic() - began)
        rates.append(many / seconds[-1])
        longest.append(max(waits) * 1000)
        stage.check(batch["targets"] == many and not batch.get("preparing"), f"round {number}: every device has its task: {batch}")
        delivered.append(await_delivered(load, connected) - began)
        counts = load.counts()
        stage.check(counts["delivered"] == connected and not counts["twice"] and not counts["wrong"], f"round {number}: each connected device got its task, none twice: {counts}")
        if peer:
            body = json.dumps({"type": "echo", "data": DATA}, separators=(",", ":"))
            puts = load.call("puts", port=peer[1], connections=CONNECTIONS, seconds=stage.size(5.0, 1.5), body=body)
            stage.check(not puts["problem"], f"beanstalkd: {puts['problem']}")
            theirs.append(puts["accepted"] / puts["seconds"])
    server.stop()
    stage.check(not doubles(server), "each device has one task of each batch")
    stage.row(f"one task to {many} devices: until the 202", "s", seconds, at_most=5 if many == 100_000 else None)
    stage.row("durable enqueues in bulk, the body once", "/s", rates, peer="beanstalkd -b -f0" if peer else "", peer_values=theirs, ratio_at_least=2)
    stage.row(f"the last of {connected} connected devices has it", "s", delivered, note="from the request on")
    stage.row("longest that another operator's enqueue took meanwhile", "ms", longest)
    stage.drawings.append(Plot("Enqueues in bulk", "", "tasks a second", {name: values for name, values in (("agenttask-server", rates), ("beanstalkd -b -f0", theirs)) if values}, bars=True))


def call(server, method, path, body, status):
    """One exchange over a connection of its own, however long it takes."""
    connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=ssl.create_default_context(cafile=str(server.authority)), timeout=120)
    with contextlib.closing(connection):
        connection.request(method, path, body=json.dumps(body), headers={"Authorization": f"Bearer {server.token}", "Content-Type": "application/json"})
        answer = connection.getresponse()
        document = json.loads(answer.read())
    assert answer.status == status, (answer.status, document)
    return document


@contextlib.contextmanager
def others(server, node):
    """An operator who enqueues one task after the other meanwhile; how long each took, in seconds."""
    over, waits = threading.Event(), []

    def work():
        connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=ssl.create_default_context(cafile=str(server.authority)), timeout=120)
        with contextlib.closing(connection):
            while not over.is_set():
                began = time.monotonic()
                connection.request("POST", f"/v1/nodes/{node}/tasks", body='{"type":"echo"}', headers={"Authorization": f"Bearer {server.token}"})
                answer = connection.getresponse()
                answer.read()
                assert answer.status == 201, answer.status
                waits.append(time.monotonic() - began)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        # It is under way before what is measured begins.
        while len(waits) < 3 and thread.is_alive():
            time.sleep(0.001)
        yield waits
    finally:
        over.set()
        thread.join()


def await_delivered(load, count):
    while load.counts()["delivered"] < count:
        time.sleep(0.002)
    return time.monotonic()


def doubles(server):
    with sqlite3.connect(f"file:{server.state}/server.db?mode=ro", uri=True) as store:
        return store.execute("SELECT batch, node_id, count(*) FROM tasks WHERE batch IS NOT NULL GROUP BY batch, node_id HAVING count(*) <> 1 LIMIT 1").fetchall()
