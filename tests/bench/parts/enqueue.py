"""Durable enqueues, one task a call."""
import sqlite3

from plots import Plot

NAME = "enqueue"
ORDER = 30
ABOUT = "Tasks a second that 64 operators' connections enqueue, one a call, each on disk before its 201; beanstalkd puts the same bytes, synced at every put, without TLS, credentials or checks."
CONNECTIONS = 64
DATA = '{"message":"$N"}'


def run(stage):
    seconds, devices = stage.size(10.0, 1.5), stage.size(100, 10)
    server = stage.server()
    load = stage.load(server)
    load.enroll(devices)
    load.hold(devices)
    load.drop()
    peer = stage.peers.beanstalkd(stage) if stage.peers.enabled else None
    ours, theirs, latencies, accepted = [], [], [], 0
    for _ in stage.rounds(5, 2):
        answer = load.call("enqueue", devices=devices, connections=CONNECTIONS, seconds=seconds, data=DATA)
        stage.check(not answer["problems"], f"all are accepted: {answer['problems']}")
        accepted += answer["accepted"]
        ours.append(answer["accepted"] / answer["seconds"])
        latencies.append(answer["latency"]["p99"])
        if peer:
            puts = load.call("puts", port=peer[1], connections=CONNECTIONS, seconds=seconds, body='{"type":"echo","data":' + DATA.replace("$N", "12345") + "}")
            stage.check(not puts["problem"], f"beanstalkd: {puts['problem']}")
            theirs.append(puts["accepted"] / puts["seconds"])
    server.stop()
    stored = waiting(server)
    stage.check(stored == accepted, f"each accepted task is stored once: {accepted} accepted, {stored} stored")
    stage.row(f"durable single enqueues, {CONNECTIONS} connections", "/s", ours, peer="beanstalkd -b -f0" if peer else "", peer_values=theirs, ratio_at_least=1)
    stage.row(f"time of one of them, p99, {CONNECTIONS} at once", "ms", latencies)
    stage.drawings.append(Plot("Durable single enqueues", "", "tasks a second", {name: values for name, values in (("agenttask-server", ours), ("beanstalkd -b -f0", theirs)) if values}, bars=True))


def waiting(server):
    """Tasks in the server's store that wait for their device."""
    with sqlite3.connect(f"file:{server.state}/server.db?mode=ro", uri=True) as store:
        return store.execute("SELECT count(*) FROM tasks WHERE status = 'pending'").fetchone()[0]
