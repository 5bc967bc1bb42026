"""Fuzz every parser and loader for some minutes of a processor: input drawn by atheris, seconds, findings.

python benchmarks/fuzz.py [--minutes 24] [--seed 1] [--save fuzz]

A process for each target of tests/fuzz/targets.py, one for each processor at a time, guided by which lines of ours the
input reaches. A finding is shown with its traceback, and the exit code is 1.
"""

import importlib
import json
import os
import pkgutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import figures

WATCHED = [
    "tonearm.config",
    "tonearm.options",
    "tonearm.loading",
    "tonearm.data.times",
    "tonearm.evaluation.lists_file",
]
WATCHED += ["tonearm.runs.directory", "tonearm.shaping.id_files", "tonearm.serving.guard", "tonearm.serving.server"]
WATCHED += ["tonearm.explore.site", "tonearm.terminal.printing", "tomllib"]


def one(name: str, seconds: float, seed: int, out: Path) -> None:
    """Fuzz one target in this process until its time is up."""
    import atheris

    from tonearm import kernels

    for module in pkgutil.walk_packages(kernels.__path__, f"{kernels.__name__}."):  # as they are, or Numba refuses them
        importlib.import_module(module.name)
    with atheris.instrument_imports(include=WATCHED):
        from tests.fuzz.targets import TARGETS, seeds
    target, done, began = TARGETS[name][0], 0, time.process_time()

    def run(data: bytes) -> None:
        nonlocal done
        target(data)
        done += 1
        if done % 16 == 0 and time.process_time() - began >= seconds:
            out.write_text(json.dumps({"executions": done, "seconds": round(time.process_time() - began, 1)}))
            os._exit(0)

    with tempfile.TemporaryDirectory() as corpus:
        for place, data in enumerate(seeds(name)):
            (Path(corpus) / str(place)).write_bytes(data)
        options = [f"-seed={seed}", "-timeout=60", "-rss_limit_mb=6000", "-max_len=4096", "-verbosity=0"]
        atheris.Setup([sys.argv[0], *options, corpus], run, enable_python_coverage=True)
        atheris.Fuzz()


def main() -> int:
    """All targets in turn, or one."""
    parser = figures.parser(__doc__)
    parser.add_argument("--minutes", type=float, default=24, help="of one processor, over all targets")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", help="one target, in this process")
    parser.add_argument("--out", type=Path, help="where that writes what it did")
    given = parser.parse_args()
    sys.path.insert(0, str(figures.ROOT))
    if given.only:  # before anything of ours is imported, as only what is imported then tells its lines
        one(given.only, given.minutes * 60, given.seed, given.out)
        return 0
    from tests.fuzz.targets import TARGETS

    found, rows, share = 0, [], str(given.minutes / len(TARGETS))

    def apart(name: str) -> tuple[str, dict[str, Any] | None]:
        """A target in a process of its own: what was said, and what was done where nothing was found."""
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "result.json"
            command = [sys.executable, __file__, "--only", name, "--minutes", share, "--seed", str(given.seed)]
            ended = subprocess.run([*command, "--out", out], cwd=folder, capture_output=True, text=True, check=False)
            done = None if ended.returncode or not out.exists() else json.loads(out.read_text())
        return f"{ended.stdout[-4000:]}{ended.stderr[-4000:]}", done

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, (said, done) in zip(TARGETS, pool.map(apart, TARGETS), strict=True):
            if done is None:
                found += 1
                print(f"{name}: a finding\n{said}", flush=True)
            elif "no interesting inputs" in said:
                raise SystemExit(f"{name}: no line that it reaches is told")
            else:
                rows.append([name, done["executions"], done["seconds"], given.seed, 0])
                print(name, done, flush=True)
    if found:
        return 1
    rows.append(["all", sum(row[1] for row in rows), sum(row[2] for row in rows), given.seed, 0])
    heads = [("what is read", ""), ("inputs", ",.0f"), ("processor, s", ",.0f"), ("seed", "d"), ("findings", "d")]
    figures.tell(heads, rows, given.save)
    return 0


if __name__ == "__main__":
    sys.exit(main())
