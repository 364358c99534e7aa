"""The soak of tests/soak: that it notices what grows, and forgives what does not; and a few seconds of the whole."""
import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).resolve().parents[1] / "soak"
sys.path.insert(0, str(SOAK))

from measure import MEASURES, MIB, judge, warm_up  # noqa: E402

MEMORY = next(measure for measure in MEASURES if measure.name == "private")
DESCRIPTORS = next(measure for measure in MEASURES if measure.name == "descriptors")
DATABASE = next(measure for measure in MEASURES if measure.name == "database")
LOG = next(measure for measure in MEASURES if measure.name == "log")
TIMES = list(range(0, 3600, 6))


def grows(measure, value, **more):
    return judge(TIMES, [value(time) for time in TIMES], measure, **more).grows


def test_what_is_flat_is_flat():
    assert not grows(MEMORY, lambda time: 20 * MIB)
    assert not grows(MEMORY, lambda time: 20 * MIB + (time * 7919 % 3) * MIB)          # up and down
    assert not grows(MEMORY, lambda time: 5 * MIB + min(time, 500) * MIB / 20)         # the warm-up
    assert not grows(DESCRIPTORS, lambda time: 40 + time * 7919 % 9)
    assert not grows(MEMORY, lambda time: (20 + 40 * (1800 < time < 1860)) * MIB)      # once, and back


def test_what_grows_is_noticed():
    assert grows(MEMORY, lambda time: 20 * MIB + time * 2000)                          # 7 MiB an hour
    assert grows(MEMORY, lambda time: (20 if time < 2000 else 22) * MIB)               # a step
    assert grows(DESCRIPTORS, lambda time: 40 + time // 300)                           # one in five minutes
    assert grows(DATABASE, lambda time: 2 * MIB + time * 300)
    assert not grows(DATABASE, lambda time: 2 * MIB + time * 300, allowed=300 * 3600)  # what the tasks take
    assert not grows(LOG, lambda time: time * 10_000)                                  # told, not judged


def test_growth_is_told_by_the_hour():
    verdict = judge(TIMES, [time * 1000 for time in TIMES], MEMORY)
    assert verdict.an_hour == pytest.approx(3_600_000, rel=0.02)
    assert warm_up(TIMES) == pytest.approx(720, rel=0.01)
    assert warm_up(range(0, 1200)) == pytest.approx(600, rel=0.01)


@pytest.mark.skipif(bool(os.environ.get("AGENTTASK_SANITIZE")), reason="what a sanitizer takes is not ours")
def test_a_short_soak_leaves_its_figures_and_nothing_else(tmp_path):
    done = subprocess.run([sys.executable, "-B", SOAK / "soak.py", "--minutes", "0.1", "--agents", "1", "--every", "1", "--out", tmp_path / "out"],
                          capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "too short to judge" in done.stdout
    with open(tmp_path / "out/soak.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 4
    for name in ("server", "agent 0"):
        for what in ("private", "resident", "threads", "descriptors", "database"):
            assert all(int(row[f"{name}: {what}"]) > 0 for row in rows), (name, what)
    assert (tmp_path / "out/soak.svg").read_text().count("<polyline") == 2 * len(MEASURES)
    assert (tmp_path / "out/soak.txt").read_text() in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
