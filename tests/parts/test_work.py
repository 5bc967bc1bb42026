"""What a task keeps on the disk of its machine."""

from pathlib import Path

import numpy as np
import pytest

from tonearm.parts.work import LITTLE, brought, heard, here, told, working_in


def made(folder: Path, text: str) -> Path:
    """A folder with a file in a folder."""
    (folder / "models").mkdir(parents=True)
    (folder / "models" / "als.npz").write_text(text)
    return folder


@pytest.mark.parametrize("one_disk", [True, False])
def test_the_last_folder_is_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_disk: bool) -> None:
    if not one_disk:

        def refuse(*_: object, **__: object) -> None:
            raise OSError(18, "Invalid cross-device link")

        monkeypatch.setattr("tonearm.parts.work.link", refuse)
    first, second = made(tmp_path / "run" / "first", "1"), made(tmp_path / "run" / "second", "2")
    (tmp_path / "own").mkdir()
    with working_in(tmp_path / "own"):
        for folder, text in ((first, "1"), (first, "1"), (second, "2")):
            path = brought(folder) / "models" / "als.npz"
            assert path.read_text() == text
            assert path.samefile(folder / "models" / "als.npz") is one_disk
        assert [path.name for path in here("brought").iterdir()] == ["second"]
        assert [path.name for path in (tmp_path / "own").iterdir()] == ["brought"]
    assert (first / "models" / "als.npz").read_text() == "1"


def test_a_task_that_comes_second_takes_what_the_first_brought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, own = made(tmp_path / "run" / "first", "1"), tmp_path / "own"
    own.mkdir()
    rename = Path.rename

    def late(path: Path, target: Path) -> Path:
        made(target, "of another task")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", late)
    with working_in(own):
        assert (brought(folder) / "models" / "als.npz").read_text() == "of another task"
    assert [path.name for path in own.iterdir()] == ["brought"]


@pytest.mark.parametrize("n", [0, 10, LITTLE // 8 + 1])
def test_what_is_large_comes_to_the_driver_as_a_file(tmp_path: Path, n: int) -> None:
    """Of several rows of some 30 MB each, PySpark gave the first alone, in silence."""
    arrays = {"large": np.arange(n), "small": np.array([1.5])}
    data = told(tmp_path, arrays)
    assert len(data) < 2000
    assert len(list(tmp_path.iterdir())) == (n > 10)
    found = heard(data)
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
    assert list(tmp_path.iterdir()) == []
