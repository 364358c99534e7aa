"""Installations without a server, with answers that can't be used, into an image, and by hand."""
from machine import until
from story import enrollment_token, install, journal, preseed, status, until_connected

AGENT = "agenttask.service"


def purge(machine):
    machine.run("dpkg --purge agenttask-agent")


def test_an_agent_without_a_server_works(machine):
    install(machine, "agenttask-agent.deb")
    assert machine.unit(AGENT, "ActiveState", "StatusText") == {"ActiveState": "active", "StatusText": "no server; tasks of this device run"}
    assert machine.says('agenttask echo "test data"') == "test data"
    purge(machine)


def test_a_token_that_is_none_does_not_break_the_installation(machine):
    preseed(machine, server="https://localhost:8443", enrollment_token="not-a-token")
    told = install(machine, "agenttask-agent.deb")
    assert "This device does not join the task server" in told.stdout + told.stderr, told
    assert "not an enrolment token" in " ".join((told.stdout + told.stderr).split()), told
    assert machine.says("dpkg-query -W -f '${db:Status-Status}' agenttask-agent") == "installed"
    assert status(machine)["server"]["state"] == "not-enrolled"
    assert "not-a-token" not in machine.says("cat /var/cache/debconf/passwords.dat*")
    purge(machine)


def test_a_token_that_is_none_in_a_file_refuses_the_enrolment_alone(machine):
    install(machine, "agenttask-agent.deb")
    machine.run("umask 077; printf 'AGENTTASK_SERVER=\"https://localhost:8443\"\\nAGENTTASK_ENROLLMENT_TOKEN=\"not-a-token\"\\n' "
                ">/etc/agenttask/enrollment.env; systemctl restart agenttask")
    until(lambda: status(machine)["server"]["state"] == "refused", lambda: f"it says so\n{machine.tail()}")
    assert machine.unit(AGENT, "ActiveState")["ActiveState"] == "active" and machine.says('agenttask echo "test data"') == "test data"
    for told in (machine.says("agenttask status", check=False), machine.says("agenttask doctor", check=False), journal(machine, AGENT)):
        assert "environment AGENTTASK_ENROLLMENT_TOKEN: not an enrolment token" in told and "not-a-token" not in told, told
    assert machine.succeeds("test -e /etc/agenttask/enrollment.env"), "it is there to be mended"
    purge(machine)


def test_one_answer_of_two_is_told(machine):
    preseed(machine, server="", enrollment_token="half-of-it")
    told = install(machine, "agenttask-agent.deb")
    assert "no task server" in " ".join((told.stdout + told.stderr).split()), told
    assert "half-of-it" not in machine.says("cat /var/cache/debconf/*.dat*")
    purge(machine)
    preseed(machine, server="https://localhost:8443", enrollment_token="")
    told = install(machine, "agenttask-agent.deb")
    assert "agenttask enroll https://localhost:8443 TOKEN" in told.stdout + told.stderr, told
    assert status(machine)["server"]["state"] == "not-enrolled"
    purge(machine)


def test_an_installation_that_was_cut_off_is_finished(machine):
    machine.run("dpkg --unpack /packages/agenttask-agent.deb && mv /etc/passwd /etc/passwd.aside && mkdir /etc/passwd")
    assert not machine.succeeds("dpkg --configure agenttask-agent")
    machine.run("rmdir /etc/passwd && mv /etc/passwd.aside /etc/passwd && dpkg --configure agenttask-agent")
    assert machine.unit(AGENT, "ActiveState")["ActiveState"] == "active"
    purge(machine)


def test_bad_settings_are_told_and_mended_without_another_installation(machine):
    machine.run("mkdir -p /etc/agenttask && echo 'slots = many' >/etc/agenttask/agent.conf")
    told = install(machine, "agenttask-agent.deb", options="--force-confold")
    assert "systemctl status agenttask" in told.stdout + told.stderr
    assert "slots" in journal(machine, AGENT)
    machine.run("echo 'slots = 4' >/etc/agenttask/agent.conf")
    until(lambda: machine.unit(AGENT, "ActiveState")["ActiveState"] == "active", "it runs by itself once the settings are good")
    purge(machine)


def test_an_image_keeps_the_answers_for_the_first_start_of_each_machine(machine):
    install(machine, "agenttask-server.deb")
    token = enrollment_token(machine, "--uses 5")
    machine.run("printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d && chmod +x /usr/sbin/policy-rc.d")   # as in a build of an image
    preseed(machine, server="https://localhost:8443", enrollment_token=token)
    install(machine, "agenttask-agent.deb")
    assert machine.unit(AGENT, "ActiveState", "UnitFileState") == {"ActiveState": "inactive", "UnitFileState": "enabled"}
    assert machine.says("stat -c '%a %U' /etc/agenttask/enrollment.env") == "600 root"
    assert not machine.succeeds("test -e /var/lib/agenttask/enrollment.json"), "no key is made in an image"
    found = machine.run(f"grep -rlF {token} /etc /var /run", check=False).stdout.split()
    assert found == ["/etc/agenttask/enrollment.env"], found
    machine.run("systemctl stop agenttask-server; rm /usr/sbin/policy-rc.d; systemctl start agenttask")   # the first boot of a machine
    until(lambda: status(machine)["server"].get("lastError"), "it has asked once")
    machine.run("hostname clone-7; systemctl start agenttask-server")   # it gets its own name a little later
    until_connected(machine)
    assert status(machine)["server"]["name"] == "clone-7"
    assert not machine.succeeds("test -e /etc/agenttask/enrollment.env")


def test_a_machine_is_made_ready_for_an_image_and_joins_anew(machine):
    first = status(machine)["server"]["nodeId"]
    told = machine.says("systemctl stop agenttask && touch /etc/agenttask/enrollment.env && agenttaskd prepare-image --yes; rm /etc/agenttask/enrollment.env")
    assert first in told and "enrols at its first start with what is in /etc/agenttask/enrollment.env" in told, told
    token = enrollment_token(machine)
    machine.run(f"agenttask enroll https://localhost:8443 {token}")   # while the agent is away
    machine.run("systemctl start agenttask")
    until_connected(machine)
    assert status(machine)["server"]["nodeId"] != first


def test_an_agent_that_somebody_switched_off_stays_off(machine):
    machine.run("systemctl disable --now agenttask")
    install(machine, "agenttask-agent-next.deb")
    assert machine.unit(AGENT, "ActiveState", "UnitFileState") == {"ActiveState": "inactive", "UnitFileState": "disabled"}


def test_a_device_is_configured_again(machine):
    machine.run("systemctl enable agenttask; agenttaskd prepare-image --yes")
    preseed(machine, server="https://localhost:8443", enrollment_token=enrollment_token(machine))
    machine.run("dpkg-reconfigure -f noninteractive agenttask-agent")
    until_connected(machine)
