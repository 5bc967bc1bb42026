"""Inputs at s3:// addresses, against a real S3-compatible server on this machine."""

from collections.abc import Iterator
from datetime import datetime
from io import BytesIO
from pathlib import Path

import boto3
import numpy as np
import polars as pl
import pytest
from moto.server import ThreadedMotoServer
from tests.loading.test_forms import write

from tonearm.errors import DataError
from tonearm.loading.load import load_events

CUT = datetime(2021, 1, 10)
TODAY = datetime(2021, 2, 1)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(
    endpoint: str, monkeypatch: pytest.MonkeyPatch, small_events: pl.DataFrame, small_items: pl.DataFrame
) -> str:
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "testing"),
        ("AWS_SECRET_ACCESS_KEY", "testing"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ALLOW_HTTP", "true"),
    ):
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    client.create_bucket(Bucket="plays")
    for key, table in (
        ("log/a.parquet", small_events[:7]),
        ("log/2021/b.parquet", small_events[7:]),
        ("log/_temporary/0/part-0.parquet", small_events),
        ("items.parquet", small_items),
    ):
        body = BytesIO()
        table.write_parquet(body)
        client.put_object(Bucket="plays", Key=key, Body=body.getvalue())
    return "s3://plays"


@pytest.mark.parametrize("address", ["log", "log/", "log/**/*.parquet"])
def test_a_folder_of_a_bucket(bucket: str, address: str) -> None:
    loaded = load_events(f"{bucket}/{address}", f"{bucket}/items.parquet", CUT, today=TODAY)
    assert loaded.train.users.ids.to_list() == [10, 20, 30]
    assert loaded.train.log.n_events == 6
    np.testing.assert_array_equal(loaded.train.log.item, [0, 1, 0, 1, 2, 4])
    assert loaded.train.catalogue.genres is not None
    assert loaded.train.catalogue.genres.of(0) == ["rock", "pop"]
    assert [(f.rows, f.sha256) for f in loaded.fingerprints] == [(12, None), (4, None)]


@pytest.mark.parametrize("form", [".csv", ".csv.gz", ".tsv", ".jsonl", ".arrow"])
@pytest.mark.parametrize("address", ["log", "log/**/*{}", "log/a{}"])
def test_other_forms_in_a_bucket(
    bucket: str, endpoint: str, tmp_path: Path, small_events: pl.DataFrame, form: str, address: str
) -> None:
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    name = f"other{form.replace('.', '')}"
    client.create_bucket(Bucket=name)
    whole = "a{}" in address
    for key, table in (
        ("log/a", small_events if whole else small_events[:7]),
        ("log/2021/b", small_events[7:]),
        ("log/_temporary/c", small_events),
    ):
        file = write(table, tmp_path / f"{key}{form}")
        client.put_object(Bucket=name, Key=f"{key}{form}", Body=Path(file).read_bytes())
    loaded = load_events(f"s3://{name}/{address.format(form)}", f"{bucket}/items.parquet", CUT, today=TODAY)
    np.testing.assert_array_equal(loaded.train.log.item, [0, 1, 0, 1, 2, 4])
    assert loaded.fingerprints[0].rows == 12


@pytest.mark.parametrize("address", ["s3://plays/nowhere.parquet", "s3://plays/nowhere/", "s3://no-such/log/"])
def test_nothing_at_the_address(bucket: str, address: str) -> None:
    with pytest.raises(DataError, match=r"cannot be read|no such") as caught:
        load_events(address, f"{bucket}/items.parquet", CUT, today=TODAY)
    assert str(caught.value).startswith(f"{address}: ")
    assert "AWS_*" in str(caught.value)
