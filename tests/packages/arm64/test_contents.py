"""The arm64 package: for that architecture, with what it depends on, and with programs that run."""
import os
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("AGENTTASK_PACKAGES") or Path(__file__).resolve().parents[3] / "build/packages/arm64")
AARCH64 = 183   # e_machine of ELF


def output(*words):
    return subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60).stdout


@pytest.fixture(scope="module")
def package():
    found = list(FOLDER.glob("agenttask-agent_*_arm64.deb"))
    assert len(found) == 1, f"one arm64 package in {FOLDER}, made by ./dev package arm64: {found}"
    return found[0]


@pytest.fixture(scope="module")
def root(package, tmp_path_factory):
    folder = tmp_path_factory.mktemp("root")
    subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
    return folder


def test_it_is_for_arm64_and_depends_on_what_the_programs_link(package):
    assert output("dpkg-deb", "-f", package, "Architecture").strip() == "arm64"
    depends = output("dpkg-deb", "-f", package, "Depends")
    for wanted in ("libc6 (>=", "libcurl4 (>=", "libsqlite3-0 (>=", "libssl3 (>=", "libstdc++6 (>=", "systemd"):
        assert wanted in depends, depends


@pytest.mark.parametrize("program", ["agenttaskd", "agenttask"])
def test_its_programs_are_for_arm64_and_run(root, program):
    file = root / "usr/bin" / program
    header = file.read_bytes()[:20]
    assert header[:5] == b"\x7fELF\x02" and int.from_bytes(header[18:20], "little") == AARCH64
    words = os.environ.get("AGENTTASK_EMULATOR", "").split()
    assert output(*words, file, "--version").strip()


def test_it_brings_service_manual_and_settings(root):
    for file in ("usr/lib/systemd/system/agenttask.service", "usr/share/man/man8/agenttaskd.8.gz", "usr/share/man/man1/agenttask.1.gz",
                 "etc/agenttask/agent.conf", "usr/share/bash-completion/completions/agenttask"):
        assert (root / file).stat().st_size > 0, file


def test_the_worker_library_beside_it_is_for_arm64(tmp_path):
    found = list(FOLDER.glob("agenttask-worker-dev_*_arm64.deb"))
    assert len(found) == 1, found
    subprocess.run(["dpkg-deb", "-x", found[0], tmp_path], check=True)
    objects = tmp_path / "objects"
    objects.mkdir()
    subprocess.run(["ar", "x", tmp_path / "usr/lib/libagenttask-worker.a"], check=True, cwd=objects)
    machines = {int.from_bytes(file.read_bytes()[18:20], "little") for file in objects.iterdir()}
    assert machines == {AARCH64}
