#!/usr/bin/python3 -B
"""The twin of awkward_worker.cpp. It is copied beside the library."""
import os
import subprocess
import sys
import time

import agenttask_worker as agenttask


def validate(task):
    what = task["data"].get("validate", "true")
    if what == "throw":
        raise RuntimeError("can't say")
    return "not on Sundays" if what == "later" else what == "true"


def type(name):
    return agenttask.worker(name, validate=validate)


@agenttask.service("awkward")
def awkward(method, arguments):
    if method == "throw":
        raise RuntimeError("it broke")
    return arguments["value"]


@type("OPTIONS")
def options(context, options, task):
    return {"options": options, "run": context.run, "runId": context.run_id}


@type("CALL_ALL")
def call_all(context, options, task):
    answers = [context.create_task(type="echo", data={"message": "hi"}), context.get_tasks(), context.get_tasks(tags=["a", "b"], limit=5),
               context.get_tasks_by_type("echo"), context.get_task("unknown") is not None, context.get_task("known"),
               context.update_task("known", description="new")]
    context.delete_task(task["id"])
    answers += [context.create_message({"text": "hello"}), context.create_message({"text": "there"}, roomId="other", worldId="world"),
                context.get_messages("lobby"), context.get_messages("lobby", limit=3), context.get_service("unknown") is not None]
    service = context.get_service("adder")
    return {"answers": answers + [service.worker, service.call("add", numbers=[1, 2])]}


@type("REFUSED")
def refused(context, options, task):
    try:
        context.create_task(type="")
    except agenttask.Problem as problem:
        return {"code": problem.code, "message": str(problem), "field": problem.field}


@type("PRINT")
def printing(context, options, task):
    print("a line\nbegun", end="")
    context.progress("half", 50)
    print("printed\nended\nnever ended", end="")
    sys.stderr.write("to standard error\n")


@type("WAIT")
def wait(context, options, task):
    try:
        context.progress("waiting")
        time.sleep(600)
    finally:
        print("cleaned up")


@type("CALL_AFTER_STOP")
def call_after_stop(context, options, task):
    try:
        context.progress("waiting")
        time.sleep(600)
    except agenttask.Stopped:
        return {"task": context.get_task("known")}


@type("FAIL")
def fail(context, options, task):
    raise agenttask.Failure("broken", "step 2 broke", {"step": 2})


@type("THROW")
def throw(context, options, task):
    raise RuntimeError("broke: \udcff")


@type("LEAVE")
def leave(context, options, task):
    print("leaving", end="", flush=True)
    if "crash" in options:
        os.abort()
    sys.exit(options["code"])


@type("CHILD")
def child(context, options, task):
    status = subprocess.call(["sh", "-c", "cat; grep -E '^Sig(Ign|Blk)' /proc/self/status"])
    return {"status": status, "read": bool(sys.stdin.readline())}


@type("NOTHING")
def nothing(context, options, task):
    pass


@type("NO_OBJECT")
def no_object(context, options, task):
    return "text"


@type("LARGE")
def large(context, options, task):
    return {"text": "x" * options["bytes"]}


@type("NESTED")
def nested(context, options, task):
    value = 1
    for _ in range(options["levels"]):
        value = [value]
    return {"nested": value}


@type("NOT_UTF8")
def not_utf8(context, options, task):
    return {"text": "\udcff"}


agenttask.run()
