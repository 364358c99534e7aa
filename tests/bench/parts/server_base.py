"""A server without devices."""
import time

from look import memory, settle

NAME = "server-base"
ORDER = 5
ABOUT = "The server's memory just after its start, no device known."
MIB = 1 << 20


def run(stage):
    found = []
    for _ in stage.rounds(3):
        server = stage.server()
        settle(server.program.pid)
        time.sleep(stage.size(5, 1))
        found.append(memory(server.program.pid))
        stage.end(server)
    stage.row("server base memory: resident set", "MiB", [one["resident"] / MIB for one in found], peer="MeshCentral 1.1.55", peer_values=[133], given=True, at_most=15)
    stage.row("server base memory: proportional set size", "MiB", [one["proportional"] / MIB for one in found], peer="icinga2 2.13", peer_values=[24], given=True)
    stage.row("server base memory: private dirty", "MiB", [one["dirty"] / MIB for one in found])
