"""Tasks of the fleet that are repeated, decided by somebody else, or deleted."""
import json
import subprocess

from programs import BIN, environment, until


def test_fleet_repeats_decides_and_lists_what_was_deleted(site):
    variables = {**environment(), "AGENTTASK_SERVER": site.server.url, "AGENTTASK_TOKEN": site.server.token, "AGENTTASK_CA": str(site.server.authority)}

    def fleet(*words):
        return subprocess.run([BIN / "agenttask", "fleet", *words], capture_output=True, text=True, env=variables, stdin=subprocess.DEVNULL, timeout=60)
    first = fleet("add", site.node, "command", "--data", '{"cmd":"echo $AGENTTASK_OPTION"}', "--choice", "yes", "--choice", "no", "--tag", "t").stdout.strip()
    until(lambda: first in site.agent.console("list", "--awaiting").stdout, "the device asks")
    assert site.agent.console("choose", first, "no").returncode == 0
    until(lambda: json.loads(fleet("show", first, "--json").stdout)["status"] == "complete", "the server knows its end")
    late = fleet("choose", first, "yes")
    assert late.returncode == 1 and "user:root chose" in late.stderr and "no" in late.stderr, late
    again = fleet("add", "--like", first)
    assert again.returncode == 0, again
    task = json.loads(fleet("show", again.stdout.strip(), "--json").stdout)
    assert task["tags"] == ["t"] and task["nodeId"] == site.node and [one["name"] for one in task["choices"]] == ["yes", "no"]
    fleet("delete", again.stdout.strip())
    shown = fleet("list", "--deleted")
    assert shown.returncode == 0, shown
    until(lambda: again.stdout.strip() in fleet("list", "--deleted").stdout, "it is among the deleted")
    assert first not in fleet("list", "--deleted").stdout
