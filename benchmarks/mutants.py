"""Mutation testing: small faults put into metrics, split, top-k and ranker labels, and how many the tests notice.

python benchmarks/mutants.py [--each 60] [--seed 1] [--save mutants]

A fault is one operator, number or statement changed in a copy of the package; kernels run as plain Python there, as
compiling each would take minutes. It is noticed where a test fails or hangs. What survives is printed as it stands.
"""

import ast
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import figures

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 150
"""After these a mutant counts as hanging."""

GROUPS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "metrics": (
        ("kernels/metrics.py", "data/truth.py"),
        ("tests/evaluation/test_meters.py",),
    ),
    "split": (("split.py",), ("tests/project/test_split.py",)),
    "top-k": (
        ("kernels/best/heap.py", "kernels/best/keys.py", "kernels/best/lists.py"),
        ("tests/kernels/test_lists.py",),
    ),
    "ranker labels": (("ranking/training.py",), ("tests/ranking/test_training.py",)),
}
"""Files of the package, and the tests that ought to notice what is wrong in them."""

SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.And: ast.Or,
    ast.Or: ast.And,
}


def places(function: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """What can be changed in a function, and how; neither types, decorators and defaults nor what is said in words."""
    waiting = [one for one in getattr(function, "body", []) if not _is_words(one)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Raise | ast.Assert | ast.JoinedStr):
            continue
        for operator in [*getattr(node, "ops", []), *([node.op] if isinstance(node, ast.BinOp | ast.BoolOp) else [])]:
            if type(operator) in SWAPS:
                yield node, f"{type(operator).__name__} to {SWAPS[type(operator)].__name__}"
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub | ast.Invert):
            yield node, f"without {type(node.op).__name__}"
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and node.value is not None:
            yield node, "another number" if not isinstance(node.value, bool) else "the other truth"
        if isinstance(node, ast.AugAssign) or (
            isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript)
        ):
            yield node, "left out"
        for name, child in ast.iter_fields(node):
            if name not in (
                "annotation",
                "returns",
                "decorator_list",
                "args" if isinstance(node, ast.FunctionDef) else "",
            ):
                waiting += [one for one in (child if isinstance(child, list) else [child]) if isinstance(one, ast.AST)]


def _is_words(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def functions(tree: ast.Module) -> list[ast.FunctionDef]:
    """Every function and method of a file."""
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def changed(source: str, which: int) -> tuple[str, str]:
    """A file with one change, and what that is."""
    tree = ast.parse(source)
    node, how = _all(tree)[which]
    before = ast.unparse(node)
    if how == "left out":
        for parent in ast.walk(tree):
            for _, block in ast.iter_fields(parent):
                if isinstance(block, list) and node in block:
                    block[block.index(node)] = ast.Pass()
    elif isinstance(node, ast.Constant):
        node.value = (not node.value) if isinstance(node.value, bool) else node.value + 1  # type: ignore[operator]
    elif isinstance(node, ast.UnaryOp):
        node.op = ast.UAdd()
    elif isinstance(node, ast.Compare):
        node.ops = [SWAPS.get(type(one), type(one))() for one in node.ops]  # type: ignore[misc]
    elif isinstance(node, ast.BinOp | ast.BoolOp):
        node.op = SWAPS[type(node.op)]()  # type: ignore[assignment]
    return ast.unparse(ast.fix_missing_locations(tree)), f"line {getattr(node, 'lineno', 0)}: {before} ({how})"


def _all(tree: ast.Module) -> list[tuple[ast.AST, str]]:
    found, seen = [], set()
    for function in functions(tree):
        for node, how in places(function):
            if (id(node), how) not in seen:
                seen.add((id(node), how))
                found.append((node, how))
    return found


def outcome(package: Path, tests: tuple[str, ...]) -> str:
    """ "killed", "hung" or "survived": what the tests say of the package as it stands, in a process of its own."""
    child = os.fork()
    if child == 0:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        sys.path.insert(0, str(package.parent))
        os.chdir(ROOT)
        import pytest

        options = ["-x", "-q", "-n", "0", "-p", "no:randomly", "-p", "no:cacheprovider", "-W", "ignore"]
        os._exit(int(pytest.main([*options, *tests])))
    began = time.monotonic()
    while time.monotonic() - began < SECONDS:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return "survived" if os.waitstatus_to_exitcode(status) == 0 else "killed"
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "hung"


def copied(folder: Path) -> Path:
    """A copy of the package whose kernels are plain Python."""
    package = folder / "tonearm"
    shutil.copytree(ROOT / "src" / "tonearm", package, ignore=shutil.ignore_patterns("__pycache__"))
    jit = package / "kernels" / "machine" / "jit.py"
    plain = "\n\ndef compiled(function, *_, **__):\n    return function\n"
    jit.write_text(jit.read_text(encoding="utf-8") + plain, encoding="utf-8")
    return package


def preload() -> None:
    """What takes long to import, once for all children."""
    os.environ["NUMBA_DISABLE_JIT"] = "1"
    sys.dont_write_bytecode = True
    sys.path[:] = [place for place in sys.path if Path(place).resolve() != ROOT / "src"]
    import catboost  # noqa: F401
    import hypothesis  # noqa: F401
    import numba  # noqa: F401
    import polars  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import pydantic  # noqa: F401
    import pytest  # noqa: F401
    import scipy.sparse  # noqa: F401


def of_group(group: str, each: int, seed: int) -> list[Any]:
    """The row of a group; what survived is printed."""
    files, tests = GROUPS[group]
    told: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        package = copied(Path(folder))
        sources = {name: (package / name).read_text(encoding="utf-8") for name in files}
        every = [(name, n) for name, text in sources.items() for n in range(len(_all(ast.parse(text))))]
        assert outcome(package, tests) == "survived", f"{group}: the tests fail without a mutant"
        for name, n in random.Random(seed).sample(every, min(each, len(every))):
            mutant, what = changed(sources[name], n)
            (package / name).write_text(mutant, encoding="utf-8")
            said = outcome(package, tests)
            (package / name).write_text(sources[name], encoding="utf-8")
            told[said] += 1
            if said == "survived":
                print(f"{group}: {name}, {what}", flush=True)
    tried = sum(told.values())
    row = [group, len(every), tried, told["killed"], told["hung"], told["survived"], 1 - told["survived"] / tried]
    print(row, flush=True)
    return row


def main() -> None:
    """Print the table, and before it what survived."""
    parser = figures.parser(__doc__)
    parser.add_argument("--each", type=int, default=60, help="mutants of each group, drawn at random")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    preload()
    with get_context("fork").Pool(len(GROUPS)) as pool:
        rows = pool.starmap(of_group, [(group, given.each, given.seed) for group in GROUPS])
    heads = [("what", ""), ("mutants", ",.0f"), ("tried", "d"), ("failed", "d"), ("hung", "d"), ("survived", "d")]
    figures.tell([*heads, ("noticed", ".3f")], rows, given.save)


if __name__ == "__main__":
    main()
