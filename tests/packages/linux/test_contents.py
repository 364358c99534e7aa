"""What is in the packages, seen from outside; needs no root and no machine."""
import gzip
import hashlib
import os
import re
import shutil
import subprocess

import pytest

from conftest import ROOT, newest

RELEASE = ROOT / "build/release"


def said(*words, **more):
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, check=True, **more).stdout


def needs(tool):
    if not shutil.which(tool):
        pytest.skip(f"{tool} is missing")


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """Both packages in one folder."""
    folder = tmp_path_factory.mktemp("unpacked")
    for name in ("agenttask-agent", "agenttask-server"):
        said("dpkg-deb", "-x", newest(f"{name}_*.deb"), folder)
    return folder


def test_programs_are_stripped_and_hardened(unpacked):
    needs("readelf")
    for program in ("agenttask", "agenttaskd", "agenttask-server"):
        headers = said("readelf", "-hldSW", unpacked / "usr/bin" / program)
        assert "Position-Independent Executable" in headers and "GNU_RELRO" in headers and "BIND_NOW" in headers, program
        assert ".debug_info" not in headers and ".symtab" not in headers, program
        assert str(ROOT) not in said("strings", "-n", "6", unpacked / "usr/bin" / program), f"{program} knows where it was built"


def test_programs_need_no_library_that_has_another_name_in_each_release_of_a_distribution():
    for name in ("agenttask-agent", "agenttask-server"):
        for package, words in ((f"{name}_*.deb", ("dpkg-deb", "-f")), (f"{name}-*.rpm", ("rpm", "-qp", "--requires"))):
            needs(words[0])
            wanted = said(*words, newest(package), *(["Depends"] if words[0] == "dpkg-deb" else []))
            assert "libsqlite3" in wanted and not re.search("fmt|spdlog|boost", wanted), wanted


def test_every_setting_is_in_the_manual_and_in_the_example(unpacked):
    for program, verbs, page, settings in (("agenttaskd", [], "man8/agenttaskd.8.gz", "agenttask-agent/agent.conf.example"),
                                           ("agenttask-server", ["run"], "man8/agenttask-server.8.gz", "agenttask-server/server.conf.example")):
        manual = gzip.decompress((unpacked / "usr/share/man" / page).read_bytes()).decode().replace("\\&", "").replace("\\-", "-")
        file = (unpacked / "usr/share/doc" / settings).read_text()
        options = re.findall(r"^  (?:-\w,)?--([\w-]+)", said(unpacked / "usr/bin" / program, *verbs, "--help"), re.M)
        assert len(options) > 15
        for option in options:
            assert f"--{option}" in manual or option == "help", f"{page} lacks --{option}"
            if option not in ("help", "version", "config", "state-dir", "ready-file"):
                assert re.search(rf"^#?{option} =", file, re.M), f"{settings} lacks {option}"


def test_every_verb_of_the_console_is_in_the_manual_and_completed(unpacked):
    manual = gzip.decompress((unpacked / "usr/share/man/man1/agenttask.1.gz").read_bytes()).decode().replace("\\&", "").replace("\\-", "-")
    program = unpacked / "usr/bin/agenttask"
    verbs = re.findall(r"^  ([a-z]+) ", said(program, "--help").split("Verbs:")[1].split("\n\n\n")[0], re.M)
    assert "fleet" in verbs and "doctor" in verbs
    completion = (unpacked / "usr/share/bash-completion/completions/agenttask").read_text()
    assert completion == said(program, "completion", "bash")
    for verb in verbs:
        assert re.search(rf"agenttask {verb}\b", manual), f"the manual lacks {verb}"
        assert f'"{verb}"' in completion


def test_the_shipped_settings_are_good(unpacked):
    shown = said(unpacked / "usr/bin/agenttaskd", "check-config", "--config", unpacked / "etc/agenttask/agent.conf", "--policy", unpacked / "none")
    assert "console-group = agenttask" in shown
    said(unpacked / "usr/bin/agenttask-server", "check-config", "--config", unpacked / "etc/agenttask/server.conf")


def test_the_server_is_shut_in_as_far_as_systemd_can(unpacked):
    needs("systemd-analyze")
    unit = unpacked / "usr/lib/systemd/system/agenttask-server.service"
    shown = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=12", unit], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stdout[-400:] + shown.stderr


def test_the_agents_unit_says_why_each_restriction_is_left_out(unpacked):
    needs("systemd-analyze")
    unit = unpacked / "usr/lib/systemd/system/agenttask.service"
    shown = said("systemd-analyze", "security", "--offline=true", "--no-pager", unit)
    text = unit.read_text()
    #: Consequences of being root, or named by another word in the unit.
    others = {"User", "DynamicUser", "RootDirectory", "PrivateMounts", "UMask", "DeviceAllow", "NotifyAccess", "AmbientCapabilities", "Delegate",
              "SupplementaryGroups", "RemoveIPC", "KeyringMode"}
    for name in set(re.findall(r"^✗ (\w+)", shown, re.M)) - others:
        assert name in text, f"nothing is said of {name}"


def test_no_document_has_a_gap(unpacked):
    documents = [path for path in (unpacked / "usr/share/doc").rglob("*.md")]
    assert documents
    for path in documents:
        assert not re.findall(r"(?<![\w.])@\w+@", path.read_text()), path


def test_the_licences_of_what_is_compiled_in_are_there(unpacked):
    for name in ("agenttask-agent", "agenttask-server"):
        text = (unpacked / "usr/share/doc" / name / "copyright").read_text()
        for licence in ("License: Expat\n", "License: BSD-3-clause\n", "License: BSD-2-clause\n"):
            assert licence in text, (name, licence)


def test_lintian_has_nothing_to_say():
    needs("lintian")
    debs = [newest(f"{name}_*.deb") for name in ("agenttask-agent", "agenttask-server", "agenttask-worker-dev")]
    shown = subprocess.run(["lintian", "--allow-root", "--fail-on", "error,warning", *debs], capture_output=True, text=True)
    assert shown.returncode == 0 and not shown.stdout, shown.stdout


def test_the_same_commit_makes_the_same_packages(tmp_path):
    needs("cpack")
    if not (RELEASE / "CPackConfig.cmake").is_file():
        pytest.skip("there is no release build folder: ./dev package")
    epoch = said("git", "-C", ROOT, "log", "-1", "--format=%ct").strip()
    digests = []
    for number in (1, 2):
        folder = tmp_path / str(number)
        subprocess.run(["cpack", "-G", "DEB", "--config", RELEASE / "CPackConfig.cmake", "-B", folder], check=True, capture_output=True,
                       env={**os.environ, "SOURCE_DATE_EPOCH": epoch})
        digests.append({path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.deb")})
    assert digests[0] and digests[0] == digests[1]


def test_rpms_have_the_same_files_and_keep_edited_settings():
    needs("rpm")
    for rpm, deb, settings in (("agenttask-agent-*.rpm", "agenttask-agent_*.deb", ["/etc/agenttask/agent.conf", "/etc/default/agenttask"]),
                               ("agenttask-server-*.rpm", "agenttask-server_*.deb", ["/etc/agenttask/server.conf", "/etc/default/agenttask-server"])):
        package = newest(rpm)
        in_deb = {line.split()[5].lstrip(".") for line in said("dpkg-deb", "-c", newest(deb)).splitlines() if not line.startswith("d")}
        in_rpm = {line.split(" ", 1)[1] for line in said("rpm", "-qp", "--qf", "[%{FILEMODES:perms} %{FILENAMES}\n]", package).splitlines()
                  if not line.startswith("d")}
        assert in_rpm == in_deb
        assert said("rpm", "-qpc", package).split() == settings
        scripts = said("rpm", "-qp", "--scripts", package)
        assert "systemd-sysusers" in scripts and "preset" in scripts and "try-restart" in scripts and "disable --now" in scripts
        assert said("rpm", "-qp", "--qf", "%{LICENSE} %{PREFIXES}", package) == "Apache-2.0 (none)"
