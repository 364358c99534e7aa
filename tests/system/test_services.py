"""Services of a device called by people: with the console, and over HTTPS; through the real programs."""
import json
import os
import shutil
import subprocess

import pytest

from programs import BIN, environment, until

LEDGER = """#!/bin/sh
read -r request
case "$request" in
  *'"method":"balance"'*) echo 'looked it up' >&2; echo '{"result":{"balance":9007199254740993}}';;
  *'"method":"name"'*) echo '{"result":"petty cash"}';;
  *'"method":"echo"'*) printf '{"result":%s}\\n' "$request";;
  *'"method":"hang"'*) echo begun; sleep 600;;
  *) echo '{"error":{"code":"unknown-method","message":"there is no such method"}}';;
esac
"""


def put_worker(agent, name, manifest, script=LEDGER):
    """As a whole: made beside, then renamed."""
    workers = agent.state / "workers"
    beside = agent.folder / f"{name}.new"
    beside.mkdir()
    (beside / "run").write_text(script)
    (beside / "run").chmod(0o755)
    (beside / "worker.json").write_text(json.dumps({"command": ["./run"], **manifest}))
    workers.mkdir(exist_ok=True)
    beside.rename(workers / name)


def services(agent):
    return [name for worker in json.loads(agent.console("workers", "--json").stdout)["workers"] if "problem" not in worker for name in worker["services"]]


def show(agent, id):
    return json.loads(agent.console("show", id, "--json").stdout)


@pytest.fixture(scope="module")
def place(site):
    put_worker(site.agent, "ledger", {"services": ["ledger"]})
    until(lambda: services(site.agent) == ["ledger"], "the service is offered")
    return site


def test_the_console_prints_the_answer(place):
    call = lambda *words: place.agent.console("service", "ledger", *words)   # noqa: E731
    done = call("balance")
    assert (done.returncode, done.stdout, done.stderr) == (0, '{"balance":9007199254740993}\n', "")
    assert "looked it up" in place.agent.console("output", "@last").stderr
    assert call("name").stdout == "petty cash\n"
    done = call("echo", "--data", '{"account":"a","n":1.5}')
    assert json.loads(done.stdout) == {"serve": {"service": "ledger", "method": "echo", "arguments": {"account": "a", "n": 1.5}}}
    task = json.loads(call("balance", "--json").stdout)
    assert task["type"] == "service" and task["status"] == "complete" and task["result"]["data"] == {"answer": {"balance": 9007199254740993}}
    assert task["result"]["output"]["stderrBytes"] == len("looked it up\n")
    done = call("balanse")
    assert done.returncode == 125 and not done.stdout and "there is no such method" in done.stderr
    task = show(place.agent, "@last")
    assert task["reason"] == "worker-error" and task["result"]["error"]["code"] == "unknown-method"


def test_it_is_a_task_like_others(place):
    done = place.agent.console("service", "ledger", "hang", "--timeout", "300ms")
    assert done.returncode == 124, done
    id = place.agent.console("service", "ledger", "hang", "--timeout", "0", "--detach").stdout.strip()
    until(lambda: show(place.agent, id)["status"] == "running", "it runs")
    assert "cancelled" in place.agent.console("cancel", id).stdout
    id = place.agent.console("service", "ledger", "name", "--every", "1h", "--tag", "hourly").stdout.strip()
    until(lambda: show(place.agent, id).get("occurrence") == 1 and show(place.agent, id)["status"] == "sent", "it ran once")
    assert "ledger name" in place.agent.console("list", "--tag", "hourly").stdout
    done = place.agent.console("service", "ledger", "echo", "--choice", "yes", "--choice", "no", "--tag", "asks")
    id = done.stdout.strip()
    assert place.agent.console("choose", id, "yes").returncode == 0
    task = until(lambda: (task := show(place.agent, id))["status"] == "complete" and task, "it ran")
    assert task["result"]["data"]["answer"]["serve"]["arguments"] == {"option": "yes"}


def test_over_https(place):
    node = place.api.get(f"/v1/nodes/{place.node}").ok()
    assert "service" in node["workers"] and node["services"] == ["ledger"]
    data = {"service": "ledger", "method": "balance"}
    id = place.api.post(f"/v1/nodes/{place.node}/tasks", {"type": "service", "data": data}).ok(201)["id"]
    task = place.api.get(f"/v1/tasks/{id}?wait=50000").ok()
    assert task["status"] == "complete" and task["result"]["data"] == {"answer": {"balance": 9007199254740993}}, task
    assert [run["status"] for run in place.api.runs(id)] == ["complete"]
    for wrong, field in (({}, "data.service"), ({"service": "ledger"}, "data.method"), ({**data, "arguments": 5}, "data.arguments"), ({**data, "call": "x"}, "data.call")):
        answer = place.api.post(f"/v1/nodes/{place.node}/tasks", {"type": "service", "data": wrong})
        assert answer.status == 400 and answer.json["field"] == field, (wrong, answer.body)


def test_with_fleet(place):
    variables = {**environment(), "AGENTTASK_SERVER": place.server.url, "AGENTTASK_TOKEN": place.server.token, "AGENTTASK_CA": str(place.server.authority)}

    def fleet(*words):
        return subprocess.run([BIN / "agenttask", "fleet", *words], capture_output=True, text=True, env=variables, stdin=subprocess.DEVNULL, timeout=60)
    done = fleet("service", place.node, "ledger", "balance")
    assert (done.returncode, done.stdout) == (0, '{"balance":9007199254740993}\n'), done
    assert fleet("service", place.node, "ledger", "name").stdout == "petty cash\n"
    assert json.loads(fleet("service", place.node, "ledger", "name", "--json").stdout)["result"]["data"] == {"answer": "petty cash"}
    done = fleet("service", place.node, "ledger", "nothing")
    assert done.returncode == 125 and "there is no such method" in done.stderr
    id = fleet("service", place.node, "ledger", "name", "--detach").stdout.strip()
    assert place.api.ended(id)["status"] == "complete"
    assert fleet("service", place.node, "ledger", "name", "--data", "5").returncode == 125
    assert fleet("echo", place.node, "still there").stdout == "still there\n"


def test_one_that_nobody_offers(place):
    agent = place.agent
    before = len(json.loads(agent.console("list", "--type", "service", "--json").stdout)["tasks"])
    done = agent.console("service", "later", "name")
    assert done.returncode == 125 and "offers the service later; there is: ledger" in done.stderr, done
    assert len(json.loads(agent.console("list", "--type", "service", "--json").stdout)["tasks"]) == before, "nothing was left behind"
    done = agent.console("service", "later", "name", "--detach")
    id = done.stdout.strip()
    assert "no worker on this device offers the service later: the task is kept" in done.stderr
    asked = place.api.post(f"/v1/nodes/{place.node}/tasks", {"type": "service", "data": {"service": "later", "method": "name"}}).ok(201)["id"]
    waits = until(lambda: (task := place.api.task(asked)).get("reason") == "no-worker" and task, "the server hears why it waits")
    assert waits["status"] == "sent" and waits["detail"] == "no worker on this device offers the service later"
    assert "No worker on this device offers the service later." in agent.console("explain", id).stdout
    put_worker(agent, "later", {"services": ["later"]})
    for task in (id, asked):
        until(lambda task=task: show(agent, task)["status"] == "complete", "it is called as soon as somebody offers it")
    assert place.api.get(f"/v1/tasks/{asked}?wait=50000").ok()["result"]["data"] == {"answer": "petty cash"}
    shutil.rmtree(agent.state / "workers" / "later")
    until(lambda: services(agent) == ["ledger"], "it is gone")


def test_a_worker_can_not_take_its_name(place):
    put_worker(place.agent, "thief", {"types": ["service"]})
    worker = until(lambda: [one for one in json.loads(place.agent.console("workers", "--json").stdout)["workers"] if one["name"] == "thief"], "it is seen")[0]
    assert "can't have service: that worker is built in" in worker["problem"]
    assert place.agent.console("service", "ledger", "name").stdout == "petty cash\n"
    shutil.rmtree(place.agent.state / "workers" / "thief")


def test_offline_and_through_a_crash(yard):
    agent = yard.agent().start()
    put_worker(agent, "ledger", {"services": ["ledger"]})
    until(lambda: services(agent), "the service is offered")
    assert agent.console("service", "ledger", "name").stdout == "petty cash\n"
    hangs = agent.console("service", "ledger", "hang", "--timeout", "0", "--detach").stdout.strip()
    waits = agent.console("service", "later", "name", "--detach").stdout.strip()
    until(lambda: show(agent, hangs)["status"] == "running" and show(agent, waits).get("reason") == "no-worker", "one runs, one waits")
    agent.kill()
    agent.start()
    assert (show(agent, hangs)["status"], show(agent, hangs)["reason"]) == ("failed", "interrupted")
    until(lambda: show(agent, waits).get("reason") == "no-worker", "it still waits")
    agent.stop()
    put_worker(agent, "later", {"services": ["later"]})
    agent.start()
    until(lambda: show(agent, waits)["status"] == "complete", "it is called after the next start, too")


def test_the_policy_says_which(yard):
    agent = yard.agent()
    agent.state.mkdir()
    (agent.state / "policy.json").write_text(json.dumps({"services": ["ledger"]}))
    (agent.state / "policy.json").chmod(0o600)
    agent.start()
    put_worker(agent, "ledger", {"services": ["ledger", "secrets"]})
    until(lambda: len(services(agent)) == 2, "both are offered")
    assert agent.console("service", "ledger", "name").returncode == 0
    done = agent.console("service", "secrets", "name")
    assert done.returncode == 125 and "it does not allow calls of the service secrets (services)" in done.stderr
    assert show(agent, "@last")["reason"] == "rejected"


def test_data_that_does_not_fit_is_said_when_it_is_added_and_the_task_ends_as_it_would(yard):
    agent = yard.agent().start()
    put_worker(agent, "strict", {"types": ["STRICT"], "dataSchema": {"type": "object", "required": ["userId"]}},
               "#!/bin/sh\nread -r request\necho '{\"result\":{}}'\n")
    until(lambda: any("STRICT" in worker["types"] for worker in json.loads(agent.console("workers", "--json").stdout)["workers"]), "the worker is there")
    done = agent.console("add", "STRICT", "--data", '{"user":"ann"}', "--at", "in 1h")
    assert done.returncode == 0 and "the worker of STRICT does not take this data (data: " in done.stderr and "userId" in done.stderr, done
    kept = done.stdout.strip()
    assert show(agent, kept)["status"] == "sent" and "warnings" not in show(agent, kept)
    task = json.loads(agent.console("add", "STRICT", "--data", "{}", "--json").stdout)
    assert len(task["warnings"]) == 1 and "fails as invalid" in task["warnings"][0]
    ended = until(lambda: (now := show(agent, task["id"])).get("endTime") and now, "it ended")
    assert (ended["status"], ended["reason"], ended["runCount"]) == ("failed", "invalid", 0)
    done = agent.console("add", "STRICT", "--data", '{"userId":"ann"}')
    assert done.stderr == ""
    # The worker is replaced by one that takes it: the task that was warned about runs.
    shutil.rmtree(agent.state / "workers" / "strict")
    put_worker(agent, "strict2", {"types": ["STRICT"]}, "#!/bin/sh\nread -r request\necho '{\"result\":{}}'\n")
    until(lambda: any(worker["name"] == "strict2" for worker in json.loads(agent.console("workers", "--json").stdout)["workers"]), "the new one is there")
    assert agent.console("run", kept, "--wait").returncode == 0
    assert show(agent, kept)["status"] == "complete"


def complete(agent, *words):
    """What bash would offer for the last of the words, as it would put it into the line."""
    script = subprocess.run([BIN / "agenttask", "completion", "bash", "--state-dir", agent.state], capture_output=True, text=True, env=environment(), timeout=60, check=True).stdout
    line = 'COMP_WORDS=(agenttask "$@") COMP_CWORD=$#\n_agenttask\n[ ${#COMPREPLY[@]} = 0 ] || printf "%s\\n" "${COMPREPLY[@]}"\n'
    done = subprocess.run(["bash", "-c", script + line, "bash", *words], capture_output=True, text=True, env=environment({"PATH": f"{BIN}:{os.environ['PATH']}"}), timeout=60)
    assert done.returncode == 0 and not done.stderr, done
    return done.stdout.splitlines()


def test_completion_knows_tasks_choices_types_and_services(place, tmp_path):
    agent = place.agent
    id = agent.console("add", "echo", "--choice", "yes", "--choice", "not today", "--choice", f"$(touch {tmp_path}/ran)", "--choice", "`id`").stdout.strip()
    other = agent.console("add", "echo").stdout.strip()
    assert id in complete(agent, "choose", "") and other not in complete(agent, "choose", "")
    assert complete(agent, "choose", id[:9]).count(id) == 1
    assert complete(agent, "choose", id, "") == ["yes", "not\\ today", f"\\$\\(touch\\ {tmp_path}/ran\\)", "\\`id\\`"]
    assert complete(agent, "choose", id, "y") == ["yes"] and complete(agent, "choose", id, "zz") == []
    assert not (tmp_path / "ran").exists(), "names are never run"
    shown = complete(agent, "show", "")
    assert shown[-52:].count(other) == 1 and "@last" in shown
    assert complete(agent, "show", "@") == ["@last"]
    assert complete(agent, "add", "--tag", "x", "ser") == ["service"]
    assert complete(agent, "service", "l") == ["ledger"]
    assert other in complete(agent, "add", "--like", other[:13])
    assert set(complete(agent, "fleet", "no")) == {"node", "nodes"}
    assert complete(agent, "show", "--js") == ["--json"]
    done = agent.console("completion", "bash", "--json")
    assert done.returncode == 125 and "leave --json out" in done.stderr
    agent.console("cancel", id)
