"""The whole story on one screen: load, split, fit, rank, write, evaluate, report."""

import json
import platform
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import asdict, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tonearm import report
from tonearm.config import Config, stage_rng, to_toml
from tonearm.data.dataset import Block, Dataset
from tonearm.data.times import DAY, parse_moment, to_moment
from tonearm.data.truth import truth
from tonearm.errors import ConfigError
from tonearm.evaluation.cuts import earlier_trials, held_out
from tonearm.evaluation.folds import over_folds
from tonearm.evaluation.measure import Measure, longest_list
from tonearm.evaluation.meters import left_out_ks
from tonearm.evaluation.published import told, yambda
from tonearm.inputs import Inputs as Inputs
from tonearm.kernels.machine.threads import behind, threads
from tonearm.loading.files import local_path
from tonearm.loading.load import Loaded, Test
from tonearm.loading.summary import in_a_line, undated
from tonearm.options import expect
from tonearm.ranking import trees
from tonearm.ranking.features import Features, Scratch
from tonearm.ranking.ranker import RankerModel
from tonearm.ranking.recommender import Made, Recommender
from tonearm.ranking.training import WHOLE, TrainingTable, join_tables
from tonearm.report.profile import profile
from tonearm.runs import directory, invariants, vouch, write
from tonearm.runs import memory as budget
from tonearm.runs.data import write_data
from tonearm.runs.lists import FILES as LIST_FILES
from tonearm.runs.lists import FINAL
from tonearm.runs.omissions import omissions
from tonearm.runs.resume import NO_LISTS_KEPT, NOTHING_KEPT, KeptLists, Unfinished, unfinished
from tonearm.runs.write import ListFiles
from tonearm.shaping.shaper import Shaper
from tonearm.sources import fit_sources
from tonearm.sources.base import Resumable
from tonearm.sources.base import Source as Fitted
from tonearm.split import NoWindow, inner_splits
from tonearm.terminal.progress import Progress
from tonearm.terminal.stages import Stages

NO_WINDOW = "train cannot be cut into a history and a label window"
"""Why there is no ranker where all events are of one moment or, without time, where no user has two items."""


def run(
    inputs: Inputs,
    out: Path | str,
    config: Config,
    *,
    refit: bool = False,
    folds: int = 1,
    overwrite: bool = False,
    resume: bool = False,
    memory: str | None = None,
    show: bool = False,
) -> dict[str, Any]:
    """Do everything and write the run directory; returns the content of metrics.json.

    Without a test the last label window is one: a model that did not see it is measured on it, and lists and models
    are those of another, fitted on everything.

    out: appears whole, or not at all
    refit: what is measured is fitted before the cut as ever, and lists and models are fitted on everything
    folds: cuts to measure at: that of the test, and earlier ones, each as far before the next as the test is long
    resume: keep what is finished beside `out` until all is, and go on from what an earlier call kept
    memory: what the run may take, as "8G"; by default the usual share of what the machine or its container has. Blocks
        of users are as large as that allows; results do not change
    show: print stages and progress bars to standard error

    Raises:
        TonearmError: the inputs, the configuration or the place of the output will not do.
    """
    expect(inputs, Inputs, "inputs", 'Pass Inputs(events="events.parquet", test_from="2022-12-16") or the like.')
    expect(config, Config, "config", 'Pass Config() or load_config(overrides=["als.factors=128"]) or the like.')
    if folds < 1:
        raise ConfigError(f"folds = {folds}: a run is measured at one cut at least. Set folds to 1 or more.")
    out, allowed = local_path(str(out)), budget.budget_of(memory)
    directory.check_free(out, overwrite)
    stages = Stages(show)
    with (
        unfinished(out, resume, stages.say) as kept,
        directory.new_directory(out, overwrite) as folder,
        threads(config.threads),
    ):
        stages.compile_kernels()
        with stages.stage("load"):
            loaded = inputs.load(config, stages.progress, kept.today)
            stages.say(in_a_line(loaded.found))
            kept.of(_about(inputs, loaded, config, refit, folds))
            trial = loaded if loaded.test is not None else held_out(loaded, config)
            earlier = earlier_trials(trial, folds - 1)
            shaper = shaper_of(inputs, trial.train, config)
            plan = budget.plan(trial, config, allowed)
            stages.say(plan.words)
            given, config = config, replace(config, block=plan.block)
        recommender = learn(trial.train, shaper, config, stages, kept)
        measure = Measure(trial.train, trial.measured_by, recommender, config)
        final, again = trial, refit or loaded.test is None
        if again:
            with stages.stage("lists to measure"):
                before = kept.lists("lists", measure)
                make_lists(trial.train, recommender, config, [measure.add], stages.progress, before)
            final = loaded if loaded.test is None else inputs.load_whole(config, stages.progress, loaded.today)
            recommender = learn(final.train, shaper_of(inputs, final.train, config), config, stages, kept.within("all"))
        with stages.stage("similar items"):
            rng, sources = stage_rng(config.seed, "similar"), recommender.sources
            similar = kept.file(
                "similar",
                folder / "similar.parquet",
                lambda: write.write_similar(folder, final.train, sources, config.output, rng, stages.progress),
            )
        with stages.stage("lists"), ListFiles(folder, final.train, recommender, config) as files:
            takers = [files.write] if again else [files.write, measure.add]  # the former checks them
            before = kept.within("all").lists("lists", None, files) if again else kept.lists("lists", measure, files)
            make_lists(final.train, recommender, config, takers, stages.progress, before)
        catalogue = None if inputs.items is None else "the catalogue"
        with stages.stage("evaluate"):
            metrics = measure.metrics(catalogue)
        metrics["folds"] = measured_earlier(inputs, trial, metrics, earlier, config, catalogue, stages, kept)
        longest = longest_list(trial.train, config)
        metrics |= published(inputs, folder, config, longest)
        metrics["left_out"] = omissions(final, config, recommender.fitted, recommender.ranker, similar)
        metrics["notes"] += [*left_out_ks(config.evaluation.ks, longest), *recommender.ranker.notes]
        metrics["notes"] += [told(metrics["published"])] if "published" in metrics else []
        with stages.stage("catalogue, models, profile"):
            metrics["notes"] += [*write.silent_users(files.listed, final.train.n_users), *undated(loaded.found)]
            metrics["notes"][:0] = [_not_measured(trial, loaded)] if again else []
            write_recommender(folder, final.train, final.test, recommender, given)
            directory.write_json(folder / "metrics.json", metrics)
            directory.write_json(
                folder / "profile.json", profile(trial.train, measure.test, measure.truth, config.seed)
            )
        with stages.stage("report"):
            manifest = manifest_of(inputs, replace(final, found=loaded.found), recommender, config, stages)
            peak = max(row["peak_mb"] for row in stages.rows)
            manifest |= {
                "memory": plan.as_dict() | {"peak_mb": peak},
                "similar": similar,
                "left_out": metrics["left_out"],
                "checked": {"entries": files.entries, "holds": invariants.HOLDS},
            }
            manifest |= {"measured_from": _moment(trial.train)} if again else {}
            missing = report.attempt(folder, manifest, out)
        vouch.write_manifest(folder, manifest | {"report_missing": missing, "stages": stages.rows})
    kept.remove()
    if missing is not None:
        warnings.warn(missing, RuntimeWarning, stacklevel=2)
    return metrics


def published(inputs: Inputs, folder: Path, config: Config, longest: int) -> dict[str, Any]:
    """The final list by the rules of a published benchmark, as {"published": …}; nothing unless asked for.

    longest: the length of the longest list
    """
    train, test = inputs.source("train"), inputs.source("test")
    ks = [k for k in config.evaluation.ks if k <= longest]
    if config.evaluation.rules == "tonearm" or train is None or test is None or not ks:
        return {}
    return {"published": yambda(str(folder / LIST_FILES[FINAL]), test, train, ks, config.data.columns)}


def write_recommender(
    folder: Path, train: Dataset, test: Test | None, recommender: Recommender, config: Config
) -> None:
    """All that lists are made of: data/, models/ and config.toml; also the popular list and the genres."""
    shaper, popular = recommender.shaper, train.popular_of(recommender.allowed)
    masks = {} if shaper is None else shaper.masks
    write.write_catalogue(folder, train, popular[: config.output.top_popular])
    write.write_models(folder, train, recommender.fitted, recommender.ranker, masks)
    write_data(folder, train, test, recommender.features.item)
    (folder / "config.toml").write_text(to_toml(config), encoding="utf-8")


def measured_earlier(
    inputs: Inputs,
    trial: Loaded,
    metrics: dict[str, Any],
    earlier: Sequence[Loaded],
    config: Config,
    catalogue: str | None,
    stages: Stages,
    kept: Unfinished,
) -> dict[str, Any] | None:
    """What all cuts say together; None where there is one.

    metrics: those of the latest cut
    """
    measured = [(_moment(trial.train) or "", metrics)]
    for fold in earlier:
        own = kept.within(f"fold {len(measured) + 1}")
        recommender = learn(fold.train, shaper_of(inputs, fold.train, config), config, stages, own)
        measure = Measure(fold.train, fold.measured_by, recommender, config)
        with stages.stage(f"lists of fold {len(measured) + 1}"):
            before = own.lists("lists", measure)
            make_lists(fold.train, recommender, config, [measure.add], stages.progress, before)
            measured.append((_moment(fold.train) or "", measure.metrics(catalogue)))
    return over_folds(measured) if earlier else None


def _not_measured(trial: Loaded, loaded: Loaded) -> str:
    """Which model the figures are of, where it is not the one whose lists are there."""
    others = "lists and models here are of another one, fitted on all events"
    if loaded.test is not None:
        return f"figures are of a model of what lies before the test; {others}"
    days = (loaded.train.now - trial.train.now) / DAY
    part = (
        f"the last {days:.3g} days before the end" if loaded.train.log.time is not None else "some items of each user"
    )
    return f"no test: figures are of {part}, made by a model that did not see them; {others}"


def shaper_of(inputs: Inputs, train: Dataset, config: Config) -> Shaper | None:
    """The rules of shaping, as they concern the items of train."""
    return config.shape.fit(train, inputs.source("items"), columns=config.data.columns)


def learn(
    train: Dataset, shaper: Shaper | None, config: Config, stages: Stages, kept: Unfinished = NOTHING_KEPT
) -> Recommender:
    """All that lists are made of: a ranker from label windows within train, and sources fitted on all of it.

    kept: what an earlier call has finished of it
    """
    ranker, earlier = learn_to_rank(train, config, stages, kept)
    with stages.stage("fit sources on all of train"):
        sources = kept.sources(
            "sources", lambda: fit_sources(train, config.recipes(), config.seed, stages.progress, earlier)
        )
    return Recommender.of(train, sources, ranker, shaper, config.search, config.output.k, config.threads)


def learn_to_rank(
    train: Dataset, config: Config, stages: Stages, kept: Unfinished = NOTHING_KEPT
) -> tuple[RankerModel, dict[str, Fitted]]:
    """Fit sources on the history, label their candidates by the label window, and train the ranker on that.

    Where a window has labels for few users, earlier windows, each with a history of its own, add to them. Returned with
    the ranker is what the latest history's sources have learnt, as far as the fit on all of train may go on from it.

    Rules of shaping play no part: they may leave few labels, and may change without a refit.
    """
    tables: list[TrainingTable] = []
    labelled: list[int] = []
    earlier: dict[str, Fitted] = {}
    # a shorter history might carry what all of train cannot
    recipes = {name: recipe for name, recipe in config.recipes().items() if recipe.needs(train) is None}
    try:
        for split in inner_splits(train, config.split, stage_rng(config.seed, "split")):
            n = len(tables) + 1
            with stages.stage(f"fit sources on history {n}"):
                sources = kept.sources(
                    f"history {n}", partial(fit_sources, split.history, recipes, config.seed, stages.progress)
                )
            if not earlier:
                earlier = {source.name: source.beginning() for source in sources if isinstance(source, Resumable)}
            with stages.stage(f"training table {n}"):
                left = WHOLE - sum(int(table.whole.sum()) for table in tables)
                answers = truth(split.history.log, split.labels, config.filter_seen)
                labelled.append(len(answers))
                rng = stage_rng(config.seed, "training table")
                given = (split.history, answers, sources, config.search, rng, stages.progress, left, split.against)
                tables.append(kept.table(f"table {n}", partial(config.ranker.training_table, *given)))
            if sum(int(table.found.sum()) for table in tables) >= config.ranker.many:
                break
    except NoWindow:
        names = Features.fit(train, list(recipes), config.filter_seen, config.ranker.features).names
        return RankerModel.of_sources(names, NO_WINDOW), {}
    with stages.stage("ranker"):
        rng = stage_rng(config.seed, "ranker")
        table = join_tables(tables)
        later = train.log.time is not None
        fit = partial(config.ranker.fit, table, rng, config.threads, stages.progress, later)
        ranker = kept.ranker("ranker", fit)
        ranker.validation["labelled_users"] = labelled
        return ranker, earlier


def make_lists(
    train: Dataset,
    recommender: Recommender,
    config: Config,
    takers: Sequence[Callable[[Block, Made], None]],
    progress: Progress,
    kept: KeptLists = NO_LISTS_KEPT,
) -> None:
    """Make the lists of all users, some thousand at a time, and hand them on.

    A block is handed on while candidates are found for the next one.

    kept: of which users that was done before, and what is kept of the others
    """
    scratch, hi, n = Scratch(), kept.done, train.n_users
    taken: Future[None] | None = None

    def hand_on(block: Block, made: Made, end: int) -> None:
        for take in takers:
            take(block, made)
        kept.end_block(end)

    with behind() as other:
        while hi < n:
            progress("lists", hi, n)
            lo, hi = hi, min(hi + config.block, n, (hi // write.GROUP + 1) * write.GROUP)
            block = train.block(lo, hi, config.filter_seen)
            found = recommender.find(block)
            if taken is not None:
                taken.result()  # before its features are written over
            taken = other.submit(hand_on, block, recommender.lists(block, scratch, found), hi)
        if taken is not None:
            taken.result()


def _about(inputs: Inputs, loaded: Loaded, config: Config, refit: bool, folds: int) -> dict[str, Any]:
    """What a run is of: two of the same give the same bytes."""
    return {
        "options": json.loads(json.dumps(asdict(config))),
        "test_from": None if inputs.test_from is None else parse_moment(inputs.test_from).isoformat(),
        "refit": refit,
        "folds": folds,
        "today": to_moment(loaded.today).isoformat(),
        "inputs": {f.path: [f.rows, f.bytes, f.sha256] for f in loaded.fingerprints},
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    packages = ("tonearm", "numpy", "numba", "scipy", "polars", "pyarrow", trees.LIBRARY)
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def _moment(train: Dataset) -> str | None:
    return None if train.log.time is None else to_moment(train.now).isoformat()


def manifest_of(
    inputs: Inputs, loaded: Loaded, recommender: Recommender, config: Config, stages: Stages
) -> dict[str, Any]:
    """What the manifest says of a fit."""
    ranker = recommender.ranker
    return {
        "format": 2,
        "versions": _versions(),
        "seed": config.seed,
        "inputs": inputs.addresses(),
        "test_from": None if inputs.test_from is None else parse_moment(inputs.test_from).isoformat(),
        "cutoff": _moment(loaded.train),
        "today": to_moment(loaded.today).isoformat(),
        "fingerprints": [vars(f) for f in loaded.fingerprints],
        "found": loaded.found.as_dict(),
        "users": loaded.train.n_users,
        "items": loaded.train.n_items,
        "sources": {source.name: write.facts(source) for source in recommender.fitted},
        "ranker": ranker.validation | {"importances": ranker.importances()},
        "stages": list(stages.rows),
    }
