"""The tests that docs/testing.md has for examples pass."""

from __future__ import annotations

import inspect
import re
import types
from pathlib import Path

import trio
import trio.testing

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_tests_in_the_documentation_pass() -> None:
    module = types.ModuleType("example")
    exec(compile("\n".join(BLOCK.findall(PAGE.read_text())), PAGE.name, "exec"), module.__dict__)
    tests = [test for name, test in vars(module).items() if name.startswith("test_")]
    assert len(tests) >= 4
    for test in tests:
        if inspect.iscoroutinefunction(test):
            clock = trio.testing.MockClock()
            trio.run(test, clock, clock=clock)
        else:
            test()
