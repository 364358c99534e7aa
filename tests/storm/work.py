"""The kinds of tasks that the storm asks for, what each does, and how each may end."""
import json
import uuid
from dataclasses import dataclass, field

from truth import BEGIN, END

#: Nothing of the storm expires unless it is meant to, also when a clock jumps by years.
NEVER = 253402300799999
STEP = "STORM_STEP"
STRICT = "STORM_STRICT"        # whose worker wants other data
CAUTIOUS = "STORM_CAUTIOUS"    # whose worker does not want to run it when it is asked first
ROOM = "storm"


@dataclass
class Kind:
    """`ends`: how a task of this kind may end when nobody cancels it and nothing interrupts it."""
    name: str
    weight: int
    ends: tuple
    build: callable
    once: bool = True           # at most one run, whatever happens
    recurring: bool = False
    local: bool = True          # a user at the device may ask for it, too
    marks: bool = True          # its runs leave marks
    output: callable = None     # (key, run) -> what a complete run prints


@dataclass
class Order:
    """One task that somebody asked for, and all that was said about it."""
    key: str
    kind: Kind
    node: int
    by: str
    body: dict
    idempotency: str = ""
    id: str = ""
    asked: float = 0.0
    acknowledged: float = 0.0      # when an answer said that it exists
    answered: float = 0.0          # when that answer came
    refused: str = ""              # the code, when an answer said that it does not
    attempts: int = 0
    cancels: list = field(default_factory=list)     # when a cancel or delete was asked for
    taken: bool = False                             # one of them was answered with yes
    deleted: tuple = ()                             # when a delete was answered with yes, and by whom
    updated: tuple = ()                             # when an update was answered as done, and by whom
    choices: list = field(default_factory=list)
    updates: list = field(default_factory=list)     # values of metadata.n that were asked for
    seen: list = field(default_factory=list)        # (time, who said it, task)
    call: object = None                             # the request that it is a part of, where that was for many devices

    @property
    def name(self):
        """What the task calls itself: the key, but for the device of a call."""
        return self.call.name if self.call else self.key

    def see(self, time, who, task):
        self.seen.append((time, who, {name: task.get(name) for name in ("status", "reason", "detail", "runCount")}))


def shell(rng, key, middle, code=0, marks=None, **options):
    text = "\n".join([BEGIN.format(key=key, marks=marks.file), *([middle] if middle else []), END.format(key=key, marks=marks.file, code=code)])
    return {"type": "command", "data": {"cmd": text, "env": {"STORM": marks.token}}, "options": {"expiresAt": NEVER, **options}}


class Marks:
    """Where the work leaves its marks, and the word in the environment of all its processes."""

    def __init__(self, folder):
        self.file, self.token = folder / "marks", uuid.uuid4().hex
        self.file.touch()


def whole(key, run):
    return f"begin {key} {run}\ndone {key}\n"


def quick(rng, key, marks, now):
    return shell(rng, key, "", marks=marks)


def slow(rng, key, marks, now):
    return shell(rng, key, f"sleep {rng.uniform(0.1, 2.5):.2f}", marks=marks)


def tree(rng, key, marks, now):
    """Children in its group, in a session of their own, and one whose parent is gone, too."""
    return shell(rng, key, "sleep 600 & a=$!; setsid sleep 600 </dev/null >/dev/null 2>&1 & b=$!; "
                 "c=$( (setsid sleep 600 </dev/null >/dev/null 2>&1 & echo $!) ); "
                 f"sleep {rng.uniform(0.1, 1.5):.2f}; kill $a $b $c", marks=marks)


def fail(rng, key, marks, now):
    return shell(rng, key, "", code=rng.randint(1, 100), marks=marks)


def retried(rng, key, marks, now):
    return shell(rng, key, f"sleep {rng.uniform(0, 0.5):.2f}", code=7, marks=marks,
                 retry={"maxAttempts": rng.randint(2, 4), "backoff": 1000, "maxBackoff": 2000})


def rerun(rng, key, marks, now):
    return shell(rng, key, f"sleep {rng.uniform(0.3, 2):.2f}", marks=marks, onInterrupt="rerun")


def stubborn(rng, key, marks, now):
    return shell(rng, key, ("trap '' TERM; " if rng.random() < 0.2 else "") + "sleep 600", marks=marks, timeout=rng.randint(300, 1500))


def keyed(rng, key, marks, now):
    return shell(rng, key, f"sleep {rng.uniform(0, 0.8):.2f}", marks=marks, concurrencyKey=rng.choice(("k1", "k2")))


def chatty(rng, key, marks, now):
    return shell(rng, key, f"head -c {CHATTY} /dev/zero | tr '\\0' x; echo", marks=marks)


CHATTY = 300_000


def talk(key, run):
    return f"begin {key} {run}\n" + "x" * CHATTY + f"\ndone {key}\n"


def later(rng, key, marks, now):
    return {**shell(rng, key, "", marks=marks), "schedule": {"scheduledFor": now + rng.randint(-2000, 6000)}}


def expiring(rng, key, marks, now):
    return shell(rng, key, "", marks=marks, expiresAt=now + rng.randint(100, 3000))


def invalid(rng, key, marks, now):
    return {"type": STRICT, "data": {"key": key}, "options": {"expiresAt": NEVER}}


def cautious(rng, key, marks, now):
    return {"type": CAUTIOUS, "data": {"key": key, "step": 1, "of": 1, "pause": "0"}, "options": {"expiresAt": NEVER}}


def recurring(rng, key, marks, now):
    schedule = {"updateInterval": rng.choice((1000, 1500, 2500)), "overlap": rng.choice(("skip", "queue", "cancelPrevious")),
                "catchUp": rng.choice(("once", "all", "skip"))}
    return {**shell(rng, key, f"sleep {rng.uniform(0, 1.3):.2f}" if rng.random() < 0.5 else "", marks=marks), "schedule": schedule}


def asked(rng, key, marks, now):
    body = {**shell(rng, key, "", marks=marks), "choices": [{"name": "yes", "description": "Do it"}, {"name": "no", "description": "Do it anyway"}]}
    if rng.random() < 0.5:
        body.update(choiceExpiresAt=now + rng.randint(2000, 8000), defaultChoice="no")
    return body


def unanswered(rng, key, marks, now):
    body = {**shell(rng, key, "", marks=marks), "choices": [{"name": "yes", "description": "Do it"}], "choiceExpiresAt": now + rng.randint(500, 4000)}
    return body


def nobody(rng, key, marks, now):
    return {"type": "NOBODY", "data": {}, "options": {"expiresAt": NEVER}}


def echo(rng, key, marks, now):
    return {"type": "echo", "data": {"message": key, "n": rng.getrandbits(62), "x": rng.random()}, "options": {"expiresAt": NEVER}}


def workflow(rng, key, marks, now):
    again = {"onInterrupt": "rerun"} if rng.random() < 0.7 else {}
    options = {"expiresAt": NEVER, **again}
    return {"type": STEP, "data": {"key": key, "step": 1, "of": 3, "pause": f"{rng.uniform(0, 0.6):.2f}", "next": options}, "options": options, "roomId": ROOM}


def call(rng, key, marks, now):
    return shell(rng, key, f"sleep {rng.uniform(0, 0.5):.2f}" if rng.random() < 0.5 else "", marks=marks)


COMPLETE, FAILED, TIMEOUT, EXPIRED = ("complete", ""), ("failed", "exit-status"), ("failed", "timeout"), ("failed", "expired")

KINDS = [
    Kind("quick", 10, (COMPLETE,), quick, output=whole),
    Kind("slow", 8, (COMPLETE,), slow, output=whole),
    Kind("tree", 2, (COMPLETE,), tree, output=whole),
    Kind("fail", 3, (FAILED,), fail),
    Kind("retried", 2, (FAILED,), retried, once=False),
    Kind("rerun", 5, (COMPLETE,), rerun, once=False, output=whole),
    Kind("stubborn", 2, (TIMEOUT,), stubborn),
    Kind("keyed", 4, (COMPLETE,), keyed, output=whole),
    Kind("chatty", 1, (COMPLETE,), chatty, output=talk),
    Kind("later", 4, (COMPLETE,), later, output=whole),
    Kind("expiring", 2, (COMPLETE, EXPIRED), expiring, output=whole),
    Kind("invalid", 1, (("failed", "invalid"),), invalid, marks=False),
    Kind("cautious", 1, (COMPLETE,), cautious),
    Kind("recurring", 1, (), recurring, once=False, recurring=True, output=whole),
    Kind("asked", 3, (COMPLETE,), asked, output=whole),
    Kind("unanswered", 1, (COMPLETE, EXPIRED), unanswered, output=whole),
    Kind("nobody", 1, (), nobody, marks=False),
    Kind("echo", 4, (COMPLETE,), echo, marks=False),
    Kind("fleet call", 3, (COMPLETE,), call, local=False, output=whole),
    Kind("workflow", 4, (COMPLETE,), workflow, once=False),
]
#: How a worker exits that was refused what it asked for.
REFUSED = 9
#: A step of a workflow that a step created.
CHILD = Kind("step", 0, (COMPLETE,), None, once=False)


def install_worker(state, marks):
    """The worker of the workflows: posts a message, creates the next step, and leaves its marks like a command."""
    program = f"""#!/bin/sh
read -r request
case $request in '{{"validate"'*)
  asked=${{request#*'"key":"'}}; asked={marks.file}.asked.${{asked%%'"'*}}
  if [ -e $asked ]; then echo '{{"valid":true}}'; else :>$asked; echo '{{"valid":false,"detail":"ask again"}}'; fi
  exit;;
esac
key=${{request#*'"key":"'}}; key=${{key%%'"'*}}
step=${{request#*'"step":'}}; step=${{step%%[,\\}}]*}}
of=${{request#*'"of":'}}; of=${{of%%[,\\}}]*}}
pause=${{request#*'"pause":"'}}; pause=${{pause%%'"'*}}
case $request in *'"onInterrupt":"rerun"'*) next='{{"expiresAt":{NEVER},"onInterrupt":"rerun"}}';; *) next='{{"expiresAt":{NEVER}}}';; esac
read t x </proc/uptime; echo "start $key.$step $AGENTTASK_RUN_ID $PPID $$ $t" >>{marks.file}
echo '{{"progress":{{"text":"begun"}}}}'
call() {{ echo "$1"; read -r answer; case $answer in *'"problem"'*) echo "$answer" >&2; exit {REFUSED};; esac; }}
call '{{"call":{{"id":1,"name":"createMessage","arguments":{{"content":{{"text":"'$key.$step'"}},"roomId":"{ROOM}"}}}}}}'
[ $step -ge $of ] || call '{{"call":{{"id":2,"name":"createTask","arguments":{{"type":"{STEP}","description":"'$key.$((step+1))'","roomId":"{ROOM}","options":'$next',"data":{{"key":"'$key'","step":'$((step+1))',"of":'$of',"pause":"'$pause'"}}}}}}}}'
sleep $pause
echo '{{"result":{{"step":'$step'}}}}'
read t x </proc/uptime; echo "end $key.$step $AGENTTASK_RUN_ID 0 $t" >>{marks.file}
"""
    for name, type, more in (("storm", STEP, {}), ("strict", STRICT, {"dataSchema": {"type": "object", "required": ["must"]}}), ("cautious", CAUTIOUS, {"validate": True})):
        folder = state / "workers" / name
        folder.mkdir(parents=True)
        for made in (state / "workers", folder):
            made.chmod(0o755)
        (folder / "step").write_text(program)
        (folder / "step").chmod(0o755)
        (folder / "worker.json").write_text(json.dumps({"types": [type], "command": ["./step"], "environment": {"STORM": marks.token}, **more}))
        (folder / "worker.json").chmod(0o644)
