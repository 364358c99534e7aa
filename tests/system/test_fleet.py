"""The operator's verbs of the console, from a machine without an agent (contract section 10)."""
import json
import subprocess

from programs import BIN, environment, until


def fleet(site, *words, home, check=True, **extra):
    done = subprocess.run([BIN / "agenttask", "fleet", *words], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
                          env=environment({"AGENTTASK_SERVER": site.server.url, "AGENTTASK_TOKEN": site.server.token, "AGENTTASK_CA": str(site.server.authority),
                                           "HOME": str(home), **extra}))
    assert not check or done.returncode == 0, done
    return done


def test_fleet_adds_lists_shows_and_cancels(site, tmp_path):
    id = json.loads(fleet(site, "add", site.node, "echo", "--data", '{"message":"far"}', "--tag", "fleet", "--json", home=tmp_path).stdout)["id"]
    assert site.api.ended(id)["status"] == "complete"
    assert id in fleet(site, "list", "--tag", "fleet", "--json", home=tmp_path).stdout
    assert site.node in fleet(site, "nodes", "--json", home=tmp_path).stdout
    late = json.loads(fleet(site, "add", site.node, "echo", "--at", "+1h", "--json", home=tmp_path).stdout)["id"]
    fleet(site, "cancel", late, home=tmp_path)
    assert site.api.ended(late)["status"] == "cancelled"


def test_fleet_waits_for_a_far_command_and_exits_as_it_did(site, tmp_path):
    done = fleet(site, "command", site.node, "--wait", "echo far; echo away >&2; exit 9", home=tmp_path, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (9, "far\n", "away\n")
    assert fleet(site, "echo", site.node, "over there", home=tmp_path).stdout == "over there\n"
    assert fleet(site, "output", "@last", home=tmp_path, check=False).returncode == 0


def test_fleet_shows_changes_and_deletes(site, tmp_path):
    id = fleet(site, "command", site.node, "--at", "+1h", "true", home=tmp_path).stdout.strip()
    fleet(site, "update", id, "--metadata", '{"ticket":"1"}', "--description", "changed", home=tmp_path)
    shown = json.loads(fleet(site, "show", id, "--json", home=tmp_path).stdout)
    assert shown["metadata"] == {"ticket": "1"} and shown["description"] == "changed"
    assert json.loads(fleet(site, "runs", id, "--json", home=tmp_path).stdout)["runs"] == []
    fleet(site, "delete", id, home=tmp_path)
    assert site.api.ended(id)["status"] == "cancelled"


def test_fleet_login_keeps_a_profile_that_only_its_user_reads(site, tmp_path):
    (tmp_path / "token").write_text(site.server.token + "\n")

    def as_user(*words, check=True, token=None):
        extra = {"HOME": str(tmp_path)} | ({"AGENTTASK_TOKEN": token} if token else {})
        done = subprocess.run([BIN / "agenttask", "fleet", *words], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
                              env=environment(extra))
        assert not check or done.returncode == 0, done
        return done

    assert as_user("nodes", check=False).returncode == 125
    as_user("login", site.server.url, "--authority", str(site.server.authority), "--token", str(tmp_path / "token"))
    kept = tmp_path / ".config/agenttask/fleet.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert site.node in as_user("nodes", "--json").stdout
    # A token that is set is the one that counts: the login's is not used in its place.
    assert as_user("nodes", token="agt_wrong", check=False).returncode == 125


def test_fleet_list_says_what_it_lists_and_which_node_it_does_not_know(site, tmp_path):
    fleet(site, "command", site.node, "--wait", "--tag", "what", "echo said", home=tmp_path)
    assert "echo said" not in fleet(site, "list", "--node", site.node, "--tag", "what", home=tmp_path).stdout
    assert "echo said [what]" in fleet(site, "list", "--node", site.node, "--tag", "what", "--full", home=tmp_path).stdout
    none = fleet(site, "list", "--node", "bogus", home=tmp_path)
    assert none.stdout == "no tasks\n" and "no node bogus is known" in none.stderr, none
    assert fleet(site, "list", "--node", site.node, "--tag", "no-such", home=tmp_path).stderr == ""


def test_a_task_behind_a_key_says_so_in_the_list(site, tmp_path):
    first = fleet(site, "command", site.node, "--key", "door", "sleep 30", home=tmp_path).stdout.strip()
    second = fleet(site, "command", site.node, "--key", "door", "--tag", "behind", "true", home=tmp_path).stdout.strip()
    until(lambda: "sent (key-held)" in fleet(site, "list", "--tag", "behind", home=tmp_path).stdout, "the device told why it waits")
    fleet(site, "cancel", first, home=tmp_path)
    assert site.api.ended(second)["status"] == "complete"


def test_fleet_administers(site, tmp_path):
    fleet(site, "node", "label", site.node, "site=berlin", home=tmp_path)
    assert json.loads(fleet(site, "node", "show", site.node, "--json", home=tmp_path).stdout)["labels"] == {"site": "berlin"}
    made = json.loads(fleet(site, "token", "create", "--json", home=tmp_path).stdout)
    assert made["id"] in fleet(site, "token", "list", "--json", home=tmp_path).stdout
    fleet(site, "token", "revoke", made["id"], home=tmp_path)
    assert made["id"] not in fleet(site, "token", "list", "--json", home=tmp_path).stdout
    assert fleet(site, "operator", "list", home=tmp_path).stdout


def test_fleet_holds_and_releases_a_device(site, tmp_path):
    fleet(site, "node", "hold", site.node, home=tmp_path)
    until(lambda: site.api.get(f"/v1/nodes/{site.node}").json["hold"], "the device is on hold")
    assert "on hold" in fleet(site, "nodes", home=tmp_path).stdout
    assert fleet(site, "node", "release", site.node, home=tmp_path).stderr == ""
    until(lambda: not site.api.get(f"/v1/nodes/{site.node}").json["hold"], "the device goes on")
    assert fleet(site, "node", "release", "no-such-node", home=tmp_path, check=False).returncode == 125


def test_fleet_says_what_is_wrong(site, tmp_path):
    assert fleet(site, "list", home=tmp_path, check=False, AGENTTASK_TOKEN="wrong").returncode == 125
    assert fleet(site, "add", "no-such-node", "echo", home=tmp_path, check=False).returncode == 125
    assert fleet(site, "nodes", home=tmp_path, check=False, AGENTTASK_SERVER="https://127.0.0.1:1").returncode == 125
