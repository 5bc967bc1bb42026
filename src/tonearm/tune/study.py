"""One stage's trials, kept in an SQLite file by Optuna, and what they say: keep the default, or change it."""

import base64
import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tonearm.errors import ConfigError, MissingExtra, OutputError
from tonearm.evaluation.bootstrap import interval, resample
from tonearm.sources.ranges import Choice, Range, Space
from tonearm.tune.space import Params
from tonearm.types import Bools, Float32s

if TYPE_CHECKING:
    import optuna

STARTUP = 5
"""Trials drawn at random before the sampler learns from earlier ones, and finished ones before any is pruned."""


@dataclass(frozen=True)
class Verdict:
    """What became of a stage.

    params: what to run with; start: what the search began from
    default, chosen: mean ndcg of the start and of the best trial over the confirmation half; None without a trial
    low, high: 95% paired bootstrap interval of their difference; None where no trial was better on the search half
    """

    stage: str
    start: Params
    params: Params
    finished: int
    pruned: int
    default: float | None = None
    chosen: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def changed(self) -> bool:
        """Whether the best trial was better by more than noise."""
        return self.low is not None and self.low > 0


def require_optuna() -> None:
    """Raise MissingExtra where Optuna is not installed."""
    if find_spec("optuna") is None:
        raise MissingExtra("tonearm tune needs Optuna. Install it by pip install 'tonearm[tune]'.")


@contextmanager
def storage(path: Path) -> Iterator[Any]:
    """The SQLite file of all stages, made where there is none.

    Raises:
        OutputError: the file cannot be opened as one.
    """
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    found = None
    try:
        found = optuna.storages.RDBStorage(f"sqlite:///{path.absolute()}")
        yield found
    except SQLAlchemyError as error:
        reason = str(error).splitlines()[0]
        raise OutputError(
            f"{path}: cannot be used as a study file ({reason}). Remove it, or choose another --out."
        ) from error
    finally:
        if found is not None:
            found.remove_session()
            found.engine.dispose()
        optuna.logging.set_verbosity(before)


class Stage:
    """The trials of one stage.

    start: the options that the search begins from, which are its first trial
    search: (n,) bool, rows of the half that chooses
    """

    def __init__(self, name: str, space: Space, start: Params, given: str, search: Bools, seed: int, file: Any) -> None:
        import optuna

        self.name, self.space, self.start, self.search, self.seed = name, space, start, search, seed
        self._file = file
        # what a stage builds on is part of its name: trials under other sources are no trials of this stage
        self._study = optuna.create_study(
            study_name=f"{name} {zlib.crc32(given.encode()):08x}",
            storage=file,
            direction="maximize",
            load_if_exists=True,
        )
        for trial in self._of("RUNNING"):  # stopped half-way
            self._study.tell(trial.number, state=optuna.trial.TrialState.FAIL)

    @property
    def finished(self) -> int:
        """Trials that were measured or pruned."""
        return len(self._of("COMPLETE", "PRUNED"))

    def run(self, measure: Callable[[Params], Iterator[Float32s]]) -> str:
        """One more trial; returns what came of it, in words."""
        import optuna

        number = self.finished
        # A sampler for each trial, seeded by its place: a search that was stopped goes on as if it had not been.
        seed = int(np.random.default_rng([self.seed, zlib.crc32(self.name.encode()), number]).integers(2**31))
        self._study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP)
        self._study.pruner = optuna.pruners.MedianPruner(n_startup_trials=STARTUP)
        if number == 0 and not self._of("WAITING"):
            self._study.enqueue_trial(self.start)
        trial = self._study.ask()
        try:
            return self._measured(trial, measure)
        except BaseException:
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL, skip_if_finished=True)
            raise

    def _measured(self, trial: "optuna.Trial", measure: Callable[[Params], Iterator[Float32s]]) -> str:
        import optuna

        best = self.best
        params = {name: _suggest(trial, name, options) for name, options in self.space.items()}
        values, score = np.empty(0, np.float32), 0.0
        for step, values in enumerate(measure(params)):
            score = float(np.nanmean(values[self.search], dtype=np.float64))
            trial.report(score, step)
            if best is not None and trial.should_prune():
                self._study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                return "pruned"
        if best is None or score > best:
            trial.set_user_attr("values", base64.b64encode(zlib.compress(values.tobytes())).decode())
        self._study.tell(trial, score)
        return f"{score:.4f}"

    @property
    def best(self) -> float | None:
        """The highest figure on the search half so far."""
        values = [trial.value for trial in self._of("COMPLETE") if trial.value is not None]
        return max(values) if values else None

    def verdict(self, resamples: int) -> Verdict:
        """Whether the best trial beats the first one on the half of the users that did not choose it."""
        done, pruned = self._of("COMPLETE"), len(self._of("PRUNED"))
        if not done:
            return Verdict(self.name, self.start, self.start, 0, pruned)
        first = done[0]
        best = max(done, key=lambda trial: (trial.value, -trial.number))
        theirs, mine = (_values(trial)[~self.search] for trial in (first, best))
        means = float(theirs.mean(dtype=np.float64)), float(mine.mean(dtype=np.float64))
        finished = len(done) + pruned
        if best.number == first.number:
            return Verdict(self.name, self.start, self.start, finished, pruned, *means)
        drawn = resample([mine[:, None], theirs[:, None]], np.random.default_rng(self.seed), resamples)
        low, high = (float(end) for end in interval(drawn[0] - drawn[1])[:, 0])
        params = {name: best.params[name] for name in self.space} if low > 0 else self.start
        return Verdict(self.name, self.start, params, finished, pruned, *means, low, high)

    def _of(self, *states: str) -> list[Any]:
        import optuna

        wanted = tuple(optuna.trial.TrialState[state] for state in states)
        return self._study.get_trials(deepcopy=False, states=wanted)


def check_same(file: Any, path: Path, about: dict[str, str]) -> None:
    """Note what the trials are about, or compare it with what was noted when the file was made.

    Raises:
        ConfigError: the file is about something else.
    """
    import optuna

    study = optuna.create_study(study_name="about", storage=file, load_if_exists=True)
    noted = study.user_attrs
    if not noted:
        for name, value in about.items():
            study.set_user_attr(name, value)
        return
    other = [name for name, value in about.items() if noted.get(name) != value]
    if other:
        raise ConfigError(
            f"{path}: holds trials of another search: {_differences(noted, about, other)} changed since. Remove the "
            "file to begin anew, or choose another --out."
        )


def _differences(noted: dict[str, Any], about: dict[str, str], names: list[str]) -> str:
    said = []
    for name in names:
        if name != "settings":
            said.append(f"the {name}")
            continue
        old, new = json.loads(noted.get(name, "{}")), json.loads(about[name])
        said += [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
    return ", ".join(said)


def _suggest(trial: "optuna.Trial", name: str, options: Range | Choice) -> Any:
    if isinstance(options, Choice):
        return trial.suggest_categorical(name, options.values)
    if isinstance(options.low, int) and isinstance(options.high, int):
        return trial.suggest_int(name, options.low, options.high, log=options.log)
    return trial.suggest_float(name, options.low, options.high, log=options.log)


def _values(trial: Any) -> Float32s:
    return np.frombuffer(zlib.decompress(base64.b64decode(trial.user_attrs["values"])), np.float32)
