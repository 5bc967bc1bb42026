"""A few drawn inputs for every parser and loader; `make fuzz` draws for minutes, guided by what the code does."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fuzz.targets import TARGETS, json_bytes, seeds

NAMES = st.sampled_from(["seed", "als", "factors", "user_id", "item_id", "at", "files", "names", "self", "__class__"])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)


@st.composite
def damaged(draw: st.DrawFn, name: str) -> bytes:
    """What somebody who means well would give, a part of it replaced."""
    seed = draw(st.sampled_from(seeds(name)))
    lo, hi = sorted((draw(st.integers(0, len(seed))), draw(st.integers(0, len(seed)))))
    part = draw(st.binary(max_size=6) | st.sampled_from([b"", b"\x00", b'"', b"\n", b"=", b"[" * 2000, b"9" * 5000]))
    return seed[:lo] + part + seed[hi:]


def lines(tree: Any) -> bytes:
    """A tree as TOML-like text, right or wrong."""
    pairs = tree.items() if isinstance(tree, dict) else [("seed", tree)]
    return "\n".join(f"{name} = {value!r}" for name, value in pairs).encode("utf-8", "surrogateescape")


@pytest.mark.parametrize("name", TARGETS)
def test_whatever_is_read_is_taken_or_refused(name: str) -> None:
    target = TARGETS[name][0]
    for seed in seeds(name):
        target(seed)
    drawn = damaged(name) | st.binary(max_size=200) | TREES.map(json_bytes)

    @settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(data=drawn)
    def taken_or_refused(data: bytes) -> None:
        target(data)

    taken_or_refused()
