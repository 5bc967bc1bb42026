"""Logs, catalogues and lists that mean harm, or mean nothing."""

import gzip
import io
import json
import struct
import zlib
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.e2e.command import tonearm
from tests.hostile.refused import assert_answered, assert_refused, bounded

HEADER = b"user_id,item_id,started_at\n"
ROWS = b"1,5,2021-01-01\n2,7,2021-01-02\n1,7,2021-01-03\n2,5,2021-01-04\n"
START = datetime(2021, 1, 1)


def log(**columns: Any) -> pl.DataFrame:
    """Four events of two users, with other columns."""
    rows: dict[str, Any] = {"user_id": [1, 2, 1, 2], "item_id": [5, 7, 7, 5]}
    rows["started_at"] = [START + timedelta(days=n) for n in range(4)]
    return pl.DataFrame(rows | columns)


def parquet(table: pl.DataFrame | pa.Table, **options: Any) -> bytes:
    """A table as the bytes of a parquet file."""
    sink = io.BytesIO()
    pq.write_table(table.to_arrow() if isinstance(table, pl.DataFrame) else table, sink, **options)
    return sink.getvalue()


def arrow(table: pl.DataFrame) -> bytes:
    """A table as the bytes of an Arrow file."""
    sink = io.BytesIO()
    table.write_ipc(sink)
    return sink.getvalue()


def changed(content: bytes, at: int, value: int) -> bytes:
    """The same with one byte changed; a place below 0 counts from the end."""
    at %= len(content)
    return content[:at] + bytes([content[at] ^ value]) + content[at + 1 :]


def bomb() -> bytes:
    """A CSV a thousand times as long as it looks: one line that has no end."""
    pack = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = b"1" * (1 << 20)
    return pack.compress(HEADER) + b"".join(pack.compress(block) for _ in range(1 << 5)) + pack.flush()


GOOD = parquet(log())
EVENTS: dict[str, tuple[str, bytes]] = {
    "CSV: nothing": ("x.csv", b""),
    "CSV: a line feed": ("x.csv", b"\n"),
    "CSV: a header alone": ("x.csv", HEADER),
    "CSV: no header": ("x.csv", ROWS),
    "CSV: null bytes": ("x.csv", b"\x00" * 1000),
    "CSV: UTF-16": ("x.csv", (HEADER + ROWS).decode().encode("utf-16")),
    "CSV: Latin-1": ("x.csv", HEADER + b"\xe9,5,2021-01-01\n" + ROWS),
    "CSV: an open quote": ("x.csv", HEADER + b'"1,5,2021-01-01\n' + ROWS),
    "CSV: a quote within": ("x.csv", HEADER + b'1"2"3,"5"6,2021-01-01\n' + ROWS),
    "CSV: too many fields": ("x.csv", HEADER + ROWS + b"1,2,2021-01-01,4,5\n"),
    "CSV: a column twice": ("x.csv", b"user_id,item_id,started_at,user_id\n1,5,2021-01-01,2\n"),
    "CSV: empty names": ("x.csv", b",,\n1,5,2021-01-01\n"),
    "CSV: a formula": ("x.csv", HEADER + b"=cmd|' /C calc'!A0,5,\n"),
    "CSV: times of letters": ("x.csv", HEADER + b"1,5,yesterday\n" + ROWS),
    "CSV: times of every form": ("x.csv", HEADER + b"1,5,01/02/2021\n2,7,2021-01-02T00:00\n1,7,1609459200\n"),
    "CSV: times beyond all": ("x.csv", HEADER + b"1,5,99999999999999999999\n2,7,1\n"),
    "CSV: a time of the year 0": ("x.csv", HEADER + b"1,5,0000-01-01\n2,7,0000-01-02\n"),
    "CSV: a weight of letters": (
        "x.csv",
        b"user_id,item_id,started_at,weight\n1,5,2021-01-01,much\n2,7,2021-01-02,1\n",
    ),
    "CSV: a weight of infinity": (
        "x.csv",
        b"user_id,item_id,started_at,weight\n1,5,2021-01-01,inf\n2,7,2021-01-02,1\n",
    ),
    "CSV: a weight below zero": ("x.csv", b"user_id,item_id,started_at,weight\n1,5,2021-01-01,-1\n2,7,2021-01-02,1\n"),
    "CSV: a weight beyond 32 bits": (
        "x.csv",
        b"user_id,item_id,started_at,weight\n1,5,2021-01-01,1e300\n2,7,2021-01-02,1\n",
    ),
    "CSV: no user": ("x.csv", HEADER + b",5,2021-01-01\n" + ROWS),
    "CSV: one user": ("x.csv", HEADER + b"1,5,2021-01-01\n1,6,2021-01-02\n"),
    "CSV: one item": ("x.csv", HEADER + b"1,5,2021-01-01\n2,5,2021-01-02\n"),
    "CSV: ten thousand columns": (
        "x.csv",
        b",".join(b"c%d" % n for n in range(10_000)) + b"\n" + b"1," * 9999 + b"1\n",
    ),
    "CSV: a name of a megabyte": ("x.csv", b"x" * (1 << 20) + b",item_id\n1,5\n"),
    "CSV: HTML": ("x.csv", b"<!doctype html><title>404</title>\n<p>Not found</p>\n"),
    "CSV: a parquet file": ("x.csv", GOOD),
    "CSV: packed twice": ("x.csv.gz", gzip.compress(gzip.compress(HEADER + ROWS))),
    "CSV: packed and cut": ("x.csv.gz", gzip.compress(HEADER + ROWS * 1000)[:-20]),
    "CSV: packed and damaged": ("x.csv.gz", changed(gzip.compress(HEADER + ROWS * 1000), 30, 255)),
    "CSV: a bomb": ("x.csv.gz", bomb()),
    "TSV: commas": ("x.tsv", HEADER + ROWS),
    "TSV: nothing": ("x.tsv", b""),
    "JSON: nothing": ("x.jsonl", b""),
    "JSON: a list": ("x.jsonl", b'[{"user_id": 1, "item_id": 5, "started_at": "2021-01-01"}]'),
    "JSON: numbers": ("x.jsonl", b"1\n2\n3\n"),
    "JSON: null": ("x.jsonl", b"null\n"),
    "JSON: an open brace": ("x.jsonl", b'{"user_id": 1'),
    "JSON: a line that is none": ("x.jsonl", b'{"user_id":1,"item_id":5,"started_at":"2021-01-01"}\nnonsense\n'),
    "JSON: lists in lists": ("x.jsonl", b'{"user_id":' + b"[" * 50_000 + b"]" * 50_000 + b"}\n"),
    "JSON: braces in braces": ("x.jsonl", b'{"user_id":' * 5_000 + b"1" + b"}" * 5_000 + b"\n"),
    "JSON: an object as an id": ("x.jsonl", b'{"user_id":{"$ne":null},"item_id":5,"started_at":"2021-01-01"}\n'),
    "JSON: a list as an id": ("x.jsonl", b'{"user_id":[1],"item_id":5,"started_at":"2021-01-01"}\n'),
    "JSON: true as an id": ("x.jsonl", b'{"user_id":true,"item_id":5,"started_at":"2021-01-01"}\n'),
    "JSON: NaN": ("x.jsonl", b'{"user_id":NaN,"item_id":5,"started_at":"2021-01-01"}\n'),
    "JSON: half a character": ("x.jsonl", b'{"user_id":"\\ud800","item_id":5,"started_at":"2021-01-01"}\n'),
    "JSON: no UTF-8": ("x.jsonl", b'{"user_id":"\xff","item_id":5,"started_at":"2021-01-01"}\n'),
    "JSON: a number of 5,000 digits": (
        "x.jsonl",
        b'{"user_id":' + b"9" * 5000 + b',"item_id":5,"started_at":"2021-01-01"}\n',
    ),
    "JSON: other keys in each line": ("x.jsonl", b'{"a":1}\n{"b":2}\n{"c":3}\n'),
    "parquet: nothing": ("x.parquet", b""),
    "parquet: four letters": ("x.parquet", b"PAR1"),
    "parquet: its marks alone": ("x.parquet", b"PAR1" + b"\x00" * 8 + b"PAR1"),
    "parquet: a footer beyond the file": ("x.parquet", b"PAR1" + struct.pack("<i", 2**31 - 1) + b"PAR1"),
    "parquet: a footer of less than nothing": ("x.parquet", b"PAR1" + struct.pack("<i", -1) + b"PAR1"),
    "parquet: cut": ("x.parquet", GOOD[: len(GOOD) // 2]),
    "parquet: without its end": ("x.parquet", GOOD[:-1]),
    "parquet: another length of the footer": ("x.parquet", changed(GOOD, -8, 255)),
    "parquet: another first byte of the footer": ("x.parquet", changed(GOOD, len(GOOD) - 8 - 50, 255)),
    "parquet: a damaged page": ("x.parquet", GOOD[:4] + b"\xff" * 60 + GOOD[64:]),
    "parquet: no rows": ("x.parquet", parquet(log().head(0))),
    "parquet: no columns": ("x.parquet", parquet(pa.table({"x": [1]}).drop_columns(["x"]))),
    "parquet: null in every column": ("x.parquet", parquet(log().with_columns(pl.lit(None).alias("user_id")))),
    "parquet: ids with a fraction": ("x.parquet", parquet(log(user_id=[1.5, 2.5, 1.5, 2.5]))),
    "parquet: ids that are no number": ("x.parquet", parquet(log(user_id=[float("nan")] * 4))),
    "parquet: ids that are true": ("x.parquet", parquet(log(user_id=[True, False] * 2))),
    "parquet: ids that are lists": ("x.parquet", parquet(log(user_id=[[1], [2]] * 2))),
    "parquet: ids that are structs": ("x.parquet", parquet(log(user_id=[{"a": 1}, {"a": 2}] * 2))),
    "parquet: ids that are dates": ("x.parquet", parquet(log(user_id=[START.date()] * 4))),
    "parquet: times that are true": ("x.parquet", parquet(log(started_at=[True, False] * 2))),
    "parquet: times that are no number": ("x.parquet", parquet(log(started_at=[float("nan")] * 4))),
    "parquet: times of infinity": ("x.parquet", parquet(log(started_at=[float("inf"), 1.0] * 2))),
    "parquet: times of 1700": ("x.parquet", parquet(log(started_at=[datetime(1700, 1, 1)] * 4))),
    "parquet: times of 9999": ("x.parquet", parquet(log(started_at=[datetime(9999, 1, 1)] * 4))),
    "parquet: times beyond 64 bits": ("x.parquet", parquet(log(started_at=[2**63 - 1, 0] * 2))),
    "parquet: times as durations": ("x.parquet", parquet(log(started_at=[timedelta(days=1)] * 4))),
    "parquet: weights that are no number": ("x.parquet", parquet(log(weight=[1.0, float("nan"), 1.0, 1.0]))),
    "parquet: weights that are text": ("x.parquet", parquet(log(weight=["a", "b", "c", "d"]))),
    "parquet: weights of nothing": ("x.parquet", parquet(log(weight=[0.0] * 4))),
    "Arrow: nothing": ("x.arrow", b""),
    "Arrow: its mark alone": ("x.arrow", b"ARROW1\x00\x00"),
    "Arrow: cut": ("x.arrow", arrow(log())[:200]),
    "Arrow: without its end": ("x.arrow", arrow(log())[:-6]),
    "Arrow: a footer beyond the file": ("x.arrow", b"ARROW1\x00\x00" + struct.pack("<i", 2**31 - 1) + b"ARROW1"),
    "Arrow: a parquet file": ("x.arrow", GOOD),
    "a pickle": ("x.pkl", b"\x80\x04\x95\x15\x00\x00\x00\x8c\x05posix\x8c\x06system\x93\x8c\x02id\x85R."),
    "a pickle as parquet": (
        "x.parquet",
        b"\x80\x04\x95\x15\x00\x00\x00\x8c\x05posix\x8c\x06system\x93\x8c\x02id\x85R.",
    ),
    "a spreadsheet": ("x.xlsx", b"PK\x03\x04" + b"\x00" * 100),
    "a script": ("x.sh", b"#!/bin/sh\nrm -rf /\n"),
    "no ending": ("x", HEADER + ROWS),
}


def songs(**columns: Any) -> bytes:
    """A catalogue of the two items of the log, with other columns."""
    return parquet(pl.DataFrame({"item_id": [5, 7], "name": ["five", "seven"]} | columns))


ITEMS: dict[str, tuple[str, bytes]] = {
    "nothing": ("x.parquet", b""),
    "no item": ("x.parquet", songs(item_id=[None, None])),
    "an item twice": ("x.parquet", songs(item_id=[5, 5])),
    "no id": ("x.csv", b"name,genres\nfive,rock\n"),
    "other ids": ("x.parquet", songs(item_id=[100, 101])),
    "ids of another kind": ("x.parquet", songs(item_id=["a", "b"])),
    "ids with a fraction": ("x.parquet", songs(item_id=[5.5, 7.5])),
    "ids that are lists": ("x.parquet", songs(item_id=[[5], [7]])),
    "ids that are true": ("x.parquet", songs(item_id=[True, False])),
    "genres that are numbers": ("x.parquet", songs(genres=[1, 2])),
    "genres that are numbers with a fraction": ("x.parquet", songs(genres=[1.5, 2.5])),
    "genres that are structs": ("x.parquet", songs(genres=[{"a": 1}, {"a": 2}])),
    "genres that are dates": ("x.parquet", songs(genres=[START, START])),
    "genres in lists of lists": ("x.parquet", songs(genres=[[["rock"]], [["pop"]]])),
    "names that are lists": ("x.parquet", songs(name=[["a"], ["b"]])),
    "names that are structs": ("x.parquet", songs(name=[{"a": 1}, {"a": 2}])),
    "cut": ("x.parquet", songs()[:100]),
    "an open quote": ("x.csv", b'item_id,name\n5,"five\n7,seven\n'),
    "too many fields": ("x.csv", b"item_id,name\n5,five,more\n7,seven\n"),
    "UTF-16": ("x.csv", "item_id,name\n5,five\n".encode("utf-16")),
    "JSON in a list": ("x.json", json.dumps([{"item_id": 5}, {"item_id": 7}]).encode()),
    "braces in braces": ("x.jsonl", b'{"item_id":' * 3_000 + b"5" + b"}" * 3_000),
    "a pickle": ("x.pickle", b"\x80\x04."),
    "HTML": ("x.csv", b"<script>alert(1)</script>\n"),
}


def listed(**columns: Any) -> bytes:
    """Lists of two users, with other columns."""
    rows: dict[str, Any] = {"user_id": [1, 1, 2, 2], "item_id": [5, 7, 5, 7], "rank": [1, 2, 1, 2]}
    return parquet(pl.DataFrame({name: values for name, values in (rows | columns).items() if values is not None}))


LISTS: dict[str, tuple[str, bytes]] = {
    "nothing": ("x.parquet", b""),
    "no rows": ("x.csv", b"user_id,item_id,rank\n"),
    "no rank": ("x.parquet", listed(rank=None)),
    "no item": ("x.parquet", listed(item_id=None)),
    "no user, and a score": ("x.parquet", listed(user_id=None, score=[1.0, 0.5, 1.0, 0.5])),
    "an item twice": ("x.parquet", listed(item_id=[5, 5, 5, 7])),
    "a rank twice": ("x.parquet", listed(rank=[1, 1, 1, 2])),
    "ranks from nought": ("x.parquet", listed(rank=[0, 1, 0, 1])),
    "ranks below nought": ("x.parquet", listed(rank=[-1, -2, -1, -2])),
    "ranks with a gap": ("x.parquet", listed(rank=[1, 3, 1, 2])),
    "ranks beyond all": ("x.parquet", listed(rank=[2**62, 2**63 - 1, 1, 2])),
    "ranks that are no number": ("x.parquet", listed(rank=[1.0, float("nan"), 1.0, 2.0])),
    "ranks of infinity": ("x.parquet", listed(rank=[1.0, float("inf"), 1.0, 2.0])),
    "ranks that are text": ("x.parquet", listed(rank=["a", "b", "a", "b"])),
    "ranks that are lists": ("x.parquet", listed(rank=[[1], [2], [1], [2]])),
    "no value": ("x.parquet", listed(item_id=[5, None, 5, 7])),
    "users that are lists": ("x.parquet", listed(user_id=[[1], [1], [2], [2]])),
    "other users": ("x.parquet", listed(user_id=["a", "a", "b", "b"])),
    "cut": ("x.parquet", listed()[:120]),
    "a pickle": ("x.pkl", b"\x80\x04."),
    "HTML": ("x.csv", b"<p>Not found</p>\n"),
    "too many fields": ("x.csv", b"user_id,item_id,rank\n1,5,1,9\n"),
}

TAKEN: dict[str, bytes] = {
    "ids of markup": HEADER + b"<script>,5,2021-01-01\n'><img>,7,2021-01-02\n<script>,7,2021-01-03\n",
    "packed, though its name does not say so": gzip.compress(HEADER + ROWS),
    "ids of SQL": HEADER + b"1'; DROP TABLE x;--,5,2021-01-01\n2,7,2021-01-02\n2,5,2021-01-03\n",
    "ids of paths": HEADER + b"../../etc/passwd,5,2021-01-01\n2,7,2021-01-02\n2,5,2021-01-03\n",
    "ids that steer a terminal": HEADER + b"\x1b[2J,5,2021-01-01\n2,7,2021-01-02\n2,5,2021-01-03\n",
    "ids from right to left": HEADER + "\u202e1,5,2021-01-01\n2,7,2021-01-02\n2,5,2021-01-03\n".encode(),
    "an id of a megabyte": HEADER + b"x" * (1 << 20) + b",5,2021-01-01\n2,7,2021-01-02\n2,5,2021-01-03\n",
    "a byte order mark": b"\xef\xbb\xbf" + HEADER + ROWS,
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, bytes], str]:
    """here(name, content): write a file into the folder that we work in, beside a good log and truth."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log.parquet").write_bytes(GOOD)

    def write(name: str, content: bytes) -> str:
        (tmp_path / name).write_bytes(content)
        return name

    return write


@pytest.mark.parametrize("name", EVENTS)
def test_a_log(name: str, here: Callable[[str, bytes], str], capsys: pytest.CaptureFixture[str]) -> None:
    with bounded():
        assert_refused(tonearm(capsys, "check", "--events", here(*EVENTS[name]), "--test-from", "2021-01-03"))


@pytest.mark.parametrize("name", ITEMS)
def test_a_catalogue(name: str, here: Callable[[str, bytes], str], capsys: pytest.CaptureFixture[str]) -> None:
    with bounded():
        assert_refused(tonearm(capsys, "check", "--events", "log.parquet", "--items", here(*ITEMS[name])))


@pytest.mark.parametrize("name", LISTS)
def test_lists(name: str, here: Callable[[str, bytes], str], capsys: pytest.CaptureFixture[str]) -> None:
    with bounded():
        given = ("--lists", here(*LISTS[name]), "--truth", "log.parquet", "--k", 2)
        assert_refused(tonearm(capsys, "evaluate", *given))


@pytest.mark.parametrize("name", TAKEN)
def test_what_is_odd_and_not_wrong_is_taken(
    name: str, here: Callable[[str, bytes], str], capsys: pytest.CaptureFixture[str]
) -> None:
    with bounded():
        answer = tonearm(capsys, "check", "--events", here("x.csv", TAKEN[name]))
        assert_answered(answer)
        assert "\x1b[2J" not in answer.out
