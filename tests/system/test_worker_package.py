"""What is installed for those who write workers, used as docs/workers.md says: its examples, built outside of our tree."""
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from programs import BIN, environment
from worker_process import WorkerProcess, task_of

GUIDE = (Path(__file__).resolve().parents[2] / "docs/workers.md").read_text()
SANITIZE = os.environ.get("AGENTTASK_SANITIZE")


def example(language):
    """The code of this language in the guide: there is one of each."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.M | re.S)
    assert len(found) == 1, language
    return found[0]


def run(*words, **more):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, env=environment(more.pop("variables", None)), **more)
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Where the component `worker` was installed, and nothing else."""
    prefix = tmp_path_factory.mktemp("installed")
    run("cmake", "--install", BIN.parent, "--component", "worker", "--prefix", prefix)
    return prefix


@pytest.fixture(scope="module")
def disk(installed, tmp_path_factory):
    """The guide's worker in C++, built with the installed package by a project of its own."""
    folder = tmp_path_factory.mktemp("disk")
    for name, language in (("disk.cpp", "cpp"), ("CMakeLists.txt", "cmake"), ("worker.json", "json")):
        (folder / name).write_text(example(language))
    flags = [f"-DCMAKE_CXX_FLAGS=-fsanitize={SANITIZE}"] if SANITIZE else []
    run("cmake", "-G", "Ninja", "-S", folder, "-B", folder / "build", f"-DCMAKE_PREFIX_PATH={installed}", *flags)
    run("cmake", "--build", folder / "build")
    shutil.copy(folder / "build/disk", folder / "disk")
    return folder / "disk"


def files_below(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_the_package_has_what_third_parties_need_and_no_more(installed):
    named = {Path(name).name for name in files_below(installed)}
    assert named == {"worker.hpp", "libagenttask-worker.a", "agenttask_worker.py", "agenttask-worker.pc", "AgentTaskWorkerConfig.cmake",
                     "AgentTaskWorkerConfigVersion.cmake", "AgentTaskWorkerTargets.cmake",
                     *(name for name in named if name.startswith("AgentTaskWorkerTargets-"))}
    assert (installed / "include/agenttask/worker.hpp").is_file()
    # It can be moved: no path of the build is in it.
    for name in files_below(installed):
        if Path(name).suffix in (".cmake", ".pc"):
            assert str(BIN.parent) not in (installed / name).read_text(), name


def test_the_guides_worker_runs(disk):
    worker = WorkerProcess(disk)
    worker.execute(task_of("CHECK_DISK"), limit=0)
    id, arguments = worker.hear_call("createMessage")
    assert re.fullmatch(r"/ is \d+ % full", arguments["content"]["text"])
    worker.answer(id, {"id": "m"})
    assert 0 <= worker.hear()["result"]["usedPercent"] <= 100
    assert worker.end() == 0


def test_the_guides_worker_waits_and_fails_as_it_says(disk):
    WorkerProcess(disk).validate(task_of("CHECK_DISK", {"path": "/not/there"})).ends_with({"valid": False, "detail": "it is not mounted"})
    WorkerProcess(disk).validate(task_of("CHECK_DISK")).ends_with({"valid": True})
    WorkerProcess(disk).execute(task_of("CHECK_DISK", {"path": "/not/there"})).ends_with(
        {"error": {"code": "no-space-known", "message": "No such file or directory", "data": {"path": "/not/there"}}})


def test_pkg_config_finds_the_library(installed, tmp_path):
    where = next(installed.rglob("agenttask-worker.pc")).parent
    words = run("pkg-config", "--cflags", "--libs", "agenttask-worker", variables={"PKG_CONFIG_PATH": str(where)}).split()
    folders = {word[2:] for word in words if word.startswith(("-I", "-L"))}
    assert (installed / "include").resolve() in {Path(folder).resolve() for folder in folders}
    assert any((Path(folder) / "libagenttask-worker.a").is_file() for folder in folders)
    assert "-lagenttask-worker" in words


def test_the_guides_worker_in_python_runs(installed, tmp_path):
    program = tmp_path / "greet"
    program.write_text(example("python"))
    program.chmod(0o755)
    shutil.copy(next(installed.rglob("agenttask_worker.py")), tmp_path)
    worker = WorkerProcess(program).execute(task_of("GREET", {"name": "Ann"}))
    worker.expect_call("createMessage", {"id": "m"}, content={"text": "Hello, Ann!"})
    worker.ends_with({"result": {"greeted": "Ann"}})


def test_the_guides_first_worker_runs(tmp_path):
    """The one of the quick start, indented as it stands there."""
    text = re.search(r"^    greeter/greet +(#!/bin/sh\n(?: {20,}.*\n)+)", GUIDE, re.M).group(1)
    program = tmp_path / "greet"
    program.write_text("\n".join(line.strip() for line in text.splitlines()) + "\n")
    program.chmod(0o755)
    worker = WorkerProcess(program).execute(task_of("GREET", {"name": "Ann"}))
    assert worker.hear() == {"progress": {"text": "half way"}}
    worker.ends_with({"result": {"greeting": "hello"}})
    assert worker.printed == ["this line is output of the run"]
