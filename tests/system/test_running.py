"""Tasks on the device: once, in time, whole, stopped and cancelled truthfully (acceptance B1, B2, C1, G2 to G4, J3)."""
import json
import os
import signal
import time

import pytest

from programs import is_alive, until


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


def test_B1_a_task_runs_once_with_its_data(site, tmp_path):
    task = site.api.ended(site.api.add(site.node, "command", {"argv": ["/bin/sh", "-c", f'echo "$X|$0|$PWD" >> {tmp_path}/ran; cat', "zero"],
                                                              "env": {"X": "from data"}, "cwd": str(tmp_path), "stdin": "given"})["id"])
    assert task["status"] == "complete" and task["result"]["data"]["stdout"] == "given"
    assert lines(tmp_path / "ran") == [f"from data|zero|{tmp_path}"]
    runs = site.api.runs(task["id"])
    assert len(runs) == 1 and runs[0]["status"] == "complete" and task["runCount"] == 1


def test_B2_without_a_worker_a_task_waits_and_says_so(site):
    task = site.api.add(site.node, "nobody-does-this", {})

    def waits():
        now = site.api.task(task["id"])
        return now if now["status"] == "sent" and now.get("reason") == "no-worker" else None

    waiting = until(waits, "the task waits for a worker")
    assert waiting.get("runCount", 0) == 0 and site.api.runs(task["id"]) == [] and waiting["detail"]
    assert sum(task["id"] in line for line in site.agent.program.text().splitlines()) <= 2
    explained = site.agent.console("explain", task["id"])
    assert explained.returncode == 0 and "worker" in explained.stdout
    # Others go on, and it can be cancelled.
    assert site.api.ended(site.api.add(site.node)["id"])["status"] == "complete"
    site.api.post(f"/v1/tasks/{task['id']}/cancel")
    assert site.api.ended(task["id"])["status"] == "cancelled"


def test_C1_each_of_many_tasks_runs_exactly_once_and_promptly(site, tmp_path):
    marks = tmp_path / "ran"
    start = time.monotonic()
    ids = [site.api.run(site.node, f"echo {i} >> {marks}")["id"] for i in range(40)]
    assert all(site.api.ended(id)["status"] == "complete" for id in ids)
    took = time.monotonic() - start
    assert sorted(map(int, lines(marks))) == list(range(40))
    assert took < 40, took   # a second each would still be far from prompt


def test_C1_a_slow_task_runs_once(site, tmp_path):
    task = site.api.run(site.node, f"echo x >> {tmp_path}/ran; sleep 2")
    assert site.api.ended(task["id"])["status"] == "complete"
    assert lines(tmp_path / "ran") == ["x"]


def test_C2_a_deferred_task_waits_for_its_time(site, tmp_path):
    due = int(time.time() * 1000) + 1500
    task = site.api.run(site.node, f"date +%s%3N >> {tmp_path}/ran", schedule={"scheduledFor": due})
    until(lambda: site.api.task(task["id"]).get("reason") == "not-due", "the device says that it is not due")
    assert site.api.ended(task["id"])["status"] == "complete"
    assert [int(t) >= due for t in lines(tmp_path / "ran")] == [True]


TREE = r"""trap '' TERM
( trap '' TERM; sleep 600 & echo $! >> {f}/pids; wait ) &
echo $! >> {f}/pids
setsid sh -c 'trap "" TERM; echo $$ >> {f}/pids; sleep 601' &
echo $$ >> {f}/pids
echo begun
echo problem >&2
while :; do sleep 1; done
"""


def tree_pids(folder):
    def four():
        pids = lines(folder / "pids")
        return pids if len(pids) == 4 else None
    return [int(pid) for pid in until(four, "the tree has started")]


def test_G2_at_the_timeout_the_whole_tree_goes(site, tmp_path):
    task = site.api.run(site.node, TREE.format(f=tmp_path), options={"timeout": 2000})
    pids = tree_pids(tmp_path)
    ended = site.api.ended(task["id"])
    assert ended["status"] == "failed" and ended["reason"] == "timeout"
    data = ended["result"]["data"]
    assert ended["result"]["success"] is False and data["timedOut"] is True
    assert data["stdout"] == "begun\n" and data["stderr"] == "problem\n"
    assert 2000 <= ended["endTime"] - ended["startTime"] < 2000 + 5000 + 5000
    until(lambda: not any(map(is_alive, pids)), "nothing of the tree is left", deadline=5)
    assert site.api.ended(site.api.add(site.node)["id"])["status"] == "complete"


def test_G2_a_polite_command_ends_within_the_grace(site, tmp_path):
    task = site.api.run(site.node, "trap 'echo bye; exit 3' TERM; echo hi; while :; do sleep 0.1; done", options={"timeout": 500})
    ended = site.api.ended(task["id"])
    assert ended["reason"] == "timeout" and ended["result"]["data"]["stdout"] == "hi\nbye\n"
    assert ended["endTime"] - ended["startTime"] < 4500


def cancel(site, task):
    answer = site.api.post(f"/v1/tasks/{task['id']}/cancel")
    assert answer.status in (200, 202), answer.body
    return answer


def test_G3_cancel_while_running_stops_the_tree(site, tmp_path):
    task = site.api.run(site.node, TREE.format(f=tmp_path), options={"timeout": 0})
    pids = tree_pids(tmp_path)
    cancel(site, task)
    ended = site.api.ended(task["id"])
    assert ended["status"] == "cancelled" and ended["result"]["data"]["stdout"] == "begun\n"
    assert not any(map(is_alive, pids))
    assert site.api.task(task["id"])["status"] == "cancelled"      # and stays readable
    assert site.api.runs(task["id"])[0]["status"] == "cancelled"


def test_G3_cancel_while_waiting_for_time_key_or_worker(site, tmp_path):
    late = site.api.run(site.node, f"echo late >> {tmp_path}/ran", schedule={"scheduledFor": int(time.time() * 1000) + 3_600_000})
    holder = site.api.run(site.node, "sleep 60", options={"concurrencyKey": "held", "timeout": 0})
    until(lambda: site.api.task(holder["id"])["status"] == "running", "the key is held")
    behind = site.api.run(site.node, f"echo behind >> {tmp_path}/ran", options={"concurrencyKey": "held"})
    for task, reason in ((late, "not-due"), (behind, "key-held")):
        until(lambda: site.api.task(task["id"]).get("reason") == reason, reason)
        assert site.api.task(task["id"])["status"] == "sent"
        cancel(site, task)
        ended = site.api.ended(task["id"])
        assert ended["status"] == "cancelled" and ended.get("runCount", 0) == 0
    cancel(site, holder)
    assert site.api.ended(holder["id"])["status"] == "cancelled"
    assert lines(tmp_path / "ran") == []


def test_G3_cancel_while_pending_is_decided_at_once(yard, tmp_path):
    site = yard.site()
    site.agent.stop()
    task = site.api.run(site.node, f"echo x >> {tmp_path}/ran")
    answer = cancel(site, task)
    assert answer.status == 200 and answer.json["status"] == "cancelled"
    site.agent.start()
    assert site.api.ended(site.api.add(site.node)["id"])["status"] == "complete"
    assert site.api.task(task["id"])["status"] == "cancelled" and lines(tmp_path / "ran") == []


def test_G3_cancel_after_the_end_changes_nothing(site):
    task = site.api.add(site.node)
    before = site.api.ended(task["id"])
    answer = site.api.post(f"/v1/tasks/{task['id']}/cancel")
    assert answer.status in (200, 409) and (answer.status == 409 or answer.json["status"] == "complete")
    after = site.api.task(task["id"])
    assert after["status"] == "complete" and after["result"] == before["result"] and after["endTime"] == before["endTime"]


MEGABYTE = 1_000_000


def resident_kilobytes(pid):
    status = open(f"/proc/{pid}/status").read()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))


def test_G4_ten_megabytes_to_standard_error_first(site):
    task = site.api.run(site.node, f"head -c {10 * MEGABYTE} /dev/zero | tr '\\0' e >&2; echo out", options={"timeout": 60000})
    data = site.api.ended(task["id"])["result"]["data"]
    assert data["exitCode"] == 0 and data["stdout"] == "out\n"
    assert data["stderrBytes"] == 10 * MEGABYTE and data["stdoutBytes"] == 4 and data["truncated"] is True
    assert data["stderr"].startswith("eee") and data["stderr"].endswith("eee") and len(data["stderr"]) < 1024 * 1024 + 300


def test_G4_a_gigabyte_to_standard_output_neither_blocks_nor_grows_the_agent(site):
    before = resident_kilobytes(site.agent.program.pid)
    task = site.api.run(site.node, "head -c 1000000000 /dev/zero; echo done >&2", options={"timeout": 0, "maxOutputBytes": 65536})
    most = before
    while site.api.task(task["id"])["status"] not in ("complete", "failed", "cancelled"):
        most = max(most, resident_kilobytes(site.agent.program.pid))
        time.sleep(0.05)
    data = site.api.ended(task["id"])["result"]["data"]
    assert data["exitCode"] == 0 and data["stdoutBytes"] == 1_000_000_000 and data["truncated"] is True and data["stderr"] == "done\n"
    if not os.environ.get("AGENTTASK_SANITIZE"):              # sanitizers keep what was freed
        assert most - before < 64 * 1024, (before, most)


def test_G4_one_endless_line_without_newline(site):
    task = site.api.run(site.node, f"head -c {3 * MEGABYTE} /dev/zero | tr '\\0' x")
    data = site.api.ended(task["id"])["result"]["data"]
    assert data["stdoutBytes"] == 3 * MEGABYTE and data["exitCode"] == 0


def test_G4_a_grandchild_that_keeps_the_pipe_open(site, tmp_path):
    task = site.api.run(site.node, f"sleep 600 & echo $! > {tmp_path}/pid; echo out", options={"timeout": 30000})
    ended = site.api.ended(task["id"])
    assert ended["status"] == "complete" and ended["result"]["data"]["stdout"] == "out\n"
    assert ended["endTime"] - ended["startTime"] < 8000
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)   # a run that ended by itself leaves its background work alone


def test_G4_a_child_that_reads_standard_input_gets_an_empty_one(site):
    data = site.api.ended(site.api.run(site.node, "cat; echo read $?")["id"])["result"]["data"]
    assert data["stdout"] == "read 0\n"


def test_G4_bytes_that_are_no_text_survive(site):
    import base64
    task = site.api.run(site.node, r"printf '\377\000\376'")
    data = site.api.ended(task["id"])["result"]["data"]
    assert data["stdoutEncoding"] == "base64" and base64.b64decode(data["stdout"]) == b"\xff\x00\xfe"
    output = site.api.get(f"/v1/tasks/{task['id']}/output").ok_lines()
    assert base64.b64decode(output[0]["base64"]) == b"\xff\x00\xfe" and "end" in output[-1]


def test_output_can_be_followed_while_it_comes(site, tmp_path):
    go = tmp_path / "go"
    task = site.api.run(site.node, f"echo first; while [ ! -e {go} ]; do sleep 0.05; done; echo second", options={"timeout": 60000})
    seen = []
    for line in site.api.lines(f"/v1/tasks/{task['id']}/output?follow=1"):
        seen.append(line)
        if line.get("text") == "first\n":
            assert site.api.task(task["id"])["status"] == "running"    # it came before the end
            go.touch()
    text = "".join(line.get("text", "") for line in seen)
    assert text == "first\nsecond\n" and "end" in seen[-1]
    resumed = site.api.get(f"/v1/tasks/{task['id']}/output").ok_lines()
    assert "".join(line.get("text", "") for line in resumed) == text
    rest = site.api.get(f"/v1/tasks/{task['id']}/output?from=6,0").ok_lines()
    assert "".join(line.get("text", "") for line in rest) == "second\n" and rest[0]["offset"] == 6
    site.api.get(f"/v1/tasks/{task['id']}/output?from=x").problem(400, field="from")


@pytest.mark.parametrize("value", [{"message": "Hello"}, {"n": 2**63 - 1, "u": 2**64 - 1, "d": 0.1, "e": 1e-300, "z": -0.5},
                                   {"list": [[], {}, None, True, "\u0000\U0001f600"]}, {}], ids=["plain", "numbers", "values", "empty"])
def test_J3_echo_gives_back_its_data_exactly(site, value):
    ended = site.api.ended(site.api.add(site.node, "echo", value)["id"])
    assert ended["result"] == {"success": True, "data": value}
    assert json.dumps(ended["result"]["data"], sort_keys=True) == json.dumps(value, sort_keys=True)


def test_J3_command_tells_all_about_its_end(site):
    ended = site.api.ended(site.api.run(site.node, "echo out; echo err >&2; sleep 0.2; exit 7")["id"])
    data = ended["result"]["data"]
    assert ended["status"] == "failed" and ended["reason"] == "exit-status" and ended["result"]["success"] is False
    assert ended["result"]["error"]["code"] and ended["result"]["error"]["message"]
    assert data["exitCode"] == 7 and data["stdout"] == "out\n" and data["stderr"] == "err\n" and 190 <= data["durationMs"] < 20000
    assert data["stdoutBytes"] == 4 and data["stderrBytes"] == 4 and data["truncated"] is False and data["timedOut"] is False


def test_J3_a_signal_is_no_exit_code(site):
    data = site.api.ended(site.api.run(site.node, "kill -9 $$")["id"])["result"]["data"]
    assert data["signal"] in (9, "SIGKILL", "KILL") and "exitCode" not in data
    data = site.api.ended(site.api.run(site.node, "exit 9")["id"])["result"]["data"]
    assert data["exitCode"] == 9 and "signal" not in data


def test_J3_a_command_that_does_not_exist(site):
    ended = site.api.ended(site.api.add(site.node, "command", {"argv": ["/no/such/program"]})["id"])
    assert ended["status"] == "failed" and "/no/such/program" in ended["result"]["error"]["message"]


def test_J3_children_get_nothing_of_the_agent(site):
    task = site.api.run(site.node, "echo /proc/$$/fd/*; env; grep SigIgn /proc/$$/status")
    out = site.api.ended(task["id"])["result"]["data"]["stdout"].splitlines()
    assert len(out[0].split()) <= 4, out             # 0, 1, 2, and the folder that the shell looks through
    assert not any(line.startswith(("LD_", "AGENTTASK_TOKEN", "ASAN_", "TSAN_")) for line in out), out
    assert out[-1].split()[1] == "0" * 16


def test_several_tasks_run_side_by_side(site, tmp_path):
    """Each waits for the other: alone, neither ends in time."""
    meet = "echo > {f}/{me}; while [ ! -e {f}/{other} ]; do sleep 0.05; done"
    one = site.api.run(site.node, meet.format(f=tmp_path, me="a", other="b"), options={"timeout": 20000})
    two = site.api.run(site.node, meet.format(f=tmp_path, me="b", other="a"), options={"timeout": 20000})
    assert site.api.ended(one["id"])["status"] == "complete" and site.api.ended(two["id"])["status"] == "complete"


def test_retry_runs_again_and_keeps_every_run(site, tmp_path):
    task = site.api.run(site.node, f"echo x >> {tmp_path}/ran; [ $(wc -l < {tmp_path}/ran) = 3 ]",
                        options={"retry": {"maxAttempts": 5, "backoff": 50, "maxBackoff": 200}})
    assert site.api.ended(task["id"])["status"] == "complete"
    assert [run["status"] for run in sorted(site.api.runs(task["id"]), key=lambda r: r["startTime"])] == ["failed", "failed", "complete"]


def test_what_is_not_started_in_time_expires(site, tmp_path):
    now = int(time.time() * 1000)
    task = site.api.run(site.node, f"echo x >> {tmp_path}/ran", schedule={"scheduledFor": now + 3_600_000}, options={"expiresAt": now + 1500})
    ended = site.api.ended(task["id"])
    assert ended["status"] == "failed" and ended["reason"] == "expired" and lines(tmp_path / "ran") == []
