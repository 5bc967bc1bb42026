"""The command line. Each command imports what it needs when it runs, so that `--help` answers at once."""

import os
import sys
from contextlib import suppress
from dataclasses import asdict
from shlex import quote
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, Parameter

from tonearm.arguments import ConfigOptions, ItemId, LogOptions, Place, RunFolder, UserId
from tonearm.errors import ConfigError, DataError, MissingExtra, OutputError, TonearmError
from tonearm.serving.cli import register
from tonearm.terminal.printing import printing, say, shortened
from tonearm.terminal.signals import Stopped, exit_code, stopping
from tonearm.terminal.words import counted

app = App(
    name="tonearm",
    help="A listening log and a catalogue in; ranked, measured and explained recommendations out.",
    suppress_keyboard_interrupt=False,
)
show = App(name="show", help="Look at one user or one item of a finished run.")
prepare = App(name="prepare", help="Turn a known raw dump into events and items.")
app.command(show)
app.command(prepare)
register(app)

Unneeded = Annotated[str | None, Parameter(show=False)]
"""Where the log or the catalogue is, for whoever still says so: a run holds all that is needed of them."""


@app.command
def run(
    *,
    out: Place,
    log: LogOptions = LogOptions(),
    options: ConfigOptions = ConfigOptions(),
    sample: float | None = None,
    users_file: Place | None = None,
    refit: Annotated[bool, Parameter(negative="")] = False,
    folds: int = 1,
    overwrite: bool = False,
    resume: Annotated[bool, Parameter(negative="")] = False,
    memory: str | None = None,
    mlflow: str | None = None,
    engine: Literal["local", "spark"] | None = None,
    quiet: bool = False,
    verbose: bool = False,
) -> None:
    """Make every list, model and metric, and a report, from a log and a catalogue.

    Without test_from lists and models are of the whole log, and figures of its last days, by a model that did not see
    them.

    Parameters
    ----------
    out
        The run directory to write; it appears whole or not at all.
    sample
        Share of the listeners to look at, such as .05, for a quick first look at a huge log.
    users_file
        Look at these listeners alone: a table with user_id, or a text file (.txt) with one id a line.
    refit
        Once everything is measured, fit again on the whole log, test and all, for lists and models.
    folds
        Cuts to measure at: that of the test, and earlier ones, each as far before the next as the test is long.
    overwrite
        Replace a run that is there already.
    resume
        Keep every finished stage beside out until the run is whole; the same command goes on from there.
    memory
        What the run may take, such as 8G; by default 70% of what the machine or its container has.
    mlflow
        An MLflow tracking address, where options, figures and report are logged too.
    engine
        This machine (local), or a cluster (spark); by default as the options say.
    quiet
        Print no stages and no progress bars.
    verbose
        Print every comparison, cold users, and what each figure means.
    """
    from tonearm.runs.directory import check_free

    check_free(out, overwrite)
    from json import dumps

    some = [] if sample is None else [f"data.sample={sample}"]
    some += [] if users_file is None else [f"data.users_file={dumps(str(users_file.absolute()))}"]
    some += [] if engine is None else [f"engine={engine}"]
    config = options.load(log.columns, some)
    from tonearm.engine import run as run_pipeline
    from tonearm.evaluation.words import shown
    from tonearm.explanation.show import next_steps
    from tonearm.runs.tracking import Tracker

    tracker = None if mlflow is None else Tracker.open(mlflow)
    inputs, show, place = log.inputs(), not quiet, {"resume": resume, "overwrite": overwrite}
    try:
        metrics = run_pipeline(inputs, out, config, refit=refit, folds=folds, memory=memory, show=show, **place)
    except KeyboardInterrupt as stop:
        if not resume:
            raise
        say("Stopped. What is finished is kept; the same command goes on from there.", error=True)
        raise SystemExit(exit_code(stop)) from None
    say(shown(metrics, _width(), verbose))
    if (out / "report.html").exists():
        say(f"Report: {out / 'report.html'}")
    if tracker is not None:
        say(f"MLflow: run {tracker.log(out)} at {mlflow}")
    for step in next_steps(out):
        say(step)


@app.command
def recommend(
    *,
    run: Place,
    out: Place,
    users: Place | None = None,
    history: str | None = None,
    events: str | None = None,
    k: int | None = None,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
    quiet: bool = False,
) -> None:
    """Make lists by a finished run for some, new or all listeners, with what they played since, without a refit.

    Parameters
    ----------
    run
        The run directory, or a saved model; the log it was made from is not needed.
    out
        The parquet file to write: user_id, item_id, score, rank.
    users
        Who gets lists: a table with user_id, or a text file (.txt) with one id a line. By default everybody.
    history
        Instead of users: plays (user_id, item_id, perhaps started_at) whose listeners get lists, new ones too.
    events
        Plays since the run, which are added to what it holds of its listeners; new ones are folded in.
    k
        Entries of each list; by default those of the run.
    overwrite
        Replace the file that is there already.
    quiet
        Print no stages and no progress bars.
    """
    from tonearm.model.lists_file import recommend as write_lists

    n = write_lists(run, out, users=users, history=history, events=events, k=k, overwrite=overwrite, show=not quiet)
    say(f"Wrote {out}: lists of {counted(n, 'listener')}")


@app.command
def check(
    *,
    log: LogOptions = LogOptions(),
    options: ConfigOptions = ConfigOptions(),
) -> None:
    """Say what is in the input and what is wrong with it; exits with 2 where `run` would refuse it.

    Without test_from the log is looked at as a whole.
    """
    from tonearm.data.times import parse_moment
    from tonearm.loading.check import check as check_inputs
    from tonearm.loading.check import render

    config = options.load(log.columns)
    logs = {name: path for name, path in (("events", log.events), ("train", log.train), ("test", log.test)) if path}
    checked = check_inputs(logs, log.items, None if log.test_from is None else parse_moment(log.test_from), config)
    say(render(checked))
    if checked.columns:
        given = {name: value for name, value in asdict(log).items() if value is not None} | {"columns": checked.columns}
        flags = " ".join(f"--{name.replace('_', '-')} {quote(value)}" for name, value in given.items())
        say("By their names and what they hold, the columns may be these. If so, run:")
        say(f"  tonearm run {flags} --out run")
    if checked.errors:
        raise SystemExit(2)


@app.command
def synth(
    *,
    out: Place,
    preset: Literal["tiny", "small", "medium", "yandex"] = "small",
    seed: int = 0,
    raw: bool = False,
) -> None:
    """Make a listening log with planted taste, and its catalogue.

    Parameters
    ----------
    out
        The folder to write; events.parquet and items.parquet go there.
    preset
        Its size: tiny, small, medium, or yandex, the twin of a log of 222 million listens.
    seed
        Another seed makes another log.
    raw
        Write the three raw files that `prepare yandex` reads instead.
    """
    from tonearm.synth import generate

    generate(preset, out, seed, raw)
    say(f"Wrote {out}")


@prepare.command(name="yandex")
def prepare_yandex(*, tracks: Place, catalog: Place, interactions: Place, out: Place) -> None:
    """Turn the raw Yandex Music dump of the course into events, items and genres.

    Parameters
    ----------
    tracks
        tracks.parquet: track_id, albums, artists, genres.
    catalog
        catalog_names.parquet: id, type, name.
    interactions
        interactions.parquet: user_id, track_id, started_at.
    out
        The folder to write.
    """
    from tonearm.synth.prepare import yandex

    yandex(tracks, catalog, interactions, out)
    say(f"Wrote {out}")


def _prepare(kind: str, about: str) -> None:
    def command(*sources: Place, out: Place) -> None:
        from tonearm.synth.exports import prepare as prepare_export

        if not sources:
            raise ConfigError(f"tonearm prepare {kind} needs a folder, a file or a zip archive to read.")
        say(f"Wrote {out}: {prepare_export(kind, sources, out)}")

    command.__doc__ = f"""Turn {about} into events and items.

    Parameters
    ----------
    sources
        Folders, files or zip archives; where none names its person, each is one, called as the file is.
    out
        The folder to write.
    """
    prepare.command(command, name=kind)


for _kind, _about in (
    ("lastfm", "scrobbles as CSV, or the sets of 1,000 and 360,000 listeners of Last.fm,"),
    ("listenbrainz", "ListenBrainz exports, or the listens of its dumps,"),
    ("spotify", "Spotify's streaming histories"),
    ("movielens", "ratings.csv or ratings.dat of MovieLens, from 4 on,"),
    ("yambda", "Yambda's flat listens and mappings"),
):
    _prepare(_kind, _about)


@app.command
def evaluate(
    *,
    lists: Place,
    truth: Place,
    train: Place | None = None,
    items: Place | None = None,
    k: Annotated[tuple[int, ...], Parameter(negative="")] = (5, 10, 20, 100),
    filter_seen: bool = True,
    seed: int = 0,
    columns: str | None = None,
    rules: Literal["tonearm", "yambda"] = "tonearm",
    out: Place | None = None,
    verbose: bool = False,
) -> None:
    """Measure any lists against any truth.

    Parameters
    ----------
    lists
        user_id, item_id, and rank or score; item_id and rank alone are one list for everybody.
    truth
        user_id, item_id: what users went on to hear.
    train
        user_id, item_id: what they had heard before; without it every user counts as warm and nothing as seen.
    items
        The catalogue, for coverage and diversity; without it coverage is of the items of train.
    k
        Cut-offs of the metrics, up to the length of the longest list; may be repeated.
    filter_seen
        Leave what a user had heard out of their truth.
    seed
        Seed of the bootstrap.
    columns
        What the files call their columns, as in user=UserID,item=sku.
    rules
        Whose rules the metrics go by: yambda takes those of that benchmark, which need train.
    out
        Write the metrics as JSON to this file.
    verbose
        Print what each figure means.
    """
    from tonearm.evaluation.summary import evaluate as evaluate_lists
    from tonearm.evaluation.words import shown
    from tonearm.loading.columns import parse_columns
    from tonearm.runs.directory import check_free, to_json, write_whole

    if out is not None:
        check_free(out)
    names = parse_columns(columns or "")
    if rules == "yambda":
        from tonearm.evaluation.published import yambda

        if train is None:
            raise ConfigError("--rules yambda needs --train, as its metrics pass over users that train does not know.")
        metrics = yambda(str(lists), str(truth), str(train), k, names)
        for name, value in metrics["metrics"].items():
            say(f"{name:14} {value:.4f}")
        say(f"Over {metrics['users']:,} users, by the rules of the Yambda benchmark.")
    else:
        metrics = evaluate_lists(lists, truth, train, items, ks=k, filter_seen=filter_seen, seed=seed, columns=names)
        say(shown(metrics, _width(), verbose))
    if out is not None:
        write_whole(out, to_json(metrics))


@app.command
def compare(run_a: Place, run_b: Place, /) -> None:
    """Set two runs side by side: settings, data, metrics, lists, costs.

    Parameters
    ----------
    run_a
        A run directory.
    run_b
        The run directory to set beside it.
    """
    from tonearm.compare import compare as compare_runs

    say(compare_runs(run_a, run_b))


@app.command
def report(run: RunFolder, /) -> None:
    """Write a run's report.html anew from its other files."""
    from tonearm.report import rebuild

    rebuild(run)
    say(f"Report: {run / 'report.html'}")


@app.command
def tune(
    *,
    out: Place,
    log: LogOptions = LogOptions(),
    options: ConfigOptions = ConfigOptions(),
    minutes: float | None = None,
    trials: int | None = None,
    quiet: bool = False,
) -> None:
    """Look for better settings of sources and ranker, on the label windows within train alone.

    What run would take as test is not looked at.

    Parameters
    ----------
    out
        The TOML file to write, which run takes as --config; trials are kept beside it, and the same command goes on.
    minutes
        Time to spend; 30 unless trials is given.
    trials
        Trials of each source and of the ranker.
    quiet
        Print nothing while it goes on.
    """
    from tonearm.tune import RULE, study_file
    from tonearm.tune import tune as search

    inputs, config = log.inputs(), options.load(log.columns)
    try:
        verdicts = search(inputs, out, config, minutes=minutes, trials=trials, show=not quiet)
    except KeyboardInterrupt as stop:
        if not study_file(out).exists():
            raise
        say(f"Stopped. {out} holds the best so far; run the same command again to go on.", error=True)
        raise SystemExit(exit_code(stop)) from None
    changed = [verdict.stage for verdict in verdicts if verdict.changed]
    say(f"Changed: {', '.join(changed) or 'nothing'}. The rule: {RULE}.")
    say(f"Wrote {out}; pass it to tonearm run as --config. The same command again goes on from here.")


@show.command(name="user")
def show_user(user: UserId, /, *, run: RunFolder, events: Unneeded = None, k: int = 10) -> None:
    """A user's history next to each of their lists.

    Parameters
    ----------
    k
        Entries of each list.
    """
    del events
    from tonearm.explanation.show import show_user as show_one

    say(show_one(run, user, k))


@show.command(name="item")
def show_item(item: ItemId, /, *, run: RunFolder, k: int = 10) -> None:
    """An item and its similar ones.

    Parameters
    ----------
    k
        Similar items.
    """
    from tonearm.explanation.show import show_item as show_one

    say(show_one(run, item, k))


@app.command
def explain(
    user: UserId,
    item: ItemId,
    /,
    *,
    run: RunFolder,
    events: Unneeded = None,
    items: Unneeded = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Say why a user gets an item, or why not.

    Parameters
    ----------
    json
        Print every part as JSON.
    """
    del events, items
    from tonearm.explanation import explain as explain_one
    from tonearm.explanation.view import render, to_json

    explanation = explain_one(user, item, run)
    say(to_json(explanation) if json else render(explanation))


@app.command
def warmup() -> None:
    """Compile the kernels that a run needs, by all processors, so that the first run begins at once; for images.

    They are kept beside the package, where that may be written to, or in NUMBA_CACHE_DIR.
    """
    from time import perf_counter

    from tonearm.terminal.stages import Stages

    began = perf_counter()
    n = Stages(show=True).compile_kernels()
    say(f"Compiled {n} kernels in {perf_counter() - began:.1f} s." if n else "Every kernel is compiled already.")


@app.command
def explore(
    run: RunFolder,
    /,
    *,
    against: Place | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    events: Unneeded = None,
    items: Unneeded = None,
) -> None:
    """Look into a run by browser: listeners, tracks, why, and another run beside it.

    Parameters
    ----------
    against
        A run directory to compare it with.
    host
        The address to answer at; any but this machine's own lets other machines in.
    port
        The port to answer at; 0 takes a free one, which is printed.
    """
    del events, items
    try:
        from tonearm.explore import serve
    except ModuleNotFoundError as error:
        hint = "tonearm explore needs more packages. Install them by pip install 'tonearm[explore]'."
        raise MissingExtra(f"{hint} ({error})") from error
    serve(run, against, host=host, port=port)


def _width() -> int:
    """Columns of the window; 80 where there is none."""
    from tonearm.terminal.printing import console

    return console().width


NO_MEMORY = f"{DataError.__name__}: the machine ran out of memory. Set block to a smaller number, or use a larger one."


def main() -> None:
    """Run the command line; what a user got wrong is one message and exit code 2, a signal 128 and its number."""
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _unless_memory
    try:
        with printing(), stopping():
            app(sys.argv[1:], exit_on_error=False, print_error=False)
    except CycloptsError as error:
        _fail(f"{type(ConfigError()).__name__}: {error}")
    except TonearmError as error:
        _fail(f"{type(error).__name__}: {error}")
    except MemoryError:
        _fail_at_once(NO_MEMORY)
    except SystemError as error:  # Python has had no room for the error itself
        if "without exception set" not in str(error):
            raise
        _fail_at_once(NO_MEMORY)
    except RuntimeError as error:
        if "can't start new thread" not in str(error):
            raise
        _fail_at_once(NO_MEMORY)
    except BrokenPipeError:  # whoever read standard output has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        _fail(f"{OutputError.__name__}: {place}{error.strerror or error}. See to its room and mode, or name another.")
    except KeyboardInterrupt as stop:
        with suppress(OSError):  # the terminal may be gone
            say("Stopped. Nothing was left behind; run the same command again to start anew.", error=True)
        if isinstance(stop, Stopped) and stop.again:  # without waiting for its threads
            sys.stderr.flush()
            os._exit(exit_code(stop))
        raise SystemExit(exit_code(stop)) from None


def _fail_at_once(message: str) -> None:
    """Without what a process does in the end, for which there may be no room."""
    os.write(sys.stderr.fileno(), f"{message}\n".encode())
    os._exit(2)


def _unless_memory(error: "sys.UnraisableHookArgs") -> None:
    """Say nothing of errors on the way out of a MemoryError, which is told in the end."""
    if not issubclass(error.exc_type, MemoryError):
        sys.__unraisablehook__(error)


def _fail(message: str) -> None:
    say(shortened(message), error=True)
    raise SystemExit(2)
