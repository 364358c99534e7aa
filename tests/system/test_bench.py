"""What the benchmark makes of its figures, and that its parts are there. That each part works is what `./dev bench --quick` shows."""
import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[1] / "bench"
sys.path.insert(0, str(BENCH))

from results import Row, document, load, number, save, spread, table  # noqa: E402


def test_a_value_is_the_median_of_its_rounds_and_a_ratio_that_of_medians():
    row = Row("echo", "ms", [3.0, 1.0, 2.0], peer="other", peer_values=[4.0, 8.0, 100.0], ratio_at_most=0.25)
    assert (row.value, row.ratio, row.met, row.target) == (2.0, 0.25, True, "≤ 0.25 ×")
    assert Row("echo", "ms", [1.0, 2.0]).value == 1.5


@pytest.mark.parametrize("limits, met", [
    ({}, None), ({"at_most": 2}, True), ({"at_most": 1.99}, False), ({"at_least": 2}, True), ({"at_least": 2.01}, False),
    ({"at_most": 2, "at_least": 3}, False),
    # Nothing to compare with: what is held against a peer is not judged without it.
    ({"ratio_at_most": 1}, None),
])
def test_a_target_is_met_at_its_limit_and_not_past_it(limits, met):
    assert Row("x", "s", [2.0], **limits).met is met


def test_ratios_are_judged_against_the_peer():
    assert Row("x", "/s", [2.0], peer="p", peer_values=[2.0], ratio_at_least=1).met is True
    assert Row("x", "/s", [1.9], peer="p", peer_values=[2.0], ratio_at_least=1).met is False
    assert Row("x", "/s", [1.9], peer="p", peer_values=[0.0]).ratio is None


@pytest.mark.parametrize("value, text", [(0, "0"), (0.1234, "0.123"), (1.0, "1"), (12.345, "12.3"), (999.4, "999"), (1234.5, "1 234"), (10_000_000, "10 000 000")])
def test_numbers_have_three_figures_that_count(value, text):
    assert number(value) == text


def test_a_table_says_what_is_given_what_was_missed_and_nothing_of_a_quick_run():
    rows = [Row("commands", "/s", [800.0, 700.0, 900.0], peer="other", peer_values=[147], given=True, ratio_at_least=5), Row("memory", "MiB", [9.0], at_most=8)]
    judged, quick = table(rows, judged=True), table(rows, judged=False)
    assert judged[2] == "| commands | 800 /s | 700–900 | other (given) | 147 /s | 5.44 × | ≥ 5 × | yes |"
    assert judged[3] == "| memory | 9 MiB | | | | | ≤ 8 MiB | **no** |"
    assert all("not judged" in line and "**no**" not in line for line in quick[2:])
    assert spread([1.0]) == ""


def test_parts_that_ran_at_different_times_make_one_document(tmp_path):
    facts = {"command": "./dev bench late", "time": "2026-01-02 03:04 UTC", "commit": "abc", "load": "0.10", "seconds": 12, "plots": ["late"], "failures": []}
    save(tmp_path, "late", [Row("b", "s", [1.0], note="because")], facts)
    save(tmp_path, "early", [Row("a", "s", [1.0])], {**facts, "plots": [], "failures": ["a task was lost"]})
    found = load(tmp_path, ["early", "late", "never"])
    assert [part for part, _, _ in found] == ["early", "late"]
    text = document(found, True, {"late": "About it."})
    assert text.index("## early") < text.index("**Check failed**: a task was lost") < text.index("## late") < text.index("About it.")
    assert "- b: because" in text and "![late](late.svg)" in text and "abc" in text
    assert json.loads((tmp_path / "late.json").read_text())["part"] == "late"


def test_the_parts_can_be_named_and_unknown_ones_are_refused():
    def bench(*words):
        return subprocess.run([sys.executable, "-B", BENCH / "bench.py", *words], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    listed = bench("--list")
    assert listed.returncode == 0 and {"idle-memory", "latency", "enqueue", "whole-path", "agent-drain", "reconnect"} <= set(listed.stdout.split())
    refused = bench("no-such-part")
    assert refused.returncode == 2 and "no part no-such-part" in refused.stderr
