"""Ten thousand tasks that are due at once, on one agent."""
from device_filling import FilledAgent

NAME = "agent-drain"
ORDER = 60
ABOUT = "Tasks a second that an agent runs when many are due at one time: from that time to the end of the last, each start and each end durable in its ledger. No server."


def run(stage):
    tasks = stage.size(10_000, 200)
    rates = []
    for _ in stage.rounds(5):
        filled = FilledAgent(stage)
        due = filled.fill_due(tasks, {"type": "echo", "data": {"message": "hi"}})
        filled.drained(tasks + -(-tasks // 1000))      # with the runs that filled it in
        count, once, _, last = filled.runs("echo")
        stage.check(count == tasks and once == tasks, f"each of {tasks} ran once: there are {count}, and {once} did")
        rates.append(tasks / ((last - due) / 1000))
        stage.end(filled.agent)
    stage.row(f"agent draining {tasks} due tasks, `echo`", "/s", rates, peer="ElizaOS 1.7.2", peer_values=[400], given=True, at_least=3000)
