"""A whole run on a cluster: what `pipeline.run` does, for a log of any number of users."""

import shutil
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tonearm import report
from tonearm.config import Config, stage_rng, to_toml
from tonearm.data.times import to_seconds
from tonearm.evaluation.bootstrap import N_GROUPS
from tonearm.evaluation.measure import longest_list
from tonearm.evaluation.meters import left_out_ks
from tonearm.kernels.machine.threads import threads
from tonearm.loading.files import local_path
from tonearm.loading.load import Loaded
from tonearm.loading.summary import in_a_line, undated
from tonearm.parts import lists, measured, sources, summary
from tonearm.parts.counted import Counted, label_window
from tonearm.parts.work import unpack
from tonearm.pipeline import NO_WINDOW, Inputs, manifest_of, shaper_of
from tonearm.ranking.features import Features
from tonearm.ranking.ranker import RankerModel
from tonearm.ranking.recommender import Recommender
from tonearm.ranking.training import WHOLE, TrainingTable, join_tables
from tonearm.report import profile
from tonearm.runs import directory, vouch, write
from tonearm.runs.data import write_data
from tonearm.runs.omissions import omissions
from tonearm.sources.base import Recipe, Resumable, Source
from tonearm.sources.left_out import LeftOut, as_rows
from tonearm.spark.cluster import Cluster
from tonearm.spark.load import read
from tonearm.split import NoWindow
from tonearm.terminal.stages import Stages

WORK = ".work"
"""In a run that is being made: what lies between stages."""

NOT_HERE = ("user_knn",)
"""Sources whose models are all users' histories."""


def run(
    inputs: Inputs, out: Path | str, config: Config, *, overwrite: bool = False, show: bool = False
) -> dict[str, Any]:
    """As `pipeline.run`, on a cluster. Every machine of it reaches `out` under the same path.

    Raises:
        TonearmError: the inputs, the configuration, the cluster or the place of the output will not do.
    """
    out = local_path(str(out)).absolute()
    with directory.new_directory(out, overwrite) as folder, threads(config.threads):
        stages = Stages(show)
        stages.compile_kernels()
        (folder / WORK).mkdir()
        with Cluster.connect(config.spark, folder / WORK) as cluster:
            cluster.progress = stages.progress
            metrics, manifest = _made(cluster, inputs, folder, config, stages)
            manifest["cluster"] = {
                "version": cluster.session.version,
                "master": cluster.session.sparkContext.master,
                "tasks_at_a_time": cluster.tasks,
                "stages": cluster.costs(),
            }
        shutil.rmtree(folder / WORK)
        for leftover in [*folder.rglob("_SUCCESS"), *folder.rglob(".*.crc")]:
            leftover.unlink()
        with stages.stage("report"):
            missing = report.attempt(folder, manifest, out)
        vouch.write_manifest(folder, manifest | {"report_missing": missing, "stages": stages.rows})
    if missing is not None:
        warnings.warn(missing, RuntimeWarning, stacklevel=2)
    return metrics


def _made(
    cluster: Cluster, inputs: Inputs, folder: Path, config: Config, stages: Stages
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Everything but the report, in a folder; metrics and manifest."""
    with stages.stage("load"):
        today = to_seconds((datetime.now(UTC) + timedelta(hours=14)).replace(tzinfo=None))
        log = read(cluster, inputs, config, today, str(folder / WORK / "shards"))
        train = Counted.on(cluster, log.catalogue, log.nobody, log.no_users, log.cut, config)
        tested = cluster.total(summary.test_of_shard)
        new, drops = len(log.new_items), log.drops_repeats
        found = summary.found_of(log.found, log.about_items, log.orphan_items, new, drops, train, tested)
        stages.say(in_a_line(found))
    recipes = {name: recipe for name, recipe in config.recipes().items() if name not in NOT_HERE}
    shaper = shaper_of(inputs, train, config)
    ranker, earlier = _learn_to_rank(cluster, train, recipes, config, stages, folder)
    with stages.stage("fit sources on all of train"):
        fitted = sources.fit(cluster, train, config, recipes, earlier)
    k = config.output.k
    recommender = Recommender.of(train, fitted, ranker, shaper, config.search, k, config.threads)
    with stages.stage("similar items"):
        rng = stage_rng(config.seed, "similar")
        similar = write.write_similar(folder, train, recommender.sources, config.output, rng, stages.progress)
    unit, edges = profile.time_edges(int(tested["least"][0]), int(tested["most"][0]))
    with stages.stage("lists"):
        models = folder / WORK / f"models-{cluster.run}"
        lists.write_models(models, train, recommender, config)
        units = max(64, N_GROUPS // cluster.shards.rdd.getNumPartitions())
        task = lists.ListTask(models, units, edges)
        columns = task.columns(train, recommender, config)
        sums = cluster.write_lists(task, columns, folder, folder / WORK / "staging")
    nobody = lists.nobody(train)
    with stages.stage("evaluate"):
        unknown, catalogue = int(tested["unknown"][0]), None if inputs.items is None else "the catalogue"
        metrics = measured.metrics(sums, nobody, recommender, config, unknown, catalogue)
    loaded = Loaded(train, None, found, log.fingerprints, log.today)
    with stages.stage("catalogue, models, profile"):
        metrics["folds"] = None
        metrics["left_out"] = omissions(loaded, config, fitted, ranker, similar) + as_rows(_not_here(config))
        metrics["notes"] += [*left_out_ks(config.evaluation.ks, longest_list(train, config)), *ranker.notes]
        listed = metrics["lists"]["recommendations"]["listed_users"]
        metrics["notes"] += [*write.silent_users(listed, train.n_users), *undated(found)]
        popular = train.popular_of(recommender.allowed)[: config.output.top_popular]
        write.write_catalogue(folder, train, popular)
        write.write_models(folder, train, fitted, ranker, {} if shaper is None else shaper.masks)
        write_data(folder, train, None, recommender.features.item)
        spooled = _spool(cluster.shards, folder / WORK / "spool")
        summary.write_histories(folder, spooled, log.new_items, unknown)
        (folder / "config.toml").write_text(to_toml(config), encoding="utf-8")
        directory.write_json(folder / "metrics.json", metrics)
        directory.write_json(folder / "profile.json", summary.profile_of(train, spooled, sums, unit, edges, config))
    manifest = manifest_of(inputs, loaded, recommender, config, stages)
    return metrics, manifest | {"similar": similar, "left_out": metrics["left_out"]}


def _not_here(config: Config) -> Iterator[LeftOut]:
    for name in NOT_HERE:
        if name in config.recipes():
            cost = "the final list lacks its candidates and its score"
            yield LeftOut(f"source {name} is off", None, "its model grows with the users", cost, 'engine = "local"')


def _learn_to_rank(
    cluster: Cluster,
    train: Counted,
    recipes: dict[str, Recipe[Source]],
    config: Config,
    stages: Stages,
    folder: Path,
) -> tuple[RankerModel, dict[str, Source]]:
    """As `pipeline.learn_to_rank`."""
    tables: list[TrainingTable] = []
    labelled: list[int] = []
    earlier: dict[str, Source] = {}
    recipes = {name: recipe for name, recipe in recipes.items() if recipe.needs(train) is None}
    until = train.now
    for window in range(config.split.windows):
        try:
            with stages.stage(f"fit sources on history {window + 1}"):
                history = train.until(cluster, label_window(cluster, until, config.split), config)
                fitted = sources.fit(cluster, history, config, recipes, {})
        except NoWindow:
            break
        if not earlier:
            earlier = {source.name: source.beginning() for source in fitted if isinstance(source, Resumable)}
        with stages.stage(f"training table {window + 1}"):
            left = WHOLE - sum(int(table.whole.sum()) for table in tables)
            models = folder / WORK / f"history-{cluster.run}-{window + 1}"
            table, n = lists.training_table(cluster, history, until, fitted, config, models, left)
            tables.append(table)
            labelled.append(n)
            del fitted
        if sum(int(table.found.sum()) for table in tables) >= config.ranker.many:
            break
        until = history.now
    if not tables:
        names = Features.fit(train, list(recipes), config.filter_seen, config.ranker.features).names
        return RankerModel.of_sources(names, NO_WINDOW), {}
    with stages.stage("ranker"):
        rng, table = stage_rng(config.seed, "ranker"), join_tables(tables)
        ranker = config.ranker.fit(table, rng, threads=config.threads, progress=stages.progress, later=True)
        ranker.validation["labelled_users"] = labelled
        return ranker, earlier


def _spool(shards: Any, folder: Path) -> list[Path]:
    """Every shard as a file of this machine, in order; one at a time is in memory."""
    folder.mkdir()
    for row in shards.toLocalIterator():
        directory.save_arrays(folder / f"{row['shard']:08d}.npz", unpack(row["data"]))
    return sorted(folder.glob("*.npz"))
