"""Where a run is made: on this machine, or on a cluster."""

from pathlib import Path
from typing import Any

from tonearm.config import Config
from tonearm.errors import ConfigError
from tonearm.options import expect
from tonearm.pipeline import Inputs
from tonearm.pipeline import run as run_here


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
    """As `pipeline.run`, by the engine that the options name.

    Raises:
        TonearmError: as there; or the engine lacks what is asked for.
    """
    expect(config, Config, "config", 'Pass Config() or load_config(overrides=["als.factors=128"]) or the like.')
    if config.engine == "local":
        return run_here(
            inputs, out, config, refit=refit, folds=folds, overwrite=overwrite, resume=resume, memory=memory, show=show
        )
    if refit or folds != 1 or resume or memory is not None:
        raise ConfigError('refit, folds, resume and memory are of engine = "local". Leave them out.')
    from tonearm.spark.run import run as run_there

    return run_there(inputs, out, config, overwrite=overwrite, show=show)
