"""From an operator's call to the device and back."""
from icinga import Icinga
from plots import Plot

NAME = "latency"
ORDER = 20
ABOUT = "One task after another, many other devices idle: until a device has it, and until the operator who waits sees its result. Accepting a task is durable. The device is a real agent, but for the delivery, which is seen on the load's own."


def run(stage):
    others, tasks = stage.size(10_000, 200), stage.size(1000, 40)
    server = stage.server()
    load = stage.load(server)
    agent = stage.agent(server)
    load.enroll(others)
    load.hold(others)
    kinds = {"delivery": {"devices": 1},
             "echo": {"nodes": [agent.node], "type": "echo", "toResult": True},
             "command": {"nodes": [agent.node], "type": "command", "data": '{"cmd":"echo hi"}', "toResult": True}}
    icinga = Icinga(stage, stage.peers) if stage.peers.enabled else None
    found, checks = {name: [] for name in kinds}, []
    accepted = []
    for _ in stage.rounds(5, 2):
        for name, words in kinds.items():
            answer = load.call("latency", tasks=tasks, pause=2, **words)
            stage.check(not answer["problems"], f"{name}: {answer['problems']}")
            found[name].append(answer["result" if "result" in answer else "delivery"])
            accepted.append(answer["acceptance"])
        if icinga:
            checks.append(icinga.latencies(stage.size(100, 10)))
    counts = load.counts()
    stage.check(counts["twice"] == 0 and counts["holding"] == others and not counts["wrong"] and not counts["problems"], f"no task came twice, and nobody was lost: {counts}")
    mesh = {"peer": "MeshCentral 1.1.55, its agent idle alone", "given": True}
    row(stage, "task accepted, p50", accepted, "p50", note="what the durable commit costs, seen by the operator")
    row(stage, "task on the device, p50", found["delivery"], "p50", at_most=0.5)
    row(stage, "task on the device, p99", found["delivery"], "p99")
    row(stage, "echo: result visible, p50", found["echo"], "p50", at_most=1.5)
    row(stage, "echo: result visible, p99", found["echo"], "p99")
    row(stage, "command `echo hi`: result visible, p50", found["command"], "p50", at_most=2.5, peer_values=[3.35], **mesh)
    row(stage, "command `echo hi`: result visible, p99", found["command"], "p99", at_most=10, peer_values=[48], **mesh)
    if checks:
        for which, share in (("p50", 0.5), ("p99", 0.99)):
            stage.row(f"the same, {which}", "ms", [one[which] for one in found["command"]], peer="icinga2 2.13, `echo hi` as a check that is asked for, its agent idle alone",
                      peer_values=[times[int(len(times) * share)] for times, _ in checks], note=f"{sum(lost for _, lost in checks)} checks had to be asked for again")
    stage.drawings.append(Plot(f"From enqueue to result, {others} other devices idle: p50 of each round", "", "ms",
                               {name: [one["p50"] for one in rounds] for name, rounds in found.items()}, bars=True))


def row(stage, what, rounds, which, **more):
    stage.row(what, "ms", [one[which] for one in rounds], **more)
