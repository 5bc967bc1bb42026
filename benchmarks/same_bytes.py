"""Whether two commits write the same lists and models, byte for byte: for changes that should alter nothing.

python benchmarks/same_bytes.py BASE HEAD [--data ../shared/data] [--sets tiny small hetrec retail gowalla]
                           [--variants plain shape repeats]

Each commit's own code runs in a worktree of its own, in this Python environment, on the same logs. What a commit wrote
is kept as digests in build/same_bytes, so that it runs once. Exits with 1 where a file differs or is missing.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from quality_sets import inputs
from tonearm import Inputs

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "build" / "same_bytes"
SYNTHETIC = ("tiny", "small")
REAL = ("hetrec", "retail", "gowalla")

VARIANTS = {
    "plain": [],
    "shape": ["shape.per_artist=2", 'shape.versions="one"', "shape.diversity=0.2", "shape.explore_share=0.1"],
    "repeats": ["filter_seen=false"],
}
LIMITS = {"shape": {"gowalla", "retail"}}
"""Sets without artists and names: there the variant keeps its last two rules only."""


def command(name: str, variant: str, data: Path, out: Path) -> list[str]:
    """The arguments of `tonearm` for one set and variant."""
    given = inputs(data)[name] if name in REAL else synthetic(KEPT / name)
    words = ["run", "--quiet", "--out", str(out)]
    for option, address in vars(given).items():
        words += [] if address is None else [f"--{option.replace('_', '-')}", str(address)]
    options = VARIANTS[variant][2:] if name in LIMITS.get(variant, ()) else VARIANTS[variant]
    return words + [word for option in options for word in ("--set", option)]


def synthetic(folder: Path) -> Inputs:
    """The log that `tonearm synth` wrote."""
    return Inputs(str(folder / "events.parquet"), str(folder / "items.parquet"), "2022-12-16")


def tonearm(source: Path, words: list[str]) -> None:
    """Run the command line of a worktree."""
    environment = os.environ | {"PYTHONPATH": str(source / "src")}
    subprocess.run([sys.executable, "-m", "tonearm", *words], env=environment, check=True, stdout=subprocess.DEVNULL)


def digests(run: Path) -> dict[str, str]:
    """sha256 of every list and model; of an npz, whose members bear the time of writing, that of its arrays."""
    found = {}
    for path in sorted([*run.glob("*.parquet"), *(run / "models").iterdir()]):
        content = hashlib.sha256()
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                for name in sorted(arrays.files):
                    content.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
                    content.update(np.ascontiguousarray(arrays[name]).tobytes())
        else:
            content.update(path.read_bytes())
        found[str(path.relative_to(run))] = content.hexdigest()
    return found


@contextmanager
def source_of(commit: str) -> Iterator[Path]:
    """A worktree of a commit, for as long as it is needed."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        subprocess.run(["git", "worktree", "add", "-q", "--detach", str(source), commit], cwd=ROOT, check=True)
        try:
            yield source
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(source)], cwd=ROOT, check=True)


def written_by(commit: str, cases: list[tuple[str, str]], data: Path) -> list[dict[str, str]]:
    """Digests of what a commit writes for each set and variant, made now or kept from before."""
    paths = [KEPT / commit / f"{name}-{variant}.json" for name, variant in cases]
    missing = [(case, path) for case, path in zip(cases, paths, strict=True) if not path.exists()]
    if missing:
        with source_of(commit) as source, tempfile.TemporaryDirectory() as folder:
            for (name, variant), path in missing:
                run = Path(folder) / f"{name}-{variant}"
                if name in SYNTHETIC and not (KEPT / name).exists():
                    tonearm(source, ["synth", "--preset", name, "--out", str(KEPT / name)])
                tonearm(source, command(name, variant, data, run))
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(digests(run), indent=1), encoding="utf-8")
                shutil.rmtree(run)
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def main() -> None:
    """Compare, print a line for each set and variant, and say by the exit code whether all is the same."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("base")
    parser.add_argument("head")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--sets", nargs="*", choices=[*SYNTHETIC, *REAL], default=[*SYNTHETIC, *REAL])
    parser.add_argument("--variants", nargs="*", choices=VARIANTS, default=list(VARIANTS))
    given = parser.parse_args()
    commits = [
        subprocess.run(["git", "rev-parse", "--short", name], cwd=ROOT, check=True, capture_output=True, text=True)
        for name in (given.base, given.head)
    ]
    cases = [(name, variant) for name in given.sets for variant in given.variants]
    before, after = (written_by(commit.stdout.strip(), cases, given.data.absolute()) for commit in commits)
    different = 0
    for case, one, two in zip(cases, before, after, strict=True):
        names = sorted(file for file in one | two if one.get(file) != two.get(file))
        different += len(names)
        said = f"differ or are missing: {', '.join(names)}" if names else "all the same"
        print(f"{' '.join(case)}: {len(one)} files, {said}")
    raise SystemExit(different > 0)


if __name__ == "__main__":
    main()
