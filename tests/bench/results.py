"""What was measured: rows with their spread, what they are held against, and the tables that are made of them."""
import json
from dataclasses import asdict, dataclass, field
from statistics import median


@dataclass
class Row:
    """One measured value. `values`: one of each round. `peer_values`: of the peer or floor, in the same rounds; of one that was measured elsewhere
    and is given, `given` is true and there is one value. A target is `at most`/`at least` a number, of the value or of the ratio to the peer."""
    what: str
    unit: str
    values: list
    peer: str = ""
    peer_values: list = field(default_factory=list)
    given: bool = False
    at_most: float | None = None
    at_least: float | None = None
    ratio_at_most: float | None = None
    ratio_at_least: float | None = None
    note: str = ""

    @property
    def value(self):
        return median(self.values)

    @property
    def ratio(self):
        return self.value / median(self.peer_values) if self.peer_values and median(self.peer_values) else None

    @property
    def target(self):
        words = [(self.at_most, "≤ {} " + self.unit), (self.at_least, "≥ {} " + self.unit), (self.ratio_at_most, "≤ {} ×"), (self.ratio_at_least, "≥ {} ×")]
        return ", ".join(text.format(number(limit)).strip() for limit, text in words if limit is not None)

    @property
    def met(self):
        """Whether every limit holds; None where there is none."""
        held = [self.value <= self.at_most] if self.at_most is not None else []
        held += [self.value >= self.at_least] if self.at_least is not None else []
        if self.ratio is not None:
            held += [self.ratio <= self.ratio_at_most] if self.ratio_at_most is not None else []
            held += [self.ratio >= self.ratio_at_least] if self.ratio_at_least is not None else []
        return all(held) if held else None


def number(value):
    """Three figures that count, thousands with a space."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace(",", " ")
    text = f"{value:.3g}"
    return text if "e" not in text else f"{value:.0f}"


def spread(values):
    return f"{number(min(values))}–{number(max(values))}" if len(values) > 1 else ""


def save(folder, part, rows, facts):
    """Keeps one part's results, so that a table can be made of parts that ran at different times."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{part}.json").write_text(json.dumps({"part": part, "facts": facts, "rows": [asdict(row) for row in rows]}, indent=1) + "\n")


def load(folder, order):
    """[(part, facts, rows)] of all parts that ran, in the order of the parts."""
    found = {}
    for file in sorted(folder.glob("*.json")):
        document = json.loads(file.read_text())
        found[document["part"]] = (document["part"], document["facts"], [Row(**row) for row in document["rows"]])
    return [found[part] for part in order if part in found]


def verdict(row, judged):
    if row.met is None:
        return ""
    if not judged:
        return "not judged"
    return "yes" if row.met else "**no**"


def table(rows, judged):
    """Lines of markdown."""
    lines = ["| what | value | spread | peer or floor | of it | ratio | target | met |", "|---|---|---|---|---|---|---|---|"]
    for row in rows:
        peer = f"{number(median(row.peer_values))} {row.unit}" if row.peer_values else ""
        if row.peer_values and not row.given and len(row.peer_values) > 1:
            peer += f" ({spread(row.peer_values)})"
        name = row.peer + (" (given)" if row.given else "")
        ratio = f"{row.ratio:.2f} ×" if row.ratio is not None else ""
        lines.append(f"| {row.what} | {number(row.value)} {row.unit} | {spread(row.values)} | {name} | {peer} | {ratio} | {row.target} | {verdict(row, judged)} |".replace("  ", " "))
    return lines


def document(parts, judged, abouts):
    """The whole report of a run, in markdown."""
    lines = []
    for part, facts, rows in parts:
        lines += [f"## {part}", "", abouts.get(part, ""), "", f"`{facts['command']}`, {facts['time']}, commit {facts['commit']}, load of the machine before: {facts['load']}, {facts['seconds']} s", ""]
        lines += table(rows, judged)
        notes = [f"- {row.what}: {row.note}" for row in rows if row.note]
        lines += ["", *notes] if notes else []
        lines += [""] + [f"![{name}]({name}.svg)" for name in facts.get("plots", [])]
        lines += ["", *(f"**Check failed**: {failure}" for failure in facts.get("failures", []))]
        lines.append("")
    return "\n".join(line for line in lines).replace("\n\n\n", "\n\n").rstrip() + "\n"
