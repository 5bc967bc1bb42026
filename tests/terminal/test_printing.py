"""What is printed: no text is markup, and none steers the terminal; one module prints."""

import ast
import io
import json
import os
import pty
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from rich.console import Group
from rich.table import Table
from rich.text import Text

from tonearm.terminal import printing
from tonearm.terminal.stages import Stages

SOURCES = Path(printing.__file__).parents[1]

MARKUP = "a [shape] b [/dim] [bold]c[/bold] :warning: \\[d]"

STEERING = ["\x00", "\x07", "\x08", "\x0d", "\x1b[31m", "\x7f", "\x85", "\x9b2J", "\u202e", "\u2066", "\udcff"]


def printed(what: object, **options: Any) -> str:
    file = io.StringIO()
    printing.console(file=file, width=100, **options).print(what)
    return file.getvalue()


def table(text: str) -> Table:
    found = Table(title=text, caption=text)
    found.add_column(text)
    found.add_row(text)
    return found


@pytest.mark.parametrize(
    "make", [str, Text, table, lambda text: Group(text, Text(text))], ids=["str", "text", "table", "group"]
)
def test_point_14_no_text_is_read_as_markup(make: object) -> None:
    """Rich ate `[shape]` in captions and in names of folders, and failed on `[/dim]`."""
    assert callable(make)
    assert MARKUP in printed(make(MARKUP))


@pytest.mark.parametrize("steering", STEERING, ids=ascii)
def test_point_14_control_characters_are_written_out(steering: str) -> None:
    """An id or a name that holds escapes or overrides of direction shows them instead of sending them."""
    written = f"\\u{ord(steering[0]):04x}{steering[1:]}"
    assert printing.visible(f"a{steering}b") == f"a{written}b"
    assert printing.visible("tab\t, line\n, שלום, мир, 🎧 stay") == "tab\t, line\n, שלום, мир, 🎧 stay"
    for what in (f"a{steering}b", table(f"a{steering}b"), Text.assemble(("a", "red"), f"{steering}b")):
        shown = printed(what)
        assert printing.STEERING.search(shown) is None
        if not isinstance(what, Text) or steering[0] not in "\x07\x08\r":  # rich's Text drops these three by itself
            assert f"a{written}b" in shown


def test_styles_stay_where_they_were() -> None:
    text = Text.assemble(("red", "red"), "\x1b", ("bold", "bold"))
    assert printed(text, force_terminal=True) == "\x1b[31mred\x1b[0m\\u001b\x1b[1mbold\x1b[0m\n"
    assert text.plain == "red\x1bbold"


def test_json_with_control_characters_reads_as_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    tree = {"name": "a\x7f\x9b\u202eb"}
    printing.say(json.dumps(tree, ensure_ascii=False))
    said = capsys.readouterr().out
    assert printing.STEERING.search(said) is None
    assert json.loads(said) == tree


def test_long_text_is_not_broken_and_goes_where_it_is_sent(capsys: pytest.CaptureFixture[str]) -> None:
    printing.say("x" * 500, error=True)
    assert capsys.readouterr() == ("", "x" * 500 + "\n")
    assert printing.one_line("a\nb\x1b") == "a\\u000ab\\u001b"


def test_progress_and_stages_show_what_steers(capsys: pytest.CaptureFixture[str]) -> None:
    stages = Stages(show=True)
    with stages.stage("load [a] \x1b[31m\u202e"):
        stages.progress("read [b] \x1b[2J", 1, 2)
    said = capsys.readouterr().err
    assert "load [a] \\u001b[31m\\u202e" in said
    assert "\x1b[31m\u202e" not in said
    assert "\x1b[2J" not in said


def test_bars_on_a_terminal_show_what_steers() -> None:
    code = (
        "from tonearm.terminal.stages import Stages\nstages = Stages(show=True)\n"
        "with stages.stage('load'):\n    stages.progress('read [b]\\x1b[2J', 1, 2)\n    stages._bars.refresh()\n"
    )
    master, slave = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "120"}
    subprocess.run([sys.executable, "-c", code], stderr=slave, check=True, env=environment)
    os.close(slave)
    said = os.read(master, 100_000).decode()
    os.close(master)
    assert "read [b]\\u001b[2J" in said
    assert "\x1b[2J" not in said


def test_warnings_are_one_line_and_missing_letters_are_written_out() -> None:
    code = (
        "import warnings\nfrom tonearm.terminal.printing import printing, say\n"
        "with printing():\n    say('naïve – мир')\n    warnings.warn('odd \\x1b place', RuntimeWarning)\n"
    )
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, check=True)
    assert found.stdout == b"na\\xefve \\u2013 \\u043c\\u0438\\u0440\n"
    assert found.stderr == b"warning: odd \\u001b place\n"


def test_the_callers_way_of_warning_is_given_back() -> None:
    before = warnings.showwarning
    with printing.printing():
        assert warnings.showwarning is not before
    assert warnings.showwarning is before


def test_one_module_prints() -> None:
    """A console made elsewhere would read markup, and a bare print would send escapes."""
    found = set()
    for path in sorted(SOURCES.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        calls = {
            node.func.id
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        if calls & {"print", "Console"} or re.search(r"rich\.markup|from_markup|sys\.std(out|err)\.write", text):
            found.add(path.name)
    assert found == {"printing.py"}
