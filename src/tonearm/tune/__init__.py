"""`tonearm tune`: settings that are better on the label windows within train, by more than noise.

Cheap stages come first: each source by its own lists, then candidates and ranker with the sources as chosen. Nothing
here sees a test event.
"""

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.text import Text

from tonearm.config import Config, to_toml
from tonearm.data.dataset import Dataset
from tonearm.data.times import parse_moment
from tonearm.errors import ConfigError
from tonearm.evaluation.meters import focus_of
from tonearm.kernels.machine.threads import threads
from tonearm.loading.files import local_path
from tonearm.pipeline import Inputs
from tonearm.runs import directory
from tonearm.sources import fit_sources, left_out
from tonearm.sources.base import Source
from tonearm.terminal.printing import console, one_line
from tonearm.terminal.progress import no_progress
from tonearm.terminal.signals import interrupts
from tonearm.tune import measure
from tonearm.tune.space import RANKER, Params, spaces, values_of, with_values
from tonearm.tune.study import Stage, Verdict, check_same, require_optuna, storage
from tonearm.types import Float32s

WEIGHTS = {RANKER: 4.0}
"""Shares of the time; a stage that is not named has 1."""

MOST = 60
"""Trials of a stage in one call that has only a limit of time; what is left of its share goes to the later ones."""

RULE = (
    "a stage's settings are changed only where the best trial on one half of the users beats the first trial, the "
    "settings as they were, on the other half: the 95% paired bootstrap interval of the difference lies above 0"
)


def study_file(out: Path) -> Path:
    """Where the trials are kept: beside the TOML file."""
    return out.with_suffix(".study.db")


def tune(
    inputs: Inputs,
    out: Path | str,
    config: Config,
    *,
    minutes: float | None = None,
    trials: int | None = None,
    show: bool = False,
) -> list[Verdict]:
    """Try settings, and write those that are better by more than noise as a TOML file that `run` takes.

    out: the TOML file, written anew after every trial; the trials themselves are kept beside it, and the same call
        goes on from there
    minutes: time to spend, half an hour unless `trials` is given
    trials: trials of each stage; the same seed and trials give the same result, whether stopped in between or not

    Raises:
        MissingExtra: Optuna is not installed.
        ConfigError: the trials kept beside `out` are of another log or other settings.
        OutputError: `out` cannot be written, or was not made by this.
        TonearmError: the inputs will not do.
    """
    out = local_path(str(out))
    _check(out, minutes, trials)
    if minutes is None and trials is None:
        minutes = 30.0
    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    with threads(config.threads), interrupts():
        search = _Search(inputs, out, config, inputs.load(config, no_progress).train, show)
        out.absolute().parent.mkdir(parents=True, exist_ok=True)
        with storage(study_file(out)) as file:
            check_same(file, study_file(out), search.about)
            try:
                return search.all(file, deadline, trials)
            finally:
                search.write()


class _Search:
    """All stages in turn, and the TOML file that says what came of them.

    config: with the settings of finished stages in place
    verdicts: by stage, in order
    """

    def __init__(self, inputs: Inputs, out: Path, config: Config, train: Dataset, show: bool) -> None:
        self.inputs, self.out, self.config, self.given, self.train = inputs, out, config, config, train
        self.console = console(error=True, quiet=not show)
        missing = left_out(train, config.recipes())
        self.spaces = spaces(
            config, [name for name in config.recipes() if name not in missing], train.log.time is not None
        )
        self.windows = measure.label_windows(train, config)
        self.verdicts: dict[str, Verdict] = {}

    @property
    def about(self) -> dict[str, str]:
        """What the trials are about: the log before the cut with its catalogue, the settings, and what may change."""
        return {
            "log": _digest(self.train),
            "settings": json.dumps(_flat(self.given), sort_keys=True),
            "space": json.dumps({n: {o: str(v) for o, v in space.items()} for n, space in self.spaces.items()}),
        }

    def all(self, file: Any, deadline: float | None, trials: int | None) -> list[Verdict]:
        """Every stage, each with its share of the time that is left."""
        weights = {name: WEIGHTS.get(name, 1.0) for name in self.spaces}
        bases: dict[tuple[str, int], Source] = {}
        for place, (name, space) in enumerate(self.spaces.items()):
            until = None
            if deadline is not None:
                now = time.monotonic()
                share = weights[name] / sum(list(weights.values())[place:])
                until = now + share * (deadline - now)
            search = measure.searched(self.windows if name != RANKER else self.windows[:1])
            start = values_of(self.config, name, space)
            stage = Stage(name, space, start, self._given_to(name), search, self.config.seed, file)
            try:
                self._stage(stage, self._measured_by(stage, bases), until, trials)
            finally:
                self._decide(stage)
        return list(self.verdicts.values())

    def _stage(
        self,
        stage: Stage,
        measured: Callable[[Params], Iterator[Float32s]],
        until: float | None,
        trials: int | None,
    ) -> None:
        most = stage.finished + MOST if trials is None else trials
        while stage.finished < most and (until is None or time.monotonic() < until):
            said = stage.run(measured)
            left = "" if until is None else f"  {max(0.0, until - time.monotonic()):,.0f} s left"
            what, came = f"{stage.name:<10} trial {stage.finished:>3}", f"  {said:<8} best {stage.best or 0:.4f}"
            self.console.print(Text.assemble((what, "dim"), came, (left, "dim")))
            self._decide(stage, final=False)

    def _measured_by(
        self, stage: Stage, bases: dict[tuple[str, int], Source]
    ) -> Callable[[Params], Iterator[Float32s]]:
        """What a trial of a stage measures."""
        config, name = self.config, stage.name
        if name != RANKER:
            return lambda params: measure.of_source(name, with_values(config, name, params), self.windows, bases)
        fitted: list[Sequence[Source]] = []

        def measured(params: Params) -> Iterator[Float32s]:
            if not fitted:
                fitted.extend(
                    fit_sources(window.split.history, config.recipes(), config.seed) for window in self.windows
                )
            return measure.of_ranker(with_values(config, name, params), self.windows, fitted, no_progress)

        return measured

    def _given_to(self, name: str) -> str:
        """What a stage's figures depend on beside its own options: a trend's base, all sources of the ranker."""
        sections = dataclasses.asdict(self.config)
        if name == RANKER:
            return json.dumps({stage: sections[stage] for stage in self.spaces if stage != RANKER})
        return json.dumps(sections[self.config.trend.of]) if name == "trend" else ""

    def _decide(self, stage: Stage, final: bool = True) -> None:
        """Note what became of a stage; when it ends, later ones build on that."""
        self.verdicts[stage.name] = stage.verdict(self.config.evaluation.resamples)
        self.write()
        if final:
            self.config = with_values(self.config, stage.name, self.verdicts[stage.name].params)

    def write(self) -> None:
        """The TOML file, whole or not at all."""
        config = self.given
        for verdict in self.verdicts.values():
            config = with_values(config, verdict.stage, verdict.params)
        text = "".join(f"# {one_line(line)}\n" for line in self._story()) + "\n" + to_toml(config)
        directory.write_whole(self.out, text)

    def _story(self) -> list[str]:
        """What was tried and what came of it, in lines."""
        metric = f"ndcg@{focus_of(self.config.evaluation.ks)}"
        measured = sum(len(window.truth) for window in self.windows)
        when = self.inputs.test_from
        cut = "" if when is None else f", train before {parse_moment(when).isoformat()}"
        lines = [
            f"Made by tonearm tune from {', '.join(self.inputs.addresses().values())}{cut}, seed {self.given.seed}.",
            f"Figures: {metric} on {len(self.windows)} label windows within train, {measured:,} users measured; "
            "no test event was used.",
            f"Rule: {RULE}.",
        ]
        return lines + [_sentence(verdict, metric) for verdict in self.verdicts.values()]


def _sentence(verdict: Verdict, metric: str) -> str:
    """One stage in words."""
    if verdict.default is None or verdict.chosen is None:
        return f"{verdict.stage}: not tried, as the time was over; kept."
    if verdict.finished == 1:
        return f"{verdict.stage}: {metric} {verdict.default:.4f} as it was, and nothing else was tried; kept."
    said = (
        f"{verdict.stage}: {verdict.finished} trials, {verdict.pruned} pruned; {metric} {verdict.default:.4f} as it was"
    )
    if verdict.low is None or verdict.high is None:
        return f"{said}, and no trial was better; kept."
    difference = f"{verdict.chosen - verdict.default:+.4f} [{verdict.low:+.4f}, {verdict.high:+.4f}]"
    said += f", {verdict.chosen:.4f} by the best trial, difference {difference}"
    if not verdict.changed:
        return f"{said}; kept."
    changes = [
        f"{k} {_short(verdict.start[k])} -> {_short(v)}" for k, v in verdict.params.items() if v != verdict.start[k]
    ]
    return f"{said}; changed: {', '.join(changes)}."


def _short(value: float | int | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _check(out: Path, minutes: float | None, trials: int | None) -> None:
    require_optuna()
    if out.suffix != ".toml":
        raise ConfigError(f"{out}: the settings are written as TOML. Give --out a name that ends in .toml.")
    if minutes is not None and not minutes > 0:
        raise ConfigError(f"--minutes {minutes:g}: there is no time to try anything. Give a number above 0.")
    if trials is not None and trials < 1:
        raise ConfigError(f"--trials {trials}: there is nothing to try. Give a whole number from 1 up.")
    if study_file(out).exists():
        return
    directory.check_free(out)


def _flat(config: Config) -> dict[str, Any]:
    """All options by dotted name, but for those that change no result."""
    flat: dict[str, Any] = {}
    for name, value in dataclasses.asdict(config).items():
        if isinstance(value, dict):
            flat |= {f"{name}.{option}": json.loads(json.dumps(v)) for option, v in value.items()}
        elif name not in ("threads", "block"):
            flat[name] = json.loads(json.dumps(value))
    return flat


def _digest(train: Dataset) -> str:
    """A digest of train's events and of its catalogue."""
    digest, log = hashlib.sha256(), train.log
    for lo in range(0, train.n_users, _USERS):
        part = log.rows(lo, lo + _USERS)
        lengths = part.stop - part.start
        digest.update(lengths.tobytes())
        place = np.arange(lengths.sum()) + np.repeat(part.start - (lengths.cumsum() - lengths), lengths)
        for values in (log.item, log.time, log.weight):
            digest.update(b"-" if values is None else values[place].tobytes())
    for ids in (train.users, train.catalogue.items):
        digest.update(ids.ids.hash(seed=0).to_numpy().tobytes())
    for tags in (train.catalogue.genres, train.catalogue.artists, train.catalogue.albums):
        for array in () if tags is None else (tags.indptr, tags.index):
            digest.update(array.tobytes())
    return digest.hexdigest()


_USERS = 65_536
