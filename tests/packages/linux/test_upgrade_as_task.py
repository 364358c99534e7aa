"""Tasks that outlive the agent, under systemd: one upgrades the agent that runs it, others see it killed, stopped, and the machine rebooted."""
import json
import time
from pathlib import Path

import pytest

import machine as machines
from machine import until
from story import install, main_pid, until_restarted

AGENT = "agenttask.service"


class RebootingMachine(machines.Machine):
    """One that boots again when it is told to: nspawn ends with 133 then, and leaves the rest to who started it."""

    def _find_leader(self):
        assert self.process.poll() is None, self.log.read_text()
        for nspawn in self._children(self.process.pid):
            for pid in self._children(nspawn):
                self.leader = pid
        return self.leader

    @staticmethod
    def _children(pid):
        try:
            return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:
            return []


@pytest.fixture(scope="module")
def machine(debs):
    problem = machines.why_not()
    if problem:
        pytest.skip(problem)
    once, again = machines.BOOT, machines.BOOT.replace("exec systemd-nspawn", "while :; do code=0; systemd-nspawn").rstrip() + " || code=$?; [ $code = 133 ] || exit $code; done\n"
    machines.BOOT = again
    try:
        one = RebootingMachine("upgrade-as-task", debs.folder)
    finally:
        machines.BOOT = once
    yield one
    one.stop()


def add(machine, line, *words):
    """The id of a command of this device."""
    data = json.dumps({"cmd": line}).replace("'", "'\\''")
    return json.loads(machine.says(f"agenttask add command {' '.join(words)} --data '{data}' --json"))["id"]


def show(machine, task):
    return json.loads(machine.says(f"agenttask show {task} --json"))


def ended(machine, task, seconds=60):
    def look():
        done = machine.run(f"agenttask show {task} --json", check=False)   # an agent that is away answers nothing
        shown = json.loads(done.stdout) if done.returncode == 0 else {}
        return shown if shown.get("status") in ("complete", "failed", "cancelled") else None
    return until(look, lambda: f"task {task} ends\n{machine.run('agenttask list; systemctl list-units --all agenttask*', check=False).stdout}{machine.tail()}", seconds)


def units(machine):
    return machine.says("systemctl list-units --all --plain --no-legend 'agenttask-run-*' | cut -d' ' -f1").split()


def until_there(machine, file):
    until(lambda: machine.succeeds(f"test -s {file}"), lambda: f"{file} is there\n{machine.tail()}")


def test_a_task_upgrades_the_agent_that_runs_it(machine, debs):
    install(machine, "agenttask-agent.deb")
    machine.run("mkdir -p /etc/systemd/system/agenttask.service.d && printf '[Service]\\nEnvironment=AGENTTASK_SHUTDOWN_DRAIN=8s\\n' "
                ">/etc/systemd/system/agenttask.service.d/drain.conf && systemctl daemon-reload && systemctl restart agenttask")
    assert "a unit of systemd of its own" in machine.run("agenttask doctor", check=False).stdout
    before = main_pid(machine, AGENT)
    ends = add(machine, "echo begun >/tmp/ends; sleep 4; echo done")
    stays = add(machine, "echo begun >/tmp/stays; sleep 600", "--timeout", "0")
    until_there(machine, "/tmp/ends")
    until_there(machine, "/tmp/stays")
    upgrade = add(machine, "echo $$ >>/tmp/upgrades; apt-get install -y /packages/agenttask-agent-next.deb 2>&1; echo apt $?",
                  "--outlives-agent", "--timeout", "5m")
    until_there(machine, "/tmp/upgrades")
    assert len(units(machine)) == 1
    until_restarted(machine, AGENT, before)
    result = ended(machine, upgrade, 120)
    assert result["status"] == "complete" and result["runCount"] == 1, result
    assert "Setting up agenttask-agent" in result["result"]["data"]["stdout"] and result["result"]["data"]["stdout"].endswith("apt 0\n"), result
    assert machine.says("dpkg-query -W -f '${Version}' agenttask-agent") == debs.next_version
    assert len(machine.says("cat /tmp/upgrades").split()) == 1, "it began once"
    assert ended(machine, ends)["status"] == "complete", "what ran had time to end"
    assert ended(machine, stays)["reason"] == "interrupted"
    until(lambda: not units(machine), "nothing of it is left")
    assert machine.says("ls /var/lib/agenttask/spool") == ""


def test_the_agent_is_killed_and_one_is_followed_on(machine):
    task = add(machine, "echo begun; echo $$ >/tmp/pid; sleep 600", "--outlives-agent", "--timeout", "0")
    until_there(machine, "/tmp/pid")
    old = main_pid(machine, AGENT)
    machine.run(f"kill -9 {old}")
    until_restarted(machine, AGENT, old)
    assert show(machine, task)["status"] == "running" and machine.succeeds("kill -0 $(cat /tmp/pid)"), "the kill of the service's group left it alone"
    assert show(machine, task)["detail"].startswith("runs outside the agent, as agenttask-run-")
    machine.run(f"agenttask cancel {task}")
    assert ended(machine, task)["status"] == "cancelled" and not machine.succeeds("kill -0 $(cat /tmp/pid)")
    until(lambda: not units(machine), "its unit is gone")


def test_the_service_is_stopped_and_the_end_is_collected(machine):
    task = add(machine, "echo begun >/tmp/slow; while [ ! -e /tmp/go ]; do sleep 0.1; done; echo done", "--outlives-agent")
    until_there(machine, "/tmp/slow")
    begin = time.monotonic()
    machine.run("systemctl stop agenttask")
    assert time.monotonic() - begin < 7, "nobody waits for it"
    assert len(units(machine)) == 1
    machine.run("touch /tmp/go")
    until(lambda: not units(machine), "it ends while the agent is away")
    machine.run("systemctl start agenttask")
    result = ended(machine, task)
    assert result["status"] == "complete" and result["result"]["data"]["stdout"] == "done\n" and result["runCount"] == 1, result


def test_somebody_stops_its_unit(machine):
    task = add(machine, "echo begun; echo $$ >/tmp/stopped; setsid sleep 600 & sleep 600", "--outlives-agent")
    until_there(machine, "/tmp/stopped")
    machine.run(f"systemctl stop {units(machine)[0]}")
    result = ended(machine, task)
    assert result["reason"] == "interrupted" and "told to stop" in result["detail"] and result["result"]["data"]["stdout"] == "begun\n", result
    assert not machine.succeeds("pgrep -x sleep")


def test_the_machine_reboots_under_one_and_by_one(machine):
    # nspawn boots the same root again.
    going = add(machine, "echo begun; echo $$ >/var/tmp/going; sleep 600", "--outlives-agent", "--timeout", "0")
    until_there(machine, "/var/tmp/going")
    old = machine.leader
    reboot = add(machine, "echo rebooting; systemctl reboot; sleep 600", "--outlives-agent", "--timeout", "0")

    def booted():
        machine._find_leader()
        return machine.leader != old and machine.succeeds("systemctl is-active agenttask")
    until(booted, lambda: f"the machine is up again\n{machine.log.read_text()[-3000:]}", 120)
    for task, said in ((going, "begun\n"), (reboot, "rebooting\n")):
        result = ended(machine, task)
        assert result["reason"] == "interrupted" and result["runCount"] == 1 and result["result"]["data"]["stdout"] == said, result
    assert not units(machine) and machine.says("ls /var/lib/agenttask/spool") == ""
