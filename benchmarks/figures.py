"""Measured figures as data: results/NAME.json holds each once, with its command, commit and machine, and pages show it.

python benchmarks/figures.py           write the tables of README and docs anew
python benchmarks/figures.py --check   only say which are stale; exits with 1 then

A table stands in a page between `<!-- figures: NAME -->` and `<!-- end of figures -->`. A benchmark prints its table by
`tell`, and with --save NAME keeps it as results/NAME.json. A value is a number, a text, a list of numbers, or a
difference with its interval: {"value", "low", "high"}.
"""

import argparse
import json
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
MARKED = re.compile(r"(<!-- figures: ([\w-]+) -->\n).*?(<!-- end of figures -->)", re.DOTALL)

Result = dict[str, Any]
Row = Mapping[str, Any]


def save(
    name: str, columns: Mapping[str, Mapping[str, str]], rows: Sequence[Row], command: str | None = None
) -> Result:
    """Keep what was measured by the code as it is now.

    columns: key to its head and, for numbers, how they are shown: a format such as ",.0f" or ".4f"
    command: what makes them; by default this process's own
    """
    result = {
        "command": command or shlex.join(["python", *sys.argv]),
        "commit": _commit(),
        "machine": machine(),
        "columns": {key: dict(column) for key, column in columns.items()},
        "rows": [dict(row) for row in rows],
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return result


def parser(about: str | None) -> argparse.ArgumentParser:
    """The command line of a benchmark: its docstring's first line, and --save."""
    found = argparse.ArgumentParser(description=(about or "").partition("\n")[0])
    found.add_argument("--save", metavar="NAME", help="keep the figures as benchmarks/results/NAME.json")
    return found


def tell(heads: Sequence[tuple[str, str]], rows: Iterable[Sequence[Any]], keep: str | None = None) -> None:
    """Print a table, and keep its figures where they have a name.

    heads: of each column, with how its numbers are shown, or nothing; rows: a value for each column
    """
    columns: dict[str, dict[str, str]] = {}
    for head, how in heads:
        key = same = re.sub(r"[^\w@]+", "_", head.lower()).strip("_") or "what"
        while key in columns:
            key = f"{same}_{len(columns)}"
        columns[key] = {"head": head} | ({"as": how} if how else {})
    every = [{key: cell for key, cell in zip(columns, row, strict=True) if cell is not None} for row in rows]
    print(table({"columns": columns, "rows": every} if keep is None else save(keep, columns, every)), end="")


def machine() -> str:
    """The processor, how many of them, and the memory."""
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = re.search(r"^model name\s*: (.*)$", info, re.MULTILINE)
    vectors = next((name for flag, name in (("avx512f", "AVX-512"), ("avx2", "AVX2")) if flag in info), "no AVX2")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    name = model.group(1).strip() if model else platform.machine()
    return f"{os.cpu_count()} × {name}, {vectors}, {memory:.0f} GiB"


def load(name: str) -> Result:
    """What `save` wrote."""
    result: Result = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return result


def table(result: Result) -> str:
    """The result as a Markdown table."""
    columns = result["columns"]
    lines = [_line([column["head"] for column in columns.values()]), "|" + "---|" * len(columns)]
    lines += [
        _line([shown(row.get(key), column.get("as")) for key, column in columns.items()]) for row in result["rows"]
    ]
    return "\n".join(lines) + "\n"


def shown(value: Any, how: str | None = None) -> str:
    """One value in a cell; figures below 1 without their zero."""
    if value is None:
        return ""
    if isinstance(value, list):
        return " / ".join(shown(one, how) for one in value)
    if isinstance(value, Mapping):
        between = f"[{shown(value['low'], '+.4f')}, {shown(value['high'], '+.4f')}]"
        return " ".join([shown(value["value"], "+.4f"), between, *([value["name"]] if "name" in value else [])])
    if isinstance(value, str) or how is None:
        return str(value)
    return re.sub(r"^([+-]?)0\.", r"\1.", format(value, how))


def rewritten(page: str) -> str:
    """A page with every table as its figures are."""
    return MARKED.sub(lambda found: f"{found[1]}\n{table(load(found[2]))}\n{found[3]}", page)


def stale() -> list[Path]:
    """The pages that show other figures than the results hold."""
    texts = {page: page.read_text(encoding="utf-8") for page in PAGES}
    return [page for page, text in texts.items() if rewritten(text) != text]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _commit() -> str:
    """The commit, with a plus where the source differs from it."""
    said = [("rev-parse", "--short", "HEAD"), ("status", "--porcelain", "--untracked-files=no", "src")]
    commit, changes = (
        subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout for words in said
    )
    return commit.strip() + ("+" if changes else "")


def main() -> None:
    """Write the pages, or say which are stale."""
    line = argparse.ArgumentParser(description="Write the tables of README and docs from benchmarks/results.")
    line.add_argument("--check", action="store_true")
    check = line.parse_args().check
    for page in stale():
        if check:
            raise SystemExit(f"{page.relative_to(ROOT)} is not current. Run python benchmarks/figures.py.")
        page.write_text(rewritten(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
