"""Fuzz every parser and loader for some minutes of a processor: input drawn by atheris, seconds, findings.

python benchmarks/fuzz.py [--minutes 24] [--seed 1] [--save fuzz]

A process for each target of tests/fuzz/targets.py, guided by which lines of ours the input reaches. A finding is shown
with its traceback, and the exit code is 1.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

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
    from tests.fuzz.targets import TARGETS

    if given.only:
        one(given.only, given.minutes * 60, given.seed, given.out)
        return 0
    found, rows = 0, []
    for name in TARGETS:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "result.json"
            share = str(given.minutes / len(TARGETS))
            command = [sys.executable, __file__, "--only", name, "--minutes", share, "--seed", str(given.seed)]
            ended = subprocess.run([*command, "--out", out], cwd=folder, capture_output=True, text=True, check=False)
            if ended.returncode or not out.exists():
                found += 1
                print(f"{name}: a finding\n{ended.stdout[-4000:]}{ended.stderr[-4000:]}", flush=True)
                continue
            done = json.loads(out.read_text())
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
