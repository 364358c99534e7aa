"""Operators and users at the devices: they ask for tasks and then for changes of them, and write down what they were told."""
import random
import threading
import time
import uuid

from calls import UNDECIDED, cancel_call, new_call, submit_call
from clients import Lost
from work import KINDS, Order


class Book:
    """Every order by its key. Threads: any."""

    def __init__(self):
        self.orders, self.lock = {}, threading.Lock()

    def add(self, order):
        with self.lock:
            self.orders[order.key] = order

    def all(self):
        with self.lock:
            return list(self.orders.values())

    def recent(self, rng, node=None, most=60):
        """One of the last that exist."""
        with self.lock:
            found = [order for order in list(self.orders.values())[-most * 3:] if order.id and (node is None or order.node == node)][-most:]
        return rng.choice(found) if found else None


class Actor(threading.Thread):
    """`step` again and again until the storm is over."""

    def __init__(self, world, book, seed, name, pace, kinds):
        super().__init__(name=name)
        self.world, self.book, self.story = world, book, world.story
        self.rng = random.Random(f"{seed}/{name}")
        self.pace, self.kinds = pace, kinds
        self.count = 0

    def run(self):
        try:
            while not self.world.over.wait(self.rng.expovariate(1 / self.pace)):
                try:
                    self.step()
                except Lost as lost:
                    self.story.tell("no answer", by=self.name, error=str(lost)[:100])
        except Exception as error:
            self.world.violation("storm", f"{self.name} gave up: {type(error).__name__}: {error}")
            raise
        finally:
            self.client.close()

    def new_order(self, node, kinds):
        self.count += 1
        kind = self.rng.choices(kinds, [kind.weight for kind in kinds])[0]
        name = f"{self.name}-{self.count}"
        body = kind.build(self.rng, name, self.world.marks, self.world.wall())
        key = f"{name}.1" if kind.name in ("workflow", "cautious") else name
        return Order(key, kind, node, self.name, {**body, "description": key})

    def note(self, what, order, answer, **more):
        """Writes down an answer about an order, and what it shows of the task."""
        task = answer.document if answer.status < 300 else answer.document.get("task")
        order.taken = order.taken or (what in ("cancel", "delete") and answer.status < 300)
        if what == "delete" and answer.status < 300:
            order.deleted = (self.world.now(), self.where)
        if what == "update" and answer.status == 200:
            order.updated = (self.world.now(), self.where)
        shown = {name: task[name] for name in ("status", "reason") if task.get(name)} if isinstance(task, dict) else {}
        self.story.tell(what, key=order.key, by=self.name, answer=answer.status, **({"code": answer.code} if answer.code else {}), **shown, **more)
        if isinstance(task, dict) and task.get("id") == order.id:
            order.see(self.world.now(), self.where, task)


class Operator(Actor):
    where = "server"

    def __init__(self, world, book, seed, number, pace, kinds):
        super().__init__(world, book, seed, f"op{number}", pace, kinds)
        self.client = world.operator()

    def step(self):
        actions = [(self.enqueue, 60), (self.cancel, 7), (self.delete, 3), (self.update, 6), (self.choose, 10), (self.steer, 4), (self.look, 10)]
        self.rng.choices([action for action, _ in actions], [weight for _, weight in actions])[0]()

    def enqueue(self):
        node = self.rng.randrange(len(self.world.devices))
        order = self.new_order(node, self.kinds)
        if order.kind.name == "fleet call":
            order = new_call(self, order).orders[0]
            return self.insist(order)
        if self.rng.random() < 0.6:
            order.body["id"] = str(uuid.UUID(int=self.rng.getrandbits(128), version=4))
        if self.rng.random() < 0.5:
            order.idempotency = f"key-{order.key}"
        self.book.add(order)
        order.asked = self.world.now()
        self.story.tell("asked for", key=order.key, by=self.name, kind=order.kind.name, node=order.node, id=order.body.get("id", ""),
                        idempotency=order.idempotency)
        self.insist(order)

    def insist(self, order):
        """Asks until it is decided, and now and then once more."""
        while not self.submit(order, self.client) and repeatable(order):
            if self.world.over.wait(self.rng.uniform(0.01, 0.5)):
                return
        if order.acknowledged and repeatable(order) and self.rng.random() < 0.08:
            self.submit(order, self.client)

    def submit(self, order, client):
        """Whether it is decided."""
        if order.call:
            return submit_call(self, order.call, client)
        order.attempts += 1
        headers = {"Idempotency-Key": order.idempotency} if order.idempotency else {}
        began = self.world.now()
        try:
            answer = client.call("POST", f"/v1/nodes/{self.world.devices[order.node].node}/tasks", order.body, headers)
        except Lost as lost:
            self.story.tell("no answer", key=order.key, by=self.name, error=str(lost)[:100])
            return False
        if answer.status in (200, 201):
            if order.id and answer.document["id"] != order.id:
                if not self.world.restored_between(order.asked, self.world.now()):
                    self.world.violation("repeats", f"asked twice for the same, two tasks: {order.id} and {answer.document['id']}", key=order.key)
            order.id = answer.document["id"]
            order.acknowledged, order.answered = order.acknowledged or began, order.answered or self.world.now()
            self.note("acknowledged", order, answer, id=order.id)
            return True
        self.note("not acknowledged", order, answer)
        if answer.status in UNDECIDED:
            return False
        if order.acknowledged:
            self.world.violation("repeats", f"asked again for the same, answered {answer.status} {answer.code}", key=order.key)
        order.refused = answer.code or str(answer.status)
        return True

    def change(self, what, order, method, path, body=None, **more):
        try:
            answer = self.client.call(method, f"/v1/tasks/{order.id}{path}", body)
        except Lost as lost:
            self.story.tell("no answer", key=order.key, by=self.name, to=what, error=str(lost)[:100])
            return None
        self.note(what, order, answer, **more)
        if answer.status == 404 and not self.world.restored_between(order.acknowledged, self.world.now()) and order.by.startswith("op"):
            self.world.violation("not lost", "the server does not know a task that it accepted", key=order.key)
        return answer

    def cancel(self):
        if order := self.book.recent(self.rng):
            if order.call and order.call.batch and self.rng.random() < 0.5:
                return cancel_call(self, order.call)
            order.cancels.append(self.world.now())
            wait = f"?wait={self.rng.randint(0, 1500)}" if self.rng.random() < 0.3 else ""
            self.change("cancel", order, "POST", "/cancel" + wait)

    def delete(self):
        if order := self.book.recent(self.rng):
            order.cancels.append(self.world.now())
            self.change("delete", order, "DELETE", "")

    def update(self):
        if order := self.book.recent(self.rng):
            order.updates.append(len(order.updates) + 1)
            self.change("update", order, "PATCH", "", {"metadata": {"n": order.updates[-1]}}, n=order.updates[-1])

    def choose(self):
        orders = [order for order in self.book.all() if order.id and "choices" in order.body][-8:]
        if orders:
            order = self.rng.choice(orders)
            option = self.rng.choice([choice["name"] for choice in order.body["choices"]])
            order.choices.append(option)
            self.change("choose", order, "POST", "/choose", {"option": option}, option=option)

    def steer(self):
        orders = [order for order in self.book.all() if order.id and "schedule" in order.body][-8:]
        if orders:
            what = self.rng.choice(("pause", "resume", "run"))
            self.change(what, self.rng.choice(orders), "POST", "/" + what)

    def look(self):
        if order := self.book.recent(self.rng):
            self.change("look", order, "GET", "")


def repeatable(order):
    return bool(order.idempotency or "id" in order.body or order.call)


class User(Actor):
    """Somebody at a device, with the console."""

    def __init__(self, world, book, seed, device, pace, kinds):
        super().__init__(world, book, seed, f"user{device.number}", pace, [kind for kind in kinds if kind.local])
        self.device, self.where = device, device.name
        self.client = device.local()

    def step(self):
        actions = [(self.create, 60), (self.cancel, 8), (self.delete, 3), (self.update, 6), (self.choose, 8), (self.steer, 4), (self.hold, 1),
                   (self.post, 3), (self.look, 11)]
        self.rng.choices([action for action, _ in actions], [weight for _, weight in actions])[0]()

    def create(self):
        order = self.new_order(self.device.number, self.kinds)
        self.book.add(order)
        order.asked, order.attempts = self.world.now(), 1
        self.story.tell("asked for", key=order.key, by=self.name, kind=order.kind.name, node=order.node)
        try:
            answer = self.client.call("createTask", task=order.body)
        except Lost as lost:
            self.story.tell("no answer", key=order.key, by=self.name, error=str(lost)[:100])
            return
        if answer.status == 200:
            order.id, order.acknowledged, order.answered = answer.document["id"], order.asked, self.world.now()
            self.note("acknowledged", order, answer, id=order.id)
        else:
            self.note("not acknowledged", order, answer)
            if answer.status not in UNDECIDED:
                order.refused = answer.code

    def hold(self):
        """For a moment; should the answer be lost, it is released when all gets quiet."""
        self.story.tell("hold", by=self.name, answer=self.client.call("hold").status)
        self.world.over.wait(self.rng.uniform(0, 1.5))
        self.story.tell("release", by=self.name, answer=self.client.call("release").status)

    def post(self):
        self.count += 1
        self.client.call("createMessage", roomId="device", content={"text": f"{self.name}-{self.count}"})

    def change(self, what, order, call, **arguments):
        try:
            answer = self.client.call(call, id=order.id, **arguments)
        except Lost as lost:
            self.story.tell("no answer", key=order.key, by=self.name, to=what, error=str(lost)[:100])
            return None
        self.note(what, order, answer, **arguments)
        return answer

    def cancel(self):
        if order := self.book.recent(self.rng, self.device.number):
            order.cancels.append(self.world.now())
            self.change("cancel", order, "cancelTask")

    def delete(self):
        if order := self.book.recent(self.rng, self.device.number):
            order.cancels.append(self.world.now())
            self.change("delete", order, "deleteTask")

    def update(self):
        if order := self.book.recent(self.rng, self.device.number):
            order.updates.append(len(order.updates) + 1)
            self.change("update", order, "updateTask", changes={"metadata": {"n": order.updates[-1]}})

    def choose(self):
        orders = [order for order in self.book.all() if order.id and order.node == self.device.number and "choices" in order.body][-8:]
        if orders:
            order = self.rng.choice(orders)
            option = self.rng.choice([choice["name"] for choice in order.body["choices"]])
            order.choices.append(option)
            self.change("choose", order, "chooseTask", option=option)

    def steer(self):
        orders = [order for order in self.book.all() if order.id and order.node == self.device.number and "schedule" in order.body][-8:]
        if orders:
            what = self.rng.choice(("pause", "resume", "run"))
            self.change(what, self.rng.choice(orders), what + "Task")

    def look(self):
        if order := self.book.recent(self.rng, self.device.number):
            self.change("look", order, "getTask")


def finish(world, book, story, deadline):
    """After the storm: repeats what was never answered, and ends what would go on for ever. Whether all was answered in time."""
    operator = Operator(world, book, 0, 99, 1, KINDS)
    operator.client = world.operator(direct=True)
    open_orders = [order for order in book.all() if order.by.startswith("op") and not order.acknowledged and not order.refused and repeatable(order)]
    while open_orders and world.now() < deadline:
        open_orders = [order for order in open_orders if not operator.submit(order, operator.client)]
    for order in open_orders:
        world.violation("answers", "it was never answered", key=order.key)
    operator.client.close()
    return not open_orders


def close_open_ones(world, book):
    """Cancels what repeats and chooses what is asked; called again and again while things settle. How many it found."""
    client = world.operator(direct=True)
    found = 0
    try:
        for task in client.pages("/v1/tasks", "tasks"):
            order = book.orders.get(task.get("description"))
            if not order or task["status"] in ("complete", "failed", "cancelled"):
                continue
            if order.kind.recurring and "cancel" not in task.get("requested", []):
                found += 1
                order.cancels.append(world.now())
                client.call("POST", f"/v1/tasks/{task['id']}/cancel")
            elif task["status"] == "awaiting_choice" and not task.get("choiceRequested"):
                found += 1
                order.choices.append("yes")
                client.call("POST", f"/v1/tasks/{task['id']}/choose", {"option": "yes"})
            elif task.get("paused") and "resume" not in task.get("requested", []):
                found += 1
                client.call("POST", f"/v1/tasks/{task['id']}/resume")
    except Lost:
        time.sleep(0.1)
    finally:
        client.close()
    return found
