"""One stage of a search on made-up figures: what is chosen, what is pruned, what is only luck."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tonearm.config import load_config
from tonearm.errors import ConfigError, OutputError
from tonearm.sources.ranges import Choice, Range, Space
from tonearm.tune.space import RANKER, Params, spaces, values_of, with_values
from tonearm.tune.study import Stage, check_same, storage
from tonearm.types import Bools, Float32s

SPACE: Space = {"x": Range(0.0, 1.0), "n": Range(1, 9), "kind": Choice(("a", "b"))}
START: Params = {"x": 0.2, "n": 3, "kind": "a"}
N = 400


def halves() -> Bools:
    return np.random.default_rng(8).random(N) < 0.5


def figures(params: Params, search_only: bool = False) -> Float32s:
    """Higher by x, with noise that all trials share; `search_only`: the other half does not gain."""
    base = np.random.default_rng(2).random(N) * 0.2
    gain = 0.3 * float(params["x"]) * np.where(halves() | (not search_only), 1, 0)
    return (base + gain).astype(np.float32)


def two_steps(params: Params) -> Iterator[Float32s]:
    whole = figures(params)
    part = whole.copy()
    part[N // 2 :] = np.nan
    yield part
    yield whole


def one_step(params: Params) -> Iterator[Float32s]:
    yield figures(params, search_only=True)


def stage(file: object, given: str = "", seed: int = 3) -> Stage:
    return Stage("als", SPACE, START, given, halves(), seed, file)


def test_a_better_setting_is_taken_and_says_by_how_much(tmp_path: Path) -> None:
    with storage(tmp_path / "one.db") as file:
        search = stage(file)
        empty = search.verdict(200)
        assert (empty.finished, empty.params, empty.default, empty.changed) == (0, START, None, False)
        search.run(two_steps)
        first = search.verdict(200)
        assert (first.params, first.low, first.changed) == (START, None, False)
        said = [search.run(two_steps) for _ in range(14)]
        found = search.verdict(200)
    assert found.changed
    assert found.finished == 15
    assert found.pruned == sum("pruned" in text for text in said) > 0
    x = float(found.params["x"])
    assert x > 0.6
    assert isinstance(found.params["n"], int)
    assert found.default is not None
    assert found.chosen is not None
    assert found.low is not None
    assert found.high is not None
    assert found.chosen - found.default == pytest.approx(0.3 * (x - 0.2), abs=1e-6)
    assert found.low <= found.chosen - found.default + 1e-6
    assert found.high >= found.chosen - found.default - 1e-6


def test_what_was_better_only_where_it_was_chosen_is_kept_out(tmp_path: Path) -> None:
    with storage(tmp_path / "one.db") as file:
        search = stage(file)
        for _ in range(6):
            search.run(one_step)
        found = search.verdict(200)
        best = search.best
    assert best is not None
    assert best > figures(START, search_only=True)[halves()].mean() + 0.05
    assert found.low == found.high == 0
    assert not found.changed
    assert found.params == START


def trials_of(path: Path) -> list[tuple[dict[str, object], float | None, str]]:
    import optuna

    with storage(path) as file:
        study = optuna.load_study(study_name=optuna.get_all_study_names(file)[0], storage=file)
        return [(t.params, t.value, t.state.name) for t in study.get_trials() if t.state.name != "FAIL"]


def test_a_search_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    def stopped(params: Params) -> Iterator[Float32s]:
        yield figures(params)
        raise KeyboardInterrupt

    with storage(tmp_path / "whole.db") as file:
        search = stage(file)
        for _ in range(10):
            search.run(two_steps)
    for stop in (0, 1, 7):
        path = tmp_path / f"{stop}.db"
        with storage(path) as file:
            search = stage(file)
            for _ in range(stop):
                search.run(two_steps)
            with pytest.raises(KeyboardInterrupt):
                search.run(stopped)
        with storage(path) as file:
            search = stage(file)
            assert search.finished == stop
            for _ in range(10 - stop):
                search.run(two_steps)
        assert trials_of(path) == trials_of(tmp_path / "whole.db")


def test_another_seed_tries_something_else(tmp_path: Path) -> None:
    for seed in (3, 4):
        with storage(tmp_path / f"{seed}.db") as file:
            search = stage(file, seed=seed)
            for _ in range(2):
                search.run(two_steps)
    one, other = trials_of(tmp_path / "3.db"), trials_of(tmp_path / "4.db")
    assert one[0] == other[0]
    assert one[0][0] == START
    assert one[1] != other[1]


def test_trials_over_other_sources_are_no_trials_of_a_stage(tmp_path: Path) -> None:
    with storage(tmp_path / "one.db") as file:
        stage(file, given="some").run(two_steps)
        assert stage(file, given="some").finished == 1
        assert stage(file, given="others").finished == 0


def test_a_study_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "one.db"
    about = {"log": "abc", "settings": '{"als.factors": 64, "seed": 0}', "space": "s"}
    with storage(path) as file:
        check_same(file, path, about)
        check_same(file, path, about)
        with pytest.raises(ConfigError, match=r"one\.db: .*the log, als\.factors changed since\. Remove the file"):
            check_same(file, path, about | {"log": "x", "settings": '{"als.factors": 32, "seed": 0}'})


def test_a_file_that_is_no_study_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one.db").write_text("something else entirely, and long enough to be looked at\n" * 50)
    with pytest.raises(OutputError, match=r"one\.db: cannot be used as a study file"), storage(tmp_path / "one.db"):
        raise AssertionError("it was opened")


def test_spaces_hold_what_the_search_begins_from() -> None:
    config = load_config(
        overrides=("als.factors=1000", "als.regularization=0", "ease.recency=7", "output.k=30", "filter_seen=false")
    )
    names = [*config.recipes()]
    found = spaces(config, names, timed=True)
    assert list(found) == ["als", "item_item", "ease", "spectral", "user_knn", "recent", "trend", "again", RANKER]
    assert found["als"]["factors"] == Range(16, 1000, log=True)
    assert "regularization" not in found["als"]  # 0 has no logarithm, so it stays
    assert 7.0 in found["ease"]["recency"].values  # type: ignore[union-attr]
    assert found[RANKER]["candidates"] == Choice((30, 45, 60, 100))
    for stage_, space in found.items():
        start = values_of(config, stage_, space)
        assert with_values(config, stage_, start) == config
    changed = with_values(config, RANKER, {"candidates": 45, "depth": 4})
    assert (changed.candidates, changed.ranker.depth, changed.ranker.l2) == (45, 4, config.ranker.l2)
    untimed = spaces(config, ["als", "ease"], timed=False)
    assert list(untimed) == ["als", "ease", RANKER]
    assert list(untimed["ease"]) == ["regularization", "coverage"]
