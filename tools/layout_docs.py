"""Write the tree of docs/develop/layout.md from the code: each package and file with its docstring's first line."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "develop" / "layout.md"
SOURCE = ROOT / "src" / "tonearm"
MARKED = re.compile(r"(<!-- tree -->\n).*?(<!-- end of tree -->)", re.DOTALL)
LIMIT = 400
"""Lines that a file has at most, unless it is one of LONG."""

LONG = {
    "cli.py": "every command's flags and their help, and nothing else; each body is a call or two",
    "loading/load.py": "the two passes over the files share one state, `Survey`, and are read side by side",
    "runs/directory.py": "a folder appears whole or not at all: writing, exchange and sweeping rest on one another",
}
"""Files above LIMIT, each with its reason."""


def files() -> dict[str, Path]:
    """Every module below the package by its path, those of kernels too."""
    return {path.relative_to(SOURCE).as_posix(): path for path in sorted(SOURCE.rglob("*.py"))}


def about(path: Path) -> str:
    """The first line of a module's docstring, without its full stop."""
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0].rstrip(".")


def long_files() -> dict[str, int]:
    """Files above the limit, with their lines."""
    lines = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in files().items()}
    return {name: count for name, count in lines.items() if count > LIMIT}


def tree(folder: Path = SOURCE, depth: int = 1) -> Iterator[str]:
    """The lines of a folder: its files, then its packages, each in alphabetical order."""
    entries = [path for path in sorted(folder.glob("*.py")) if path.name != "__init__.py"]
    packages = [path.parent for path in sorted(folder.glob("*/__init__.py"))]
    for path in entries:
        yield line(path.name, about(path), depth)
    for package in packages:
        yield line(f"{package.name}/", about(package / "__init__.py"), depth)
        yield from tree(package, depth + 1)


def line(name: str, words: str, depth: int) -> str:
    """One entry, its words in a column of their own."""
    return f"{'  ' * depth + name:<26}{words}".rstrip()


def made() -> str:
    """What stands between the marks."""
    head = line("src/tonearm/", about(SOURCE / "__init__.py"), 0)
    rows = [f"| `{name}` | {count} | {LONG.get(name, '')} |" for name, count in long_files().items()]
    table = "\n".join([f"| file above {LIMIT} lines | lines | why |\n|---|---|---|", *rows])
    return f"\n```text\n{head}\n" + "\n".join(tree()) + f"\n```\n\n{table}\n\n"


def render() -> str:
    """The whole page, its tree and its long files as they are."""
    return MARKED.sub(lambda found: f"{found[1]}{made()}{found[2]}", PAGE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
