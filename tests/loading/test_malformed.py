"""Text that cannot be read gets one message that says which file, which line, how many, and what to do."""

import gzip
from datetime import datetime
from pathlib import Path

import pytest

from tonearm.errors import DataError
from tonearm.loading.load import load_all

TODAY = datetime(2021, 2, 1)
HEADER = b"user_id,item_id,started_at\n"
ROWS = b"1,5,2021-01-01\n2,7,2021-01-02\n1,7,2021-01-03\n2,5,2021-01-04\n"

BAD: dict[str, tuple[str, bytes, str]] = {
    "too many fields": (
        "log.csv",
        HEADER + ROWS + b"3,5,2021-01-01,x\n4,5,2021-01-01\n5,5,2021-01-01,y,z\n",
        r"log\.csv: 2 lines cannot be read as CSV \(first: line 6, 4 fields where the header has 3\)\. Correct them",
    ),
    "too many fields before a column that is read": (
        "log.csv",
        b"user_id,title,item_id,started_at,note\n1,A, B,5,2021-01-01,\n2,C,7,2021-01-02,\n1,A, D,5,2021-01-01,x\n",
        r"log\.csv: 2 lines cannot be read as CSV \(first: line 2, 6 fields where the header has 5\)",
    ),
    "a quote that is not closed": (
        "log.csv",
        HEADER + ROWS + b'3,"5,2021-01-01\n',
        r"log\.csv: 1 line cannot be read as CSV \(first: line 6, a quote that is not closed\)",
    ),
    "letters of another encoding": (
        "log.csv",
        HEADER + ROWS + "3,Bj\xf6rk,2021-01-01\n".encode("latin-1"),
        r"log\.csv: 1 line cannot be read as CSV \(first: line 6, no UTF-8\)",
    ),
    "no header": (
        "log.csv",
        ROWS,
        r"log\.csv: no column user_id\. It has 1, 5, 2021-01-01\. Its first line is taken for the names of columns",
    ),
    "nothing in it": ("log.csv", b"", r"log\.csv: the file is empty\. Write the table anew, with its columns"),
    "nothing packed in it": ("log.csv.gz", gzip.compress(b""), r"log\.csv\.gz: the file is empty"),
    "only a header": ("log.csv", HEADER, r"log\.csv: the table has no rows\. Give a log with events"),
    "cut off": (
        "log.csv.gz",
        gzip.compress(HEADER + ROWS * 5000)[:-200],
        r"log\.csv\.gz: cannot be unpacked \(.*\)\. Pack it anew",
    ),
    "a weight that is no number": (
        "log.csv",
        b"user_id,item_id,weight\n1,5,2\n2,7,lots\n1,7,some\n",
        r"log\.csv: 2 of 3 rows have a weight that is not a number \(first: row 2, 'lots'\)\. Correct them",
    ),
    "a JSON array": (
        "log.json",
        b'[{"user_id": 1, "item_id": 5},\n {"user_id": 2, "item_id": 7}]\n',
        r"log\.json: 2 lines cannot be read as JSON lines \(first: line 1, ",
    ),
    "a line that is no JSON": (
        "log.jsonl",
        b'{"user_id": 1, "item_id": 5}\n{"user_id": 2, "item_id": \n{"user_id": 1, "item_id": 7}\n',
        r"log\.jsonl: 1 line cannot be read as JSON lines \(first: line 2, Expecting value",
    ),
    "a value in JSON that is no time": (
        "log.jsonl",
        b'{"user_id": 1, "item_id": 5, "started_at": "2021-01-01"}\n'
        b'{"user_id": 2, "item_id": 7, "started_at": "then"}\n'
        b'{"user_id": 2, "item_id": 5, "started_at": "2021-01-02"}\n',
        r"log\.jsonl: 1 of 3 rows have a started_at that is not a date such as 2022-12-16 \(first: row 2, 'then'\)",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_text(tmp_path: Path, kind: str) -> None:
    name, content, message = BAD[kind]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        load_all(str(path), None, today=TODAY)
    assert all(line.startswith(f"{path}: ") for line in str(caught.value).split("\n"))


def test_the_file_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(HEADER + ROWS)
    (tmp_path / "b.csv").write_bytes(HEADER + b"1,2,3,4\n")
    with pytest.raises(DataError, match=r" \(b\.csv\): 1 line cannot be read as CSV \(first: line 2, 4 fields"):
        load_all(str(tmp_path), None, today=TODAY)
    (tmp_path / "b.csv").write_bytes(HEADER + b"1,2,soon\n")
    with pytest.raises(DataError, match=r"1 of 5 rows have a started_at .* \(first: row 1 of b\.csv, 'soon'\)"):
        load_all(str(tmp_path), None, today=TODAY)


def test_forms_that_are_mixed(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(HEADER + ROWS)
    (tmp_path / "b.tsv").write_bytes(ROWS)
    (tmp_path / "_SUCCESS.json").write_bytes(b"{}")
    with pytest.raises(DataError, match=r"several forms, CSV \(a\.csv\) and TSV \(b\.tsv\)\. Name those of one"):
        load_all(str(tmp_path), None, today=TODAY)
    assert load_all(f"{tmp_path}/*.csv", None, today=TODAY).train.log.n_events == 4


GOOD = {
    "as Windows writes it": b"\xef\xbb\xbf" + (HEADER + ROWS).replace(b"\n", b"\r\n"),
    "no end of the last line": (HEADER + ROWS).rstrip(),
    "semicolons": (HEADER + ROWS).replace(b",", b";"),
    "quotes": HEADER + b'"1","5","2021-01-01"\n2,"7",2021-01-02\n1,7,2021-01-03\n2,"5",2021-01-04\n',
    "columns in another order, and more of them": b'note,started_at,item_id,user_id\n"a ""b"", c",2021-01-01,5,1\n'
    b"x,2021-01-02,7,2\n,2021-01-03,7,1\n,2021-01-04,5,2\n",
}


@pytest.mark.parametrize("kind", GOOD)
def test_what_is_good_text_all_the_same(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(GOOD[kind])
    train = load_all(str(path), None, today=TODAY).train
    assert train.users.ids.to_list() == [1, 2]
    assert train.catalogue.items.ids.to_list() == [5, 7]
    assert train.log.item.tolist() == [0, 1, 1, 0]


def test_a_field_may_hold_an_end_of_line(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(HEADER + ROWS + b'"a\nb",5,2021-01-05\n')
    assert load_all(str(path), None, today=TODAY).train.users.ids.to_list() == ["1", "2", "a\nb"]


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    for content in (HEADER + ROWS, HEADER + b"1,2,soon\n"):
        (tmp_path / "log.csv").write_bytes(content)
        try:
            load_all(str(tmp_path / "log.csv"), None, today=TODAY)
        except DataError:
            assert content.endswith(b"soon\n")
        assert list(scratch.iterdir()) == []
