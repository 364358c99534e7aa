"""agenttask-server as a program: settings, signals, one server a folder, sessions that outlive a restart."""
import os
import signal
import socket
import ssl
import subprocess

import pytest

from programs import BIN, DEADLINE, Program, environment, until


def run(*arguments, **variables):
    """The program to its end."""
    return subprocess.run([BIN / "agenttask-server", *map(str, arguments)], capture_output=True, text=True, timeout=DEADLINE,
                          env=environment(variables), stdin=subprocess.DEVNULL)


def log_has(server, words):
    until(lambda: words in server.program.text(), f"{words!r} in\n{server.program.text()}")


def test_init_never_overwrites(yard):
    server = yard.server()
    before = server.authority.read_bytes()
    again = server.command("init", check=False)
    assert again.returncode != 0 and "nothing is overwritten" in again.stderr
    assert server.authority.read_bytes() == before
    assert server.start().api().get("/v1/operators").status == 200


def test_run_without_init_says_what_to_do(tmp_path):
    done = run("run", "--state-dir", tmp_path / "none")
    assert done.returncode == 1 and "agenttask-server init" in done.stderr
    assert not (tmp_path / "none").exists()


def test_one_server_has_a_folder(yard):
    server = yard.server().start()
    second = server.command("run", "--listen", "127.0.0.1:0", check=False)
    assert second.returncode == 1 and str(server.program.pid) in second.stderr
    assert server.ready()


def test_a_taken_port_is_named(yard):
    server = yard.server()
    with socket.socket() as other:
        other.bind(("127.0.0.1", server.port))
        other.listen()
        done = server.command("run", "--listen", f"127.0.0.1:{server.port}", check=False)
    assert done.returncode == 1 and str(server.port) in done.stderr


def test_any_free_port_is_told_in_a_file(yard, tmp_path):
    server = yard.server()
    ready = tmp_path / "ready"
    program = Program([BIN / "agenttask-server", "run", "--state-dir", server.state, "--listen", "127.0.0.1:0", "--ready-file", ready],
                      tmp_path / "log")
    try:
        until(ready.exists, "the ready file")
        server.port = int(ready.read_text())
        assert server.api(token=None).get("/readyz").status == 200
        assert f"port={server.port}" in program.text()
    finally:
        assert program.stop() == 0


def test_hangup_reads_the_settings_again_and_keeps_them_when_the_new_are_bad(yard):
    server = yard.server()
    settings = server.state / "server.conf"
    good = settings.read_text()
    server.start()
    assert "answered" not in server.program.text()
    settings.write_text(good + "\nlog-level = debug\nmax-connections = 1\nreaders = 3\n")
    os.kill(server.program.pid, signal.SIGHUP)
    log_has(server, "read the settings again")
    log_has(server, "setting=readers")   # counts from the next start only, and says so
    until(lambda: server.ready() and "answered" in server.program.text(), "requests in the log")
    settings.write_text(good + "\nlog-level = debug\nmax-conections = 5\n")
    os.kill(server.program.pid, signal.SIGHUP)
    log_has(server, "max-conections")

    def connection():
        """The one that is served; those before it may not be counted out yet."""
        one = server.api().connect()
        one.sendall(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
        if b" 200 " in one.recv(4096):
            return one
        return one.close()

    with until(connection, "a connection is served"):   # the limit of one connection still holds
        turned_away = server.api(token=None).get("/readyz")
        assert turned_away.problem(503, "overloaded") and turned_away.headers["Retry-After"] == "10"
    assert server.program.alive()


@pytest.mark.parametrize("arguments, variables, words", [
    (["--log-level", "loud"], {}, "--log-level"),
    (["--port", "65536"], {}, "--port"),
    (["--idle-timeout", "5"], {}, "--idle-timeout"),
    (["--bogus", "1"], {}, "--bogus"),
    ([], {"AGENTTASK_SERVER_MAX_CONNECTIONS": "none"}, "AGENTTASK_SERVER_MAX_CONNECTIONS"),
    (["--config", "/nowhere/server.conf"], {}, "/nowhere/server.conf"),
    (["--certificate", "/x.pem"], {}, "private-key"),
])
def test_bad_settings_are_named_and_nothing_starts(yard, arguments, variables, words):
    server = yard.server()
    for verb in ("check-config", "run"):
        done = run(verb, "--state-dir", server.state, *arguments, **variables)
        assert done.returncode in (1, 2) and words in done.stderr, done


def test_check_config_shows_what_holds(yard):
    server = yard.server()
    with open(server.state / "server.conf", "a") as file:
        file.write('\nidle-timeout = "90s"   # quoted, as TOML would have it\n')
    done = run("check-config", "--state-dir", server.state, "--readers", "4", AGENTTASK_SERVER_TLS="1.2")
    assert done.returncode == 0, done
    for line in ("idle-timeout = 90s", "readers = 4", "tls = 1.2", "port = 8443"):
        assert line in done.stdout.splitlines(), done.stdout


def test_help_and_version():
    assert run("--version").stdout.startswith("agenttask-server ")
    for arguments in (["--help"], ["run", "--help"], ["token", "create", "--help"], ["init", "--help"]):
        done = run(*arguments)
        assert done.returncode == 0 and "--" in done.stdout
    assert run().returncode == 2


def test_tls_1_2_is_a_setting(yard):
    server = yard.server("--tls", "1.2").start()
    api = server.api()
    api.context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert api.get("/v1/nodes").status == 200


def test_sessions_are_resumed_after_a_restart(yard):
    server = yard.server().start()
    context = ssl.create_default_context(cafile=str(server.authority))

    def ask(session=None):
        raw = socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE)
        with context.wrap_socket(raw, server_hostname="127.0.0.1", session=session) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            while connection.recv(4096):
                pass
            reused, kept = connection.session_reused, connection.session
            connection.unwrap()
            return reused, kept

    reused, session = ask()
    assert not reused
    server.restart()
    assert ask(session)[0]
    assert oct((server.state / "ticket.keys").stat().st_mode & 0o777) == "0o600"


def test_a_stop_leaves_one_whole_database_file(yard):
    server = yard.server().start()
    assert server.stop() == 0
    assert not (server.state / "server.db-wal").exists()
