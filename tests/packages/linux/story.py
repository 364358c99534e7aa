"""What the stories of server and agent have in common."""
import json
import re

from machine import until

URL = "https://localhost:8443"


def install(machine, *files, options=""):
    """As a fleet's tool would: nobody is there to answer."""
    names = " ".join(f"/packages/{file}" for file in files)
    return machine.run(f"dpkg -i {options} {names}", seconds=300)


def preseed(machine, **answers):
    kinds = {"server": "string", "enrollment-token": "password"}
    lines = "".join(f"agenttask-agent agenttask-agent/{name.replace('_', '-')} {kinds[name.replace('_', '-')]} {value}\n"
                    for name, value in answers.items())
    machine.run("debconf-set-selections", given=lines)


def last_line(text):
    return text.strip().splitlines()[-1].strip()


def enrollment_token(machine, words=""):
    return last_line(machine.says(f"agenttask-server token create {words}"))


def log_in(machine):
    """With what the first command tells an administrator: nothing else is known of the server."""
    told = machine.says("agenttask-server operator reset --label 'the administrator'")
    command = re.search(r"^next +(agenttask fleet login .*)$", told, re.M)[1]
    command = re.sub(r"https://[^ :]+:", "https://localhost:", command)
    machine.run(f"{command} --token -", given=last_line(told))


def status(machine):
    """Whatever its exit code says of how the agent is."""
    return json.loads(machine.says("agenttask status --json", check=False))


def connected(machine):
    return machine.succeeds("agenttask status --json") and status(machine)["server"]["state"] == "connected"


def until_connected(machine):
    until(lambda: connected(machine), lambda: "the agent is connected\n" + machine.run("agenttask status", check=False).stdout + machine.tail())


def main_pid(machine, unit):
    return machine.unit(unit, "MainPID")["MainPID"]


def until_restarted(machine, unit, old):
    """Until systemd has another process of this unit, and it said that it is ready."""
    def anew():
        shown = machine.unit(unit, "MainPID", "ActiveState")
        return shown["ActiveState"] == "active" and shown["MainPID"] not in ("0", old) and shown["MainPID"]
    return until(anew, lambda: f"{unit} runs again\n{machine.tail()}")


def task_of(machine, task):
    return json.loads(machine.says(f"agenttask fleet show {task} --json"))


def add_command(machine, node, line):
    """The id of a task that runs a shell line there."""
    return json.loads(machine.says(f"agenttask fleet add {node} command --data '{json.dumps({'cmd': line})}' --json"))["id"]


def journal(machine, unit):
    return machine.says(f"journalctl -q --no-pager -o cat -u {unit}")
