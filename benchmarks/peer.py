"""A peer that runs in an environment of its own, which tools/peer.sh makes, and is given and gives back files."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


def is_missing(name: str) -> bool:
    """Whether the peer's environment is not there; says how to make it."""
    missing = not _python(name).exists()
    if missing:
        print(f"Skipped: {_python(name)} is missing. `bash tools/peer.sh {name}` installs {name} there.")
    return missing


def ask(name: str, script: str, folder: Path, arrays: dict[str, npt.NDArray[Any]], options: dict[str, Any]) -> Any:
    """What the script writes to answer.json, given NAME.npy of each array and options.json in the same folder."""
    for key, array in arrays.items():
        np.save(folder / f"{key}.npy", array)
    (folder / "options.json").write_text(json.dumps(options), encoding="utf-8")
    subprocess.run([_python(name), Path(__file__).with_name(script), folder], check=True)
    return json.loads((folder / "answer.json").read_text(encoding="utf-8"))


def _python(name: str) -> Path:
    return Path(f".venv-{name}/bin/python")
