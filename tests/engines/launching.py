"""Starts a browser of each engine, as Debian has it: Chromium, Firefox ESR, and the MiniBrowser of WebKitGTK."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Generator
from pathlib import Path

from tests.engines.bidi import BiDi
from tests.engines.tabs import Browser, Driver
from tests.engines.webdriver import WebDriver
from tests.support.chromium import FLAGS, PATH as CHROMIUM
from tests.support.connections import accepts_connections, free_port
from tests.support.processes import running

CHROMEDRIVER = os.environ.get("CHROMEDRIVER", "/usr/bin/chromedriver")
FIREFOX = os.environ.get("FIREFOX", "/usr/bin/firefox-esr")
WEBKIT_DRIVER = os.environ.get("WEBKIT_DRIVER", "/usr/bin/WebKitWebDriver")
XVFB = os.environ.get("XVFB", "/usr/bin/Xvfb")


@contextlib.contextmanager
def chromium() -> Generator[Browser]:
    options = {"binary": CHROMIUM, "args": ["--headless", "--window-size=1280,900", *FLAGS]}
    with (
        listening(CHROMEDRIVER, "--port={port}") as port,
        driving("chromium", WebDriver(port, {"goog:chromeOptions": options})) as browser,
    ):
        yield browser


@contextlib.contextmanager
def firefox() -> Generator[Browser]:
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
        listening(FIREFOX, "--headless", "--no-remote", "--profile", profile, "--remote-debugging-port={port}") as port,
        driving("firefox", BiDi(port)) as browser,
    ):
        yield browser


@contextlib.contextmanager
def webkit() -> Generator[Browser]:
    """On a screen that nobody sees, since MiniBrowser has no mode without one."""
    with (
        screen() as display,
        listening(WEBKIT_DRIVER, "--port={port}", DISPLAY=display) as port,
        driving("webkit", WebDriver(port, {})) as browser,
    ):
        yield browser


ENGINES = (chromium, firefox, webkit)


@contextlib.contextmanager
def driving(engine: str, driver: Driver) -> Generator[Browser]:
    """Have the browser close after the block."""
    try:
        yield Browser(engine, driver)
    finally:
        driver.quit()


@contextlib.contextmanager
def listening(*command: str, **environment: str) -> Generator[int]:
    """Run a program that listens on a free port, which is filled in for `{port}`; yields the port."""
    port = free_port()
    filled = [part.replace("{port}", str(port)) for part in command]
    with tempfile.TemporaryDirectory() as folder, running(filled, Path(folder), environment) as process:
        process.wait_for(lambda: accepts_connections(port), f"{command[0]} listens")
        yield port


@contextlib.contextmanager
def screen() -> Generator[str]:
    """Run an X server that draws into memory; yields the name of its screen, which it chooses and writes."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running([XVFB, "-displayfd", "1", "-nolisten", "tcp"], Path(folder)) as process,
    ):
        process.wait_for(lambda: re.search(r"^\d+\n", process.output, re.MULTILINE), "it has a screen")
        [number] = re.findall(r"^(\d+)\n", process.output, re.MULTILINE)
        yield f":{number}"
