"""Files are held against what was written: digests, seals, and what is said of a file that is another."""

import hashlib
from pathlib import Path

import pytest

from tonearm.errors import DataError
from tonearm.runs import directory, vouch


def test_digests_of_all_files_below(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "m").write_bytes(b"abc")
    (tmp_path / "a").write_bytes(b"")
    assert vouch.digests(tmp_path) == {
        "a": {"sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "bytes": 0},
        "models/m": {"sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "bytes": 3},
    }
    (tmp_path / "big").write_bytes(bytes(300_000))
    assert vouch.sha256(tmp_path / "big") == hashlib.sha256(bytes(300_000)).hexdigest()


def test_a_large_file_that_changes_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(bytes(vouch.LARGE))
    first = vouch.sha256(path)
    assert vouch.sha256(path) == first
    path.write_bytes(bytes(vouch.LARGE + 1))
    assert vouch.sha256(path) == hashlib.sha256(bytes(vouch.LARGE + 1)).hexdigest()


def test_any_byte_of_a_sealed_file_tells(tmp_path: Path) -> None:
    path, tree = tmp_path / "manifest.json", {"format": 2, "seed": 7, "files": {"a é": {"bytes": 3}}, "x": 0.1}
    vouch.write_sealed(path, tree)
    whole = path.read_bytes()
    assert {name: value for name, value in vouch.read_sealed(path).items() if name != vouch.SEAL} == tree
    for place in range(len(whole)):
        for changed in (whole[:place], whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]):
            path.write_bytes(changed)
            with pytest.raises(DataError, match=r"manifest\.json: .*(anew|Put)"):
                vouch.read_sealed(path)
    vouch.write_sealed(path, tree | {vouch.SEAL: "of before"})
    assert path.read_bytes() == whole


def test_a_manifest_of_before_there_were_seals_is_read(tmp_path: Path) -> None:
    directory.write_json(tmp_path / "manifest.json", {"format": 1, "seed": 7})
    assert vouch.read_sealed(tmp_path / "manifest.json")["seed"] == 7


def test_a_file_is_gone_another_or_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    files = vouch.Files(tmp_path, vouch.digests(tmp_path))
    files.check()
    assert (files.find("a"), files.find("b")) == (tmp_path / "a", None)
    with pytest.raises(DataError, match="b: is missing"):
        files.need("b")
    (tmp_path / "a").write_bytes(b"abd")
    with pytest.raises(DataError, match=r"a: is not the file that the run wrote.*Put that one back"):
        files.check()
    (tmp_path / "a").unlink()
    with pytest.raises(DataError, match=r"a: is missing\. Put that one back, or make the run anew"):
        files.find("a")
    assert vouch.Files(tmp_path, None).find("a") is None
