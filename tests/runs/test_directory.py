"""Run directories appear whole or not at all; tables, JSON, arrays and digests on disk."""

import errno
import fcntl
import gc
import mmap
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from tonearm.errors import DataError, OutputError
from tonearm.runs import directory
from tonearm.runs.directory import MANIFEST, TableWriter, new_directory
from tonearm.types import AnyArray


def a_run(path: Path, text: str = "old") -> Path:
    path.mkdir(parents=True)
    (path / MANIFEST).write_text("{}")
    (path / "note").write_text(text)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_directory_appears_when_the_block_ends(tmp_path: Path) -> None:
    out = tmp_path / "some" / "where" / "run"
    with new_directory(out) as folder:
        (folder / "note").write_text("new")
        assert not out.exists()
        assert folder.parent == out.parent  # so that it can be moved in one step
    assert (out / "note").read_text() == "new"
    assert names(out.parent) == ["run"]
    assert out.stat().st_mode & 0o777 == 0o755


def fail_half_way(out: Path, error: BaseException) -> None:
    with new_directory(out) as folder:
        (folder / "note").write_text("half")
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_inside_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error):
        fail_half_way(tmp_path / "run", error())
    assert names(tmp_path) == []


def test_a_full_disk_leaves_nothing_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"run: writing failed \(No space left on device\)\. Free some space"):
        fail_half_way(tmp_path / "run", OSError(28, "No space left on device"))
    assert names(tmp_path) == []


def test_what_is_there_is_not_overwritten_unless_asked(tmp_path: Path) -> None:
    out = a_run(tmp_path / "run")
    with pytest.raises(OutputError, match=r"exists already\. Pass --overwrite to replace it"), new_directory(out):
        pytest.fail("the block must not begin")
    with new_directory(out, overwrite=True) as folder:
        (folder / "other").write_text("new")
        assert (out / "note").read_text() == "old"
    assert names(out) == ["other"]
    assert names(tmp_path) == ["run"]


def test_an_error_while_overwriting_leaves_the_old_run(tmp_path: Path) -> None:
    out = a_run(tmp_path / "run")
    with pytest.raises(ZeroDivisionError), new_directory(out, overwrite=True):
        raise ZeroDivisionError
    assert (out / "note").read_text() == "old"
    assert names(tmp_path) == ["run"]


def test_only_runs_are_overwritten(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "file").write_text("x")
    for name in ("photos", "file"):
        with pytest.raises(OutputError, match=r"exists already\. Choose another --out"):
            directory.check_free(tmp_path / name, overwrite=True)
    assert (tmp_path / "photos").is_dir()
    with pytest.raises(OutputError, match="cannot be written to"):
        directory.check_free(tmp_path / "file" / "run")
    directory.check_free(tmp_path / "free" / "run")
    assert not (tmp_path / "free").exists()


def test_a_closed_folder_is_found_out_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, _mode: Path(path) != tmp_path)  # the superuser may write anywhere
    with pytest.raises(OutputError, match=r"cannot be written to\. Choose another --out or change its permissions"):
        directory.check_free(tmp_path / "deeper" / "run")


def test_a_place_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, **_options: bool) -> None:
        raise OSError(30, "Read-only file system", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with (
        pytest.raises(OutputError, match=r"cannot be written \(Read-only file system\)\. Choose another --out"),
        new_directory(tmp_path / "run"),
    ):
        pytest.fail("the block must not begin")


def test_tables_become_row_groups(tmp_path: Path) -> None:
    parts = [
        pl.DataFrame({"user": [1, 2, 3], "tags": [["a"], [], ["b", "c"]]}),
        pl.DataFrame({"user": [4], "tags": [["d"]]}),
    ]
    with TableWriter(tmp_path / "t.parquet") as writer:
        for part in parts:
            writer.write(part)
    assert writer.rows == 4
    assert pl.read_parquet(tmp_path / "t.parquet").equals(pl.concat(parts))
    file = pq.ParquetFile(tmp_path / "t.parquet")
    assert [file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)] == [3, 1]
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"


def test_other_columns_are_refused(tmp_path: Path) -> None:
    with TableWriter(tmp_path / "t.parquet") as writer:
        writer.write(pl.DataFrame({"a": [1]}))
        with pytest.raises(ValueError, match="schema"):
            writer.write(pl.DataFrame({"b": [1]}))
    assert writer.rows == 1


def test_an_empty_table_keeps_its_columns(tmp_path: Path) -> None:
    empty = pl.DataFrame(schema={"a": pl.Int32, "b": pl.String, "c": pl.List(pl.String)})
    directory.write_table(tmp_path / "t.parquet", empty)
    assert pl.read_parquet(tmp_path / "t.parquet").equals(empty)
    assert pl.read_parquet(tmp_path / "t.parquet").schema == empty.schema


def test_json_and_back(tmp_path: Path) -> None:
    tree = {"größe": [1, 2.5, None], "b": {"c": "d"}}
    directory.write_json(tmp_path / "t.json", tree)
    assert directory.read_json(tmp_path / "t.json") == tree
    assert "größe" in (tmp_path / "t.json").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="JSON compliant"):
        directory.write_json(tmp_path / "t.json", {"a": float("nan")})


def test_json_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.json: there is no such file\. Is .* a folder that `tonearm run` wrote"):
        directory.read_json(tmp_path / "none.json")
    (tmp_path / "bad.json").write_bytes(b'{"a": ')
    (tmp_path / "worse.json").write_bytes(b"\xff\xfe\x00")
    for name in ("bad.json", "worse.json", ""):
        with pytest.raises(DataError, match="cannot be read as JSON"):
            directory.read_json(tmp_path / name)


def test_arrays_and_back(tmp_path: Path) -> None:
    arrays = {"a": np.arange(3, dtype=np.int32), "b": np.array("word"), "c": np.zeros((2, 0), np.float32)}
    directory.save_arrays(tmp_path / "models" / "m.npz", arrays)
    found = directory.load_arrays(tmp_path / "models" / "m.npz")
    assert list(found) == ["a", "b", "c"]
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_objects_are_not_saved(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="allow_pickle"):
        directory.save_arrays(tmp_path / "m.npz", {"a": np.array([{}], dtype=object)})


def test_a_finished_run_has_a_manifest(tmp_path: Path) -> None:
    assert directory.open_run(a_run(tmp_path / "run")) == tmp_path / "run"
    for path in (tmp_path, tmp_path / "none", tmp_path / "run" / MANIFEST):
        with pytest.raises(DataError, match=r"is not a finished run \(it has no manifest\.json\)"):
            directory.open_run(path)


def test_arrays_are_mapped_as_they_are_loaded(tmp_path: Path) -> None:
    arrays: dict[str, AnyArray] = {
        "matrix": np.arange(12, dtype=np.float32).reshape(3, 4),
        "columns": np.asfortranarray(np.arange(6, dtype=np.int64).reshape(2, 3)),
        "scalar": np.array(2.5),
        "word": np.array("als"),
        "labels": np.array(["pop", "рок"]),
        "empty": np.empty((0, 3), np.int32),
        "flags": np.array([True, False]),
    }
    directory.save_arrays(tmp_path / "models" / "m.npz", arrays)
    mapped, loaded = (
        directory.map_arrays(tmp_path / "models" / "m.npz"),
        directory.load_arrays(tmp_path / "models" / "m.npz"),
    )
    assert mapped.keys() == loaded.keys()
    for name, values in loaded.items():
        assert mapped[name].dtype == values.dtype
        assert mapped[name].shape == values.shape, name
        np.testing.assert_array_equal(mapped[name], values)
    base: object = mapped["matrix"]
    while isinstance(base, np.ndarray):
        base = base.base
    assert isinstance(base, mmap.mmap)
    mapped["matrix"][0, 0] = 1
    assert directory.load_arrays(tmp_path / "models" / "m.npz")["matrix"][0, 0] == 0, "a change stays in memory"


def test_what_cannot_be_mapped_is_told(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "small.npz", a=np.zeros(5))
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04")
    for name in ("small", "broken", "missing"):
        with pytest.raises(DataError, match=rf"{name}\.npz: cannot be read as a model"):
            directory.map_arrays(tmp_path / f"{name}.npz")


LEFT = f".run.ab12cd_9{directory.SUFFIX}"


def test_all_arrays_of_a_file_share_one_open_file(tmp_path: Path) -> None:
    """Where each had its own, a few hundred runs in one process took all files that it may open."""
    arrays: dict[str, AnyArray] = {f"a{n}": np.arange(n + 1, dtype=np.int16) for n in range(9)}
    directory.save_arrays(tmp_path / "m.npz", arrays)
    gc.collect()
    before = len([*Path("/proc/self/fd").iterdir()])
    found = directory.map_arrays(tmp_path / "m.npz")
    assert len([*Path("/proc/self/fd").iterdir()]) == before + 1
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].flags.aligned
        assert found[name].flags.writeable


def test_point_15_what_dead_processes_left_is_swept_and_what_live_ones_hold_stays(tmp_path: Path) -> None:
    """Temporary folders of gigabytes stayed behind when a run was killed."""
    theirs = [".run.abcdefgh", f"run.ab12cd_9{directory.SUFFIX}", f".run.ab{directory.SUFFIX}"]
    for name in (LEFT, *theirs):
        (tmp_path / name / "models").mkdir(parents=True)
    (tmp_path / f".best.toml.ab12cd_9{directory.SUFFIX}").write_text("half")
    (tmp_path / f".link.ab12cd_9{directory.SUFFIX}").symlink_to(tmp_path / theirs[0])
    with new_directory(tmp_path / "one") as held:
        with new_directory(tmp_path / "two"):
            assert held.is_dir(), "another process may be at work in it"
        assert held.is_dir()
    left = {*theirs, "one", "two", f".link.ab12cd_9{directory.SUFFIX}"}
    assert set(names(tmp_path)) == left


def test_point_15_a_killed_writer_leaves_what_the_next_one_sweeps(tmp_path: Path) -> None:
    """The lock on a temporary folder ends with its process, however that ends."""
    code = (
        "import sys, time, pathlib\nfrom tonearm.runs.directory import new_directory\n"
        "with new_directory(pathlib.Path(sys.argv[1])) as folder:\n"
        "    (folder / 'half').write_text('x')\n    print('there', flush=True)\n    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        left = names(tmp_path)
        directory.write_whole(tmp_path / "alive", "x")
        assert names(tmp_path) == sorted([*left, "alive"]), "it lives"
        process.kill()
    directory.write_whole(tmp_path / "dead", "x")
    assert names(tmp_path) == ["alive", "dead"]


def test_point_15_either_the_old_or_the_new_run_is_there_whenever_it_is_killed(tmp_path: Path) -> None:
    """Between two renames there was neither."""
    out = a_run(tmp_path / "run", "0")
    code = (
        "import sys, pathlib\nfrom tonearm.runs.directory import new_directory\nout = pathlib.Path(sys.argv[1])\n"
        "print('ready', flush=True)\nn = int((out / 'note').read_text())\n"
        "while True:\n    n += 1\n    with new_directory(out, overwrite=True) as folder:\n"
        "        (folder / 'manifest.json').write_text('{}')\n        (folder / 'note').write_text(str(n))\n"
    )
    rng, seen = random.Random(15), []
    for _ in range(8):
        command = [sys.executable, "-c", code, str(out)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            until = time.monotonic() + rng.uniform(0.05, 0.2)
            while time.monotonic() < until:
                assert out.is_dir(), "a reader finds a run at any time"
            process.send_signal(signal.SIGKILL)
        seen.append(int((out / "note").read_text()))
        assert names(out) == [MANIFEST, "note"]
    assert seen == sorted(seen)
    assert seen[-1] > 0
    directory.write_whole(tmp_path / "other", "x")
    assert names(tmp_path) == ["other", "run"]


def test_a_link_is_kept_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    """`--overwrite` put a folder in the place of a link."""
    a_run(tmp_path / "runs" / "of_today")
    (tmp_path / "latest").symlink_to("runs/of_today")
    with new_directory(tmp_path / "latest", overwrite=True) as folder:
        (folder / "note").write_text("new")
    assert (tmp_path / "latest").readlink() == Path("runs/of_today")
    assert (tmp_path / "runs" / "of_today" / "note").read_text() == "new"
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to("file")
    directory.write_whole(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "new"


def test_links_that_lead_nowhere_are_found_early(tmp_path: Path) -> None:
    (tmp_path / "gone").symlink_to("nothing")
    (tmp_path / "ring").symlink_to("ring")
    for place in ("gone", "gone/run", "ring", "ring/run"):
        with pytest.raises(OutputError, match=r"is a link to \w+, which is not there\. Remove it or choose another"):
            directory.check_free(tmp_path / place, overwrite=True)


def without_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    class Library:
        @staticmethod
        def renameat2(*_: object) -> int:
            return -1

    monkeypatch.setattr("ctypes.CDLL", lambda *_, **__: Library())
    monkeypatch.setattr("ctypes.get_errno", lambda: errno.EINVAL)


def test_a_file_system_that_cannot_exchange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_exchange(monkeypatch)
    out = a_run(tmp_path / "run")
    with new_directory(out, overwrite=True) as folder:
        (folder / MANIFEST).write_text("new")
    assert names(tmp_path) == ["run"]
    assert (out / MANIFEST).read_text() == "new"
    aside = directory._aside(out)
    out.rename(aside)  # as a kill between the two renames leaves it
    directory.write_whole(tmp_path / "other", "x")
    assert aside.is_dir(), "it is no leftover"
    with pytest.raises(OutputError, match="Pass --overwrite"):
        directory.check_free(out)
    assert (out / MANIFEST).read_text() == "new"


def test_an_exchange_that_fails_leaves_the_old_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_exchange(monkeypatch)
    out, rename = a_run(tmp_path / "run"), Path.rename

    def fail(self: Path, target: Path) -> Path:
        if self.name.endswith(directory.SUFFIX) and ".old." not in self.name:
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OutputError, match="Input/output error"), new_directory(out, overwrite=True):
        pass
    assert (out / "note").read_text() == "old"
    assert names(tmp_path) == ["run"]


def test_all_is_on_the_disk_before_it_is_in_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that loses power must not find a run of empty files."""
    synced: list[str] = []
    fsync = os.fsync

    def note(handle: int) -> None:
        fsync(handle)
        synced.append(Path(f"/proc/self/fd/{handle}").readlink().name)

    monkeypatch.setattr(os, "fsync", note)
    with new_directory(tmp_path / "run") as folder:
        (folder / "models").mkdir()
        (folder / "models" / "m").write_text("x")
        (folder / "a").write_text("x")
    assert synced == ["m", "models", "a", folder.name, tmp_path.name]


def test_a_file_appears_whole_and_makes_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "new" / "folder" / "metrics.json"
    directory.write_whole(out, "old")
    assert out.stat().st_mode & 0o777 == 0o644

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for place in (out, tmp_path / "another" / "metrics.json"):
        with pytest.raises(OutputError, match=r"metrics\.json: writing failed \(No space left on device\)"):
            directory.write_whole(place, "new")
    assert out.read_text() == "old"
    assert names(tmp_path) == ["new"]
    assert names(out.parent) == ["metrics.json"]


def test_no_room_elsewhere_is_told_by_its_place(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"writing failed \(No space left on device: /tmp/full\)"):
        fail_half_way(tmp_path / "run", OSError(28, "No space left on device", "/tmp/full"))


def test_a_file_system_without_locks_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    (tmp_path / LEFT).mkdir()
    with new_directory(tmp_path / "run"):
        pass
    assert names(tmp_path) == [LEFT, "run"], "nobody can tell whether it is at work"
