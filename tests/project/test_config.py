"""Configuration: where each value comes from, what is refused in which words, and the way to TOML and back."""

import dataclasses
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tonearm.config import PRESETS, Config, config_from, load_config, to_toml
from tonearm.errors import ConfigError
from tonearm.sources.als import ALS
from tonearm.sources.content import Content

AnyConfig: Any = Config
AnyALS: Any = ALS
replace: Any = dataclasses.replace
SECTIONS = {f.name: f.type for f in dataclasses.fields(Config) if dataclasses.is_dataclass(f.type)}


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "settings.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refused(tmp_path: Path, text: str = "", *overrides: str, preset: str = "default") -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, text), overrides, preset)
    return str(caught.value).replace(str(tmp_path) + "/", "")


def test_overrides_win_over_the_file_and_the_file_over_the_preset(tmp_path: Path) -> None:
    text = "filter_seen = true\n[als]\nfactors = 32\niterations = 7\n"
    config = load_config(write(tmp_path, text), ("als.iterations=3", "output.k = 9"), "notebook")
    assert config.als.iterations == 3
    assert (config.als.factors, config.filter_seen) == (32, True)
    assert config.als.alpha == 1.0
    assert config.output.k == 9
    assert load_config(preset="notebook").als.iterations == 50
    assert load_config() == Config()


def test_later_overrides_win() -> None:
    assert load_config(overrides=("seed=1", "seed=2")).seed == 2


def test_presets_are_not_altered_by_what_comes_over_them() -> None:
    load_config(overrides=("als.factors=7",), preset="notebook")
    assert PRESETS["notebook"]["als"]["factors"] == 50


def test_the_notebook_preset_is_the_classic_setting() -> None:
    config = load_config(preset="notebook")
    assert (config.als.factors, config.als.iterations) == (50, 50)
    assert (config.als.regularization, config.als.alpha) == (0.05, 1)
    assert (config.filter_seen, config.output.k, config.output.similar) == (False, 100, 10)
    assert list(config.recipes()) == ["popular", "als", "content"]
    assert config.proposers == ("als", "content")
    assert config.ranker.features == ("als_score", "content_score", "user_tracks")


@pytest.mark.parametrize(
    ("override", "section", "option", "value"),
    [
        ("ranker.loss=yetirank", "ranker", "loss", "yetirank"),
        ('ranker.loss = "yetirank"', "ranker", "loss", "yetirank"),
        ("evaluation.ks=[3, 7]", "evaluation", "ks", (3, 7)),
        ("split.label_days=14", "split", "label_days", 14.0),
        ("recent.half_life=1e3", "recent", "half_life", 1000.0),
        ("filter_seen=false", "", "filter_seen", False),
        ("seed=0x10", "", "seed", 16),
    ],
)
def test_overrides_are_read_as_toml_or_as_plain_text(override: str, section: str, option: str, value: Any) -> None:
    config = load_config(overrides=(override,))
    found = getattr(getattr(config, section) if section else config, option)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("preset", PRESETS)
def test_toml_and_back(tmp_path: Path, preset: str) -> None:
    overrides = (
        "split.label_days=3.5",
        "evaluation.ks=[1, 50]",
        "ranker.learning_rate=1e-7",
        "recent.half_life=1e22",
        "output.features=all",
        "seed=12345678901",
    )
    for config in (load_config(preset=preset), load_config(None, overrides, preset)):
        assert load_config(write(tmp_path, to_toml(config))) == config
    infinite = load_config(overrides=("recent.half_life=inf",))
    assert load_config(write(tmp_path, to_toml(infinite))) == infinite


def test_toml_holds_every_option_but_those_without_a_value() -> None:
    tree = tomllib.loads(to_toml(Config()))
    assert set(tree) == {f.name for f in dataclasses.fields(Config)}
    for name, kind in SECTIONS.items():
        missing = {f.name for f in dataclasses.fields(kind)} - set(tree[name])
        without = {"split": {"label_days"}, "shape": {"allow_file", "block_file", "availability", "available_at"}}
        assert missing == without.get(name, {"users_file", "vectors"} if name == "data" else set())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[als]\nfactor = 3", "settings.toml: [als] has no option 'factor'. Did you mean 'factors'?"),
        ("sead = 3", "settings.toml: there is no option 'sead'. Did you mean 'seed'?"),
        ("[alss]\nfactors = 3", "settings.toml: there is no section [alss]. Did you mean 'als'?"),
        ("als = 3", "settings.toml: 'als' is a section. Set the options in it, as [als] or als.option."),
        ("[content]\nx = 3", "settings.toml: [content] has no option 'x'. There is none."),
        ("seed = ", "settings.toml: is not TOML: "),
        ("[als]\nfactors = 1.5", "settings.toml: als.factors = 1.5 will not do: input should be a valid integer"),
        (
            "[als]\nfactors = 0",
            "settings.toml: als.factors = 0 will not do: input should be greater than or equal to 1.",
        ),
        ("seed = -1", "settings.toml: seed = -1 will not do: input should be greater than or equal to 0."),
        ("filter_seen = 7", "settings.toml: filter_seen = 7 will not do: input should be a valid boolean"),
        (
            '[output]\nfeatures = "some"',
            "settings.toml: output.features = 'some' will not do: input should be 'few' or 'all'.",
        ),
        ("[evaluation]\nks = [5, 0]", "settings.toml: evaluation.ks.1 = 0 will not do: input should be greater"),
        ("[evaluation]\nks = []", "settings.toml: evaluation.ks = [] will not do: tuple should have at least 1 item"),
        ("[split]\nlabel_share = 1", "settings.toml: split.label_share = 1 will not do: input should be less than 1."),
    ],
)
def test_what_is_wrong_in_a_file_is_said_of_the_file(tmp_path: Path, text: str, message: str) -> None:
    assert refused(tmp_path, text).startswith(message)
    assert refused(tmp_path, text, "block=5").startswith(message)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("als.factor=3", "--set: [als] has no option 'factor'. Did you mean 'factors'?"),
        ("als.factors=0", "--set: als.factors = 0 will not do: input should be greater than or equal to 1."),
        ("als.factors=many", "--set: als.factors = 'many' will not do: input should be a valid integer"),
        ("als=3", "--set: 'als' is a section. Set the options in it, as [als] or als.option."),
        ("seed.x=3", "--set: seed = {'x': 3} will not do: input should be a valid integer"),
        ("als.factors", "--set als.factors: write it as section.option=value, such as als.factors=128."),
        ("=3", "--set =3: write it as section.option=value, such as als.factors=128."),
    ],
)
def test_what_is_wrong_in_an_override_is_said_of_it(tmp_path: Path, override: str, message: str) -> None:
    assert refused(tmp_path, "seed = 4", override).startswith(message)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AnyALS(factor=4), "ALS: there is no option 'factor'. Did you mean 'factors'?"),
        (lambda: AnyConfig(sead=4), "Config: there is no option 'sead'. Did you mean 'seed'?"),
        (lambda: AnyConfig(als={"factor": 4}), "Config: [als] has no option 'factor'. Did you mean 'factors'?"),
        (lambda: AnyConfig(als=Content()), "Config: 'als' is a section."),
        (lambda: replace(ALS(), alfa=4), "ALS: there is no option 'alfa'. Did you mean 'alpha'?"),
        (lambda: AnyALS(factors=0), "ALS: factors = 0 will not do: input should be greater than or equal to 1."),
        (lambda: AnyConfig(seed=-1), "Config: seed = -1 will not do: input should be greater than or equal to 0."),
    ],
)
def test_options_are_refused_from_python_as_from_toml(make: Callable[[], Any], message: str) -> None:
    """Point 11: `ALS(factor=4)` passed, and ran with 128 factors."""
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}"):
        make()


def test_every_class_of_options_refuses_a_name_that_it_does_not_know() -> None:
    """Point 11: whichever class it is, and wherever it is made."""
    kinds: list[Any] = [Config, *SECTIONS.values()]
    for kind in kinds:
        with pytest.raises(ConfigError, match="there is no option 'no_such'"):
            kind(no_such=1)
        assert kind() == kind()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ('sources=["als", "trend"]',),
            "--set: the source trend builds on trend.of = 'ease', and sources lacks 'ease'. Add 'ease' to sources, set "
            "trend.of to one that is there, or leave trend out.",
        ),
        (('sources=["ease", "trend"]', "trend.of=item_item"), "--set: the source trend builds on trend.of"),
        (("trend.of=als",), "--set: trend.of = 'als' will not do: input should be 'ease' or 'item_item'."),
        (
            ('sources=["als"]', 'proposers=["als", "ease"]'),
            "--set: proposers has 'ease', which takes no part. Add it to sources, or leave it out.",
        ),
        (('proposers=["als", "again"]',), "--set: proposers has 'again', which takes no part. Set filter_seen = false"),
        (('proposers=["content"]',), "--set: proposers needs popular or als, as every log can carry them."),
        (('ranker.features=["als_scor"]',), "--set: ranker.features has 'als_scor', which is not made here. Did you"),
        (('ranker.features=["own_plays"]',), "--set: ranker.features has 'own_plays', which is not made here."),
        (
            ('sources=["als"]', 'ranker.features=["ease_score"]'),
            "--set: ranker.features has 'ease_score', which is not made here.",
        ),
        (
            ("shape.fresh_share=0.7", "shape.explore_share=0.7"),
            "--set: shape.fresh_share = 0.7 and shape.explore_share = 0.7 add up to more than the list.",
        ),
        (("shape.available_at='2022-12-16'",), "--set: shape.available_at means nothing without shape.availability."),
        (("shape.availability=items", "shape.available_at=noon"), "--set: 'noon' is not a date or time."),
    ],
)
def test_options_that_do_not_go_together_are_refused_at_once(overrides: tuple[str, ...], message: str) -> None:
    """Point 11: a trend without its base failed after the log was read and sources were fitted."""
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}"):
        load_config(overrides=overrides)


def test_options_that_go_together_only_as_a_whole_may_come_from_file_and_override(tmp_path: Path) -> None:
    path = write(tmp_path, 'sources = ["als", "item_item", "trend"]')
    assert load_config(path, ("trend.of=item_item",)).trend.of == "item_item"
    assert load_config(overrides=("filter_seen=false", 'ranker.features=["own_plays"]')).ranker.features == (
        "own_plays",
    )
    with pytest.raises(ConfigError, match=r"settings\.toml: the source trend builds on"):
        load_config(path, ("seed=3",))


def test_without_a_close_name_all_are_listed(tmp_path: Path) -> None:
    message = refused(tmp_path, "[output]\nzzz = 3")
    known = "features, fresh, k, similar, similar_by, similar_exact, similar_per_artist, similar_support, top_popular"
    assert message == f"settings.toml: [output] has no option 'zzz'. Known: {known}."


def test_unknown_presets_and_files(tmp_path: Path) -> None:
    assert refused(tmp_path, preset="notebok") == "there is no preset 'notebok'. Did you mean 'notebook'?"
    with pytest.raises(ConfigError, match=r"absent\.toml: there is no such file\. Check --config\."):
        load_config(tmp_path / "absent.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b"# caf\xe9\n")
    with pytest.raises(ConfigError, match=r"latin\.toml: cannot be read"):
        load_config(tmp_path / "latin.toml")


def test_a_tree_may_come_from_elsewhere() -> None:
    assert config_from({"als": {"factors": 3}}, "manifest.json").als.factors == 3
    with pytest.raises(ConfigError, match=r"^manifest\.json: \[als\] has no option 'x'"):
        config_from({"als": {"x": 3}}, "manifest.json")


def test_options_are_frozen() -> None:
    config = Config()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 3  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.als.factors = 3  # type: ignore[misc]


@pytest.mark.parametrize("kind", [Config, *SECTIONS.values()], ids=lambda kind: kind.__name__)
def test_every_option_stands_in_the_docstring_of_its_class(kind: Any) -> None:
    said = "\n".join(base.__doc__ or "" for base in kind.__mro__ if dataclasses.is_dataclass(base))
    for option in dataclasses.fields(kind):
        if not dataclasses.is_dataclass(option.type):
            words = rf"^ +(\w+, )*{option.name}(, \w+)*:"
            assert re.search(words, said, re.MULTILINE), f"{kind.__name__} says nothing of {option.name}"


def test_the_recipes_are_the_sections() -> None:
    config = load_config(overrides=("als.factors=5", "item_item.shrink=2"))
    recipes = config.recipes()
    assert list(recipes)[:4] == ["popular", "als", "content", "item_item"]
    assert (recipes["als"], recipes["item_item"]) == (config.als, config.item_item)
