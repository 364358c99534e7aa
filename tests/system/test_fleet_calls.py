"""One task for many devices, with the operator's verbs of the console (contract sections 8 and 10)."""
import json
import signal
import subprocess
import uuid

import pytest

from crowd import add_nodes
from programs import BIN, environment, until


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    """Two devices that are there, a third that never comes, and the console."""
    from conftest import Yard
    yard = Yard(tmp_path_factory.mktemp("fleet"))
    server = yard.server()
    away = add_nodes(server.state / "server.db", 1, {"site": "away"})[0]
    server.start()
    agents = {name: yard.agent(server, name=name).start().enroll() for name in ("web-1", "web-2")}

    def console(*words, program=subprocess.run, **more):
        more = {"timeout": 60, "capture_output": True, **more} if program is subprocess.run else {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
        return program([BIN / "agenttask", "fleet", *words], text=True, stdin=subprocess.DEVNULL,
                       env=environment({"AGENTTASK_SERVER": server.url, "AGENTTASK_TOKEN": server.token, "AGENTTASK_CA": str(server.authority)}), **more)
    for name in agents:
        assert console("node", "label", name, "site=here").returncode == 0
    console.api, console.server, console.agents, console.away = server.api(), server, agents, away
    yield console
    yard.clear()


def batch(fleet, id):
    return fleet.api.get(f"/v1/batches/{id}").ok()


def test_it_runs_once_on_each_device_that_has_the_labels(fleet, tmp_path):
    mark = tmp_path / "marks"
    done = fleet("command", "--label", "site=here", "--wait", f"echo $PPID >>{mark}; echo said")
    assert done.returncode == 0 and done.stdout == "2 complete of 2\n", done
    assert sorted(mark.read_text().split()) == sorted(str(agent.program.pid) for agent in fleet.agents.values())
    tasks = json.loads(fleet("list", "--batch", "@last", "--json").stdout)["tasks"]
    assert {task["nodeId"] for task in tasks} == {agent.node for agent in fleet.agents.values()}
    assert fleet("output", tasks[0]["id"]).stdout == "said\n"


def test_the_exit_code_says_whether_it_is_complete_on_all(fleet):
    first = fleet.agents["web-1"].program.pid
    done = fleet("command", "--node", "web-1", "--node", "web-2", "--wait", f"[ $PPID = {first} ] || exit 3")
    lines = done.stdout.splitlines()
    assert done.returncode == 1 and lines[0] == "1 complete, 1 failed of 2" and len(lines) == 3, done
    assert "web-2" in lines[2] and "exit-status" in lines[2]
    told = fleet("command", "--node", "web-1", "--wait", "--json", "exit 3")
    assert told.returncode == 1 and json.loads(told.stdout)["counts"]["failed"] == 1, told


def test_it_prints_the_id_and_shows_how_far_it_is(fleet):
    done = fleet("add", "--all", "echo", "--data", '{"message":"hi"}', "--description", "greet all")
    id = done.stdout.strip()
    assert done.returncode == 0 and str(uuid.UUID(id)) == id and "for 3 devices" in done.stderr, done
    until(lambda: batch(fleet, id)["counts"]["complete"] == 2, "those that are there answer")
    shown = fleet("batch", "show", id[-6:])
    assert "greet all" in shown.stdout and "2 complete, 1 pending of 3" in shown.stdout and "every device" in shown.stdout and "web-1" in shown.stdout, shown
    assert "device-offline" in fleet("batch", "show", id, "--status", "pending").stdout
    assert id in fleet("batches").stdout
    assert fleet("batch", "cancel", id).stdout == f"batch {id}: 2 complete, 1 cancelled of 3\n"
    late = fleet("batch", "cancel", id)
    assert late.returncode == 125 and "ended already" in late.stderr, late
    waited = fleet("batch", "show", id, "--wait")
    assert waited.returncode == 1 and waited.stdout.startswith("2 complete, 1 cancelled of 3\n"), waited
    task = json.loads(fleet("list", "--batch", id, "--json").stdout)["tasks"][0]
    assert id in fleet("show", task["id"]).stdout


def test_a_dry_run_lists_and_enqueues_nothing(fleet):
    before = fleet.api.get("/v1/batches").ok()["batches"]
    done = fleet("command", "--label", "site=here", "--dry-run", "reboot")
    assert done.returncode == 0 and "web-1" in done.stdout and "web-2" in done.stdout and "crowd" not in done.stdout, done
    assert "2 devices; nothing was enqueued" in done.stderr
    listed = json.loads(fleet("command", "--all", "--dry-run", "--json", "--", "reboot").stdout)
    assert listed["targets"] == 3 and len(listed["nodes"]) == 3
    assert "0 devices" in fleet("command", "--label", "site=nowhere", "--dry-run", "reboot").stderr
    assert fleet.api.get("/v1/batches").ok()["batches"] == before


def test_what_can_not_be_meant_is_refused(fleet):
    before = fleet.api.get("/v1/batches").ok()["batches"]
    for words, why in ((("command", "--node", "nobody", "true"), "nobody"), (("command", "--label", "site=nowhere", "true"), "no node has these labels"),
                       (("command", "--label", "site", "true"), "KEY=VALUE"), (("command", "--all", "--label", "a=b", "true"), "excludes"),
                       (("command", "web-1", "--all", "true"), "a word too many"), (("add", "web-1", "echo", "--all"), "a word too many"),
                       (("command",), "NODE"), (("add", "web-1", "echo", "--dry-run"), "--dry-run goes with"), (("command", "--label", "", "true"), "empty")):
        done = fleet(*words)
        assert done.returncode == 125 and why in done.stderr, (words, done)
    assert fleet.api.get("/v1/batches").ok()["batches"] == before


def test_asked_twice_it_is_one(fleet):
    words = ("add", "--label", "site=here", "echo", "--idempotency-key", "once", "--data", '{"message":"x"}')
    first = fleet(*words)
    assert first.returncode == 0 and fleet(*words).stdout == first.stdout
    id = str(uuid.uuid4())
    assert [fleet("add", "--all", "echo", "--id", id).stdout.strip() for _ in range(2)] == [id, id]
    assert batch(fleet, id)["targets"] == 3


def test_another_one_like_a_task_is_for_many(fleet):
    one = fleet("command", "web-1", "--wait", "--tag", "again", "echo once").returncode
    assert one == 0
    id = fleet("add", "--label", "site=here", "--like", "@last").stdout.strip()
    until(lambda: batch(fleet, id)["ended"], "both have done it")
    assert batch(fleet, id)["tags"] == ["again"] and batch(fleet, id)["data"] == {"cmd": "echo once"}


def test_ctrl_c_cancels_all_of_it(fleet):
    waiting = fleet("command", "--label", "site=here", "--wait", "echo begun; sleep 60", program=subprocess.Popen)
    try:
        until(lambda: (lambda all: all and all[0]["counts"]["running"] == 2)(fleet.api.get("/v1/batches").ok()["batches"]), "both run")
        waiting.send_signal(signal.SIGINT)
        output, told = waiting.communicate(timeout=60)
    finally:
        waiting.kill()
    assert waiting.returncode == 130 and "2 cancelled of 2" in output and "cancelling batch" in told, (output, told)


def test_completion_knows_the_words(fleet):
    script = subprocess.run([BIN / "agenttask", "completion", "bash"], capture_output=True, text=True, check=True, env=environment()).stdout
    assert '"fleet batch show") words=' in script and "--dry-run" in script.split('"fleet command") words="')[1].split('"')[0]
