"""What was lost on purpose, when old copies were put back, and so can't be held against anybody.

A database from a backup has lost what the server accepted since, unless a device has it. An old or copied ledger has lost what its
device did since, so that what had not ended when the copy was made may run once more before the first contact with the server.
"""


class Past:
    def __init__(self, story, truth):
        self.truth = truth
        self.databases = story.of("database put back")
        self.ledgers = story.of("released")

    def database_lost(self, order):
        """Accepted by the server after the copy that was put back later."""
        return any(event["since"] - 1 <= order.answered and order.asked <= event["time"] for event in self.databases)

    def server_forgot(self, time):
        """What the server alone decided then may be undone."""
        return any(event["since"] - 1 <= time <= event["time"] for event in self.databases)

    def undone(self, order, time, who, task):
        """An end that the server had shown without the device's word. In a time that was lost later, or after it without knowing that the device had the task: its device tells how it ended."""
        if who != "server" or task["runCount"]:
            return False
        ignorant = "sent to the device" in (task["detail"] or "") and any(order.asked <= event["time"] <= time for event in self.databases)
        return ignorant or self.server_forgot(time)

    def forgot(self, order, change):
        """A change was answered as done in a time that was lost later: that of the database, or of the ledger where the device alone answered."""
        if not change:
            return False
        time, where = change
        return self.server_forgot(time) or where != "server" and any(event["since"] - 1 <= time <= event["released"] for event in self.ledgers
                                                                     if event["at"] == f"agent {order.node}")

    def loose(self, order):
        """It had not ended for sure when its device's ledger was copied, and was asked for before that was found out."""
        return any(order.asked <= event["released"] and not self.ended_before(order, event["since"]) for event in self.ledgers
                   if event["at"] == f"agent {order.node}")

    def ended_before(self, order, time):
        ends = [end for end in order.seen if end[2]["status"] in ("complete", "failed", "cancelled") and not self.undone(order, *end)]
        if any(seen < time - 1 for seen, _, _ in ends):
            return True
        marks = self.truth.starts[order.key] + self.truth.ends[order.key]
        return order.kind.once and bool(self.truth.ends[order.key]) and all(mark.time < time - 3 for mark in marks)

    def device_forgot(self, order):
        """All that its device did with it came after its ledger was copied."""
        return any(all(event["since"] - 1 <= mark.time <= event["released"] for mark in self.truth.starts[order.key]) for event in self.ledgers
                   if event["at"] == f"agent {order.node}")

    def ledger_lost(self, order):
        """Acknowledged on the device alone, after its ledger was copied."""
        return order.by.startswith("user") and any(event["since"] - 1 <= order.answered and order.asked <= event["released"]
                                                   for event in self.ledgers if event["at"] == f"agent {order.node}")
