"""Requests drawn from the interface's own page: no server error, and every answer of the type that it says."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from schemathesis import openapi
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks
from starlette.testclient import TestClient

from tonearm.serving.app import app
from tonearm.serving.events import open_events
from tonearm.serving.publish import publish
from tonearm.serving.service import Service

HOLDS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]


@pytest.fixture
def served(tiny_run: Path, tmp_path: Path) -> Iterator[Any]:
    """The page of an app over `tiny_run`."""
    publish(tiny_run, tmp_path / "store")
    made = app(Service(tmp_path / "store", open_events(None, tmp_path / "store")))
    with TestClient(made):
        yield openapi.from_asgi("/openapi.json", made)


def test_no_request_breaks_it(served: Any) -> None:
    operations = [result.ok() for result in served.get_all_operations()]
    assert len(operations) > 10
    for operation in operations:

        @settings(max_examples=12, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def holds(case: Any) -> None:
            case.validate_response(case.call(), checks=HOLDS)

        holds()
