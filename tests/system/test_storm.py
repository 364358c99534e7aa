"""The storm of tests/storm: a short one, and that its checker notices when a promise is broken."""
import copy
import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

STORM = Path(__file__).resolve().parents[1] / "storm"
sys.path.insert(0, str(STORM))

import checker as checking  # noqa: E402
from storm import Storm  # noqa: E402
from truth import Mark  # noqa: E402
from work import KINDS  # noqa: E402

#: Those that put a library into the programs do not go together with the sanitizers' own.
INSIDE = [] if os.environ.get("AGENTTASK_SANITIZE") else ["failing fsync", "clock jump"]
#: Old copies lose what came after them, on purpose; which of it somebody may miss is still learned by long storms, so they are not in this one.
FAULTS = ["kill", "kill at a commit point", "kill while starting", "restart", "cut", "cut all", "delay", "refuse", *INSIDE]


def test_H1_H4_a_short_storm_breaks_no_promise(tmp_path):
    done = subprocess.run([sys.executable, "-B", STORM / "storm.py", "--seed", "7", "--minutes", "0.25", "--agents", "2", "--calm", "1",
                           "--faults", ",".join(FAULTS)], capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr


# ---- a checker that notices nothing is worth nothing: each lie is planted into what a quiet storm left

@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    # Each kind that a case looks for has to be among them.
    kinds = [dataclasses.replace(kind, weight=3 if kind.recurring else kind.weight) for kind in KINDS if kind.name != "cautious"]
    storm = Storm(tmp_path_factory.mktemp("quiet"), 3, 1, [], kinds, pace=0.06)
    try:
        storm.world.start()
        storm.run(8)
        assert storm.world.violations == []
        yield storm
    finally:
        storm.close()


@pytest.fixture
def checker(quiet):
    """What was seen, as a copy that a case may change."""
    seen, events = quiet.checker, len(quiet.story.events)
    ours = checking.Checker(quiet.world, quiet.book)
    ours.past = seen.past
    ours.truth, ours.server, ours.devices = (copy.deepcopy(part) for part in (seen.truth, seen.server, seen.devices))
    yield ours
    quiet.world.violations.clear()
    del quiet.story.events[events:]


def broken(checker):
    checker.compare()
    return {violation["rule"] for violation in checker.world.violations}


def of_kind(checker, *names, status="complete"):
    """The key of a task of this kind that ended so and that nobody touched after it was made."""
    for order in checker.book.all():
        if order.kind.name in names and order.acknowledged and not order.cancels and checker.server.by_key[order.key][0]["status"] == status:
            return order.key
    raise AssertionError(f"no {status} task of {names}")


def both(checker, key):
    return [view.by_key[key][0] for view in (checker.server, checker.devices[0])]


def begin_again(checker, key, run="another"):
    mark = copy.copy(checker.truth.starts[key][0])
    mark.run = run
    checker.truth.starts[key].append(mark)
    checker.truth.of_run[run].append(mark)


def test_what_was_seen_breaks_nothing(checker):
    assert broken(checker) == set()


def test_a_lost_task_is_noticed(checker):
    key = of_kind(checker, "echo")
    for view in (checker.server, checker.devices[0]):
        del view.by_key[key]
    assert broken(checker) == {"not lost"}


def test_a_target_without_its_task_is_noticed(checker, monkeypatch):
    of_kind(checker, "fleet call")
    ask = checker.client.call

    def forget(method, path, *more):
        answer = ask(method, path, *more)
        if path.startswith("/v1/batches/"):
            answer.document["tasks"] = []
        return answer
    monkeypatch.setattr(checker.client, "call", forget)
    assert broken(checker) == {"each target once"}


def test_a_task_that_only_the_server_lost_is_noticed(checker):
    del checker.server.by_key[of_kind(checker, "quick")]
    assert broken(checker) == {"not lost"}


def test_a_second_run_is_noticed(checker):
    begin_again(checker, of_kind(checker, "quick"))
    assert "starts once" in broken(checker)


def test_a_run_that_began_twice_is_noticed(checker):
    key = of_kind(checker, "rerun")
    begin_again(checker, key, checker.truth.starts[key][0].run)
    assert "starts once" in broken(checker)


def test_a_run_that_nobody_tells_of_is_noticed(checker):
    key = of_kind(checker, "quick")
    for task in both(checker, key):
        task.update(status="cancelled", runCount=0, runs=[])
    assert {"starts once", "ends truly"} <= broken(checker)


def test_complete_without_an_end_is_noticed(checker):
    checker.truth.ends[of_kind(checker, "slow")].clear()
    assert broken(checker) == {"results are true"}


def test_a_wrong_exit_code_is_noticed(checker):
    checker.truth.ends[of_kind(checker, "fail", status="failed")][0].code += 1
    assert broken(checker) == {"results are true"}


def test_lost_output_is_noticed(checker, monkeypatch):
    monkeypatch.setattr(checking, "output_of_run", lambda *_: "")
    assert broken(checker) == {"results are true"}


def test_an_interruption_that_never_was_is_noticed(checker):
    for task in both(checker, of_kind(checker, "quick")):
        task.update(status="failed", reason="interrupted")
    assert "ends truly" in broken(checker)


def test_a_cancel_that_nobody_asked_for_is_noticed(checker):
    for task in both(checker, of_kind(checker, "quick")):
        task.update(status="cancelled")
    assert "ends truly" in broken(checker)


def test_a_device_that_says_otherwise_is_noticed(checker):
    both(checker, of_kind(checker, "echo"))[1]["endTime"] += 1
    assert broken(checker) == {"server and device agree"}


def test_a_task_that_never_ends_is_noticed(checker):
    for task in both(checker, of_kind(checker, "later")):
        task["status"] = "running"
    assert "not stuck" in broken(checker)


def test_an_end_that_changes_is_noticed(checker):
    order = checker.book.orders[of_kind(checker, "quick")]
    order.see(0, "server", {"status": "failed", "reason": "timeout", "runCount": 1})
    try:
        assert broken(checker) == {"an end is an end"}
    finally:
        order.seen.pop()


def test_a_change_that_never_came_is_noticed(checker):
    order = checker.book.orders[of_kind(checker, "quick", "echo")]
    order.updated, updates = (1.0, "server"), order.updates
    order.updates = [7]
    for task in both(checker, order.key):
        task["metadata"] = {}
    try:
        assert broken(checker) == {"changes are true"}
    finally:
        order.updated, order.updates = (), updates


def test_a_delete_that_never_came_is_noticed(checker):
    order = checker.book.orders[of_kind(checker, "quick")]
    order.deleted = (1.0, "server")
    try:
        assert broken(checker) == {"changes are true"}
    finally:
        order.deleted = ()


def test_a_choice_that_nobody_made_is_noticed(checker):
    for task in both(checker, of_kind(checker, "asked")):
        task["chosen"] = {**task["chosen"], "option": "perhaps"}
    assert broken(checker) == {"changes are true"}


def test_a_doubled_and_a_lost_message_are_noticed(checker):
    checker.server.messages.append(checker.server.messages[0])
    checker.devices[0].messages.pop()
    assert broken(checker) == {"messages once"} and len(checker.world.violations) == 2


def test_a_lost_and_a_doubled_step_are_noticed(checker):
    keys = [key for key in checker.server.by_key if key.endswith(".2")]
    checker.server.by_key[keys[0]].clear()
    checker.server.by_key[keys[1]] *= 2
    assert "each step once" in broken(checker) and sum(v["rule"] == "each step once" for v in checker.world.violations) >= 2


def test_a_task_from_nowhere_is_noticed(checker):
    task = copy.deepcopy(both(checker, of_kind(checker, "echo"))[0])
    task.update(id="another", description="nobody asked for it")
    checker.server.add(task["description"], task, [])
    assert broken(checker) == {"nothing from nowhere"}


def test_work_side_by_side_under_one_key_is_noticed(checker):
    lanes = {}
    for order in checker.book.all():
        lane = order.body["options"].get("concurrencyKey")
        if lane and checker.truth.ends[order.key] and not order.cancels:
            if lane in lanes:
                first, second = sorted((lanes[lane], order.key), key=lambda key: checker.truth.starts[key][0].time)
                checker.truth.ends[first][0].time = checker.truth.starts[second][0].time + 1
                assert "one at a time" in broken(checker)
                return
            lanes[lane] = order.key
    raise AssertionError("no two tasks with one key")


def test_a_burst_is_noticed(checker):
    for order in checker.book.all():
        if order.kind.recurring and checker.truth.starts[order.key]:
            for number in range(50):
                begin_again(checker, order.key, f"run {number}")
            assert "no burst" in broken(checker)
            return
    raise AssertionError("nothing repeats")


def test_work_that_began_while_nothing_could_be_written_is_noticed(checker):
    checker.story.tell("trouble over", at="agent 0", trouble="failing fsync", since=checker.story.began, until=checker.world.now())
    assert "nothing without a commit" in broken(checker)


def test_work_in_quarantine_is_noticed(checker):
    checker.past.ledgers.append({"at": "agent 0", "since": 0, "known": 0.1, "released": 1e12})
    try:
        assert "quarantined starts nothing" in broken(checker)
    finally:
        checker.past.ledgers.pop()


def test_a_message_that_only_the_answer_knew_is_noticed(quiet):
    asked, name = quiet.desk.asked, "desk-nothing"
    assert any(time for _, _, time in asked) and quiet.desk.missing(lambda time: False) == []
    asked.append(("message", name, 1.0))
    try:
        assert quiet.desk.missing(lambda time: False) == [name] and quiet.desk.missing(lambda time: True) == []
    finally:
        asked.remove(("message", name, 1.0))


def test_a_mark_is_read_as_it_is_written():
    start, end = Mark("start op1-7 01a2 321 4711 98.25"), Mark("end op1-7 01a2 3 98.50")
    assert (start.what, start.key, start.run, start.agent, start.pid, start.time) == ("start", "op1-7", "01a2", 321, 4711, 98.25)
    assert (end.what, end.key, end.run, end.code, end.time) == ("end", "op1-7", "01a2", 3, 98.5)
