"""What docs/develop/layout.md promises of the code's rooms."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "tonearm"
COMPOSED = re.compile(r"\.score\(|candidates import .*\b(gather|of_users)\b")
"""How a source or a ranker is asked for scores, and what makes candidates."""


def outside(pattern: re.Pattern[str], *rooms: str) -> list[str]:
    """Files of the package and of the benchmarks with the pattern, but for those in some rooms."""
    files = [*SOURCE.rglob("*.py"), *(ROOT / "benchmarks").glob("*.py")]
    names = {path.relative_to(SOURCE if SOURCE in path.parents else ROOT).as_posix(): path for path in files}
    return [
        name
        for name, path in sorted(names.items())
        if not name.startswith(rooms) and pattern.search(path.read_text(encoding="utf-8"))
    ]


def test_nothing_but_the_recommender_composes_a_blocks_lists() -> None:
    # the ablation finds candidates once for many rankers
    assert outside(COMPOSED, "ranking/", "sources/", "kernels/") == ["benchmarks/quality_ablation.py"]
    assert "ranking/recommender.py" in outside(COMPOSED, "benchmarks/")


def test_one_file_knows_the_library_of_the_trees() -> None:
    assert outside(re.compile(r"import catboost|from catboost"), "benchmarks/") == ["ranking/trees.py"]


def test_a_newcomer_sees_few_files_beside_the_rooms() -> None:
    files = [path.name for path in SOURCE.iterdir() if path.is_file()]
    assert len(files) <= 14, sorted(files)
