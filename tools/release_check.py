"""Check that a release could be published: build it, and run it where nothing else is installed.

python -m tools.release_check python3.11 python3.13

What is built stays in dist/. Each of the two files is installed into an empty environment of each Python, where the
README's app is served, and clicked in Chromium; then `flash.testing` runs it, without either.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator
from pathlib import Path

from playwright.sync_api import Browser, expect

import flash
from tests.support.chromium import launched
from tests.support.doc_examples import ROOT, blocks_of

DIST = ROOT / "dist"
TIMEOUT = 60
"""Seconds that a server may take to start, and to stop."""

KIT = """
from app import app
from flash.testing import open_page

with open_page(app) as page:
    page.click("go")
    page.elapse(1.05)
    assert page["out"].children == "10", page["out"].children
    page.click("stop")
    assert page["out"].children == "", page["out"].children
"""
"""Runs the README's app in the testing kit, in virtual time."""


def build() -> list[Path]:
    """Build the sdist, and the wheel from it; check what they say of themselves."""
    shutil.rmtree(DIST, ignore_errors=True)
    _run(sys.executable, "-m", "build", "--outdir", DIST)
    built = sorted(DIST.iterdir())
    assert len(built) == 2, built
    assert all(flash.__version__ in path.name for path in built), (flash.__version__, built)
    _run(sys.executable, "-m", "twine", "check", "--strict", *built)
    return built


def find_python(name: str) -> str:
    """A Python that starts. A name on the path may be a shim of pyenv's that starts nothing."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    version = name.removeprefix("python")
    for python in (name, *sorted(map(str, versions.glob(f"{version}*/bin/python")))):
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            subprocess.run([python, "-c", ""], check=True, capture_output=True)
            return python
    raise SystemExit(f"There is no {name} that starts. PYTHONS=... says which Pythons there are.")


def check(built: Path, python: str, browser: Browser) -> None:
    """Install what was built into an empty environment, and run the README's app there."""
    with tempfile.TemporaryDirectory() as folder:
        environment, work = Path(folder, "environment"), Path(folder, "work")
        work.mkdir()
        _run(python, "-m", "venv", environment)
        inside = environment / "bin" / "python"
        _run(inside, "-m", "pip", "install", "--quiet", built)
        _run(inside, "-m", "pip", "check")
        (work / "app.py").write_text(blocks_of(ROOT / "README.md")[0])
        installed = "import flash, pathlib; print(pathlib.Path(flash.__file__).parents[1], flash.__version__)"
        said = subprocess.check_output([inside, "-P", "-c", installed], cwd=work, text=True, env=_environment())
        assert Path(said.split()[0]).is_relative_to(environment), said
        assert said.split()[1] == flash.__version__, said
        with _served(environment / "bin" / "flash", work) as address:
            _click(browser, address)
        (work / "kit.py").write_text(KIT)
        _run(inside, "kit.py", cwd=work)


def _click(browser: Browser, address: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(address)
    page.click("#go")
    expect(page.locator("#out")).to_have_text(re.compile(r"\d+"))
    page.click("#stop")
    expect(page.locator("#out")).to_have_text("")
    context.close()


@contextlib.contextmanager
def _served(command: Path, work: Path) -> Generator[str]:
    """The address of the app in app.py, served by `flash run`, which is to stop in order when the block is left."""
    process = subprocess.Popen(
        [command, "run", "app:app", "--port", "0"], cwd=work, env=_environment(), stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    timer = threading.Timer(TIMEOUT, process.kill)
    timer.start()
    lines: list[str] = []
    for line in process.stderr:
        lines.append(line)
        if "Running on" in line:
            break
    timer.cancel()
    found = re.search(r"Running on (\S+)", "".join(lines))
    assert found is not None, "".join(lines)
    # The rest is read, too, or the server would wait when the pipe is full.
    rest = threading.Thread(target=lines.extend, args=(process.stderr,))
    rest.start()
    try:
        yield found[1]
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(TIMEOUT)
        rest.join()
    assert status == 0, (status, "".join(lines))


def _environment() -> dict[str, str]:
    """The environment of a process that is not to find the checkout."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def _run(*command: str | Path, cwd: Path = ROOT) -> None:
    subprocess.run(command, check=True, cwd=cwd, env=_environment())


def main() -> None:
    parser = argparse.ArgumentParser(description="Check that a release could be published.")
    parser.add_argument("--tag", help="the tag of the release, which is to be v and the version")
    parser.add_argument("pythons", nargs="+", help="the Pythons to install it on, such as python3.13")
    options = parser.parse_args()
    if options.tag not in (None, f"v{flash.__version__}"):
        raise SystemExit(f"The tag is {options.tag}, and flash.__version__ is {flash.__version__}.")
    pythons = [find_python(name) for name in options.pythons]
    with launched() as browser:
        for built in build():
            for python in pythons:
                print(f"{built.name} on {python}")
                check(built, python, browser)
    print(f"{flash.__version__} could be published: dist/ has it.")


if __name__ == "__main__":
    main()
