"""icinga2, a master and an agent over TLS, each with everything in a folder of its own; and how long a check that is asked for takes to its result."""
import base64
import grp
import http.client
import json
import os
import pwd
import select
import socket
import ssl
import subprocess
import time

from programs import free_port, until

PASSWORD = "bench"
WARM_UP = 5
MASTER = """
object ApiListener "api" {{ bind_host = "127.0.0.1"; bind_port = {port} }}
object CheckerComponent "checker" {{ }}
object ApiUser "bench" {{ password = "{password}"; permissions = [ "*" ] }}
object Endpoint "master" {{ }}
object Endpoint "agent" {{ host = "127.0.0.1"; port = {agent_port} }}
object Zone "master" {{ endpoints = [ "master" ] }}
object Zone "agent" {{ endpoints = [ "agent" ]; parent = "master" }}
object CheckCommand "say" {{ command = [ "/bin/echo", "hi" ] }}
object Host "device" {{ zone = "master"; check_command = "say"; command_endpoint = "agent"; check_interval = 1d; retry_interval = 1d; max_check_attempts = 1 }}
"""
AGENT = """
object ApiListener "api" {{ bind_host = "127.0.0.1"; bind_port = {agent_port}; accept_commands = true }}
object Endpoint "master" {{ }}
object Endpoint "agent" {{ }}
object Zone "master" {{ endpoints = [ "master" ] }}
object Zone "agent" {{ endpoints = [ "agent" ]; parent = "master" }}
object CheckCommand "say" {{ command = [ "/bin/echo", "hi" ] }}
"""


class Icinga:
    def __init__(self, stage, peers):
        self.folder, self.peers, self.stage = stage.place("icinga"), peers, stage
        self.folder.mkdir()
        ports = {"port": free_port(), "agent_port": free_port()}
        self.port = ports["port"]
        self.make_authority()
        self.agent = self.start("agent", AGENT.format(**ports))
        self.master = self.start("master", MASTER.format(password=PASSWORD, **ports))
        self.context = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
        self.context.check_hostname = False
        until(self.is_connected, f"icinga2's agent is connected: see {self.folder}")
        self.events = self.follow()
        stage.started.append(self)

    def openssl(self, *words):
        done = subprocess.run(["openssl", *map(str, words)], cwd=self.folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done

    def make_authority(self):
        new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        self.openssl("req", "-x509", *new_key, "-keyout", "ca.key", "-out", "ca.crt", "-days", "2", "-subj", "/CN=Icinga CA")
        for name in ("master", "agent"):
            certificates = self.folder / name / "data/certs"
            certificates.mkdir(parents=True)
            self.openssl("req", "-new", *new_key, "-keyout", certificates / f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
            extension = self.folder / f"{name}.ext"
            extension.write_text(f"subjectAltName=DNS:{name}\n")
            self.openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", extension,
                         "-out", certificates / f"{name}.crt")
            (certificates / "ca.crt").write_bytes((self.folder / "ca.crt").read_bytes())

    def start(self, name, configuration):
        place = self.folder / name
        (place / "icinga2.conf").write_text(f'const NodeName = "{name}"\nconst ZoneName = "{name}"\n{configuration}')
        defines = {"ConfigDir": place, "DataDir": place / "data", "LogDir": place / "log", "CacheDir": place / "cache", "SpoolDir": place / "spool",
                   "InitRunDir": place / "run", "ZonesDir": place / "zones"}
        for folder in defines.values():
            folder.mkdir(parents=True, exist_ok=True)
        whoever = [f"ICINGA2_USER={pwd.getpwuid(os.geteuid()).pw_name}", f"ICINGA2_GROUP={grp.getgrgid(os.getegid()).gr_name}"]
        words = self.peers.words("usr/lib/x86_64-linux-gnu/icinga2/sbin/icinga2", "daemon", "-c", place / "icinga2.conf", "-x", "warning",
                                 *(f"-D{key}={value}" for key, value in defines.items()))
        return self.stage.program(["env", *whoever, *words[1:]], f"icinga-{name}")

    def headers(self):
        return {"Authorization": "Basic " + base64.b64encode(f"bench:{PASSWORD}".encode()).decode(), "Accept": "application/json", "Content-Type": "application/json"}

    def connect(self):
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.context, timeout=60)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def is_connected(self):
        for program in (self.master, self.agent):
            assert program.alive(), program.text()[-3000:]
        try:
            connection = self.connect()
            connection.request("GET", "/v1/objects/endpoints/agent", headers=self.headers())
            found = json.loads(connection.getresponse().read())
            connection.close()
            return found["results"][0]["attrs"]["connected"]
        except (OSError, KeyError, ValueError, http.client.HTTPException):
            return False

    def follow(self):
        """The stream of check results; its lines as they come."""
        connection = self.connect()
        self.stream = connection.sock
        connection.request("POST", "/v1/events", body=json.dumps({"queue": "bench", "types": ["CheckResult"]}), headers=self.headers())
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        return answer

    def latencies(self, count):
        """Milliseconds from asking for a check to its result, one after another, sorted; and how many had to be asked for again."""
        connection, times, lost = self.connect(), [], 0
        body = json.dumps({"type": "Host", "filter": 'host.name=="device"', "force": True})
        while len(times) < count + WARM_UP:
            begin = time.monotonic()
            connection.request("POST", "/v1/actions/reschedule-check", body=body, headers=self.headers())
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            answer.read()
            # One that is asked for while the one before is being put away does not happen.
            if not select.select([self.stream], [], [], 2.0)[0]:
                lost += 1
                assert lost <= 3 * count + 20, "icinga2 answers no check"
                continue
            event = json.loads(self.events.readline())
            assert event["type"] == "CheckResult" and event["check_result"]["output"].strip() == "hi", event
            times.append((time.monotonic() - begin) * 1000)
            time.sleep(0.05)
        connection.close()
        return sorted(times[WARM_UP:]), lost

    def stop(self):
        for program in (self.agent, self.master):
            self.stage.end_program(program)
