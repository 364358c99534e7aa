"""Makes the manual pages and the configuration files from what the programs say of themselves, so that neither can drift.

usage: pages.py man PROGRAMS PAGE.scd.in OUTPUT.scd        the reference takes the place of @REFERENCE:program@
       pages.py settings PROGRAMS PROGRAM OUTPUT.conf [NAME=VALUE…]   every setting with its default, as a comment
"""
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path


class Help:
    """What `program verb… --help` prints, taken apart: description, usage, sections of (name, text) rows, footer."""

    def __init__(self, program, verbs=()):
        done = subprocess.run([str(program), *verbs, "--help"], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
                              env={"PATH": os.environ["PATH"], "NO_COLOR": "1", "LC_ALL": "C.UTF-8"})
        if done.returncode != 0 or not done.stdout:
            raise SystemExit(f"pages.py: {program} {' '.join(verbs)} --help failed: {done.stderr}")
        self.verbs = list(verbs)
        self.description, self.usage, self.sections, self.footer = [], "", {}, []
        rows, at_end = None, False
        for line in done.stdout.rstrip().splitlines():
            row = re.match(r"  (\S.*?)(?:\s{2,}(.*))?$", line)
            if line.startswith("Usage: "):
                self.usage = line.removeprefix("Usage: ")
            elif not self.usage:
                self.description.append(line)
            elif re.fullmatch(r"[A-Z]\w*:", line) and line != "Examples:" and not at_end:
                rows = self.sections.setdefault(line[:-1], [])
            elif rows is not None and not at_end and line.startswith(" " * 20):
                rows[-1][1] = (rows[-1][1] + " " + line.strip()).strip()
            elif rows is not None and not at_end and row:
                rows.append([row[1], row[2] or ""])
            elif line or at_end:
                at_end = True
                self.footer.append(line)

    def verbs_below(self):
        return [name for section in ("Verbs", "Subcommands") for name, _ in self.sections.get(section, [])]


# ---- the pages

def plain(text):
    """Text in which scdoc sees no mark-up."""
    return re.sub(r"([\\_*<>#`\[\]~|])", r"\\\1", text)


def indented(lines):
    """As it was laid out."""
    return ["```", *(line.rstrip() for line in lines), "```", ""]


def rows_of(help_text):
    out = []
    for section in ("Positionals", "Options"):
        for name, text in help_text.sections.get(section, []):
            if name == "-h,--help":
                continue
            out += [f"*{plain(name.replace(',', ', '))}*", f"\t{plain(text)}", ""]
    return out


def reference(program, name):
    """A section for each verb, those of its verbs included."""
    out = []

    def add(verbs):
        text = Help(program, verbs)
        if verbs:
            usage = re.sub(r"\[OPTIONS\]", "[OPTIONS]", text.usage)
            if not text.usage.startswith(name):
                usage = f"{name} {usage}"
            out.extend([f"## {plain(name + ' ' + ' '.join(verbs))}", "", plain(" ".join(text.description)) + ".", "", f"*{plain(usage)}*", ""])
            out.extend(rows_of(text))
            if text.footer:
                out.extend(indented(text.footer))
        for verb in text.verbs_below():
            add([*verbs, verb])

    add([])
    return "\n".join(out)


def options(program):
    text = Help(program)
    return "\n".join(rows_of(text))


def make_page(programs, source, target):
    text = Path(source).read_text()
    text = re.sub(r"@OPTIONS:([\w-]+)@", lambda found: options(programs / found[1]), text)
    text = re.sub(r"@REFERENCE:([\w-]+)@", lambda found: reference(programs / found[1], found[1]), text)
    Path(target).write_text(text.rstrip() + "\n")


# ---- configuration files

#: What there is to set, but not in a file: where the file is follows from it, or the package decides.
NOT_IN_A_FILE = ("config", "state-dir", "ready-file")
KINDS = {
    "agenttaskd": ([], "agenttaskd check-config", "agenttask",
                   "# A reload (systemctl reload agenttask) takes what may change at once, a restart takes all."),
    "agenttask-server": (["run"], "agenttask-server check-config", "agenttask-server",
                         "# A reload (systemctl reload agenttask-server) takes what may change at once, and logs what needs a restart."),
}


def settings_file(programs, name, target, given):
    verbs, check, unit, when = KINDS[name]
    file = {"agenttaskd": "agent.conf", "agenttask-server": "server.conf"}[name]
    lines = [f"# What there is to set for {name}, in /etc/agenttask/{file}: lines of NAME = VALUE, here with the defaults.",
             f"# `{check}` says whether they are good, and what holds. Manual: man {name}", when]
    found = set()
    for option, text in Help(programs / name, verbs).sections["Options"]:
        known = re.fullmatch(r"--([\w-]+)(?:,--\w+)? (\S+)", option)
        if not known or not re.search(r"\[AGENTTASK_\w+\]$", text) or known[1] in NOT_IN_A_FILE:
            continue
        text = re.sub(r" \[AGENTTASK_\w+\]$", "", text)
        default = re.search(r" \(default (?!:)(\S+)\)$", text)
        text = text if not default else text[:default.start()]
        lines += ["", *textwrap.wrap(text, 118, initial_indent="# ", subsequent_indent="# ")]
        if known[1] in given:
            found.add(known[1])
            lines.append(f"{known[1]} = {given[known[1]]}")
        else:
            lines.append(f"#{known[1]} = {default[1] if default else ''}".rstrip())
    missing = set(given) - found
    if missing:
        raise SystemExit(f"pages.py: {name} has no setting {', '.join(sorted(missing))}")
    Path(target).write_text("\n".join(lines) + "\n")


def main(words):
    if len(words) == 4 and words[0] == "man":
        make_page(Path(words[1]), words[2], words[3])
    elif len(words) >= 4 and words[0] == "settings":
        settings_file(Path(words[1]), words[2], words[3], dict(word.split("=", 1) for word in words[4:]))
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
