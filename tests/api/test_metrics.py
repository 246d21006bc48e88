"""The metrics: all that happens to streams is measured, and `docs/deployment.md` lists what is measured."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

import flash
from flash.server.metrics import Metrics, join
from flash.server.telemetry import Telemetry
from flash.streams.observer import ObservedStream, Observer, Observers, observer_of

PACKAGE = Path(flash.__file__).parent
DOCUMENT = PACKAGE.parent / "docs" / "deployment.md"
DASHBOARD = PACKAGE.parent / "examples" / "grafana" / "dashboard.json"
CALLS = [name for name in vars(Observer) if not name.startswith("_")]


@pytest.mark.parametrize("call", CALLS)
def test_each_call_of_an_observer_is_made_and_passed_on_to_all_and_taken_by_the_traces(call: str) -> None:
    assert any(f"observer.{call}(self" in path.read_text() for path in PACKAGE.rglob("*.py"))
    assert call in vars(Observers)
    assert call in vars(Telemetry)


def test_several_observers_are_each_told_and_one_alone_is_called_itself() -> None:
    class Noting(Observer):
        def __init__(self) -> None:
            self.told: list[float] = []

        def waited(self, stream: ObservedStream, seconds: float) -> None:
            self.told.append(seconds)

    stream: Any = object()
    one, other = Noting(), Noting()
    observer_of(one, None, other).waited(stream, 1.5)
    assert (one.told, other.told) == ([1.5], [1.5])
    assert observer_of(None, one) is one
    observer_of(None, None).waited(stream, 1.5)


def test_the_document_has_every_metric_and_no_other() -> None:
    own = Metrics(list, lambda: 0, list, dict).expose().decode()
    exposed = own + join({"1": None}).decode()
    names = [family.name + "_total" * (family.type == "counter") for family in text_string_to_metric_families(exposed)]
    listed = [name for name in names if not name.endswith("_created")]
    assert sorted(re.findall(r"^\| `(flash_\w+)` \|", DOCUMENT.read_text(), re.MULTILINE)) == sorted(listed)


def test_the_dashboard_shows_every_metric_and_asks_for_no_other() -> None:
    own = Metrics(list, lambda: 0, list, dict).expose().decode() + join({"1": None}).decode()
    samples = {"gauge": [""], "counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
    families = {family.name: samples[family.type] for family in text_string_to_metric_families(own)}
    families = {name: ends for name, ends in families.items() if not name.endswith("_created")}
    dashboard = json.loads(DASHBOARD.read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    expressions += [each["query"]["query"] for each in dashboard["templating"]["list"] if each["type"] == "query"]
    asked = set(re.findall(r"\bflash_\w+", " ".join(expressions)))
    assert asked <= {name + end for name, ends in families.items() for end in ends}
    assert [name for name, ends in families.items() if not asked & {name + end for end in ends}] == []


def test_the_samples_of_several_workers_have_the_label_worker_and_one_says_who_has_answered() -> None:
    own = Metrics(list, lambda: 0, list, dict).expose().decode()
    joined = join({"1": own, "2": None}).decode()
    samples = [sample for family in text_string_to_metric_families(joined) for sample in family.samples]
    answered = {sample.labels["worker"]: sample.value for sample in samples if sample.name == "flash_worker_up"}
    assert answered == {"1": 1, "2": 0}
    assert {sample.labels["worker"] for sample in samples if sample.name != "flash_worker_up"} == {"1"}
