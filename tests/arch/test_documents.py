"""Holds what the documents name to what is there: files, tests, faults, links."""
import itertools
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
#: Code spans that look like files of ours: with a folder of ours in front, or below tests/ as docs/testing.md writes them.
OURS = ("platform", "agent", "server", "worker", "examples", "tests", "docs", "scripts", "cmake")
BELOW_TESTS = ("unit", "component", "system", "storm", "arch", "model", "soak", "support", "fuzz", "bench")
SPAN = re.compile(r"`([^`\n]+)`")
FILE = re.compile(r"[\w./{},*-]+\.(?:cpp|hpp|py|md|json|c|sh|txt|cmake)\Z")


def spread(text):
    """`a/{b,c}.cpp` -> a/b.cpp, a/c.cpp."""
    parts = re.split(r"\{([^{}]*)\}", text)
    choices = [part.split(",") if index % 2 else [part] for index, part in enumerate(parts)]
    return ["".join(one) for one in itertools.product(*choices)]


def named_files(text):
    for span in SPAN.findall(text):
        if not FILE.match(span) or "/" not in span:
            continue
        for name in spread(span):
            first = name.split("/")[0]
            if first in OURS:
                yield name
            elif first in BELOW_TESTS:
                yield "tests/" + name


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_files_that_a_document_names_exist(document):
    missing = [name for name in named_files(document.read_text()) if not (list(ROOT.glob(name)) if "*" in name else (ROOT / name).exists())]
    assert not missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document):
    targets = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text()) if "://" not in link]
    missing = [target for target in targets if target and not (document.parent / target).exists()]
    assert not missing


def test_tests_and_faults_that_the_guarantees_name_exist():
    """In docs/guarantees.md a test is `file: Name` or `file: name…`, a fault of the storm is `fault: name`."""
    text = (ROOT / "docs/guarantees.md").read_text()
    faults = subprocess.run(["/usr/bin/python3", "-B", ROOT / "tests/storm/storm.py", "--list"], capture_output=True, text=True, check=True).stdout
    known = set(faults.splitlines()[0].removeprefix("faults:").strip().split(", "))
    problems = []
    for span in SPAN.findall(text):
        kind, colon, name = span.partition(": ")
        if not colon:
            continue
        if kind == "fault" and name != "…":
            problems += [] if name in known else [span]
        elif kind.split("/")[0] in BELOW_TESTS:
            files = list(ROOT.glob("tests/" + kind))
            problems += [] if any(has_test(file.read_text(), name) for file in files) else [span]
    assert not problems


def has_test(source, name):
    """`name` is a whole name, or a beginning that ends with an ellipsis."""
    whole = re.escape(name.removesuffix("…")) + (r"\w*" if name.endswith("…") else "")
    return re.search(rf"\bdef {whole}\(|\bTEST(?:_F|_P)?\(\w+,\s*{whole}\)", source) is not None
