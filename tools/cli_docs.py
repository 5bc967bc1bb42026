"""Write docs/use/cli.md from the commands' own --help; with --check, only say whether it is current."""

import io
import sys
from collections.abc import Iterator
from pathlib import Path

from cyclopts import App
from rich.console import Console

from tonearm.cli import app

PAGE = Path(__file__).resolve().parents[1] / "docs" / "use" / "cli.md"
WIDTH = 100
HEAD = """# The command line

For whoever types commands: every command with all its flags, as its own `--help` says them.

What `--set` and `--config` take stands in [configuration.md](configuration.md). This page is made by
`python tools/cli_docs.py`.
"""


def commands(app: App, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every command, those of subcommands included, in alphabetical order."""
    for name in sorted(name for name in app if not name.startswith("-")):
        inner = list(commands(app[name], (*path, name)))
        yield from inner or [(*path, name)]


def help_of(words: tuple[str, ...]) -> str:
    """What `tonearm WORDS --help` prints, without colours."""
    text = io.StringIO()
    app.help_print(list(words), console=Console(file=text, width=WIDTH, color_system=None, force_terminal=False))
    return "\n".join(line.rstrip() for line in text.getvalue().strip().splitlines())


def render() -> str:
    """The whole page."""
    parts = [HEAD, f"```text\n{help_of(())}\n```\n"]
    parts += [f"## tonearm {' '.join(words)}\n\n```text\n{help_of(words)}\n```\n" for words in commands(app)]
    return "\n".join(parts)


def main() -> None:
    """Write the page, or with --check exit with 1 where it is not current."""
    page = render()
    if "--check" in sys.argv[1:]:
        if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page:
            raise SystemExit(f"{PAGE.name} is not current. Run python tools/cli_docs.py.")
        return
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
