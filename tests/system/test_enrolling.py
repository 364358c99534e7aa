"""Enrolments that wait, and those that can't be."""
import json
import os
import subprocess

import pytest

from programs import BIN, until

NO_TOKEN = "not-a-token"


def test_a_token_that_is_none_refuses_the_enrolment_alone(yard):
    server = yard.server().start()
    agent = yard.agent(server)
    agent.start_words = ["env", f"AGENTTASK_SERVER={server.url}", f"AGENTTASK_ENROLLMENT_TOKEN={NO_TOKEN}", BIN / "agenttaskd"]
    agent.start()
    assert agent.console("echo", "test data").stdout == "test data\n", "its own work goes on"
    told = until(lambda: (page := agent.console("status")) and "Problem:" in page.stdout and page, "it says what is wrong")
    for page in (told.stdout, agent.console("doctor").stdout, agent.program.text()):
        for words in ("environment AGENTTASK_ENROLLMENT_TOKEN", "not an enrolment token", "agenttask enroll URL TOKEN"):
            assert words in page, page
        assert NO_TOKEN not in page
    assert told.returncode == 1
    link = json.loads(agent.console("status", "--json").stdout)["server"]
    assert link["state"] == "refused" and link["enrollment"]["refused"] and not link["enrolled"], link
    # Whoever enrols it by hand need not look for what was wrong.
    agent.enroll()
    agent.restart()
    until(lambda: json.loads(agent.console("status", "--json").stdout)["server"]["state"] == "connected", "it is connected")
    assert "Problem:" not in agent.console("status").stdout


def test_a_settings_file_is_still_told_to_be_bad(yard):
    agent = yard.agent()
    agent.state.mkdir(mode=0o700)
    (agent.state / "agent.conf").write_text(f"server = https://localhost:8443\nenrollment-token = {NO_TOKEN}\n")
    checked = subprocess.run([BIN / "agenttaskd", "check-config", "--state-dir", agent.state], capture_output=True, text=True, timeout=60)
    assert checked.returncode == 2 and "enrollment-token: not an enrolment token" in checked.stderr, checked


@pytest.mark.skipif(os.geteuid() != 0, reason="host names are root's to give")
def test_a_clone_enrols_under_the_name_that_it_has_when_it_is_asked_for(yard):
    server = yard.server()
    agent = yard.agent(server)
    agent.start_words = ["unshare", "--uts", "--", BIN / "agenttaskd"]
    kept = agent.console("enroll", server.url, server.enrollment_token())   # as in an image: nothing runs
    assert kept.returncode == 0 and "at its next start" in kept.stdout, kept
    agent.start()
    subprocess.run(["nsenter", "-t", str(agent.program.pid), "--uts", "hostname", "clone-7"], check=True)
    server.start()
    node = until(agent.find_node, "it is a node")
    assert server.api().get(f"/v1/nodes/{node}").json["name"] == "clone-7"
