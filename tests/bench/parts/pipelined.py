"""Many commands at once for one device."""
NAME = "pipelined"
ORDER = 50
ABOUT = "Commands a second that one real agent runs when they are enqueued at once, from the first call until the operator has seen the last result. MeshCentral's figure is one after another: pipelined, it loses all but one."


def run(stage):
    tasks = stage.size(2000, 100)
    server = stage.server()
    load = stage.load(server)
    agent = stage.agent(server)
    found = {"command": [], "echo": []}
    for _ in stage.rounds(5, 2):
        for name, data in (("command", '{"cmd":"echo hi"}'), ("echo", '{"message":"hi"}')):
            answer = load.call("pipeline", nodes=[agent.node], type=name, data=data, connections=16, tasks=tasks)
            stage.check(answer["complete"] == tasks and not answer["problems"], f"{name}: all of {tasks} completed: {answer}")
            found[name].append(tasks / answer["seconds"])
    agent.stop()
    server.stop()
    from parts.whole_path import ended
    stored = ended(server)
    wanted = {"complete": 2 * tasks * len(found["echo"])}
    stage.check(stored == wanted, f"each ended once: {wanted} were enqueued, the server has {stored}")
    stage.row("commands `echo hi` to one device, pipelined", "/s", found["command"], peer="MeshCentral 1.1.55, one after another", peer_values=[147], given=True,
              ratio_at_least=5)
    stage.row("echo to one device, pipelined", "/s", found["echo"])
