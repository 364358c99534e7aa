"""A server and a device, from the first installation to the last trace: one machine, one story."""
import json

from machine import until
from story import (URL, add_command, enrollment_token, install, journal, log_in, main_pid, preseed, status, task_of, until_connected,
                   until_restarted)

AGENT = "agenttask.service"
SERVER = "agenttask-server.service"
facts = {}   # what one step leaves for the next


def files(machine, words):
    return machine.says(f"find {words} -printf '%M %u %g %p\\n' | sort").splitlines()


def traces(machine):
    """Whatever has our name in its own, anywhere."""
    return machine.run("find / -xdev -name '*agenttask*' -not -path '/proc/*' -not -path '/packages/*'", check=False).stdout.split()


# ---- the server comes first

def test_a_server_is_installed_and_runs(machine):
    told = install(machine, "agenttask-server.deb")
    assert "agenttask-server operator reset" in told.stdout + told.stderr, told
    shown = machine.unit(SERVER, "ActiveState", "UnitFileState", "StatusText", "User", "Type")
    assert shown == {"ActiveState": "active", "UnitFileState": "enabled", "StatusText": "serving on port 8443", "User": "agenttask-server",
                     "Type": "notify"}
    assert machine.says("ps -o user:20= -p $(systemctl show -P MainPID agenttask-server)").strip() == "agenttask-server"
    assert machine.says("curl -sk https://localhost:8443/readyz") and machine.says("getent passwd agenttask-server").endswith("/usr/sbin/nologin")
    assert files(machine, "/var/lib/agenttask-server -maxdepth 0") == ["drwx------ agenttask-server agenttask-server /var/lib/agenttask-server"]
    assert not [line for line in files(machine, "/var/lib/agenttask-server -mindepth 1") if line[4:10] != "------"], "nobody else reads it"


def test_nobody_has_a_token_before_somebody_asks_for_one(machine):
    assert machine.says("agenttask-server operator list") == ""
    assert "agt_" not in journal(machine, SERVER)


def test_the_server_has_no_rights_to_speak_of(machine):
    pid = main_pid(machine, SERVER)
    facts_of_process = dict(line.split(":\t", 1) for line in machine.says(f"cat /proc/{pid}/status").splitlines() if ":\t" in line)
    assert int(facts_of_process["CapEff"], 16) == 0 and int(facts_of_process["CapBnd"], 16) == 0
    assert facts_of_process["NoNewPrivs"] == "1" and facts_of_process["Seccomp"] == "2"
    for refused in ("/usr/probe", "/etc/agenttask/probe", "/home/probe"):
        assert not machine.succeeds(f"nsenter -t {pid} -m -- touch {refused}"), f"{refused} could be written"


# ---- a device is installed while the server is away

def test_an_installation_succeeds_while_the_server_is_away(machine):
    facts["token"] = enrollment_token(machine, "--ttl 1h --label site=lab")
    machine.run("systemctl stop agenttask-server")
    enrollment_token(machine, "--ttl 1m")
    assert machine.says("find /var/lib/agenttask-server -user root") == "", "root's commands work there as the service's user"
    preseed(machine, server=URL, enrollment_token=facts["token"])
    install(machine, "agenttask-agent.deb")
    shown = machine.unit(AGENT, "ActiveState", "UnitFileState", "Delegate", "KillMode", "NotifyAccess")
    assert shown == {"ActiveState": "active", "UnitFileState": "enabled", "Delegate": "yes", "KillMode": "mixed", "NotifyAccess": "main"}
    assert status(machine)["server"]["state"] == "enrolling"
    assert URL in machine.says("agenttask status", check=False)


def test_the_token_is_readable_nowhere_but_in_the_agents_own_folder(machine):
    found = machine.run(f"grep -rlF {facts['token']} /etc /var /run /tmp /root 2>/dev/null", check=False).stdout.split()
    assert found == ["/var/lib/agenttask/enrollment.json"]
    assert files(machine, "/var/lib/agenttask/enrollment.json /var/lib/agenttask -maxdepth 0") == [
        "-rw------- root root /var/lib/agenttask/enrollment.json", "drwx------ root root /var/lib/agenttask"]
    assert facts["token"] not in journal(machine, AGENT)
    assert facts["token"] not in machine.says("debconf-show agenttask-agent; systemctl show agenttask")


def test_it_joins_by_itself_once_the_server_is_there(machine):
    machine.run("systemctl start agenttask-server")
    until_connected(machine)
    log_in(machine)
    nodes = json.loads(machine.says("agenttask fleet nodes --json"))["nodes"]
    assert [(node["name"], node["labels"]) for node in nodes] == [(machine.says("hostname"), {"site": "lab"})]
    facts["node"] = nodes[0]["id"]
    assert not machine.succeeds("test -e /etc/agenttask/enrollment.env || test -e /var/lib/agenttask/enrollment.json")
    assert machine.run(f"grep -rlF {facts['token']} /etc /var /run /root", check=False).stdout == "", "it was used up"


# ---- work

def test_a_task_of_an_operator_runs_in_a_control_group_of_its_own(machine):
    done = machine.run(f"agenttask fleet command {facts['node']} 'id -un; umask; grep ^0:: /proc/self/cgroup' --wait")
    user, mask, group = done.stdout.strip().splitlines()
    assert (user, mask) == ("root", "0022")
    assert "/agenttask.service/agenttask-run-" in group
    assert "control group" in machine.says("agenttask doctor")


def test_who_may_use_the_console(machine):
    machine.run("useradd -m alice && useradd -m -G agenttask bob")
    refused = machine.run("agenttask command id", user="alice", check=False)
    assert refused.returncode == 125 and "root" not in refused.stdout, refused
    assert machine.says("agenttask command 'id -un'", user="bob") == "root"
    assert machine.says("agenttask command 'id -un'") == "root"


def test_an_agent_that_is_killed_comes_back_and_tells_the_truth(machine):
    task = add_command(machine, facts["node"], "echo begun; sleep 4711")
    until(lambda: machine.succeeds("pgrep -f 'sleep 4711'"), "it runs")
    old = main_pid(machine, AGENT)
    machine.run(f"kill -9 {old}")
    until_restarted(machine, AGENT, old)
    ended = until(lambda: (lambda now: now["status"] == "failed" and now)(task_of(machine, task)), "the server knows the end")
    assert ended["reason"] == "interrupted" and ended["runCount"] == 1, ended
    assert not machine.succeeds("pgrep -f 'sleep 4711'"), "what was left of the run goes on"
    assert "begun" in machine.says(f"agenttask fleet output {task}")
    assert "code=killed, status=9/KILL" in journal(machine, AGENT)


def test_an_agent_that_hangs_is_started_anew(machine):
    machine.run("mkdir -p /run/systemd/system/agenttask.service.d && printf '[Service]\\nWatchdogSec=2s\\n' "
                ">/run/systemd/system/agenttask.service.d/fast.conf && systemctl daemon-reload && systemctl restart agenttask")
    old = main_pid(machine, AGENT)
    machine.run(f"kill -STOP {old}")
    until_restarted(machine, AGENT, old)
    assert "Watchdog timeout (limit 2s)!" in journal(machine, AGENT)
    machine.run("rm -r /run/systemd/system/agenttask.service.d && systemctl daemon-reload && systemctl restart agenttask")
    until_connected(machine)


def test_systemctl_says_how_it_is(machine):
    until(lambda: machine.unit(AGENT, "StatusText")["StatusText"].endswith(URL), "the unit says with whom it talks")
    machine.run("systemctl reload agenttask")
    assert "configuration read again" in journal(machine, AGENT)
    assert machine.unit(AGENT, "ActiveState")["ActiveState"] == "active"


# ---- upgrades

def test_an_upgrade_keeps_identity_state_and_edited_settings(machine, debs):
    machine.run("printf 'slots = 3\\nshutdown-drain = 1s\\n' >>/etc/agenttask/agent.conf && "
                "systemctl restart agenttask")
    until_connected(machine)
    task = add_command(machine, facts["node"], "echo during the upgrade; sleep 4712")
    until(lambda: machine.succeeds("pgrep -f 'sleep 4712'"), "it runs")
    old = main_pid(machine, AGENT)
    install(machine, "agenttask-agent-next.deb")
    new = until_restarted(machine, AGENT, old)
    assert machine.says("dpkg-query -W -f '${Version} ${db:Status-Status}' agenttask-agent") == f"{debs.next_version} installed"
    assert machine.says(f"readlink /proc/{new}/exe") == "/usr/bin/agenttaskd", "the new program runs, not the one that was removed"
    assert "slots = 3" in machine.says("agenttaskd check-config") and not machine.succeeds("test -e /etc/agenttask/agent.conf.dpkg-dist")
    until_connected(machine)
    assert status(machine)["server"]["nodeId"] == facts["node"]
    ended = until(lambda: (lambda now: now["status"] in ("failed", "complete") and now)(task_of(machine, task)), "the server knows the end")
    assert (ended["status"], ended["reason"], ended["runCount"]) == ("failed", "interrupted", 1), ended
    assert "during the upgrade" in machine.says(f"agenttask fleet output {task}")


def test_running_tasks_may_end_before_an_upgrade_goes_on(machine):
    """For as long as the setting says: systemd waits longer than the unit tells it to."""
    machine.run("sed -i 's/^shutdown-drain = .*/shutdown-drain = 10m/' /etc/agenttask/agent.conf; mkdir -p /run/systemd/system/agenttask.service.d; "
                "printf '[Service]\\nTimeoutStopSec=1s\\n' >/run/systemd/system/agenttask.service.d/short.conf; "
                "systemctl daemon-reload; systemctl restart agenttask")
    until_connected(machine)
    task = add_command(machine, facts["node"], "sleep 5; echo ended by itself")
    until(lambda: machine.succeeds("pgrep -fx 'sleep 5'"), "it runs")
    install(machine, "agenttask-agent-next.deb")
    until_connected(machine)
    ended = until(lambda: (lambda now: now["status"] in ("failed", "complete") and now)(task_of(machine, task)), "the server knows the end")
    assert (ended["status"], ended["runCount"]) == ("complete", 1), ended
    assert "ended by itself" in machine.says(f"agenttask fleet output {task}")
    machine.run("rm -r /run/systemd/system/agenttask.service.d; systemctl daemon-reload; systemctl restart agenttask")
    until_connected(machine)


def test_a_task_upgrades_the_agent_that_runs_it(machine):
    """With options.outlivesAgent: nothing cuts the package manager off, and its end is known."""
    line = "dpkg -i /packages/agenttask-agent.deb 2>&1; echo it ended with $?"   # as good as any other version
    old = main_pid(machine, AGENT)
    task = json.loads(machine.says(f"agenttask fleet add {facts['node']} command --outlives-agent --data '{json.dumps({'cmd': line})}' --json"))["id"]
    until_restarted(machine, AGENT, old)
    ended = until(lambda: (lambda now: now["status"] in ("failed", "complete") and now)(task_of(machine, task)), "the server knows the end")
    assert (ended["status"], ended["runCount"]) == ("complete", 1), ended
    assert "it ended with 0" in machine.says(f"agenttask fleet output {task}")
    facts["version"] = machine.says("dpkg-query -W -f '${db:Status-Status} ${Version}' agenttask-agent")
    assert facts["version"].startswith("installed ")


def test_a_task_that_would_be_cut_off_does_not_touch_the_package(machine):
    """Nothing is unpacked by an ordinary task: the restart would end dpkg half way."""
    old = main_pid(machine, AGENT)
    for line in "dpkg -i /packages/agenttask-agent-next.deb", "dpkg -r agenttask-agent":
        task = add_command(machine, facts["node"], line + " 2>&1")
        ended = until(lambda: (lambda now: now["status"] in ("failed", "complete") and now)(task_of(machine, task)), "the server knows the end")
        assert ended["status"] == "failed" and ended["reason"] != "interrupted", ended
        assert "--outlives-agent" in machine.says(f"agenttask fleet output {task}")
        assert machine.says("dpkg-query -W -f '${db:Status-Status} ${Version}' agenttask-agent") == facts["version"]
    assert main_pid(machine, AGENT) == old, "the agent was left alone"


# ---- the server through the same

def test_a_server_that_is_killed_comes_back_with_all_it_had(machine):
    task = add_command(machine, facts["node"], "echo before the kill")
    until(lambda: task_of(machine, task)["status"] == "complete", "it ran")
    old = main_pid(machine, SERVER)
    machine.run(f"kill -9 {old}")
    until_restarted(machine, SERVER, old)
    assert task_of(machine, task)["status"] == "complete"
    until_connected(machine)


def test_a_server_that_hangs_is_started_anew(machine):
    machine.run("mkdir -p /run/systemd/system/agenttask-server.service.d && printf '[Service]\\nWatchdogSec=2s\\n' "
                ">/run/systemd/system/agenttask-server.service.d/fast.conf && systemctl daemon-reload && systemctl restart agenttask-server")
    old = main_pid(machine, SERVER)
    machine.run("sleep 5")
    assert main_pid(machine, SERVER) == old, "one that moves is left alone"
    machine.run(f"kill -STOP {old}")
    until_restarted(machine, SERVER, old)
    assert "Watchdog timeout (limit 2s)!" in journal(machine, SERVER)
    machine.run("rm -r /run/systemd/system/agenttask-server.service.d && systemctl daemon-reload && systemctl restart agenttask-server")


def test_settings_of_the_server_are_the_administrators(machine, debs):
    machine.run("sed -i 's/^#host =.*/host = tasks.example.org,localhost/' /etc/agenttask/server.conf && systemctl restart agenttask-server")
    names = machine.says("openssl s_client -connect 127.0.0.1:8443 </dev/null 2>/dev/null | openssl x509 -noout -ext subjectAltName")
    assert "DNS:tasks.example.org" in names
    machine.run("cp -p /etc/agenttask/server.conf /root/good.conf && echo 'tls = 0.9' >>/etc/agenttask/server.conf && systemctl reload agenttask-server")
    until(lambda: "the settings are bad; those from before stay" in journal(machine, SERVER), "the log says so")
    assert machine.unit(SERVER, "ActiveState")["ActiveState"] == "active"
    machine.run("cp -p /root/good.conf /etc/agenttask/server.conf && rm /root/good.conf && systemctl reload agenttask-server")
    install(machine, "agenttask-server-next.deb")
    assert machine.says("dpkg-query -W -f '${Version}' agenttask-server") == debs.next_version
    assert "host = tasks.example.org,localhost" in machine.says("cat /etc/agenttask/server.conf")
    until_connected(machine)
    assert json.loads(machine.says("agenttask fleet nodes --json"))["nodes"][0]["id"] == facts["node"]


def test_a_backup_is_taken_and_restored_as_the_services_user(machine):
    machine.run("install -d -o agenttask-server -m 0700 /var/backups/agenttask")
    as_service = "runuser -u agenttask-server -- agenttask-server"
    machine.run(f"{as_service} backup /var/backups/agenttask/one")
    machine.run("systemctl stop agenttask-server")
    machine.run("mv /etc/agenttask/server.conf /root/server.conf")
    refused = machine.run(f"{as_service} restore --replace /var/backups/agenttask/one", check=False)
    assert refused.returncode == 1 and "nothing was changed" in refused.stderr and "/var/backups/agenttask/one/server.conf" in refused.stderr, refused
    machine.run("mv /root/server.conf /etc/agenttask/server.conf && echo '# edited since' >>/etc/agenttask/server.conf")
    told = machine.says(f"{as_service} restore --replace /var/backups/agenttask/one")
    assert "/var/backups/agenttask/one/server.conf: compare host and port" in told, told
    machine.run("systemctl start agenttask-server")
    until_connected(machine)
    assert json.loads(machine.says("agenttask fleet nodes --json"))["nodes"][0]["id"] == facts["node"]


def test_a_port_below_1024(machine):
    drop_in = "/etc/systemd/system/agenttask-server.service.d/port.conf"
    machine.run(f"mkdir -p $(dirname {drop_in}) && printf '[Service]\\nPrivateUsers=no\\nAmbientCapabilities=CAP_NET_BIND_SERVICE\\n"
                f"CapabilityBoundingSet=CAP_NET_BIND_SERVICE\\n' >{drop_in} && systemctl daemon-reload && "
                "echo 'port = 443' >>/etc/agenttask/server.conf && systemctl restart agenttask-server")
    assert machine.unit(SERVER, "StatusText")["StatusText"] == "serving on port 443"
    assert machine.says("curl -sk https://localhost/readyz")
    machine.run(f"rm -r $(dirname {drop_in}) && sed -i '/port = 443/d' /etc/agenttask/server.conf && systemctl daemon-reload && "
                "systemctl restart agenttask-server")
    until_connected(machine)


# ---- leaving

def test_a_removed_agent_leaves_its_state_and_comes_back_as_the_same_node(machine):
    add = "agenttask add command --outlives-agent --timeout 0 --data '{\"cmd\":\"echo $$ >/tmp/outliving; sleep 4713\"}'"
    machine.run(add)
    until(lambda: machine.succeeds("test -s /tmp/outliving"), "it runs")
    machine.run("dpkg -r agenttask-agent")
    assert not machine.succeeds("pgrep -f 'sleep 4713'") and machine.says("systemctl list-units --plain --no-legend 'agenttask-run-*'") == "", "nobody would know"
    assert not machine.succeeds("pgrep agenttaskd") and not machine.succeeds("test -e /run/agenttask")
    assert machine.succeeds("test -s /var/lib/agenttask/identity.json && test -s /var/lib/agenttask/ledger.db && grep -q 'slots = 3' /etc/agenttask/agent.conf")
    install(machine, "agenttask-agent.deb")
    until_connected(machine)
    assert status(machine)["server"]["nodeId"] == facts["node"]
    assert "slots = 3" in machine.says("agenttaskd check-config")


def test_an_agent_that_is_purged_leaves_nothing(machine):
    machine.run("mkdir -p /etc/agenttask/workers/own && echo '{}' >/etc/agenttask/policy.json")
    machine.run("dpkg -r agenttask-agent && mount --bind /var/lib/agenttask /var/lib/agenttask")
    machine.run("dpkg --purge agenttask-agent")
    facts["mounted"] = machine.says("ls -A /var/lib/agenttask; umount /var/lib/agenttask; rmdir /var/lib/agenttask")
    assert connected_server(machine), "the server on the same machine is not touched"
    others = ("agenttask-server", "/etc/agenttask", "/var/backups/agenttask", "/root/.config/agenttask")
    assert [path for path in traces(machine) if not any(other in path for other in others)] == []
    assert machine.says("ls /etc/agenttask") == "server.conf"
    assert not machine.succeeds("getent group agenttask") and not machine.succeeds("systemctl cat agenttask.service")
    assert machine.says("debconf-show agenttask-agent") == ""
    assert "agenttask-agent" not in machine.says("cat /var/cache/debconf/*.dat")
    assert facts["mounted"] == "", "what was in a mounted state folder is gone"


def connected_server(machine):
    return machine.succeeds("curl -sfk https://localhost:8443/readyz")


def test_a_server_that_is_purged_leaves_nothing(machine):
    machine.run("dpkg -r agenttask-server")
    assert machine.succeeds("test -s /var/lib/agenttask-server/server.db") and not machine.succeeds("pgrep -x agenttask-serve")
    machine.run("dpkg --purge agenttask-server; rm -r /var/backups/agenttask /root/.config 2>/dev/null", check=False)
    assert traces(machine) == []
    assert not machine.succeeds("getent passwd agenttask-server || getent group agenttask-server")
    assert "agenttask" not in machine.says("systemctl list-unit-files; systemctl list-units --all; cat /var/lib/dpkg/status")
