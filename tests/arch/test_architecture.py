"""Holds the tree to docs/architecture.md: floors, third-party headers, names, sizes, limits.

Pure text, no compiler: runs in well under a second. A rule that has to give way is changed here and in the document, in one commit.
"""
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# ---- what there is

PRODUCT = ("platform", "agent", "server")
#: What others build upon, and what shows how: apart from the product, which knows neither.
FOR_OTHERS = ("worker", "examples")


def tracked(*suffixes):
    """Files that git knows or would add: build folders and editors' droppings stay out."""
    listing = subprocess.run(["git", "-c", f"safe.directory={ROOT}", "ls-files", "-co", "--exclude-standard"], cwd=ROOT,
                             capture_output=True, text=True, check=True)
    paths = [Path(line) for line in listing.stdout.splitlines()]
    return sorted({p for p in paths if (not suffixes or p.suffix in suffixes) and (ROOT / p).is_file()})


def lines_of(path):
    return (ROOT / path).read_text(encoding="utf-8").splitlines()


SOURCES = tracked(".hpp", ".cpp")
PRODUCT_SOURCES = [p for p in SOURCES if p.parts[0] in PRODUCT]
SOURCES_FOR_OTHERS = [p for p in SOURCES if p.parts[0] in FOR_OTHERS]
INCLUDE = re.compile(r'\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)')


def includes(path):
    """(line number, text, whether it is one of ours) for each #include."""
    for number, line in enumerate(lines_of(path), 1):
        found = INCLUDE.match(line)
        if found:
            yield number, found.group(1) or found.group(2), found.group(1) is not None


def all_includes(paths):
    return [(path, number, name, ours) for path in paths for number, name, ours in includes(path)]


def report(problems):
    assert not problems, "\n" + "\n".join(problems)


# ---- floors

def room(path):
    """The part that a file belongs to: platform/base, agent/sync, server/http."""
    return "/".join(Path(path).parts[:2])


def floor(path):
    part = room(path)
    if part == "platform/base":
        return 1
    if part.startswith("platform/"):
        return 2
    return 4 if part in ("agent/main", "agent/console", "server/main") else 3


def include_is_allowed(path, target):
    here, there = room(path), room(target)
    if here == there:
        return True
    if floor(target) > floor(path):
        return False
    if here.split("/")[0] != there.split("/")[0] and there.split("/")[0] != "platform":
        return False                                     # agent and server never include each other
    if floor(path) == floor(target):
        return floor(path) == 3                          # neighbours only inside agent/ and inside server/
    return True


def test_includes_go_downward_only():
    report([f"{path}:{number}: {room(path)} (floor {floor(path)}) must not include {name}"
            for path, number, name, ours in all_includes(PRODUCT_SOURCES)
            if ours and Path(name).parts[0] in PRODUCT and not include_is_allowed(path, name)])


def test_rooms_of_one_floor_form_no_circle():
    edges = {}
    for path, _, name, ours in all_includes(PRODUCT_SOURCES):
        if ours and room(name) != room(path):
            edges.setdefault(room(path), set()).add(room(name))
    done, trail = set(), []

    def visit(part):
        if part in trail:
            pytest.fail("parts include each other in a circle: " + " -> ".join(trail[trail.index(part):] + [part]))
        if part not in done:
            trail.append(part)
            for other in sorted(edges.get(part, ())):
                visit(other)
            trail.pop()
            done.add(part)

    for part in sorted(edges):
        visit(part)


def test_our_includes_are_spelt_from_the_root_of_the_repository():
    report([f"{path}:{number}: there is no {name} below the root" for path, number, name, ours in all_includes(SOURCES)
            if ours and not (ROOT / name).is_file()])


def test_the_worker_library_stands_alone():
    """Whoever builds a worker needs the standard library, nlohmann/json, and one header of ours; the product needs none of it."""
    def is_allowed(path, name, ours):
        if path.parts[0] == "worker" and ours:
            return name.startswith("worker/")
        if name == "agenttask/worker.hpp" or re.fullmatch(r"[a-z_]+", name) and name != "csignal":
            return not ours
        return path.parts[0] == "worker" and (name == "nlohmann/json.hpp" or under(path, ("worker/posix", "worker/windows")))
    report([f"{path}:{number}: {name}" for path, number, name, ours in all_includes(SOURCES_FOR_OTHERS) if not is_allowed(path, name, ours)])
    report([f"{path}:{number}: {name}" for path, number, name, _ in all_includes(PRODUCT_SOURCES)
            if name.startswith(("worker/", "examples/", "agenttask/"))])


# ---- third parties and the operating system

# Where a library may be named: in these folders, in .cpp files; and in headers of the second list, which then are that folder's own.
LIBRARIES = {
    "beast": (r"boost/beast(/|\.hpp)", ("server/http",), ("server/http",)),
    "asio": (r"boost/asio(/|\.hpp)", ("server/http",), ("server/http",)),
    "OpenSSL": (r"openssl/", ("platform/base", "platform/net", "server/http"), ("platform/net", "server/http")),
    "curl": (r"curl/", ("platform/net",), ()),
    "SQLite": (r"sqlite3", ("platform/storage",), ()),
    "CLI11": (r"CLI/", ("platform/settings", "agent/main", "agent/console", "server/main"), ()),
    "valijson": (r"valijson/", ("agent/workers",), ()),
    "GoogleTest": (r"(gtest|gmock)/", (), ()),
}
# What our headers may name: values that are part of our own interfaces.
IN_HEADERS = (r"boost/system/result\.hpp", r"boost/assert/source_location\.hpp", r"nlohmann/json_fwd\.hpp")
THIRD_PARTY = r"(boost|nlohmann|openssl|curl|CLI|valijson|spdlog|fmt|gtest|gmock|sqlite3)(/|\.h)"


def under(path, folders):
    return any(str(path).startswith(folder + "/") for folder in folders)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_stays_where_it_belongs(library):
    pattern, folders, in_headers = LIBRARIES[library]
    problems = []
    for path, number, name, ours in all_includes(PRODUCT_SOURCES):
        if ours or not re.match(pattern, name):
            continue
        allowed = in_headers if path.suffix == ".hpp" else folders
        if not under(path, allowed):
            problems.append(f"{path}:{number}: <{name}> belongs into " + (", ".join(folders) or "tests") +
                            (" and there into .cpp files" if path.suffix == ".hpp" else ""))
    report(problems)


def test_third_party_headers_stay_out_of_ours():
    owned = [(re.compile(pattern), in_headers) for pattern, _, in_headers in LIBRARIES.values()]
    report([f"{path}:{number}: <{name}> in a header of ours"
            for path, number, name, ours in all_includes(p for p in PRODUCT_SOURCES if p.suffix == ".hpp")
            if not ours and re.match(THIRD_PARTY, name) and not any(re.match(p, name) for p in IN_HEADERS)
            and not any(pattern.match(name) and under(path, folders) for pattern, folders in owned)])


def test_a_header_that_names_a_library_is_its_folders_own():
    """Whoever includes it would depend on the library as well."""
    owned = {str(path) for path, _, name, ours in all_includes(p for p in PRODUCT_SOURCES if p.suffix == ".hpp")
             if not ours and re.match(THIRD_PARTY, name) and not any(re.match(p, name) for p in IN_HEADERS)}
    report([f"{path}:{number}: {name} is for {room(name)} alone" for path, number, name, ours in all_includes(SOURCES)
            if ours and name in owned and room(path) != room(name) and path.parts[0] != "tests"])


def test_only_one_file_knows_curl():
    assert len({path for path, _, name, ours in all_includes(PRODUCT_SOURCES) if not ours and name.startswith("curl/")}) <= 1


def test_headers_of_the_system_stay_in_platform_os():
    """Also <csignal>: signals are the system's, whatever the header is called."""
    def is_system(name):
        return (name.endswith(".h") and not re.match(THIRD_PARTY, name)) or name == "csignal"
    report([f"{path}:{number}: <{name}> belongs into platform/os" for path, number, name, ours in all_includes(PRODUCT_SOURCES)
            if not ours and is_system(name) and not under(path, ("platform/os",))])


def test_headers_of_platform_os_name_no_system():
    """The seam has one header for all systems; what differs is in posix/, linux/, windows/, macos/."""
    inside = re.compile(r"platform/os/(posix|linux|windows|macos)/")
    report([f"{path}:{number}: <{name}> in a header that all systems share"
            for path, number, name, ours in all_includes(p for p in PRODUCT_SOURCES if p.suffix == ".hpp")
            if not ours and name.endswith(".h") and not re.match(THIRD_PARTY, name) and not inside.match(str(path))])
    report([f"{path}:{number}: {name} is the body of one system" for path, number, name, ours in all_includes(PRODUCT_SOURCES)
            if ours and inside.match(name) and not inside.match(str(path))])


SYSTEM_MACRO = re.compile(r"\s*#\s*(?:if|ifdef|ifndef|elif|elifdef)\b.*\b"
                          r"(_WIN32|_WIN64|WIN32|__linux__|__linux|__unix__|__APPLE__|__MACH__|_MSC_VER|__FreeBSD__|__MINGW32__|BOOST_OS_\w+)\b")


def test_no_switch_between_systems_outside_platform_os():
    report([f"{path}:{number}: {line.strip()}" for path in PRODUCT_SOURCES if not under(path, ("platform/os",))
            for number, line in enumerate(lines_of(path), 1) if SYSTEM_MACRO.match(line)])


def test_no_switch_between_systems_in_headers():
    report([f"{path}:{number}: {line.strip()}" for path in PRODUCT_SOURCES if path.suffix == ".hpp"
            for number, line in enumerate(lines_of(path), 1) if SYSTEM_MACRO.match(line)])


# ---- files

def test_headers_are_guarded_by_pragma_once():
    report([f"{path}: #pragma once is not its first directive" for path in SOURCES if path.suffix == ".hpp"
            and next((line.split() for line in lines_of(path) if line.startswith("#")), None) != ["#pragma", "once"]])


def test_names_say_what_is_in_a_file():
    empty = re.compile(r"(^|_)(utils?|utility|utilities|managers?|helpers?|common|misc|stuff)(_|$)", re.IGNORECASE)
    report([f"{path}: says nothing about what is in it" for path in tracked()
            if empty.search(path.stem) or any(empty.search(part) for part in path.parts[:-1])])


# A file above the limit, and why it is better whole.
LONG_FILES = {}
LONGEST = 600


def test_files_are_short_enough_to_read():
    lengths = {str(path): len(lines_of(path)) for path in tracked(".hpp", ".cpp", ".py", ".sh", ".cmake")}
    report([f"{path}: {length} lines; the limit is {LONGEST}" for path, length in lengths.items()
            if length > LONGEST and path not in LONG_FILES])
    report([f"{path}: listed as long, but it is not (any more)" for path in LONG_FILES if lengths.get(path, 0) <= LONGEST])


def test_programs_hold_no_tests():
    """What is shipped neither includes nor compiles anything of tests/."""
    report([f"{path}:{number}: includes {name}" for path, number, name, ours in all_includes(PRODUCT_SOURCES + SOURCES_FOR_OTHERS)
            if ours and name.startswith("tests/")])
    report([f"{path}:{number}: {line.strip()}" for path in tracked(".txt") if path.parts[0] in PRODUCT + FOR_OTHERS
            for number, line in enumerate(lines_of(path), 1) if re.search(r"\btests/|GTest::|gmock|gtest", line)])
    report([f"{path}: a test among the product's sources" for path in PRODUCT_SOURCES
            if re.search(r"(^|_)(test|tests|mock|fake|stub)(_|$)", path.stem)])


def test_each_source_is_built():
    """A .cpp that no CMakeLists.txt names is dead. The bodies of other systems are named, in their own branch."""
    problems = []
    for path in PRODUCT_SOURCES + SOURCES_FOR_OTHERS:
        if path.suffix != ".cpp":
            continue
        lists = [folder / "CMakeLists.txt" for folder in path.parents if (ROOT / folder / "CMakeLists.txt").is_file()]
        def names(one):
            relative = path.relative_to(one.parent)
            spellings = [str(relative)]
            if relative.parts[0] in ("posix", "linux", "windows", "macos"):
                spellings += ["${system}/" + relative.name, "${system}/*.cpp"]
            return any(re.search(r"(?<![\w/.])" + re.escape(name) + r"(?![\w.])", (ROOT / one).read_text()) for name in spellings)

        named = any(names(one) for one in lists)
        if not named:
            problems.append(f"{path}: no CMakeLists.txt names it")
    report(problems)


# ---- limits

def limits():
    """name -> value, from platform/protocol/limits.hpp, whose expressions are plain enough to compute here."""
    values = {}
    for name, expression in re.findall(r"^constexpr\s+[\w:]+\s+(k\w+)\s*=\s*([^;]+);", (ROOT / "platform/protocol/limits.hpp").read_text(), re.M):
        plain = re.sub(r"(\d)'(?=\d)", r"\1", re.sub(r"(\d)(?:LL|L|U|ULL)\b", r"\1", expression))
        values[name] = eval(plain, {"__builtins__": {}}, dict(values))   # noqa: S307 - our own header
    return values


def test_each_limit_is_documented_with_its_value():
    """docs/protocol.md has one row for each constant: | `kName` | value | what |."""
    rows = dict(re.findall(r"^\|\s*`(k\w+)`\s*\|\s*([\d ]+?)\s*\|", (ROOT / "docs/protocol.md").read_text(), re.M))
    documented = {name: int(value.replace(" ", "")) for name, value in rows.items()}
    bounds = {name: value for name, value in limits().items() if name != "kDay"}    # a unit, no limit
    assert bounds == documented
