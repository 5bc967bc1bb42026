"""The whole configuration: one frozen tree of options, read from TOML, overridden by flags, stored with the run."""

import copy
import dataclasses
import json
import tomllib
import zlib
from collections.abc import Sequence
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError

from tonearm.errors import ConfigError
from tonearm.loading.count import DataOptions
from tonearm.loading.files import local_path
from tonearm.options import check_names, options, suggest, wrong_value
from tonearm.ranking.candidates import Search
from tonearm.ranking.features import feature_names
from tonearm.ranking.ranker import Ranker
from tonearm.shaping.options import Shape
from tonearm.sources.base import Recipe, Source
from tonearm.sources.registry import RECIPES, SourceName, SourceOptions
from tonearm.sources.similar import By as SimilarBy
from tonearm.split import SplitOptions


@options
class OutputOptions:
    """What is written.

    k: tracks in each user's lists
    fresh: tracks that nobody has played yet in each user's list of them, where the catalogue has such with genres
    similar: similar tracks for each track
    similar_by: "blend" joins the vectors of ALS with what item-item says, where that source takes part; "als" is the
        cosine of the vectors and nothing else
    similar_support: listeners at which a track counts half as a neighbour; of no account to "als"
    similar_per_artist: similar tracks of one artist at most, so that a list may be shorter; 0 sets no limit
    similar_exact: tracks up to which similar ones are exact; above, nearly so, and the share found is measured and told
    features: "all" adds every feature the ranker saw to recommendations.parquet; "few" keeps the contract's columns
    top_popular: rows of top_popular.parquet
    """

    k: Annotated[int, Field(ge=1, le=10_000)] = 100
    fresh: Annotated[int, Field(ge=0, le=1_000)] = 10
    similar: Annotated[int, Field(ge=1, le=1_000)] = 10
    similar_by: SimilarBy = "blend"
    similar_support: Annotated[float, Field(ge=0)] = 10.0
    similar_per_artist: Annotated[int, Field(ge=0)] = 0
    similar_exact: Annotated[int, Field(ge=0)] = 200_000
    features: Literal["few", "all"] = "few"
    top_popular: Annotated[int, Field(ge=1)] = 100


@options
class EvaluationOptions:
    """How lists are measured.

    ks: the cut-offs of every metric@k
    resamples: bootstrap resamples of the users behind each interval
    rules: "yambda" measures the final list by the rules of that benchmark too, where train and test are two sets
    """

    ks: Annotated[tuple[Annotated[int, Field(ge=1, le=10_000)], ...], Field(min_length=1)] = (5, 10, 20, 100)
    resamples: Annotated[int, Field(ge=10, le=100_000)] = 1000
    rules: Literal["tonearm", "yambda"] = "tonearm"


@options
class SparkOptions:
    """The cluster, where engine = "spark".

    master: its address, as in "spark://host:7077"; empty: what spark-submit says, else one process of this machine
    partitions: parts that users fall into, none of which should hold more than some million events; 0: one for each
        half million, four at least
    settings: further settings of the session, as in { "spark.executor.memory" = "4g" }
    """

    master: str = ""
    partitions: Annotated[int, Field(ge=0)] = 0
    settings: dict[str, str] = field(default_factory=dict)


@options
class GeneralOptions:
    """What `Config` says before its sources."""

    engine: Literal["local", "spark"] = "local"
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    filter_seen: bool = True
    candidates: Annotated[int, Field(ge=1, le=10_000)] = 100
    block: Annotated[int, Field(ge=1)] = 4096
    threads: Annotated[int, Field(ge=0, le=4096)] = 0
    sources: Annotated[tuple[SourceName, ...], Field(min_length=1)] = tuple(RECIPES)
    proposers: tuple[SourceName, ...] = ()
    data: DataOptions = field(default_factory=DataOptions)
    split: SplitOptions = field(default_factory=SplitOptions)


@options
class Config(SourceOptions, GeneralOptions):  # in the file the last come first
    """Every option of a run.

    engine: "local" is this machine; "spark" a cluster, as docs/use/spark.md tells
    seed: the one seed; each stage spawns its own generator from it
    filter_seen: leave tracks that the user has already heard out of their lists; without it the source `again` takes
        part, and what to hear again is measured apart from what to discover
    candidates: tracks taken from each source for each user, before ranking
    block: users handled at a time, at most 4,096 where lists are written; memory grows with it, results do not change
    threads: processor threads; 0 takes all there are
    sources: which candidate sources take part; popular and als always do
    proposers: those of them that propose candidates; the others have lists of their own and score what is proposed;
        none named means all
    """

    ranker: Ranker = field(default_factory=Ranker)
    shape: Shape = field(default_factory=Shape)
    evaluation: EvaluationOptions = field(default_factory=EvaluationOptions)
    output: OutputOptions = field(default_factory=OutputOptions)
    spark: SparkOptions = field(default_factory=SparkOptions)

    def __post_init__(self) -> None:
        before = [*RECIPES][
            : [*RECIPES].index("again")
        ]  # a default, of this version or one with fewer sources, has them all
        if self.filter_seen and "again" in self.sources and not {*before} <= {*self.sources}:
            raise ConfigError(
                "sources has 'again', which proposes what a user has heard, and filter_seen = true leaves just that "
                "out. Set filter_seen = false, or leave 'again' out of sources."
            )
        recipes = self.recipes()
        for name, recipe in recipes.items():
            for option, of in recipe.bases.items():
                if of not in recipes:
                    raise ConfigError(
                        f"the source {name} builds on {name}.{option} = '{of}', and sources lacks '{of}'. Add '{of}' "
                        f"to sources, set {name}.{option} to one that is there, or leave {name} out."
                    )
        always = [name for name, recipe in recipes.items() if recipe.always]
        for name in self.proposers:
            if name not in recipes:
                mend = "Set filter_seen = false" if name in self.sources else "Add it to sources"
                raise ConfigError(f"proposers has '{name}', which takes no part. {mend}, or leave it out.")
        if self.proposers and not {*always} & {*self.proposers}:
            raise ConfigError(
                f"proposers needs {' or '.join(always)}, as every log can carry them. Add one of the two."
            )
        known = feature_names([*recipes], filter_seen=self.filter_seen)
        for feature in self.ranker.features:
            if feature not in known:
                raise ConfigError(f"ranker.features has '{feature}', which is not made here.{suggest(feature, known)}")

    def recipes(self) -> dict[str, Recipe[Source]]:
        """The candidate sources, in the order of their columns."""
        return {
            name: recipe
            for name, recipe in self.every_recipe().items()
            if (recipe.always or name in self.sources) and not (recipe.repeats and self.filter_seen)
        }

    @property
    def search(self) -> Search:
        """How candidates are found; from each source come at least as many as a list holds."""
        return Search(max(self.candidates, self.output.k), self.proposers, self.filter_seen, self.block)


PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "notebook": {
        "filter_seen": False,
        "candidates": 100,
        "sources": ["popular", "als", "content"],
        "proposers": ["als", "content"],
        "split": {"windows": 1},
        "als": {
            "factors": 50,
            "iterations": 50,
            "more_iterations": 50,
            "regularization": 0.05,
            "alpha": 1.0,
            "confidence": "plays",
            "recency": 0.0,
            "side_information": False,
        },
        "ranker": {"features": ["als_score", "content_score", "user_tracks"]},
        "output": {"k": 100, "similar": 10, "similar_by": "als"},
    },
    "yambda": {
        "filter_seen": False,
        "data": {"on_duplicate": "keep"},
        "evaluation": {"ks": [10, 50, 100], "rules": "yambda"},
        "output": {"k": 100},
    },
}
"""Named settings; "notebook" is the classic course setting, as docs/use/notebook.md tells; "yambda" goes with that
benchmark's split, as docs/use/inputs.md tells."""

NOT_TOML = (ValueError, RecursionError)
"""What is raised of text that is not TOML, nests too deeply, or has a number of too many digits."""

_ADAPTER = TypeAdapter(Config)


def load_config(path: Path | None = None, overrides: Sequence[str] = (), preset: str = "default") -> Config:
    """The preset, then the TOML file, then overrides such as "als.factors=128", each winning over the one before.

    Raises:
        ConfigError: no such file, preset or option, or a value of the wrong type or out of range.
    """
    if preset not in PRESETS:
        raise ConfigError(f"there is no preset '{preset}'.{suggest(preset, PRESETS)}")
    tree: dict[str, Any] = copy.deepcopy(PRESETS[preset])
    if path is not None:
        _merge(tree, read_toml(local_path(str(path))))
        check_names(tree, Config, str(path))
    whole = copy.deepcopy(tree)
    for override in overrides:
        _merge(whole, parse_setting(override))
    try:
        return config_from(whole, "--set")
    except ConfigError:
        if path is not None:  # what is wrong in the file is said of the file
            config_from(tree, str(path))
        raise


def config_from(tree: dict[str, Any], where: str) -> Config:
    """Check a tree of options, as TOML gives it."""
    check_names(tree, Config, where)
    try:
        return _ADAPTER.validate_python(tree)
    except ValidationError as error:
        raise ConfigError(f"{where}: {wrong_value(error)}") from error
    except ConfigError as error:  # options that do not go together
        raise ConfigError(f"{where}: {error}") from error


def stage_rng(seed: int, stage: str) -> np.random.Generator:
    """The generator of one stage; stages do not disturb one another."""
    return np.random.default_rng([seed, zlib.crc32(stage.encode())])


def to_toml(config: Config) -> str:
    """The resolved configuration as TOML, which `load_config` reads back to the same."""
    tree = dataclasses.asdict(config)
    top = [f"{name} = {_toml(value)}" for name, value in tree.items() if not isinstance(value, dict)]
    sections = [
        "\n".join([f"\n[{name}]", *(f"{key} = {_toml(v)}" for key, v in value.items() if v is not None)])
        for name, value in tree.items()
        if isinstance(value, dict)
    ]
    return "\n".join([*top, *sections]) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(v)}" for key, v in value.items()) + "}"
    if isinstance(value, float):
        return repr(value)  # inf, where JSON says Infinity
    return json.dumps(value, ensure_ascii=False)


def read_toml(path: Path) -> dict[str, Any]:
    """The tree of a TOML file.

    Raises:
        ConfigError: there is no such file, or it is not TOML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: there is no such file. Check --config.") from error
    except (OSError, ValueError) as error:  # also a name with a null byte
        raise ConfigError(f"{path}: cannot be read ({error}).") from error
    try:
        return tomllib.loads(text)
    except NOT_TOML as error:
        raise ConfigError(f"{path}: is not TOML: {error}.") from error


def parse_setting(
    setting: str, flag: str = "--set", like: str = "section.option=value, such as als.factors=128"
) -> dict[str, Any]:
    """A setting of the command line as a tree, its value as TOML has it, or as text.

    Raises:
        ConfigError: it is not of the form NAME=VALUE.
    """
    name, equals, text = setting.partition("=")
    if not equals or not name.strip():
        raise ConfigError(f"{flag} {setting}: write it as {like}.")
    try:
        read = tomllib.loads(f"value = {text}")
        value = read["value"] if len(read) == 1 else text.strip()
    except NOT_TOML:
        value = text.strip()
    tree: dict[str, Any] = {}
    leaf = tree
    *sections, option = name.strip().split(".")
    for section in sections:
        leaf = leaf.setdefault(section, {})
    leaf[option] = value
    return tree


def _merge(tree: dict[str, Any], over: dict[str, Any]) -> None:
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(tree.get(key), dict):
            _merge(tree[key], value)
        else:
            tree[key] = value
