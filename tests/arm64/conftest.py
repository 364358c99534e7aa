"""The fixtures of tests/system, for an agent that runs under qemu-user."""
import importlib.util
import sys
from pathlib import Path

SYSTEM = Path(__file__).resolve().parents[1] / "system"
sys.path.insert(0, str(SYSTEM))

spec = importlib.util.spec_from_file_location("system_conftest", SYSTEM / "conftest.py")
system = importlib.util.module_from_spec(spec)
spec.loader.exec_module(system)

pytest_configure = system.pytest_configure
pytest_sessionfinish = system.pytest_sessionfinish
nothing_left_running = system.nothing_left_running
site, yard = system.site, system.yard
