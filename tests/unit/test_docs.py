"""The docs cannot lie: examples run, every command is documented, and the pages made from code are current."""

import dataclasses
import re
import runpy
from pathlib import Path
from types import ModuleType

import pytest
from tests.quick import QUICK, stub_report
from tools import cli_docs, config_docs
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
    from tonearm import config, pipeline, synth

    load, run, generate = config.load_config, pipeline.run, synth.generate

    def quick_run(inputs: pipeline.Inputs, out: Path | str, options: config.Config, **more: bool) -> object:
        del options
        with stub_report():
            return run(inputs, out, load(overrides=QUICK), **more)

    monkeypatch.setattr("tonearm.pipeline.run", quick_run)
    monkeypatch.setattr("tonearm.synth.generate", lambda _, out, seed=0, raw=False: generate("tiny", out, seed, raw))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_command_is_documented() -> None:
    page = PAGE.read_text(encoding="utf-8")
    documented = re.findall(r"^## tonearm (.+)$", page, re.MULTILINE)
    assert documented == [" ".join(words) for words in commands(app)]
    names = "run check evaluate compare tune explain explore"
    assert {*names.split(), "synth", "prepare yandex", "show user", "show item"} <= {*documented}


@pytest.mark.parametrize("tool", [cli_docs, config_docs], ids=lambda tool: tool.__name__)
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
    assert options
    assert [option.name for option in options if not option.parameter.help] == []


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_runs(example: Path, quick: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(example), run_name="__main__")
    assert capsys.readouterr().out
    assert list(quick.glob("catboost_info")) == []


def test_there_are_examples() -> None:
    assert EXAMPLES


PAGES = [README, ROOT / "docs" / "explain.md", ROOT / "docs" / "explore.md", ROOT / "docs" / "shaping.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_examples_of_a_page_run(page: Path, quick: Path) -> None:
    blocks = python_blocks(page)
    assert blocks
    for place, block in enumerate(blocks):
        exec(compile(block, f"{page.name}, example {place + 1}", "exec"), {"__name__": "__main__"})
    assert quick.exists()


def test_commands_that_the_readme_and_the_docs_show_exist() -> None:
    known = {words[0] for words in commands(app)}
    for page in [README, *sorted((ROOT / "docs").glob("*.md"))]:
        shown = re.findall(r"^(?:\$ )?tonearm ([a-z]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert set(shown) <= known, page.name


DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_a_decision_says_why_in_sixty_words_and_whether_it_stands(page: Path) -> None:
    for decision in page.read_text(encoding="utf-8").split("\n## ")[1:]:
        what, why, status = decision.strip().split("\n\n")
        assert what
        assert 0 < len(why.split()) <= 60, what
        assert status.startswith(("Stands.", "Replaced by ")), what
