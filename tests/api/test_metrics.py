"""The metrics: all that happens to streams is measured, and `docs/deployment.md` lists what is measured."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

import flash
from flash.server.metrics import Metrics, join
from flash.streams.observer import Observer

PACKAGE = Path(flash.__file__).parent
DOCUMENT = PACKAGE.parent / "docs" / "deployment.md"
CALLS = [name for name in vars(Observer) if not name.startswith("_")]


@pytest.mark.parametrize("call", CALLS)
def test_an_observer_is_called_and_the_metrics_take_the_call(call: str) -> None:
    assert call in vars(Metrics)
    assert any(f"observer.{call}(" in path.read_text() for path in PACKAGE.rglob("*.py"))


def test_the_document_has_every_metric_and_no_other() -> None:
    own = Metrics(list, lambda: 0).expose().decode()
    exposed = own + join({"1": None}).decode()
    names = [family.name + "_total" * (family.type == "counter") for family in text_string_to_metric_families(exposed)]
    listed = [name for name in names if not name.endswith("_created")]
    assert sorted(re.findall(r"^\| `(flash_\w+)` \|", DOCUMENT.read_text(), re.MULTILINE)) == sorted(listed)


def test_the_samples_of_several_workers_have_the_label_worker_and_one_says_who_has_answered() -> None:
    own = Metrics(list, lambda: 0).expose().decode()
    joined = join({"1": own, "2": None}).decode()
    samples = [sample for family in text_string_to_metric_families(joined) for sample in family.samples]
    answered = {sample.labels["worker"]: sample.value for sample in samples if sample.name == "flash_worker_up"}
    assert answered == {"1": 1, "2": 0}
    assert {sample.labels["worker"] for sample in samples if sample.name != "flash_worker_up"} == {"1"}
