"""The benchmarks run, small and without the references that have to be installed, and say what they found."""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import NAMES, write
from benchmarks.client import Client
from benchmarks.harness import serve
from benchmarks.results import GOALS, Curve, Result
from benchmarks.workers import APP, tell_workers


@pytest.mark.parametrize("name", NAMES)
def test_it_finds_a_figure_for_each_of_its_targets(name: str) -> None:
    module: Any = importlib.import_module(f"benchmarks.{name}")
    parser = argparse.ArgumentParser()
    module.add_options(parser)
    without = ["--no-dash"] if "--no-dash" in parser.format_usage() else []
    found: list[Result] = module.measure(parser.parse_args([*module.SMALL, *without]))
    assert found
    for result in found:
        assert result.goal in ("", *GOALS)
        assert not result.goal or result.target, result
        assert math.isfinite(result.value), result
        assert result.met is not None or not result.target or result.reference is None, result


def test_nothing_is_left_of_a_server_that_had_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    # `tmp_path` may be too long for the addresses of sockets.
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setenv("TMPDIR", folder)
        with serve("flash-2-workers", APP) as server, Client(server.port) as client:
            tell_workers(client, "/pid", 2)
            processes = server.processes()
            assert len(processes) > 2
            assert os.listdir(folder)
        assert not [process for process in processes if Path(f"/proc/{process}").exists()]
        assert not os.listdir(folder)


def test_a_target_is_for_the_figure_or_for_its_ratio_to_the_reference() -> None:
    result = Result(name="n", subject="s", metric="m", unit="us", value=6, reference="r", reference_value=4, at_most=5)
    assert result.ratio == 1.5
    assert result.met is False
    assert replace(result, of_ratio=True, at_most=1.5).met is True
    assert replace(result, at_most=None, at_least=6).met is True
    assert replace(result, reference_value=None, of_ratio=True).met is None


def test_what_was_found_is_written_with_pictures(tmp_path: Path) -> None:
    curve = Curve("many pages: CPU per update", "streams", "us")
    for size in (100, 1_000):
        curve.add("Flash", size, 50)
    aimed = Result(name="one stream", subject="Flash", metric="rate", unit="/s", value=9, at_least=10, goal="flat out")
    write([aimed, *curve.results("many pages")], tmp_path, {"one_stream": 60.0, "many_pages": 30.0})
    (first, *_) = json.loads((tmp_path / "results.json").read_text())["results"]
    assert (first["value"], first["met"]) == (9, False)
    text = (tmp_path / "README.md").read_text()
    assert "It took 1.5 minutes: one_stream 60 s, many_pages 30 s." in text
    goals = text.partition("## Goals")[2].partition("## one stream")[0]
    assert "| flat out | Flash | rate | 9 /s |  |  |  | ≥ 10 /s | MISSED |" in goals
    assert goals.count("not measured") == len(GOALS) - 1
    pictures = sorted(path.name for path in tmp_path.glob("*.png"))
    assert pictures == ["many_pages_cpu_per_update.png", "targets.png"]
    assert all(f"({name})" in text for name in pictures)
