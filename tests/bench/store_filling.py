"""Fills a server's store, while the server is stopped, with as many tasks as years would bring: copies of one that really came about."""
import sqlite3

CHUNK = 100_000
#: What a copy takes on the disk, about, with its run and what finds it again.
A_TASK = 1300


def copy_task(server, task, nodes, count, progress):
    """`count` copies of the task, its payload, runs and waiting directives, given to `nodes` in turn."""
    store = sqlite3.connect(server.state / "server.db", isolation_level=None)
    try:
        store.execute("PRAGMA synchronous=OFF")      # nothing that counts is written: the server is not there
        store.execute("CREATE TEMP TABLE new_nodes(number INTEGER PRIMARY KEY, id TEXT)")
        store.executemany("INSERT INTO new_nodes VALUES(?, ?)", enumerate(nodes))
        sample = store.execute("SELECT sequence, node_id FROM tasks WHERE id = ?", (task,)).fetchone()
        lived = store.execute("SELECT coalesce(max(total), 0) FROM lived_time").fetchone()[0]
        for begin in range(0, count, CHUNK):
            copy_chunk(store, task, sample, lived, min(CHUNK, count - begin), len(nodes))
            progress(min(begin + CHUNK, count))
        assert store.execute("SELECT count(*) FROM tasks").fetchone()[0] >= count
        store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        store.close()


def copy_chunk(store, task, sample, lived, count, nodes):
    sequence, node = sample
    store.execute("BEGIN")
    base = store.execute("SELECT max(sequence) FROM tasks").fetchone()[0]
    store.execute("DROP TABLE IF EXISTS temp.copies")
    store.execute("CREATE TEMP TABLE copies(sequence INTEGER PRIMARY KEY, id TEXT, node_id TEXT)")
    store.execute("WITH RECURSIVE numbers(number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < ?) "
                  "INSERT INTO copies SELECT ? + numbers.number, printf('01900000-0000-7000-8000-%012x', ? + numbers.number), new_nodes.id "
                  "FROM numbers JOIN new_nodes ON new_nodes.number = numbers.number % ?", (count, base, base, nodes))
    known = {"task": task, "node": node, "lived": lived, "sequence": sequence}
    copied = {"sequence": "copies.sequence", "id": "copies.id", "node_id": "copies.node_id", "task_id": "copies.id",
              "spec": "replace(replace(one.spec, :task, copies.id), :node, copies.node_id)", "body": "replace(one.body, :task, copies.id)",
              "kept_since": "CASE WHEN one.end_time IS NULL THEN NULL ELSE :lived END"}
    for table, where in (("tasks", "one.id = :task"), ("task_payloads", "one.sequence = :sequence"), ("runs", "one.task_id = :task"),
                         ("directives", "one.task_id = :task")):
        columns = [row[1] for row in store.execute(f"PRAGMA table_info({table})") if row[1] not in ("position",)]
        # A directive's own number is of its stream; those that wait have none yet.
        values = ["one.sequence" if table == "directives" and name == "sequence" else copied.get(name, f"one.{name}") for name in columns]
        store.execute(f"INSERT INTO {table}({', '.join(columns)}) SELECT {', '.join(values)} FROM {table} one JOIN copies WHERE {where}", known)
    store.execute("COMMIT")
