"""What really ran: the marks that the work itself leaves in a file, before it does anything and at its end.

A mark is one line, written with one write to a file opened for appending, so marks of several processes do not mix and a killed
process leaves a whole line or none:

    start KEY RUN AGENT PID TIME       KEY: the task, as the storm calls it; RUN: AGENTTASK_RUN_ID; AGENT: the pid that started it
    end   KEY RUN CODE TIME            TIME: seconds since boot
"""
from collections import defaultdict

#: Shell: says that the run began, to the marks and on standard output.
BEGIN = 'read t x </proc/uptime; echo "start {key} $AGENTTASK_RUN_ID $PPID $$ $t" >>{marks}; echo "begin {key} $AGENTTASK_RUN_ID"'
#: Shell: says that it came to its end, and leaves with this code.
END = 'echo "done {key}"; read t x </proc/uptime; echo "end {key} $AGENTTASK_RUN_ID {code} $t" >>{marks}; exit {code}'


class Mark:
    def __init__(self, line):
        words = line.split()
        self.what, self.key, self.run = words[0], words[1], words[2]
        self.time = float(words[-1])
        if self.what == "start":
            self.agent, self.pid = int(words[3]), int(words[4])
        else:
            self.code = int(words[3])


class Truth:
    """`rename`: the key of what began with a mark, where the mark alone does not tell it."""

    def __init__(self, file, rename=None):
        self.marks = [Mark(line) for line in file.read_text().splitlines()]
        if rename:
            self.rename(rename)
        self.starts, self.ends = defaultdict(list), defaultdict(list)
        for mark in self.marks:
            (self.starts if mark.what == "start" else self.ends)[mark.key].append(mark)
        self.of_run = defaultdict(list)
        for mark in self.marks:
            self.of_run[mark.run].append(mark)

    def rename(self, key_of):
        keys = {mark.run: key_of(mark) for mark in self.marks if mark.what == "start"}
        for mark in self.marks:
            mark.key = keys.get(mark.run, mark.key)
