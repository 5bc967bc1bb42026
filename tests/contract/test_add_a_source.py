"""The source of docs/develop/add-a-source.md owes what every source owes, and takes part beside others."""

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from tests.contract.test_sources import all_items, check_lists, everyone, load_tables, make_tables, same

from tonearm.data.dataset import Dataset
from tonearm.data.lists import Lists
from tonearm.ranking.candidates import gather
from tonearm.sources import RECIPES, Source, fit_sources, registry
from tonearm.sources.popularity import Popularity, PopularityModel

PAGE = Path(__file__).resolve().parents[2] / "docs" / "develop" / "add-a-source.md"


def block_of(kind: str) -> str:
    """The one block of a language on the page."""
    [block] = re.findall(rf"^```{kind}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return str(block)


@pytest.fixture(scope="module")
def recipe() -> Any:
    made: dict[str, Any] = {"__name__": "listeners"}
    exec(compile(block_of("python"), PAGE.name, "exec"), made)
    return made["Listeners"]()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return load_tables(tmp_path_factory.mktemp("page"), *make_tables())


@pytest.fixture(scope="module")
def sources(recipe: Any, data: Dataset) -> list[Source]:
    return fit_sources(data, {"popular": Popularity(), recipe.name: recipe}, 0)


@pytest.mark.parametrize("filter_seen", [True, False])
def test_its_lists_are_those_of_a_source(sources: list[Source], data: Dataset, filter_seen: bool) -> None:
    source, block = sources[-1], everyone(data, filter_seen)
    assert source.name == "listeners"
    for k in (1, 7, 10_000):
        lists = source.recommend(block, k)
        check_lists(lists, source, data, block, k)
        np.testing.assert_array_equal(source.score(block, lists), lists.score)


def test_it_ranks_by_listeners_and_not_by_plays(sources: list[Source], data: Dataset) -> None:
    popular, listeners = (source.recommend(everyone(data, False), 41) for source in sources)
    assert listeners.score.tolist() == data.listeners[listeners.item].tolist()
    assert listeners.item.tolist() != popular.item.tolist()


def test_it_comes_back_from_a_file_and_searches_among_some(sources: list[Source], data: Dataset) -> None:
    source, block = sources[-1], everyone(data)
    again = PopularityModel.load(source.save())
    same(again.recommend(block, 9), source.recommend(block, 9))
    allowed = np.arange(data.n_items) % 3 == 0
    some: Lists = source.among(allowed).recommend(block, 9)
    assert allowed[some.item].all()
    assert len(some.item) > 0
    np.testing.assert_array_equal(again.score(block, all_items(block)), source.score(block, all_items(block)))


def test_its_tracks_are_candidates_beside_others(sources: list[Source], data: Dataset) -> None:
    candidates, own = gather(everyone(data), sources, 5)
    assert candidates.scores.shape == (len(candidates), 2)
    assert {*own[1].item.tolist()} <= {*candidates.lists.item.tolist()}


def test_two_lines_of_the_registry_enter_it(recipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """So a source touches three files: its own, the registry, and how-it-works."""
    module = ModuleType("tonearm.sources.listeners")
    module.Listeners = type(recipe)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    lines = block_of("diff").splitlines()
    [entry, field] = [line[1:] for line in lines if line.startswith("+")]
    before = next(line[1:] for line in lines if "recent:" in line)
    text = Path(registry.__file__).read_text(encoding="utf-8")
    assert text.count(before) == 1
    made: dict[str, Any] = {"__name__": "registry"}
    exec(compile(f"{entry}\n" + text.replace(before, f"{before}\n{field}"), "registry.py", "exec"), made)
    assert [*made["RECIPES"]] == [
        name for old in RECIPES for name in ([old, "listeners"] if old == "recent" else [old])
    ]
    assert made["SECTIONS"]["listeners"] == "listeners"
    assert made["MODELS"]["listeners"] is PopularityModel
    assert made["SourceOptions"]().every_recipe()["listeners"].title == "Most listeners"
