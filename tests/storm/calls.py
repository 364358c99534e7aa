"""Tasks for many devices at once: one request, and an order for each of its targets, which are judged like all others.

The tasks of a call have one description and one command for all, so what tells them apart is the device: the key of an order is `NAME@DEVICE`.
"""
import uuid
from dataclasses import dataclass, field

from clients import Lost
from work import Order

#: An answer that leaves open whether it was done.
UNDECIDED = (408, 429, 500, 502, 503, 504)


@dataclass
class Call:
    """What was asked for, once, for all of `orders`."""
    name: str
    body: dict
    idempotency: str = ""
    orders: list = field(default_factory=list)
    batch: str = ""     # its id, once an answer told it


def of_device(description, number, orders):
    """The key of what has this description, or name, on a device: with the device's number where it is of a call."""
    key = f"{description}@{number}"
    return key if key in orders else description


def new_call(operator, order):
    """A call like the order that was drawn, for all devices or some of them; its orders are in the book."""
    rng, world = operator.rng, operator.world
    numbers = [device.number for device in world.devices]
    if rng.random() < 0.5:
        target = {"all": True}
    else:
        numbers = sorted(rng.sample(numbers, rng.randint(1, len(numbers))))
        target = {"nodes": [world.devices[number].node for number in numbers]}
    call = Call(order.key, {**order.body, "target": target})
    if rng.random() < 0.5:
        call.body["id"] = str(uuid.UUID(int=rng.getrandbits(128), version=4))
    else:
        call.idempotency = f"key-{order.key}"
    for number in numbers:
        one = Order(f"{order.key}@{number}", order.kind, number, order.by, order.body, call=call, asked=world.now())
        one.idempotency = call.idempotency
        call.orders.append(one)
        operator.book.add(one)
        operator.story.tell("asked for", key=one.key, by=operator.name, kind=order.kind.name, node=number, batch=call.body.get("id", ""),
                            idempotency=call.idempotency)
    return call


def submit_call(operator, call, client):
    """Whether it is decided: for all of its orders at once."""
    world, began = operator.world, operator.world.now()
    for order in call.orders:
        order.attempts += 1
    try:
        answer = client.call("POST", "/v1/tasks", call.body, {"Idempotency-Key": call.idempotency} if call.idempotency else {})
    except Lost as lost:
        operator.story.tell("no answer", key=call.orders[0].key, by=operator.name, error=str(lost)[:100])
        return False
    operator.story.tell("call answered", key=call.orders[0].key, by=operator.name, answer=answer.status, code=answer.code,
                        batch=answer.document.get("id", ""), targets=answer.document.get("targets"))
    if answer.status in (200, 202):
        take(operator, call, client, answer.document, began)
        return True
    if answer.status in UNDECIDED:
        return False
    for order in call.orders:
        if order.acknowledged:
            world.violation("repeats", f"asked again for the same, answered {answer.status} {answer.code}", key=order.key)
        order.refused = answer.code or str(answer.status)
    return True


def take(operator, call, client, batch, began):
    """It was accepted: every target has its task now, and no other device has one."""
    world = operator.world
    if call.batch and call.batch != batch["id"] and not world.restored_between(call.orders[0].asked, world.now()):
        world.violation("repeats", f"asked twice for the same, two batches: {call.batch} and {batch['id']}", key=call.orders[0].key)
    call.batch = batch["id"]
    for order in call.orders:
        order.acknowledged, order.answered = order.acknowledged or began, order.answered or world.now()
    if batch["targets"] != len(call.orders):
        world.violation("each target once", f"{len(call.orders)} devices were asked for, the batch is for {batch['targets']}", key=call.orders[0].key)
    accepted = world.now()
    try:
        tasks = client.pages(f"/v1/tasks?batch={call.batch}", "tasks")
    except Lost:
        return
    if world.restored_between(accepted, world.now()):
        return
    nodes = {world.devices[order.node].node: order for order in call.orders}
    for task in tasks:
        if order := nodes.get(task["nodeId"]):
            order.id = task["id"]
            order.see(accepted, "server", task)
    wanted, found = sorted(nodes), sorted(task["nodeId"] for task in tasks)
    # One that was deleted meanwhile is not listed.
    deleted = {node for node, order in nodes.items() if order.cancels}
    if len(found) != len(set(found)) or set(found) - set(wanted) or set(wanted) - set(found) - deleted:
        world.violation("each target once", f"accepted for {wanted}, and there are tasks for {found}", key=call.orders[0].key)


def cancel_call(operator, call):
    for order in call.orders:
        order.cancels.append(operator.world.now())
    answer = operator.client.call("POST", f"/v1/batches/{call.batch}/cancel", {})
    operator.story.tell("call cancelled", key=call.orders[0].key, by=operator.name, answer=answer.status, code=answer.code)
    if answer.status == 404 and not operator.world.restored_between(call.orders[0].acknowledged, operator.world.now()):
        operator.world.violation("not lost", "the server does not know a batch that it accepted", key=call.orders[0].key)
