"""Who asks the server for what is no task: messages, labels, tokens, operators. Each says at the end whether it is there."""
from clients import Lost
from load import Actor

ROOM = "notes"


class Desk(Actor):
    """`asked`: (what, its name, when it was answered with yes or None)."""

    def __init__(self, world, book, seed, pace):
        super().__init__(world, book, seed, "desk", pace, [])
        self.client = world.operator()
        self.asked, self.labels = [], {}

    def step(self):
        self.count += 1
        name = f"{self.name}-{self.count}"
        what = self.rng.choice(("message", "message", "label", "token", "operator"))
        began = self.world.now()
        try:
            answer = getattr(self, what)(name)
        except Lost:
            answer = None
        done = answer is not None and answer.status < 300
        self.asked.append((what, name, began if done else None))
        self.story.tell(f"asked for a {what}", by=self.name, name=name, answer=answer and answer.status)
        if done and what in ("token", "operator") and self.rng.random() < 0.5:
            self.withdraw(what, name, answer.document["id"])

    def message(self, name):
        return self.client.call("POST", "/v1/messages", {"roomId": ROOM, "content": {"text": name}})

    def label(self, name):
        device = self.rng.choice(self.world.devices)
        answer = self.client.call("PATCH", f"/v1/nodes/{device.node}", {"labels": {"n": str(self.count)}})
        if answer.status < 300:
            self.labels[device.node] = (self.count, self.world.now())
        return answer

    def token(self, name):
        return self.client.call("POST", "/v1/enrollment-tokens", {"label": name})

    def operator(self, name):
        return self.client.call("POST", "/v1/operators", {"label": name, "role": "viewer"})

    def withdraw(self, what, name, id):
        """Whatever comes of it, nobody expects it to be there any more."""
        self.asked[-1] = (what, name, None)
        path = "/v1/enrollment-tokens/" if what == "token" else "/v1/operators/"
        self.client.call("DELETE", path + id)

    def missing(self, forgotten):
        """What was answered with yes and is not there; `forgotten(time)`: the server may have lost what it answered then."""
        client = self.world.operator(direct=True)
        there = {"message": {one["content"].get("text") for one in client.pages(f"/v1/messages?roomId={ROOM}", "messages")},
                 "token": {one["label"] for one in client.call("GET", "/v1/enrollment-tokens").document["enrollmentTokens"]},
                 "operator": {one["label"] for one in client.call("GET", "/v1/operators").document["operators"]}}
        lost = [name for what, name, time in self.asked if what in there and time and not forgotten(time) and name not in there[what]]
        for node, (count, time) in self.labels.items():
            now = client.call("GET", f"/v1/nodes/{node}").document["labels"].get("n", "0")
            if int(now) < count and not forgotten(time):
                lost.append(f"label {count} of {node}")
        client.close()
        return lost
