"""The process that answers: its settings, its workers, and how it begins and ends."""

import gc
import json
import logging
import os
import socket
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, field, replace
from pathlib import Path
from typing import Any

import uvicorn
from pydantic import TypeAdapter, ValidationError
from uvicorn.supervisors import Multiprocess

from tonearm.config import read_toml
from tonearm.errors import ConfigError, DataError, TonearmError
from tonearm.explore import LOOPBACK
from tonearm.kernels.machine.threads import blas_threads
from tonearm.options import check_names, options, wrong_value
from tonearm.serving import publish
from tonearm.serving.experiment import Experiment
from tonearm.serving.guard import LOG, Access
from tonearm.serving.online import Blend
from tonearm.serving.service import Limits
from tonearm.terminal.printing import say

SETTINGS = "TONEARM_SERVE"
"""The variable by which workers learn their settings."""

GRACE = 30
"""Seconds that requests under way have to end."""


@options
class Serving:
    """What a service is made of.

    store: the folder that runs are published to; event_store: where events are kept, by default a file in it
    log: whether each request is a line on standard error
    """

    store: str
    event_store: str | None = None
    log: bool = True
    access: Access = field(default_factory=Access)
    limits: Limits = field(default_factory=Limits)
    blend: Blend = field(default_factory=Blend)
    experiment: Experiment = field(default_factory=Experiment)


def serve(settings: Serving, host: str, port: int, workers: int) -> None:
    """Answer until it is stopped; requests under way are answered first.

    host: another than a loopback address lets other machines in, who need a key; port: 0 takes a free one

    Raises:
        ConfigError: the address cannot be used, or would let in whoever asks.
        DataError: nothing was published in the store.
    """
    if host not in LOOPBACK and not settings.access.keys:
        raise ConfigError(
            f"--host {host} lets other machines in, and there are no keys. Name a file of keys by --keys, or serve on "
            "127.0.0.1."
        )
    if host in LOOPBACK:  # no other site's page can ask through a browser on this machine
        settings = replace(settings, access=replace(settings.access, hosts=LOOPBACK))
    served = publish.current(Path(settings.store))
    if served is None:
        raise DataError(
            f"{settings.store}: nothing was published there. Publish a run by tonearm publish RUN --store "
            f"{settings.store}."
        )
    served.check()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"{host}, port {port}: cannot be used ({error}). Choose another --port (0 takes a free one) or --host."
        ) from error
    with listening, tempfile.TemporaryDirectory(prefix="tonearm-") as counters:
        os.environ[SETTINGS] = json.dumps(asdict(settings))
        if workers > 1:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = counters
        config = uvicorn.Config(
            "tonearm.serving.server:worker",
            factory=True,
            workers=workers,
            access_log=False,
            log_level="warning",
            server_header=False,
            timeout_graceful_shutdown=GRACE,
        )
        shown = f"[{host}]" if family == socket.AF_INET6 else host
        say(f"Serving http://{shown}:{listening.getsockname()[1]}/ (its pages: /docs, /explore; Ctrl-C stops it)")
        try:
            if workers == 1:
                uvicorn.Server(config).run(sockets=[listening])
            else:
                Multiprocess(config, sockets=[listening]).run()
        except KeyboardInterrupt:
            say("Stopped.")


def worker() -> Any:
    """The app of one process, by the settings in the environment."""
    from tonearm.serving.app import app
    from tonearm.serving.events import open_events
    from tonearm.serving.service import Service

    settings = settings_from(json.loads(os.environ[SETTINGS]), SETTINGS)
    logging.basicConfig(format="%(message)s")
    LOG.setLevel(logging.INFO if settings.log else logging.WARNING)
    store = Path(settings.store)
    try:
        events = open_events(settings.event_store, store)
        service = Service(store, events, settings.blend, settings.limits, settings.experiment)
    except TonearmError as error:  # a supervisor shows no more than a traceback
        say(f"{type(error).__name__}: {error}", error=True)
        raise SystemExit(2) from None
    made = app(service, settings.access)
    made.state.blas = blas_threads(1)  # a list is too little to share; for as long as the process lives
    gc.collect()
    gc.freeze()  # what is loaded stays, and need not be looked through for rings
    return made


def read_settings(
    store: Path, config: Path | None, keys: Path | None, event_store: str | None, *, log: bool
) -> Serving:
    """Settings from flags and files.

    config: TOML with the sections of `Serving`; keys: a key on each line

    Raises:
        ConfigError: a file cannot be read, or an option is not known or out of range.
    """
    tree = {} if config is None else read_toml(config)
    if keys is not None:
        try:
            lines = keys.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{keys}: cannot be read ({error}). Name a file with a key on each line.") from error
        found = [line.strip() for line in lines if line.strip()]
        if not found:
            raise ConfigError(f"{keys}: holds no key. Write one on each line.")
        tree["access"] = tree.get("access", {}) | {"keys": found}
    flags = {"store": str(store.absolute()), "event_store": event_store, "log": log}
    return settings_from(tree | {name: value for name, value in flags.items() if value is not None}, str(config))


def settings_from(tree: Mapping[str, Any], where: str) -> Serving:
    """Settings from a tree, as TOML and JSON give it.

    Raises:
        ConfigError: an option is not known, or out of range.
    """
    check_names(tree, Serving, where)
    try:
        return TypeAdapter(Serving).validate_python(tree)
    except ValidationError as error:
        raise ConfigError(f"{where}: {wrong_value(error)}") from error
