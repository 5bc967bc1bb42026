"""Tables at addresses: over HTTP from a server on this machine, and what is asked of other stores."""

import os
import re
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import polars as pl
import pytest
from tests.loading.test_forms import load, same, write

from tonearm.errors import DataError
from tonearm.loading.inputs import open_input
from tonearm.loading.load import load_events
from tonearm.loading.open_files import storage_options

Save = Callable[..., str]
CUT = datetime(2021, 1, 10)


class Ranges(BaseHTTPRequestHandler):
    """Files of a folder, whole or in ranges of bytes."""

    def __init__(self, folder: Path, *args: object) -> None:
        self.folder = folder
        super().__init__(*args)  # type: ignore[arg-type]

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.folder / self.path.lstrip("/")
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        first, last = 0, len(content) - 1
        if wanted and not wanted[1]:
            first = max(0, len(content) - int(wanted[2]))
        elif wanted:
            first, last = int(wanted[1]), min(last, int(wanted[2] or last))
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(last + 1 - first))
        self.send_header("Accept-Ranges", "bytes")
        if wanted:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content[first : last + 1])

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Ranges, tmp_path))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("form", [".parquet", ".csv", ".csv.gz", ".tsv.zst", ".jsonl", ".arrow"])
def test_a_file_over_http(
    tmp_path: Path, address: str, small_events: pl.DataFrame, small_items: pl.DataFrame, form: str
) -> None:
    local = write(small_events, tmp_path / f"plays{form}"), write(small_items, tmp_path / f"items{form}")
    loaded = load(f"{address}/plays{form}", f"{address}/items{form}")
    same(loaded, load(*local))
    assert [print.sha256 for print in loaded.fingerprints] == [None, None]


def test_a_file_that_is_not_there(address: str) -> None:
    for name in ("nowhere.parquet", "nowhere.csv"):
        with pytest.raises(DataError, match=f"{address}/{name}: cannot be read"):
            load_events(f"{address}/{name}", None, CUT)


@pytest.mark.parametrize("name", ["log/", "log/*.csv", "log"])
def test_folders_and_patterns_are_no_files(address: str, name: str) -> None:
    with pytest.raises(DataError, match=r"a web server does not list its files\. Name one that ends in \.parquet"):
        open_input(f"{address}/{name}")


@pytest.mark.parametrize(
    ("place", "given", "expected"),
    [
        ("s3://plays/log.parquet", {"AWS_REGION": "eu"}, {"aws_region": "eu"}),
        ("gs://plays/log.parquet", {"GOOGLE_SERVICE_ACCOUNT": "key.json"}, {"google_service_account": "key.json"}),
        ("az://plays/log.csv.gz", {"AZURE_STORAGE_ACCOUNT_NAME": "us"}, {"azure_storage_account_name": "us"}),
        ("https://plays.org/log.csv", {"AWS_REGION": "eu"}, None),
        ("log.csv", {"AWS_REGION": "eu"}, None),
    ],
)
def test_each_store_has_its_own_settings(
    monkeypatch: pytest.MonkeyPatch, place: str, given: dict[str, str], expected: dict[str, str] | None
) -> None:
    monkeypatch.setattr(os, "environ", {**given, "PATH": "/bin", "AWS_EMPTY": "", "GOOGLE": "no"})
    assert storage_options(place) == expected


@pytest.mark.parametrize(("store", "hint"), [("gs", "GOOGLE_"), ("az", "AZURE_"), ("s3", "AWS_"), ("https", None)])
@pytest.mark.parametrize("name", ["log.parquet", "log.csv.gz", "log.jsonl", "log.arrow"])
def test_what_is_asked_of_a_store(monkeypatch: pytest.MonkeyPatch, store: str, hint: str | None, name: str) -> None:
    """The very address and the settings reach the reader, and an error of the store names the settings."""
    asked = []

    def refuse(files: list[str], *_: object, storage_options: object = None, **__: object) -> None:
        asked.append((files, storage_options))
        raise OSError("the store says no")

    for reader in ("scan_parquet", "scan_csv", "scan_ndjson", "scan_ipc", "scan_lines"):
        monkeypatch.setattr(pl, reader, refuse)
    monkeypatch.setattr(os, "environ", {"AWS_A": "1", "GOOGLE_A": "2", "AZURE_A": "3"})
    with pytest.raises(DataError, match="the store says no") as caught:
        open_input(f"{store}://plays/{name}")
    assert ["".join(files) for files, _ in asked] == [f"{store}://plays/{name}"]
    assert asked[0][1] == ({f"{hint.lower()}a": {"AWS_": "1", "GOOGLE_": "2", "AZURE_": "3"}[hint]} if hint else None)
    assert (f"{hint}* settings" in str(caught.value)) == (hint is not None)
