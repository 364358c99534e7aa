"""What a program takes of the machine, seen from outside, and what became of it over time."""
import os
from dataclasses import dataclass
from pathlib import Path
from statistics import median

MIB = 1 << 20
TICKS = os.sysconf("SC_CLK_TCK")


def look(machine):
    """One program and its files, now. Sizes in bytes, `cpu` in milliseconds since its start."""
    pid = machine.owner.program.pid
    process = Path(f"/proc/{pid}")
    rollup = fields(process / "smaps_rollup")
    status = fields(process / "status")
    cpu = sum(int(field) for field in (process / "stat").read_text().rsplit(")", 1)[1].split()[11:13])
    found = {"resident": rollup["Rss"] * 1024, "private": (rollup["Private_Clean"] + rollup["Private_Dirty"]) * 1024, "threads": status["Threads"],
             "descriptors": len(os.listdir(process / "fd")), "cpu": cpu * 1000 // TICKS}
    name = "server" if machine is machine.world.server else "ledger"
    for what, file in (("database", f"{name}.db"), ("journal", f"{name}.db-wal")):
        found[what] = size(machine.owner.state / file)
    found["other files"] = sum(size(file) for file in machine.owner.state.rglob("*") if file.is_file() and not file.name.startswith(f"{name}.db"))
    found["log"] = size(machine.owner.folder / "log")
    return found


def fields(file):
    """The numbers of a file of `Name: number unit` lines."""
    found = {}
    for line in file.read_text().splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdigit():
            found[name] = int(words[0])
    return found


def size(file):
    try:
        return file.stat().st_size
    except FileNotFoundError:      # it went meanwhile
        return 0


@dataclass
class Measure:
    """`slack` is what it may grow by at least, `share` of itself at most, before it counts as growing; none: it is told and not judged."""
    name: str
    unit: str
    slack: float | None
    share: float = 0.05


MEASURES = [
    Measure("private", "MiB", 1 * MIB),
    Measure("resident", "MiB", 1 * MIB),
    Measure("threads", "", 2, 0),
    Measure("descriptors", "", 4, 0),
    Measure("database", "MiB", MIB // 4),
    Measure("journal", "MiB", 1 * MIB),
    Measure("other files", "MiB", MIB // 4),
    # A line for each thing that happened, for as long as the system's log keeps it.
    Measure("log", "MiB", None),
]
#: Less says nothing: the server looks for what is past its number every ten minutes.
SHORTEST = 900.0


@dataclass
class Verdict:
    measure: Measure
    begin: float            # medians of the thirds
    middle: float
    end: float
    most: float
    an_hour: float          # growth an hour, as it went from the first third to the last
    grows: bool


def judge(times, values, measure, allowed=0.0):
    """Compares the thirds of what came after the warm-up. `allowed`: what it may grow by besides, with the work that was done."""
    after = [value for time, value in zip(times, values) if time >= warm_up(times)]
    third = max(1, len(after) // 3)
    begin, middle, end = (median(part) for part in (after[:third], after[third:-third] or after, after[-third:]))
    growth = end - begin
    limit = None if measure.slack is None else max(measure.slack, begin * measure.share) + allowed
    hours = (times[-1] - warm_up(times)) * 2 / 3 / 3600
    return Verdict(measure, begin, middle, end, max(values), growth / hours if hours else 0.0, limit is not None and growth > limit)


def warm_up(times):
    """When the warm-up is over: a fifth of the time, and as long as it takes until the server removed old runs for the first time."""
    whole = times[-1] - times[0]
    return times[0] + min(whole / 2, max(whole / 5, 630.0))


def shown(value, unit):
    return f"{value / MIB:.2f}" if unit == "MiB" else f"{value:.0f}"


def table(verdicts, judged):
    """Lines for people: each program's measures."""
    lines = [f"{'':<10} {'':<12} {'first third':>12} {'middle':>10} {'last third':>11} {'most':>10} {'an hour':>10}"]
    for name, rows in verdicts.items():
        for row in rows:
            unit = row.measure.unit
            verdict = "" if row.measure.slack is None or not judged else "GROWS" if row.grows else "flat"
            lines.append(f"{name:<10} {row.measure.name:<12} {shown(row.begin, unit):>12} {shown(row.middle, unit):>10} {shown(row.end, unit):>11} "
                         f"{shown(row.most, unit):>10} {shown(row.an_hour, unit):>10} {unit:<4} {verdict}".rstrip())
    return lines


COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b")


def picture(times, series):
    """An SVG with a small chart for each measure and a line for each program; all begin at nothing, so that a slope is as steep as it is."""
    width, height, left, top = 420, 150, 60, 24
    parts, columns = [], 2
    for index, measure in enumerate(MEASURES):
        x, y = (index % columns) * (width + left + 20) + left, (index // columns) * (height + top + 30) + top
        most = max(max(values[measure.name]) for values in series.values()) or 1
        parts.append(f'<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="none" stroke="#ccc"/>'
                     f'<text x="{x}" y="{y - 6}">{measure.name} {measure.unit}</text>'
                     f'<text x="{x - 6}" y="{y + 10}" text-anchor="end">{shown(most, measure.unit)}</text>'
                     f'<text x="{x - 6}" y="{y + height}" text-anchor="end">0</text>'
                     f'<text x="{x + width}" y="{y + height + 14}" text-anchor="end">{(times[-1] - times[0]) / 60:.0f} min</text>')
        for colour, (name, values) in zip(COLOURS, series.items()):
            span = (times[-1] - times[0]) or 1
            points = " ".join(f"{x + (time - times[0]) / span * width:.1f},{y + height - value / most * height:.1f}"
                              for time, value in zip(times, values[measure.name]))
            parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}"/>')
    rows = -(-len(MEASURES) // columns)
    whole, tall = columns * (width + left + 20), rows * (height + top + 30) + 30
    for index, (colour, name) in enumerate(zip(COLOURS, series)):
        parts.append(f'<text x="{left + index * 120}" y="{tall - 8}" fill="{colour}">{name}</text>')
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{whole}" height="{tall}" font-family="sans-serif" font-size="11">'
            f'<rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>\n')
