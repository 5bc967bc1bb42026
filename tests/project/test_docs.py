"""The docs cannot lie: examples run, every command is documented, and the pages made from code are current."""

import dataclasses
import re
import runpy
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.quick import QUICK, stub_report
from tools import cli_docs, config_docs, layout_docs
from tools.cli_docs import PAGE, commands

from tonearm.cli import app
from tonearm.config import Config

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
README = ROOT / "README.md"


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in; the examples' runs take quick options and the tiny log, whatever they ask for."""
    from tonearm import config, model, pipeline, synth

    load, run, generate, fit = config.load_config, pipeline.run, synth.generate, model.fit

    def quick_fit(events: Any, items: Any = None, options: config.Config | None = None, **more: Any) -> model.Model:
        del options
        return fit(events, items, load(overrides=QUICK), **more)

    def quick_run(inputs: pipeline.Inputs, out: Path | str, options: config.Config, **more: Any) -> object:
        del options
        with stub_report():
            return run(inputs, out, load(overrides=QUICK), **more)

    monkeypatch.setattr("tonearm.pipeline.run", quick_run)
    monkeypatch.setattr("tonearm.model.fit", quick_fit)
    monkeypatch.setattr("tonearm.synth.generate", lambda _, out, seed=0, raw=False: generate("tiny", out, seed, raw))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_command_is_documented() -> None:
    page = PAGE.read_text(encoding="utf-8")
    documented = re.findall(r"^## tonearm (.+)$", page, re.MULTILINE)
    assert documented == [" ".join(words) for words in commands(app)]
    names = "run check evaluate compare tune explain explore"
    assert {*names.split(), "synth", "prepare yandex", "show user", "show item"} <= {*documented}


@pytest.mark.parametrize("tool", [cli_docs, config_docs, layout_docs], ids=lambda tool: tool.__name__)
def test_pages_made_from_code_are_current(tool: ModuleType) -> None:
    assert tool.PAGE.read_text(encoding="utf-8") == tool.render(), f"run python tools/{Path(tool.__file__ or '').name}"


def test_every_option_stands_in_the_page_of_the_configuration() -> None:
    """Point 11: `output.similar_exact` and `data.on_duplicate` stood on no page."""
    sections = config_docs.PAGE.read_text(encoding="utf-8").split("\n## ")
    by_name = {section.partition("\n")[0]: section for section in sections}
    for field in dataclasses.fields(Config):
        if dataclasses.is_dataclass(field.type):
            for option in dataclasses.fields(field.type):
                assert f"\n| `{option.name}` | " in by_name[f"[{field.name}]"]
        else:
            assert f"\n| `{field.name}` | " in sections[0]
    words = '| `on_duplicate` | `"auto"`, `"drop"`, `"keep"`, `"error"` | `"auto"` | rows that repeat another'
    assert words in by_name["[data]"]
    assert "| `similar_exact` | whole number, ≥ 0 | `200000` | tracks up to which similar" in by_name["[output]"]
    assert "| `label_share` | number, > 0, < 1 | `0.1` | share of the train events" in by_name["[split]"]


@pytest.mark.parametrize("words", list(commands(app)), ids=" ".join)
def test_every_option_says_what_it_is(words: tuple[str, ...]) -> None:
    command = app
    for word in words:
        command = command[word]
    options = [option for option in command.assemble_argument_collection(parse_docstring=True) if option.show]
    assert options or words == ("warmup",), "the one command without options"
    assert [option.name for option in options if not option.parameter.help] == []


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_runs(example: Path, quick: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(example), run_name="__main__")
    assert capsys.readouterr().out
    assert list(quick.glob("catboost_info")) == []


def test_there_are_examples() -> None:
    assert EXAMPLES


PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
WITH_EXAMPLES = [page for page in PAGES if page.parent.name != "develop" and python_blocks(page)]


def test_pages_of_use_have_examples() -> None:
    assert {page.stem for page in WITH_EXAMPLES} >= {"README", "explain", "explore", "shaping"}


@pytest.mark.parametrize("page", WITH_EXAMPLES, ids=lambda page: page.stem)
def test_the_examples_of_a_page_run(page: Path, quick: Path) -> None:
    for place, block in enumerate(python_blocks(page)):
        exec(compile(block, f"{page.name}, example {place + 1}", "exec"), {"__name__": "__main__"})
    assert quick.exists()


def test_commands_that_the_readme_and_the_docs_show_exist() -> None:
    known = {words[0] for words in commands(app)}
    for page in PAGES:
        shown = re.findall(r"^(?:\$ )?tonearm ([a-z]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert set(shown) <= known, page.name


TEXTS = [*PAGES, ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md"]
FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HASH = re.compile(r"\b(?=[0-9a-f]*[0-9])(?=[0-9a-f]*[a-f])[0-9a-f]{7,40}\b")


def prose(text: str) -> str:
    """A page without its code and tables, line by line where it was."""
    without = FENCE.sub(lambda code: "\n" * code[0].count("\n"), text)
    return re.sub(r"^\|.*$", "", without, flags=re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What a link may name within a page: its headings in small letters, with dashes for blanks."""
    heads = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def dead_links(page: Path) -> list[str]:
    """Links of a page to files that are not there, or to headings that a page does not have."""
    dead = []
    for link in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if "://" not in link and not (target.exists() and (not anchor or anchor in anchors(target))):
            dead.append(link)
    return dead


def long_lines(text: str) -> list[int]:
    """The numbers of lines of prose that are above 160 characters."""
    return [place for place, line in enumerate(prose(text).splitlines(), 1) if len(line) > 160]


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_has_no_dead_link_no_long_line_and_no_commit(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert dead_links(page) == []
    assert long_lines(text) == []
    assert HASH.findall(prose(text)) == []


def test_dead_links_long_lines_and_commits_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One head, two\n[a](page.md#one-head-two) [b](#one-head-two) [c](#two) [d](gone.md) [e](x://y)\n")
    assert dead_links(page) == ["#two", "gone.md"]
    long = "a" * 161
    assert long_lines(f"b\n{long}\n| {long} |\n```\n{long}\n```\n{long}") == [2, 7]
    assert HASH.findall(prose("1234567 defaced 798511d\n`8c3986f+`\n| d202bb9 |")) == ["798511d", "8c3986f"]


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_says_first_whom_it_is_for(page: Path) -> None:
    head, blank, first = page.read_text(encoding="utf-8").split("\n")[:3]
    assert head.startswith("# ")
    assert blank == ""
    assert first.startswith("For whoever "), first


def test_every_page_is_linked_from_another() -> None:
    linked = {
        (page.parent / link.partition("#")[0]).resolve() for page in TEXTS for link in LINK.findall(page.read_text())
    }
    assert [page.name for page in PAGES[1:] if page not in linked] == []


def test_a_file_above_400_lines_has_its_reason() -> None:
    assert {*layout_docs.long_files()} <= {*layout_docs.LONG}


def test_the_layout_names_files_that_exist() -> None:
    page = layout_docs.PAGE.read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:src|docs|tools|benchmarks|tests)/[\w/.-]+)`", page))
    assert len(named) > 20
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


DECISIONS = sorted((ROOT / "docs" / "develop" / "decisions").glob("*.md"))


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_a_decision_says_why_in_sixty_words_and_whether_it_stands(page: Path) -> None:
    for decision in page.read_text(encoding="utf-8").split("\n## ")[1:]:
        what, why, status = decision.strip().split("\n\n")
        assert what
        assert 0 < len(why.split()) <= 60, what
        assert status.startswith(("Stands.", "Replaced by ")), what
