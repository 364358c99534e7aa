"""Workers of the workers folder on the real programs (acceptance B2 to B4, C4, G2, G4, J4, and crashes in the middle of a run)."""
import json
import subprocess
import time

import pytest

from programs import BIN, DEADLINE, environment, is_alive, until

PYTHON = "#!/usr/bin/python3\n" + r'''
import json, os, sys, time
request = json.loads(sys.stdin.readline())
calls = 0
def say(**line): print(json.dumps(line), flush=True)
def call(name, /, **arguments):
    global calls
    calls += 1
    say(call={"id": calls, "name": name, "arguments": arguments})
    answer = json.loads(sys.stdin.readline())["answer"]
    assert answer["id"] == calls
    if "problem" in answer: raise SystemExit(f"{name}: {answer['problem']}")
    return answer["result"]
'''


def make(agent, name, body, python=False, **manifest):
    """A worker folder, made aside and moved into place, so that it appears at once."""
    aside = agent.folder / f"{name}.new"
    aside.mkdir()
    program = aside / "run"
    program.write_text((PYTHON if python else "#!/bin/sh\nread -r request\n") + body)
    program.chmod(0o755)
    manifest = aside / "worker.json", {"command": ["./run"], **manifest}
    manifest[0].write_text(json.dumps(manifest[1]))
    manifest[0].chmod(0o644)
    aside.chmod(0o755)
    workers = agent.state / "workers"
    workers.mkdir(parents=True, exist_ok=True)
    workers.chmod(0o755)
    aside.rename(workers / name)
    return workers / name


def add(agent, type, data=None, *options):
    done = agent.console("add", type, "--data", json.dumps(data or {}), "--json", *options)
    assert done.returncode == 0, done
    return json.loads(done.stdout)["id"]


def show(agent, id):
    done = agent.console("show", id, "--json")
    assert done.returncode == 0, done
    return json.loads(done.stdout)


def ended(agent, id):
    def look():
        task = show(agent, id)
        return task if task["status"] in ("complete", "failed", "cancelled") else None
    return until(look, f"task {id} ends\n{agent.program.text()[-2000:]}")


def tasks(agent, *filters):
    return json.loads(agent.console("list", "--json", *filters).stdout)["tasks"]


def workers(agent):
    return {one["name"]: one for one in json.loads(agent.console("workers", "--json").stdout)["workers"]}


def appeared(agent, name):
    until(lambda: name in workers(agent), f"the agent sees the worker {name}")


@pytest.fixture
def agent(yard):
    return yard.agent().start()


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


def test_B2_a_worker_that_appears_later_runs_what_waited_once(agent, tmp_path):
    task = add(agent, "LATER", {"n": 9007199254740993})
    until(lambda: show(agent, task).get("reason") == "no-worker", "it waits for a worker")
    assert show(agent, task).get("runCount", 0) == 0
    make(agent, "later", f"echo x >> {tmp_path}/ran\necho \"$request\" >> {tmp_path}/request\n" """echo '{"result":{"done":true}}'\n""", types=["LATER"])
    done = ended(agent, task)
    assert done["status"] == "complete" and done["result"]["data"] == {"done": True} and done["runCount"] == 1
    assert lines(tmp_path / "ran") == ["x"]
    request = json.loads((tmp_path / "request").read_text())["execute"]
    assert request["options"] == {"n": 9007199254740993} and request["task"]["id"] == task and request["protocol"] == "1.0"
    assert sum(task in line for line in agent.program.text().splitlines()) <= 3
    assert workers(agent)["later"]["types"] == ["LATER"] and "later" in agent.console("workers").stdout


def test_a_worker_that_goes_lets_its_tasks_wait_again(agent):
    folder = make(agent, "short", "exit 0\n", types=["SHORT"])
    appeared(agent, "short")
    assert ended(agent, add(agent, "SHORT"))["status"] == "complete"
    folder.rename(agent.folder / "gone")
    until(lambda: "short" not in workers(agent), "the agent sees that it is gone")
    task = add(agent, "SHORT")
    until(lambda: show(agent, task).get("reason") == "no-worker", "it waits")


def test_a_worker_that_others_could_have_written_is_refused_with_the_reason(agent):
    folder = make(agent, "loose", "exit 0\n", types=["LOOSE"])
    appeared(agent, "loose")
    (folder / "run").chmod(0o777)
    until(lambda: "problem" in workers(agent)["loose"], "it is refused")
    assert "others can write" in workers(agent)["loose"]["problem"] and "refused" in agent.console("workers").stdout
    (folder / "run").chmod(0o755)
    until(lambda: "problem" not in workers(agent)["loose"], "it is trusted again")
    assert ended(agent, add(agent, "LOOSE"))["status"] == "complete"


def test_B3_a_check_that_says_no_is_asked_again(agent, tmp_path):
    make(agent, "picky", f"""
case "$request" in
  '{{"validate"'*) echo x >> {tmp_path}/checks
     if [ "$(wc -l < {tmp_path}/checks)" -ge 3 ]; then echo '{{"valid":true}}'; else echo '{{"valid":false,"detail":"not yet"}}'; fi;;
  *) echo x >> {tmp_path}/ran;;
esac
""", types=["PICKY"], validate=True)
    make(agent, "crashing", "kill -SEGV $$\n", types=["CRASHING"], validate=True)
    appeared(agent, "picky"), appeared(agent, "crashing")
    crashing, task = add(agent, "CRASHING"), add(agent, "PICKY")
    waiting = until(lambda: (now := show(agent, task)).get("reason") == "validate-false" and now, "its check said no")
    assert waiting["detail"] == "not yet" and waiting.get("runCount", 0) == 0
    assert ended(agent, add(agent, "echo"))["status"] == "complete"   # others are not affected
    assert ended(agent, task)["status"] == "complete"
    assert len(lines(tmp_path / "checks")) == 3 and len(lines(tmp_path / "ran")) == 1
    assert "SIGSEGV" in show(agent, crashing)["detail"] and show(agent, crashing)["status"] == "sent"


def test_data_that_does_not_fit_the_schema_is_invalid(agent):
    make(agent, "strict", "exit 0\n", types=["STRICT"], dataSchema={"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}})
    appeared(agent, "strict")
    wrong = ended(agent, add(agent, "STRICT", {"n": "1"}))
    assert wrong["status"] == "failed" and wrong["reason"] == "invalid" and "data[n]" in wrong["detail"], wrong
    assert ended(agent, add(agent, "STRICT", {"n": 1}))["status"] == "complete"


WISHES = """
made = call("createTask", type="NEXT", data={"from": request["execute"]["task"]["id"]}, tags=["step"])
assert call("getTasksByType", type="NEXT")[0]["id"] == made["id"]
call("updateTask", id=made["id"], changes={"description": "second step"})
call("createMessage", content={"text": "hello"})
assert len(call("getMessages", roomId=request["execute"]["task"]["roomId"])) == 1
call("deleteTask", id=request["execute"]["task"]["id"])
print("ordinary output", flush=True)
%s
say(result={"made": made["id"]})
"""


def test_B4_what_a_run_asks_for_happens_with_its_success(agent):
    make(agent, "steps", WISHES % "", python=True, types=["FIRST"])
    make(agent, "next", "exit 0\n", types=["NEXT"])
    appeared(agent, "steps"), appeared(agent, "next")
    first = ended(agent, add(agent, "FIRST", {}, "--room", "lobby"))
    assert first["status"] == "complete" and first.get("deletedAt"), first
    assert len(json.loads(agent.console("runs", first["id"], "--json").stdout)["runs"]) == 1
    made = ended(agent, first["result"]["data"]["made"])
    assert made["status"] == "complete" and made["description"] == "second step" and made["data"] == {"from": first["id"]}
    assert [task["id"] for task in tasks(agent, "--type", "NEXT")] == [made["id"]]


@pytest.mark.parametrize("end", ["sys.exit(3)", "os.kill(os.getpid(), 11)", 'say(error={"code":"full","message":"no room"})'])
def test_a_run_that_fails_drops_what_it_asked_for(agent, end):
    make(agent, "steps", WISHES % end, python=True, types=["FIRST"])
    appeared(agent, "steps")
    first = ended(agent, add(agent, "FIRST", {}, "--room", "lobby"))
    assert first["status"] == "failed" and first["reason"] == "worker-error" and not first.get("deletedAt"), first
    assert tasks(agent, "--type", "NEXT") == []
    if "full" in end:
        assert first["result"]["error"] == {"code": "full", "message": "no room"}


def test_G4_floods_and_endless_lines_are_output_and_harm_nothing(agent):
    make(agent, "loud", """yes '{"a":1}' | head -c 8000000
printf '{"x":"'; head -c 3145728 /dev/zero | tr '\\0' x; echo '"}'
head -c 10000000 /dev/zero >&2
echo '{"result":{"ok":true}}'
""", types=["LOUD"])
    appeared(agent, "loud")
    done = ended(agent, add(agent, "LOUD", None, "--timeout", "10m"))
    assert done["status"] == "complete" and done["result"]["data"] == {"ok": True}


def test_C4_G2_a_hanging_worker_is_stopped_and_delays_nobody(agent, tmp_path):
    make(agent, "hang", f"trap '' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 1; done\n", types=["HANG"], timeout=2000)
    appeared(agent, "hang")
    task = add(agent, "HANG")
    until(lambda: lines(tmp_path / "pid"), "it runs")
    begin = time.monotonic()
    assert ended(agent, add(agent, "echo"))["status"] == "complete" and time.monotonic() - begin < 5
    done = ended(agent, task)
    assert done["status"] == "failed" and done["reason"] == "timeout"
    assert not is_alive(lines(tmp_path / "pid")[0])


def test_progress_is_the_tasks_detail_while_it_runs(agent, tmp_path):
    make(agent, "slow", f"""echo '{{"progress":{{"text":"copying","percent":40}}}}'; while [ ! -e {tmp_path}/go ]; do sleep 0.1; done\n""", types=["SLOW"])
    appeared(agent, "slow")
    task = add(agent, "SLOW")
    until(lambda: show(agent, task).get("detail") == "copying 40 %", "its progress is shown")
    (tmp_path / "go").touch()
    assert ended(agent, task)["status"] == "complete"


def test_a_killed_agent_drops_the_wishes_of_the_run_and_ends_it_as_interrupted(agent, tmp_path):
    make(agent, "steps", WISHES % f"open('{tmp_path}/asked', 'w').write(str(os.getpid()))\ntime.sleep(600)", python=True, types=["FIRST"])
    appeared(agent, "steps")
    task = add(agent, "FIRST", {}, "--room", "lobby")
    until(lambda: lines(tmp_path / "asked"), "the run has asked for everything")
    agent.kill()
    agent.start()
    done = ended(agent, task)
    assert done["status"] == "failed" and done["reason"] == "interrupted" and not done.get("deletedAt")
    assert tasks(agent, "--type", "NEXT") == []
    assert not is_alive(lines(tmp_path / "asked")[0])


def test_killed_at_any_moment_the_wishes_are_all_there_or_none(agent, tmp_path):
    """The end of the run and the kill race: afterwards there is a new task exactly where the run succeeded."""
    make(agent, "steps", WISHES % f"open('{tmp_path}/asked', 'w').write('x')", python=True, types=["FIRST"])
    for round in range(8):
        appeared(agent, "steps")
        (tmp_path / "asked").unlink(missing_ok=True)
        before = {task["id"] for task in tasks(agent, "--type", "NEXT")}
        task = add(agent, "FIRST", {}, "--room", f"room {round}")
        until(lambda: (tmp_path / "asked").exists(), "the run has asked for everything")
        time.sleep(0.004 * round)   # the moment of the kill moves over the end of the run
        agent.kill()
        agent.start()
        done = ended(agent, task)
        new = {task["id"] for task in tasks(agent, "--type", "NEXT")} - before
        if done["status"] == "complete":
            assert new == {done["result"]["data"]["made"]} and done.get("deletedAt")
        else:
            assert done["reason"] == "interrupted" and not new and not done.get("deletedAt")


def test_a_service_answers_a_run(agent):
    make(agent, "adder", """say(result=sum(request["serve"]["arguments"]["numbers"]))\n""", python=True, services=["adder"])
    make(agent, "asks", """
assert call("getService", name="adder") == {"name": "adder", "worker": "adder"} and call("getService", name="none") is None
say(result={"sum": call("callService", name="adder", method="add", arguments={"numbers": [1, 2, 3]})})
""", python=True, types=["ASKS"])
    appeared(agent, "adder"), appeared(agent, "asks")
    done = ended(agent, add(agent, "ASKS"))
    assert done["status"] == "complete" and done["result"]["data"] == {"sum": 6}, done


def test_the_kill_of_a_hanging_agent_leaves_no_service_behind(agent, tmp_path):
    make(agent, "endless", f"echo $$ > {tmp_path}/pid; sleep 600\n", services=["endless"])
    make(agent, "asks", """call("callService", name="endless", method="x")\n""", python=True, types=["ASKS"])
    appeared(agent, "endless"), appeared(agent, "asks")
    task = add(agent, "ASKS")
    until(lambda: lines(tmp_path / "pid"), "the service runs")
    agent.kill()
    agent.start()
    assert ended(agent, task)["reason"] == "interrupted"
    assert not is_alive(lines(tmp_path / "pid")[0])


# ---- without an agent

def try_worker(*words):
    return subprocess.run([BIN / "agenttask", "worker", "test", *map(str, words)], capture_output=True, text=True, env=environment(),
                          timeout=DEADLINE, stdin=subprocess.DEVNULL)


def test_worker_test_tries_a_worker_and_changes_nothing(yard):
    agent = yard.agent()
    folder = make(agent, "steps", WISHES % "print('problem', file=sys.stderr, flush=True)\nsay(progress={'text': 'half'})", python=True, types=["FIRST"])
    done = try_worker(folder, "--room", "lobby")
    assert done.returncode == 0, done
    assert done.stdout.startswith("ordinary output\n") and json.loads(done.stdout.splitlines()[-1])["success"]
    for word in ("problem", "progress: half", "createTask", "updateTask", "createMessage", "deleteTask", "complete"):
        assert word in done.stderr, (word, done.stderr)
    as_json = json.loads(try_worker(folder, "--room", "lobby", "--json").stdout)
    assert as_json["status"] == "complete" and [list(w)[0] for w in as_json["wishes"]] == ["createTask", "updateTask", "createMessage", "deleteTask"]
    assert as_json["progress"] == ["half"]


def test_worker_test_says_what_is_wrong(yard, tmp_path):
    agent = yard.agent()
    folder = make(agent, "failing", "echo '{\"error\":{\"code\":\"c\",\"message\":\"m\"}}'\n", types=["A", "B"])
    assert try_worker(folder).returncode == 125            # which type?
    failed = try_worker(folder, "--type", "B", "--json")
    assert failed.returncode == 1 and json.loads(failed.stdout)["result"]["error"] == {"code": "c", "message": "m"}
    (folder / "run").chmod(0o777)
    (folder / "worker.json").write_text("{}")
    refused = try_worker(folder)
    assert refused.returncode == 125 and "command" in refused.stderr
    assert try_worker(tmp_path / "none").returncode == 125
    hang = make(agent, "hang", "sleep 600\n", types=["H"])
    late = try_worker(hang, "--timeout", "300ms", "--json")
    assert late.returncode == 1 and json.loads(late.stdout)["reason"] == "timeout"
