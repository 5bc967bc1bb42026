"""The whole story on one screen: load, split, fit, rank, write, evaluate, report."""

import platform
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import date, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from tonearm import report
from tonearm.config import Config, to_toml
from tonearm.data.dataset import Block, Dataset
from tonearm.data.times import parse_moment, to_moment
from tonearm.data.truth import Truth, truth
from tonearm.errors import ConfigError
from tonearm.evaluation.funnel import FunnelMeter
from tonearm.evaluation.meters import ListMeter, cold_users, describe_items, focus_of, ks_within, left_out_ks
from tonearm.evaluation.repeats import own_rules, parts_of, rule_names
from tonearm.evaluation.rule_costs import RuleCosts
from tonearm.evaluation.summary import evaluate
from tonearm.kernels.machine.threads import threads
from tonearm.loading.files import local_path
from tonearm.loading.load import Loaded, load_events, load_ready_made
from tonearm.loading.summary import in_a_line, undated
from tonearm.options import expect, options
from tonearm.progress import Progress
from tonearm.ranking import trees
from tonearm.ranking.candidates import proposing
from tonearm.ranking.features import Features, Scratch
from tonearm.ranking.ranker import RankerModel
from tonearm.ranking.recommender import Recommender
from tonearm.ranking.training import WHOLE, TrainingTable, join_tables
from tonearm.report.profile import profile
from tonearm.runs import directory, write
from tonearm.runs.data import write_data
from tonearm.runs.lists import FILES, FINAL, FRESH, UNSHAPED, key_of
from tonearm.runs.omissions import omissions
from tonearm.runs.write import ListWriter
from tonearm.sources import among, fit_sources, left_out
from tonearm.sources.base import Resumable, Source, Unplayed
from tonearm.split import NoWindow, inner_splits
from tonearm.terminal.stages import Stages

NO_WINDOW = "train cannot be cut into a history and a label window"
"""Why there is no ranker where all events are of one moment or, without time, where no user has two items."""


@options
class Inputs:
    """Where the log is: events cut at `test_from`, or ready-made train and test; items where there is a catalogue."""

    events: str | None = None
    items: str | None = None
    test_from: str | date | datetime | None = None
    train: str | None = None
    test: str | None = None

    def addresses(self) -> dict[str, str]:
        """The files by option, local ones as absolute paths, so that they are found again from anywhere."""
        given = {"events": self.events, "items": self.items, "train": self.train, "test": self.test}
        return {
            name: address if "://" in address else str(local_path(address).absolute())
            for name, address in given.items()
            if address is not None
        }

    def load(self, config: Config, progress: Progress, today: datetime | None = None) -> Loaded:
        """Read and check the files.

        today: events later than this are in the future; by default as `load_events`

        Raises:
            ConfigError: neither events and test_from, nor train and test are given.
            DataError: the files cannot be used.
        """
        if self.train is not None and self.test is not None and self.events is None and self.test_from is None:
            return load_ready_made(self.train, self.test, self.items, config.data, today, progress)
        if self.events is not None and self.test_from is not None and self.train is None and self.test is None:
            moment = parse_moment(self.test_from)
            return load_events(self.events, self.items, moment, config.data, today, progress)
        raise ConfigError("name either --events and --test-from, or --train and --test.")


def run(
    inputs: Inputs, out: Path | str, config: Config, *, overwrite: bool = False, show: bool = False
) -> dict[str, Any]:
    """Do everything and write the run directory; returns the content of metrics.json.

    out: appears whole, or not at all
    show: print stages and progress bars to standard error

    Raises:
        TonearmError: the inputs, the configuration or the place of the output will not do.
    """
    expect(inputs, Inputs, "inputs", 'Pass Inputs(events="events.parquet", test_from="2022-12-16") or the like.')
    expect(config, Config, "config", 'Pass Config() or load_config(overrides=["als.factors=128"]) or the like.')
    out = local_path(str(out))
    with directory.new_directory(out, overwrite) as folder, threads(config.threads):
        stages = Stages(show)
        stages.compile_kernels()
        with stages.stage("load"):
            loaded = inputs.load(config, stages.progress)
            stages.say(in_a_line(loaded.found))
            shaper = config.shape.fit(loaded.train, inputs.items, columns=config.data.columns)
        assert loaded.test is not None
        allowed = None if shaper is None else shaper.allowed
        ranker, earlier = learn_to_rank(loaded.train, config, stages)
        with stages.stage("fit sources on all of train"):
            sources = fit_sources(loaded.train, config.recipes(), config.seed, stages.progress, earlier)
            del earlier
        with stages.stage("similar items"):
            similar = write.write_similar(
                folder,
                loaded.train,
                among(sources, allowed),
                config.output,
                stage_rng(config.seed, "similar"),
                stages.progress,
            )
        truth_ = truth(loaded.train.log, loaded.test.log, config.filter_seen)
        with stages.stage("lists"):
            recommender = Recommender.of(
                loaded.train, sources, ranker, shaper, config.search, config.output.k, config.threads
            )
            meters, funnel, costs = write_lists(folder, loaded.train, recommender, config, truth_, stages.progress)
            popular = loaded.train.popular_of(allowed)
        with stages.stage("evaluate"):
            metrics = evaluate(
                truth_,
                meters,
                stage_rng(config.seed, "bootstrap"),
                funnel=funnel,
                shape=costs,
                population={"test_events_of_unknown_items": loaded.test.unknown_events},
                cold=cold_users(loaded.test.cold, loaded.train.plays, popular, config.output.k),
                catalogue=None if inputs.items is None else "the catalogue",
                resamples=config.evaluation.resamples,
            )
        metrics["left_out"] = omissions(loaded, config, sources, ranker, similar)
        metrics["notes"] += [*left_out_ks(config.evaluation.ks, longest_list(loaded.train, config)), *ranker.notes]
        with stages.stage("catalogue, models, profile"):
            metrics["notes"] += [*write.silent_users(folder, loaded.train), *undated(loaded.found)]
            write.write_catalogue(folder, loaded.train, popular[: config.output.top_popular])
            write_data(folder, loaded.train, loaded.test, recommender.features.item)
            write.write_models(folder, loaded.train, sources, ranker, {} if shaper is None else shaper.masks)
            directory.write_json(folder / "metrics.json", metrics)
            directory.write_json(folder / "profile.json", profile(loaded.train, loaded.test, truth_, config.seed))
            (folder / "config.toml").write_text(to_toml(config), encoding="utf-8")
        with stages.stage("report"):
            manifest = _manifest(inputs, loaded, config, ranker, sources, stages)
            manifest |= {"similar": similar, "left_out": metrics["left_out"]}
            missing = report.attempt(folder, manifest, out)
            manifest["report_missing"] = missing
        files = directory.digests(folder)
        size = sum(file["bytes"] for file in files.values())
        manifest |= {"stages": stages.rows, "bytes": size, "files": files}
        directory.write_json(folder / directory.MANIFEST, manifest)
    if missing is not None:
        warnings.warn(missing, RuntimeWarning, stacklevel=2)
    return metrics


def learn_to_rank(train: Dataset, config: Config, stages: Stages) -> tuple[RankerModel, dict[str, Source]]:
    """Fit sources on the history, label their candidates by the label window, and train the ranker on that.

    Where a window has labels for few users, earlier windows, each with a history of its own, add to them. Returned with
    the ranker is what the latest history's sources have learnt, as far as the fit on all of train may go on from it.

    Rules of shaping play no part: they may leave few labels, and may change without a refit.
    """
    tables: list[TrainingTable] = []
    labelled: list[int] = []
    earlier: dict[str, Source] = {}
    recipes = config.recipes()
    for name in left_out(train, recipes):  # a shorter history might carry what all of train cannot
        del recipes[name]
    try:
        for split in inner_splits(train, config.split, stage_rng(config.seed, "split")):
            with stages.stage(f"fit sources on history {len(tables) + 1}"):
                sources = fit_sources(split.history, recipes, config.seed, stages.progress)
            if not earlier:
                earlier = {source.name: source.beginning() for source in sources if isinstance(source, Resumable)}
            with stages.stage(f"training table {len(tables) + 1}"):
                left = WHOLE - sum(int(table.whole.sum()) for table in tables)
                answers = truth(split.history.log, split.labels, config.filter_seen)
                labelled.append(len(answers))
                rng = stage_rng(config.seed, "training table")
                tables.append(
                    config.ranker.training_table(
                        split.history, answers, sources, config.search, rng, stages.progress, left
                    )
                )
            if sum(int(table.found.sum()) for table in tables) >= config.ranker.many:
                break
    except NoWindow:
        names = Features.fit(train, list(recipes), config.filter_seen, config.ranker.features).names
        return RankerModel.of_sources(names, NO_WINDOW), {}
    with stages.stage("ranker"):
        rng = stage_rng(config.seed, "ranker")
        table = join_tables(tables)
        later = train.log.time is not None
        ranker = config.ranker.fit(table, rng, threads=config.threads, progress=stages.progress, later=later)
        ranker.validation["labelled_users"] = labelled
        return ranker, earlier


def write_lists(
    folder: Path, train: Dataset, recommender: Recommender, config: Config, truth_: Truth, progress: Progress
) -> tuple[dict[str, ListMeter], FunnelMeter, dict[str, Any] | None]:
    """Write every user's lists, block by block, and measure them as they pass; also what the rules cost."""
    names = [source.name for source in recommender.fitted]
    k, allowed = recommender.k, None if recommender.shaper is None else recommender.shaper.allowed
    items, ks = describe_items(train.plays, train.catalogue), measured_ks(train, config)
    shown_as = [key_of(name) for name in names]
    parts = {} if config.filter_seen else parts_of(truth_, train.pairs)
    rules = () if config.filter_seen else rule_names(train.log.time is not None)
    meters = {name: ListMeter(truth_, items, ks, parts) for name in (*shown_as, *rules, FINAL)}
    funnel = FunnelMeter(truth_, proposing(names, config.proposers), focus_of(ks))
    costs = None
    if recommender.shaper is not None:
        costs = RuleCosts(recommender, truth_, items, ks, parts)
        meters[UNSHAPED] = costs.unshaped
    scratch, popular = Scratch(), train.popular_of(allowed)
    content = next((source for source in recommender.fitted if isinstance(source, Unplayed)), None)
    fresh = content.of_unplayed(train, allowed) if content is not None and config.output.fresh > 0 else None
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(ListWriter(folder / FILES[name], train))
            for name in (*shown_as, *([FRESH] if fresh is not None else []), FINAL)
            if name in FILES
        }
        for block in blocks(train, config, progress):
            made = recommender.lists(block, scratch)
            ranked = made.ranked
            if costs is not None:
                costs.add(block, made)
            known = {f"{name}_score": column for name, column in zip(names, ranked.candidates.scores.T, strict=True)}
            known = {name: known[name] for name in write.SCORES if name in known}
            known |= zip(recommender.features.names, ranked.features.T, strict=True)
            columns = write.final_columns(block, made.lists, known, made.place, config.output.features)
            writers[FINAL].write_lists(block, made.lists, columns)
            for name, lists in zip(shown_as, ranked.own, strict=True):
                shown = lists.head(k)
                meters[name].add(block.users, shown, block.pairs)
                if name in writers:
                    writers[name].write_lists(block, shown)
            if fresh is not None:
                writers[FRESH].write_lists(block, fresh.recommend_fresh(block, config.output.fresh))
            meters[FINAL].add(block.users, made.lists, block.pairs)
            for name, shown in (own_rules(block, popular, k, allowed) if rules else {}).items():
                meters[name].add(block.users, shown, block.pairs)
            funnel.add(block.users, ranked.candidates.lists, ranked.candidates.ranks > 0, ranked.lists)
    return meters, funnel, None if costs is None else costs.summary(meters[FINAL])


def blocks(train: Dataset, config: Config, progress: Progress) -> Iterator[Block]:
    """All users, some thousand at a time."""
    for lo in range(0, train.n_users, config.block):
        progress("lists", lo, train.n_users)
        yield train.block(lo, min(lo + config.block, train.n_users), config.filter_seen)


def longest_list(train: Dataset, config: Config) -> int:
    """How many items a list can hold: no metric@k is of a k above it."""
    return min(config.output.k, len(train.popularity_order))


def measured_ks(train: Dataset, config: Config) -> tuple[int, ...]:
    """The cut-offs of `evaluation.ks` that lists are long enough for."""
    return ks_within(config.evaluation.ks, longest_list(train, config))


def stage_rng(seed: int, stage: str) -> np.random.Generator:
    """The generator of one stage; stages do not disturb one another."""
    return np.random.default_rng([seed, zlib.crc32(stage.encode())])


def _manifest(
    inputs: Inputs, loaded: Loaded, config: Config, ranker: RankerModel, sources: Sequence[Source], stages: Stages
) -> dict[str, Any]:
    packages = ("tonearm", "numpy", "numba", "scipy", "polars", "pyarrow", trees.LIBRARY)
    cutoff = to_moment(loaded.train.now).isoformat() if loaded.train.log.time is not None else None
    return {
        "format": 1,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "seed": config.seed,
        "inputs": inputs.addresses(),
        "test_from": None if inputs.test_from is None else parse_moment(inputs.test_from).isoformat(),
        "cutoff": cutoff,
        "today": to_moment(loaded.today).isoformat(),
        "fingerprints": [vars(f) for f in loaded.fingerprints],
        "found": loaded.found.as_dict(),
        "users": loaded.train.n_users,
        "items": loaded.train.n_items,
        "sources": {source.name: write.facts(source) for source in sources},
        "ranker": ranker.validation | {"importances": ranker.importances()},
        "stages": list(stages.rows),
    }
