"""Write src/tonearm/kernels/signatures.txt: the kernels that a run calls, and the types that it calls them with.

python tools/signatures.py           run on a tiny log, and write what was called
python tools/signatures.py --check   only say whether the file is current; exits with 1 where it is not
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from numba.core.dispatcher import Dispatcher

from tonearm.config import load_config
from tonearm.kernels import warm
from tonearm.pipeline import Inputs, run

QUICK = ("ranker.iterations=8", "ranker.folds=2", "ranker.repeats=2", "evaluation.resamples=20", "als.iterations=3")


def small_run(folder: Path) -> None:
    """A run with every source, which compiles what is missing."""
    log = folder / "log"
    subprocess.run([sys.executable, "-m", "tonearm", "synth", "--preset", "tiny", "--out", log], check=True)
    inputs = Inputs(str(log / "events.parquet"), str(log / "items.parquet"), "2022-12-16")
    run(inputs, folder / "run", load_config(overrides=QUICK))


def called() -> list[str]:
    """A line for each compiled form in this process: where all were found on disk, those called from Python."""
    modules = {name: module for name, module in sys.modules.items() if name.startswith(f"{warm.PACKAGE}.")}
    lines = set()
    for name, module in modules.items():
        for attribute, kernel in vars(module).items():
            if isinstance(kernel, Dispatcher) and kernel.__module__ == name:
                place = f"{name.removeprefix(f'{warm.PACKAGE}.')}.{attribute}"
                lines |= {" ".join([place, *map(warm.code_of, arguments)]) for arguments in kernel.overloads}
    return sorted(lines)


def main() -> None:
    """Write the file, or say that it is not current."""
    parser = argparse.ArgumentParser(description="Write src/tonearm/kernels/signatures.txt.")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--again", action="store_true", help="run in this process: nothing is compiled any more")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        small_run(Path(folder))
    if not options.again:
        flags = ["--check"] if options.check else []
        raise SystemExit(subprocess.run([sys.executable, __file__, "--again", *flags]).returncode)
    text = "".join(f"{line}\n" for line in called())
    if options.check and text != warm.SIGNATURES.read_text(encoding="utf-8"):
        raise SystemExit(f"{warm.SIGNATURES} is not current. Run python tools/signatures.py.")
    warm.SIGNATURES.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
