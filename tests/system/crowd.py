"""A fleet's worth of nodes that never came: rows in the database of a server that is not running, as enrolments would have written them."""
import contextlib
import json
import secrets
import sqlite3
import time
import uuid


def node_id(milliseconds):
    """A UUID of version 7, as the server makes them."""
    bits = milliseconds << 80 | 7 << 76 | secrets.randbits(12) << 64 | 2 << 62 | secrets.randbits(62)
    return str(uuid.UUID(int=bits))


def add_nodes(database, count, labels=None):
    """Their ids, in order; they enrolled one a millisecond."""
    first = int(time.time() * 1000) - count
    ids = [node_id(first + number) for number in range(count)]
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.executemany(
            "INSERT INTO nodes(id, name, name_fixed, version, platform, labels, enrolled_at, hold_reported, incarnation, quarantine_reason, epoch, forked, snapshot,"
            " offered_sequence, offered_chain, acknowledged_sequence, acknowledged_chain, report_sequence, report_chain)"
            " VALUES(?, ?, 0, '0.1.0', 'linux-x86_64', ?, 1, 0, '', '', 1, 0, 1, 0, '', 0, '', 0, '')",
            [(id, f"crowd-{number}", json.dumps(labels or {}, separators=(",", ":"))) for number, id in enumerate(ids)])
    return ids
