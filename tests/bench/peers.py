"""The peers that Debian packages, unpacked into a folder of the cache and run from there: nothing is installed, and no service of the system starts."""
import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

PACKAGES = ("nginx", "beanstalkd", "icinga2-bin", "icinga2-common", "libboost-context1.74.0", "libboost-coroutine1.74.0", "libboost-filesystem1.74.0",
            "libboost-iostreams1.74.0", "libboost-program-options1.74.0", "libboost-regex1.74.0", "libboost-thread1.74.0", "libicu72", "libedit2", "libbsd0",
            "libmd0")
#: Another way of unpacking them counts this up.
LAYOUT = 1

NGINX = """
daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 19900; }}
http {{
  access_log off; keepalive_timeout 1h; keepalive_requests 1000000; client_header_timeout 1h;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3; uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  server {{
    listen 127.0.0.1:{port} ssl backlog=4096; ssl_protocols TLSv1.3; ssl_certificate {server}; ssl_certificate_key {server};
    ssl_client_certificate {authority}; ssl_verify_client on;
    location / {{ return 204; }}
  }}
}}
"""


class Peers:
    def __init__(self, enabled=True):
        self.enabled = enabled
        self.folder = Path(os.environ.get("AGENTTASK_BENCH_PEERS") or Path.home() / ".cache/agenttask/bench-peers")
        self.ready = False

    @property
    def root(self):
        """Where they are unpacked; fetched when first asked for."""
        if not self.ready:
            fetch(self.folder)
            self.ready = True
        return self.folder / "root"

    def words(self, program, *more):
        """How one of them is started."""
        libraries = [str(path) for path in (self.root / "usr/lib").glob("*-linux-gnu*")]
        return ["env", f"LD_LIBRARY_PATH={':'.join(libraries)}", self.root / program, *more]

    def nginx(self, stage, server):
        """One nginx process with the certificate of `server` that asks for client certificates and answers 204; it and its port."""
        from programs import free_port
        port, folder = free_port(), stage.place("nginx")
        folder.mkdir()
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port, server=server.authority.parent / "server.pem", authority=server.authority))
        words = self.words("usr/sbin/nginx", "-p", folder, "-c", folder / "nginx.conf", "-e", folder / "error.log")
        return stage.listening(words, port, "nginx-run"), port

    def beanstalkd(self, stage):
        """beanstalkd with a log on disk that is synced at every put; it and its port."""
        from programs import free_port
        port, folder = free_port(), stage.place("beanstalkd")
        folder.mkdir()
        words = self.words("usr/bin/beanstalkd", "-l", "127.0.0.1", "-p", str(port), "-b", folder, "-f0")
        return stage.listening(words, port, "beanstalkd-run"), port


def fetch(folder):
    """Debian's packages into `folder`/root, once; apt verifies them. Quick when they are there."""
    wanted = f"{LAYOUT} {' '.join(PACKAGES)}"
    complete = folder / "complete"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if complete.exists() and complete.read_text() == wanted:
            return
        print(f"bench: unpacking peers into {folder}", file=sys.stderr, flush=True)
        for name in ("root", "packages", "apt"):
            shutil.rmtree(folder / name, ignore_errors=True)
        download(folder)
        (folder / "root").mkdir()
        for package in sorted((folder / "packages").glob("*.deb")):
            subprocess.run(["dpkg-deb", "-x", package, folder / "root"], check=True)
        shutil.rmtree(folder / "packages")
        shutil.rmtree(folder / "apt", ignore_errors=True)
        complete.write_text(wanted)


def download(folder):
    packages = folder / "packages"
    packages.mkdir()
    own = folder / "apt"
    state = ["-o", f"Dir::State::lists={own}/lists", "-o", f"Dir::Cache={own}", "-o", "Acquire::Languages=none"]
    plain = ["-q", "-o", "APT::Sandbox::User="]
    if apt(packages, *plain, "download", *PACKAGES).returncode == 0:
        return
    # The machine's lists of packages are not there, or old: with lists of our own.
    for name in ("lists/partial", "archives/partial"):
        (own / name).mkdir(parents=True)
    for verb in (["update"], ["download", *PACKAGES]):
        done = apt(packages, *plain, *state, *verb)
        assert done.returncode == 0, f"apt could not fetch the peers; --no-peers does without: {done.stderr[-1500:]}"


def apt(folder, *words):
    return subprocess.run(["apt-get", *words], cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)
