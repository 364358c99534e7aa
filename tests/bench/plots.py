"""Plots as SVG, drawn by gnuplot (Debian's gnuplot-nox)."""
import subprocess
from dataclasses import dataclass, field
from statistics import median

COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e")
HEAD = """
set terminal svg size 720,400 font "sans-serif,12" background "white"
set output {file}
set title {title}
set border 3
set tics nomirror
set yrange [0:*]
set key top left
"""


@dataclass
class Plot:
    """`lines`: name -> [(x, y)]; with `bars`, name -> [y] of each round, drawn as points with a line at their median."""
    title: str
    across: str
    up: str
    lines: dict = field(default_factory=dict)
    bars: bool = False
    target: float | None = None    # drawn as a line


def draw(file, plot):
    file.parent.mkdir(parents=True, exist_ok=True)
    script = HEAD.format(file=quoted(file), title=quoted(plot.title)) + f"set ylabel {quoted(plot.up)}\n"
    script += rounds(plot) if plot.bars else curves(plot)
    done = subprocess.run(["gnuplot"], input=script, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def quoted(text):
    """A text as it is: between double quotes gnuplot would read escapes."""
    return "'" + str(text).replace("'", "''") + "'"


def table(points):
    return "".join(f"{x} {y}\n" for x, y in points) + "e\n"


def plotted(parts):
    """What is drawn over what, then the figures of each."""
    return "plot " + ", ".join(words for words, _ in parts) + "\n" + "".join(table(points) for _, points in parts)


def curves(plot):
    most = max(x for points in plot.lines.values() for x, _ in points)
    parts = [(f"'-' with linespoints linecolor rgb '{colour}' pointtype 7 pointsize 0.4 title {quoted(name)} noenhanced", points)
             for colour, (name, points) in zip(COLOURS, plot.lines.items())]
    if plot.target is not None:
        parts.append(("'-' with lines linecolor rgb '#888888' dashtype 2 title 'target'", [(0, plot.target), (most, plot.target)]))
    return f"set xlabel {quoted(plot.across)}\nset xrange [0:{most}]\n" + plotted(parts)


def rounds(plot):
    names = ", ".join(f"{quoted(name)} {place}" for place, name in enumerate(plot.lines, 1))
    parts = []
    for place, (colour, values) in enumerate(zip(COLOURS, plot.lines.values()), 1):
        parts.append((f"'-' with points linecolor rgb '{colour}' pointtype 7 pointsize 0.6 notitle", [(place, value) for value in values]))
        middle = median(values)
        parts.append((f"'-' with lines linecolor rgb '{colour}' linewidth 2 notitle", [(place - 0.25, middle), (place + 0.25, middle)]))
    if plot.target is not None:
        parts.append(("'-' with lines linecolor rgb '#888888' dashtype 2 title 'target'", [(0.5, plot.target), (len(plot.lines) + 0.5, plot.target)]))
    return f"set xtics ({names}) noenhanced\nset xrange [0.5:{len(plot.lines) + 0.5}]\nset key top right\n" + plotted(parts)
