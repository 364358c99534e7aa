#!/usr/bin/python3 -B
"""Measures what AgentTask takes and how fast it is, beside peers and floors in the same run: ./dev bench [PART…].

Each part starts servers, agents and a load of its own on loopback, checks that no task was lost or ran twice, and writes a table and plots.
--quick does everything on a small scale in a few minutes: to see that it works, not what it measures, so nothing is held to a target.
"""
import argparse
import datetime
import importlib
import os
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(HERE.parent / "system")]


def parts():
    """name -> module, in the order in which they run: every file of parts/ says NAME, ORDER, ABOUT and has run(stage)."""
    modules = [importlib.import_module(f"parts.{file.stem}") for file in (HERE / "parts").glob("*.py") if file.stem != "__init__"]
    return {module.NAME: module for module in sorted(modules, key=lambda module: (module.ORDER, module.NAME))}


def arguments(known):
    listing = "\n".join(f"  {name:<16} {module.ABOUT.splitlines()[0]}" for name, module in known.items())
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__, epilog=f"parts:\n{listing}", formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help="which parts (default: all that --quick or the whole run has)")
    parser.add_argument("--list", action="store_true", help="name the parts, one a line")
    parser.add_argument("--quick", action="store_true", help="small sizes, few rounds; no targets are judged")
    parser.add_argument("--rounds", type=int, default=0, help="rounds of what is measured in rounds (default: what the part thinks right)")
    parser.add_argument("--no-peers", action="store_true", help="ours and the floors alone; peers are not fetched")
    parser.add_argument("--no-plots", action="store_true", help="tables alone")
    parser.add_argument("--out", type=Path, help="where tables, figures and plots go (default build/bench, with --quick build/bench-quick)")
    parser.add_argument("--folder", type=Path, help="where servers and agents keep their files meanwhile (default: the system's for temporary files)")
    parser.add_argument("--keep", action="store_true", help="leave the folder of a part that failed a check")
    options = parser.parse_args()
    unknown = [name for name in options.parts if name not in known]
    if unknown:
        parser.error(f"no part {' '.join(unknown)}: ./dev bench --list names them")
    options.out = options.out or ROOT / ("build/bench-quick" if options.quick else "build/bench")
    return options


def facts_of(options, part, began, stage):
    commit = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip() or "unknown"
    return {"command": f"./dev bench {part}" + (" --quick" if options.quick else ""), "time": began.strftime("%Y-%m-%d %H:%M UTC"), "commit": commit,
            "load": f"{stage.load_before:.2f}", "seconds": round(stage.seconds), "plots": stage.plots, "failures": stage.failures}


def play(module, options, peers):
    """One part, to its end, whatever happens in it."""
    from stage import Stage
    stage = Stage(module.NAME, options, peers)
    began, stage.load_before, start = datetime.datetime.now(datetime.timezone.utc), os.getloadavg()[0], time.monotonic()
    stage.say(f"begins; alone: ./dev bench {module.NAME}{' --quick' if options.quick else ''}")
    try:
        module.run(stage)
    except Exception as problem:  # one part that fails does not take the others with it
        traceback.print_exc()
        stage.failures.append(f"{type(problem).__name__}: {str(problem)[:2000]}")
    finally:
        stage.clear()
    stage.seconds = time.monotonic() - start
    draw(stage, options)
    return stage, facts_of(options, module.NAME, began, stage)


def draw(stage, options):
    stage.plots = []
    if options.no_plots:
        return
    from plots import draw as draw_plot
    for number, drawing in enumerate(stage.drawings):
        name = stage.part if number == 0 else f"{stage.part}-{number + 1}"
        draw_plot(options.out / f"{name}.svg", drawing)
        stage.plots.append(name)


def report(options, known):
    """All parts that have run into this folder, one document."""
    import results
    from look import machine
    judged = not options.quick
    text = results.document(results.load(options.out / "results", known), judged, {name: module.ABOUT for name, module in known.items()})
    head = f"Machine: {machine()}.\n\n"
    if not judged:
        head += "A quick run: small sizes, to see that it works. These are no results.\n\n"
    (options.out / "benchmarks.md").write_text(head + text)


def leave(*_):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(143)


def main():
    known = parts()
    options = arguments(known)
    if options.list:
        print("\n".join(known))
        return 0
    import results
    from peers import Peers
    signal.signal(signal.SIGTERM, leave)
    options.out.mkdir(parents=True, exist_ok=True)
    if options.folder:
        Path(options.folder).mkdir(parents=True, exist_ok=True)
    peers = Peers(enabled=not options.no_peers)
    failed = []
    for name in options.parts or known:
        stage, facts = play(known[name], options, peers)
        results.save(options.out / "results", name, stage.rows, facts)
        report(options, known)
        print(f"\n{name} ({facts['command']}, {facts['seconds']} s)\n" + "\n".join(results.table(stage.rows, not options.quick)), flush=True)
        failed += [f"{name}: {failure}" for failure in stage.failures]
    print(f"\nbench: the tables are in {options.out}/benchmarks.md", file=sys.stderr)
    for failure in failed:
        print(f"bench: FAILED {failure}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    os.environ.setdefault("AGENTTASK_BIN", str(ROOT / "build/release/bin"))
    sys.exit(main())
