"""What an app can send does not depend on orjson: what Dash sends without it, Flash sends, and the same."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import json
import math
import sys
import types
import uuid
import zoneinfo
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd
import PIL.Image
import plotly.graph_objects as go
import plotly.io
import pytest
from hypothesis import given, settings, strategies as st

from flash import Flash, Patch, dcc, html, stream_props
from flash.dash_json import to_json
from flash.props import encode_pairs


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "not this"


class Whole(int):
    def __repr__(self) -> str:
        return "not this"


class Real(float):
    def __repr__(self) -> str:
        return "not this"


class Items(list[Any]):
    pass


class Fields(dict[Any, Any]):
    def to_plotly_json(self) -> str:
        return "not this"


class Point(NamedTuple):
    x: int
    y: Any


class Number(enum.IntEnum):
    ONE = 1


class Word(enum.StrEnum):
    A = "a"


class Colour(str, enum.Enum):  # noqa: UP042 - as code before Python 3.11 has it
    RED = "red"


class Flag(enum.IntFlag):
    A = 1
    B = 2


class Plain(enum.Enum):
    A = "a"


@dataclasses.dataclass
class Record:
    n: int


class Own:
    def to_plotly_json(self) -> Any:
        return {"own": [Point(1, math.nan), np.float32(0.1)]}


class Listed:
    def tolist(self) -> list[Any]:
        return [1, decimal.Decimal("2.5")]


class Dated:
    def isoformat(self) -> str:
        return "some day"


class Moment(datetime.datetime):
    pass


SECONDS_OFF = datetime.timezone(datetime.timedelta(minutes=19, seconds=32))
DAY = datetime.date(2024, 2, 29)
NOON = datetime.datetime(2024, 2, 29, 12)

SENT: dict[str, Any] = {
    "keys of np.float64": dict.fromkeys(np.linspace(0, 1, 3), "m"),
    "keys that are numbers": {1: "a", 0.5: "b", 1e22: "c", 1e-7: "d", -0.0: "e", 2**70: "f"},
    "keys that are constants": {None: 1, True: 2, False: 3},
    "keys that are no numbers": {math.nan: 1, math.inf: 2, -math.inf: 3},
    "keys of a subclass": {Text("k"): 1, Whole(2): 2, Real(0.5): 3},
    "keys of an enum": {Number.ONE: 1, Word.A: 2},
    "keys that collide": {1: "number", "1": "text"},
    "keys of np.str_": {np.str_("k"): 1},
    "keys of a series": pd.Series([1, 2], index=[0.5, 1.5]).to_dict(),
    "keys with surrogates": {"\udce9": 1},
    "order of keys": {"b": 1, "a": 2, "c": 3},
    "integers": [2**63, 2**64, -(2**63) - 1, 10**40, 0, -1],
    "floats": [1e22, 1e16, 1e-7, 0.1 + 0.2, 5e-324, 1.7976931348623157e308, -0.0, 1.0],
    "no numbers": [math.nan, math.inf, -math.inf, np.nan, {"deep": (math.nan,)}],
    "texts with the words": ["NaN", "Infinity", {"NaN": math.nan}],
    "surrogates": "caf\udce9",
    "half a pair": "\ud83d",
    "characters": "\x00\x1f\x7f\u2028\u2029\U0001f600</script>",
    "subclasses": [Text("x"), Whole(3), Real(0.5), Items([1, Whole(2)]), Fields(a=Whole(1)), Real("nan")],
    "collections": [
        collections.OrderedDict(b=1, a=2),
        collections.defaultdict(list, a=[1]),
        collections.Counter("aab"),
    ],
    "tuples": [(), (1, (2, "x")), Point(1, Text("y"))],
    "enums": [Number.ONE, Word.A, Colour.RED, Flag.A | Flag.B],
    "numpy's scalars": [np.float64(0.1), np.float32(0.1), np.float16(0.1), np.int8(-1), np.uint64(2**64 - 1)],
    "numpy's other scalars": [np.bool_(True), np.str_("s"), np.datetime64("2024-02-29"), np.datetime64("NaT", "D")],
    "numpy's moments": [np.datetime64("2024-02-29T12:00:00.5"), np.datetime64("2024-02", "M")],
    "np.float64": np.array([0.1, math.nan, math.inf, 1e22, -0.0]),
    "np.float32": np.array([0.1, math.nan, 1e10], dtype="float32"),
    "np.float16": np.array([0.1], dtype="float16"),
    "np integers": [np.arange(3, dtype=kind) for kind in ("int8", "uint8", "int16", "int32", "int64", "uint64")],
    "np.bool": np.array([True, False]),
    "np texts": np.array(["a", "bc"]),
    "np objects": np.array([1, "a", None, decimal.Decimal("1.5"), DAY, math.nan], dtype=object),
    "np days": np.array(["2024-02-29", "NaT"], dtype="datetime64[D]"),
    "np nanoseconds": np.array(["2024-02-29T12:00:00"], dtype="datetime64[ns]"),
    "np without items": [np.array([]), np.zeros((0, 2))],
    "np without dimension": [np.array(1.5), np.array("s")],
    "np of two dimensions": [np.zeros((2, 2)), np.asfortranarray(np.arange(6).reshape(2, 3)), np.eye(2, dtype=bool)],
    "np with gaps": [np.arange(6)[::2], np.arange(6)[::-1], np.broadcast_to(np.float64(1), (2, 2))],
    "np of the other endianness": np.arange(3, dtype=">i4"),
    "np masked": np.ma.masked,
    "np masked array": np.ma.array([1, 2], mask=[False, True]),
    "np matrix": np.array([[1, 2]]).view(np.matrix),
    "np records": np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")]),
    "pandas' constants": [pd.NaT, pd.NA, {"deep": pd.NA}],
    "pandas' moments": [pd.Timestamp("2024-02-29 12:00:00.123456789"), pd.Timestamp("2024-02-29", tz="Europe/Berlin")],
    "pandas' spans": [pd.Timedelta("1h"), pd.Series(pd.to_timedelta([1], unit="h")).dt.total_seconds()],
    "series": [pd.Series([1, 2]), pd.Series([1.5, None]), pd.Series(["a", None]), pd.Series([True])],
    "series of moments": [pd.Series(pd.date_range("2024", periods=2)), pd.date_range("2024", periods=2, tz="UTC")],
    "series with missing values": pd.Series([1, None], dtype="Int64"),
    "categories": pd.Series(["a", "b"], dtype="category"),
    "indices": [pd.Index([1, 2]), pd.Index(["a"]), pd.RangeIndex(3), pd.MultiIndex.from_tuples([(1, "a")])],
    "pandas' arrays": pd.array([1, None], dtype="Int64"),
    "records": pd.DataFrame({"a": [1, None], "d": pd.to_datetime(["2024-01-01", None])}).to_dict("records"),
    "split": pd.DataFrame({"a": [1.5, 2], "b": ["x", None]}).to_dict("split"),
    "values of a frame": pd.DataFrame({"a": [1.5, 2], "b": [3, 4]}).values,
    "days": [DAY, datetime.date(1, 1, 1)],
    "moments": [NOON, NOON.replace(microsecond=1), NOON.replace(tzinfo=datetime.UTC), Moment(2024, 2, 29), NOON.min],
    "zones": [NOON.replace(tzinfo=zoneinfo.ZoneInfo("Asia/Kolkata")), NOON.replace(tzinfo=SECONDS_OFF)],
    "times": [datetime.time(3, 4), datetime.time(3, 4, 5, 6), datetime.time(3, tzinfo=datetime.UTC)],
    "decimals": [decimal.Decimal("1.5"), decimal.Decimal("NaN"), decimal.Decimal("1e400")],
    "objects": [Own(), Listed(), Dated()],
    "image": PIL.Image.new("RGB", (1, 1)),
    "component": html.Div(
        [html.B("b", id={"type": "b", "index": 1}), Text("x"), None], **cast("Any", {"data-x": Whole(1)})
    ),
    "component with numbers for keys": dcc.Slider(0, 1, marks={0: "none", 0.5: "half", 1: "all"}),
    "figure": go.Figure(go.Scatter(x=pd.date_range("2024", periods=2), y=np.array([1.0, math.nan]))),
    "deep": json.loads("[" * 400 + "]" * 400),
    "nothing": [None, "", [], {}, (), 0, False],
}

ALSO_SENT: dict[str, Any] = {
    "uuid": uuid.UUID(int=5),
    "enum": Plain.A,
    "dataclass": Record(1),
    "key that is a day": {DAY: 1},
    "uuid beside what is written in another form": [uuid.UUID(int=5), Text("x"), 1.5],
}


def circular() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def generated() -> Iterator[int]:
    yield 1


REFUSED: dict[str, Any] = {
    "set": {1},
    "bytes": b"x",
    "complex": 1j,
    "object": object(),
    "generator": generated(),
    "mapping": types.MappingProxyType({}),
    "function": len,
    "class": dict,
    "key that is a tuple": {(1, 2): 1},
    "circular": circular(),
    "frame": pd.DataFrame({"a": [1]}),
    "period": pd.Period("2024-01"),
    "interval": pd.Interval(0, 1),
}


def as_dash(value: object) -> Any:
    """What Dash without orjson sends."""
    return plotly.io.json.to_json_plotly(value, engine="json")


def same(text: str | bytes, other: Any) -> bool:
    # As lists of pairs: the order of keys counts, and those that are there twice.
    left, right = (json.loads(json_text, object_pairs_hook=list) for json_text in (text, other))
    return repr(left) == repr(right)


@pytest.mark.parametrize("value", SENT.values(), ids=SENT)
def test_what_dash_sends_is_sent_the_same(value: Any) -> None:
    assert same(to_json(value), as_dash(value))
    assert same(b"[%b]" % encode_pairs(stream_props("a", {"p": value}).pairs), as_dash([("a", {"p": value})]))


@pytest.mark.parametrize("value", ALSO_SENT.values(), ids=ALSO_SENT)
def test_what_dash_sends_only_with_orjson_is_sent_too(value: Any) -> None:
    with pytest.raises(TypeError):
        as_dash(value)
    assert same(to_json(value), plotly.io.json.to_json_plotly(value, engine="orjson"))


@pytest.mark.parametrize("value", REFUSED.values(), ids=REFUSED)
def test_what_dash_refuses_is_refused_with_its_words(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)) as refused:
        as_dash(value)
    with pytest.raises(type(refused.value)) as ours:
        to_json(value)
    assert str(ours.value) == str(refused.value)


leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(exclude_categories=[])),
    st.dates(),
    st.datetimes(timezones=st.none() | st.timezones()),
    st.times(),
    st.decimals(allow_nan=False).filter(lambda value: abs(value) < 10**300),
    st.text(max_size=3).map(Text),
    st.integers().map(Whole),
    st.floats().map(np.float64),
    st.floats(width=32).map(np.float32),
    st.lists(st.floats(), max_size=3).map(np.array),
    st.sampled_from([pd.NaT, pd.NA, np.bool_(False), Number.ONE, Word.A, NOON, np.datetime64("2024-02-29T01")]),
)
keys = st.one_of(st.text(), st.integers(), st.booleans(), st.none(), st.floats().map(np.float64), st.floats())
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(keys, inner, max_size=3),
        st.dictionaries(keys, inner, max_size=3).map(Fields),
        inner.map(html.Div),
    ),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(values)
def test_what_both_take_is_equal(value: Any) -> None:
    assert same(to_json(value), as_dash(value))


def test_it_may_stand_in_a_script_element() -> None:
    assert not set("<>/\u2028\u2029") & set(to_json({"</script>": "<!--\u2028\u2029", "big": 2**70}))
    assert not set("<>/\u2028\u2029") & set(to_json(["</script>\u2028", 1]))


@pytest.mark.parametrize("engine", ["json", "orjson"])
def test_an_engine_that_the_app_has_chosen_is_used(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plotly.io.json.config, "_default_engine", engine)
    value = [np.float32(0.1), "x"]
    assert to_json(value) == plotly.io.json.to_json_plotly(value, engine=engine)


def test_layouts_and_callbacks_of_an_app_are_written_so() -> None:
    app = Flash(__name__)
    app.layout = html.Div([dcc.Store(id="s", data={"big": 2**70, "single": np.float32(0.1), "surrogate": "\udce9"})])
    for name in ("dash._callback", "dash._validate", "dash.dash"):
        assert vars(sys.modules[name])["to_json"] is to_json


def test_a_patch_with_keys_that_are_numbers_is_sent() -> None:
    patch = Patch()
    patch["marks"] = dict.fromkeys(np.linspace(0, 1, 3), "m")
    assert '"0.5":"m"' in to_json(patch)
