"""The commands of serving: each with its flags and their help, and what it needs imported when it runs."""

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from tonearm.arguments import ConfigOptions, LogOptions, Place, RunFolder, Store
from tonearm.errors import MissingExtra
from tonearm.terminal.printing import say

if TYPE_CHECKING:
    from tonearm.serving.gate import Gate

GateSettings = Annotated[
    tuple[str, ...], Parameter(name="--gate", negative="", consume_multiple=False, show_default=False)
]


def register(app: App) -> None:
    """Add the commands to an app."""
    for command in (publish, versions, rollback, nightly, serve, replay, experiment, export):
        app.command(command)


def publish(
    run: RunFolder,
    /,
    *,
    store: Place,
    gate: GateSettings = (),
    force: bool = False,
    keep: int = 5,
    event_store: str | None = None,
) -> None:
    """Serve a run from now on, if it passes the gate; whoever serves the store goes over to it by itself.

    Parameters
    ----------
    store
        The folder that tonearm serve reads; made where there is none.
    gate
        One bound of the gate, such as min_users=0.5 or newer=false; may be repeated.
    force
        Publish a run that does not pass; the store's history says so.
    keep
        Versions that stay, for rollback.
    event_store
        Where the service keeps events, and who asked to be forgotten; by default a file in the store.
    """
    from tonearm.serving.publish import publish as publish_run

    published = publish_run(run, store, _gate(gate), force=force, keep=keep, forgotten=_forgotten(store, event_store))
    for check in published.checks:
        say(str(check))
    say(f"Published {published.id}{', by force' if published.forced else ''}. Serve it: tonearm serve --store {store}")


def versions(*, store: Store) -> None:
    """List the versions of a store, the newest first."""
    from tonearm.serving.publish import versions as list_versions

    for name, served, published, forced, run in list_versions(store).iter_rows():
        say(f"{'*' if served else ' '} {name}  {published[:19]}{'  by force' if forced else ''}  {run}")


def rollback(*, store: Store, to: str | None = None) -> None:
    """Serve an earlier version again.

    Parameters
    ----------
    to
        The version; by default the one before the one that is served.
    """
    from tonearm.serving.publish import rollback as go_back

    say(f"Serving {go_back(store, to)}")


def nightly(
    *,
    log: LogOptions = LogOptions(),
    store: Store,
    runs: Place,
    options: ConfigOptions = ConfigOptions(),
    gate: GateSettings = (),
    force: bool = False,
    keep: int = 5,
    event_store: str | None = None,
    quiet: bool = False,
) -> None:
    """Run on a whole log, hold the run against the gate, and publish it: one command for cron.

    Parameters
    ----------
    runs
        The folder that the run is written to, under the moment at which it began; earlier ones stay as they are.
    gate
        One bound of the gate, such as min_users=0.5; may be repeated.
    force
        Publish a run that does not pass.
    keep
        Versions that stay.
    event_store
        Where the service keeps events, and who asked to be forgotten.
    quiet
        Print no stages and no progress bars.
    """
    from datetime import UTC, datetime

    from tonearm.engine import run

    out = runs / f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    run(log.inputs(), out, options.load(log.columns), show=not quiet)
    publish(out, store=store, gate=gate, force=force, keep=keep, event_store=event_store)


def replay(
    run: RunFolder, /, *, blend: tuple[str, ...] = (), k: int = 10, users: int = 2000, out: Place | None = None
) -> None:
    """Replay a run's test as if the service had answered: offline lists beside blended ones, warm and cold users apart.

    Parameters
    ----------
    blend
        A blend to measure, such as rule=near,near=0.5; may be repeated. By default every rule as it stands.
    k
        The cut-off of hit rate and ndcg.
    users
        Users of each kind at most, drawn at random.
    out
        Write the figures as JSON to this file.
    """
    from tonearm.runs.directory import to_json, write_whole
    from tonearm.serving.online import blends
    from tonearm.serving.replay import replay as measure
    from tonearm.serving.replay import shown

    result = measure(run, blends(blend), k=k, users=users)
    for line in shown(result):
        say(line)
    if out is not None:
        write_whole(out, to_json(result))


def serve(
    *,
    store: Store,
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: int = 1,
    keys: Place | None = None,
    config: Place | None = None,
    event_store: str | None = None,
    quiet: bool = False,
) -> None:
    """Answer players over HTTP from the version that a store serves, and from what they play meanwhile.

    Parameters
    ----------
    host
        The address to answer at; any but this machine's own needs keys.
    port
        The port to answer at; 0 takes a free one, which is printed.
    workers
        Processes that answer.
    keys
        A file with a key on each line, any of which lets a request in.
    config
        A TOML file with sections access, limits, blend.
    event_store
        Where events are kept: sqlite:///FILE, postgresql://… or redis://…; by default a file in the store.
    quiet
        Write no line for each request.
    """
    try:
        from tonearm.serving.server import read_settings
        from tonearm.serving.server import serve as answer
    except ModuleNotFoundError as error:
        hint = "tonearm serve needs more packages. Install them by pip install 'tonearm[serve]'."
        raise MissingExtra(f"{hint} ({error})") from error
    answer(read_settings(store, config, keys, event_store, log=not quiet), host, port, workers)


def experiment(*, store: Store, within: float = 24.0, event_store: str | None = None) -> None:
    """Say what became of an experiment: conversion of each variant, differences and interleaving, with intervals.

    Parameters
    ----------
    within
        Hours after a list was shown in which a play of one of its items counts.
    event_store
        Where the service keeps events; by default a file in the store.
    """
    from tonearm.serving.events import open_events
    from tonearm.serving.experiment import shown, summarise

    events = open_events(event_store, store)
    for line in shown(summarise(events.impressions(), events.events(), within * 3600)):
        say(line)
    events.close()


def export(*, store: Store, out: Place, event_store: str | None = None) -> None:
    """Write the events that a service took in as a parquet log, which the next run may learn from.

    Parameters
    ----------
    out
        The file to write.
    event_store
        Where the service keeps events; by default a file in the store.
    """
    from tonearm.serving.events import open_events
    from tonearm.serving.export import export as write

    say(write(open_events(event_store, store), store, out))


def _gate(settings: tuple[str, ...]) -> "Gate":
    from tonearm.config import parse_setting
    from tonearm.serving.gate import Gate

    given: dict[str, Any] = {}
    for setting in settings:
        given |= parse_setting(setting, "--gate", "option=value, such as min_users=0.5")
    return Gate(**given)


def _forgotten(store: Store, event_store: str | None) -> set[str]:
    from tonearm.serving.events import FILE, open_events

    if event_store is None and not (store / FILE).exists():
        return set()
    events = open_events(event_store, store)
    try:
        return events.forgotten()
    finally:
        events.close()
