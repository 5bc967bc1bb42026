"""Before a request is answered: host, key, rate and size; after it: one line of log, and figures to watch."""

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Annotated, Any

from prometheus_client import Counter, Histogram
from pydantic import Field

from tonearm.options import options

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

LOG = logging.getLogger("tonearm.serve")

REQUESTS = Counter("tonearm_requests", "Requests answered", ("route", "method", "status"))
SECONDS = Histogram(
    "tonearm_request_seconds",
    "Seconds until a request was answered",
    ("route",),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0),
)

OPEN = ("/health", "/ready")
"""Answered without a key, as a balancer asks for them."""

PATIENCE = 30.0
"""Seconds in which a body has to come."""

CLIENTS = 100_000
"""Clients whose rates are known; beyond it all begin anew."""


@options
class Access:
    """Who is let in, and how much of it.

    keys: any of them opens all but /health and /ready; none lets everybody in, which only loopback may do
    hosts: names that requests may address the service by; none means any
    origins: sites whose pages may ask from a browser, beside the service's own
    body: bytes of a request at most
    rate: requests a second of one key, or of one address where there are no keys, in each worker; 0 for any number
    """

    keys: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    body: Annotated[int, Field(ge=1)] = 1_000_000
    rate: Annotated[float, Field(ge=0)] = 0.0


class Guard:
    """An ASGI app around another one."""

    def __init__(self, app: App, access: Access) -> None:
        self.app, self.access = app, access
        self.keys = [_digest(key.encode()) for key in access.keys]
        self.allowance: dict[str, tuple[float, float]] = {}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def told(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            refused = self.refuse(scope)
            if refused is None and scope["method"] not in ("GET", "HEAD", "OPTIONS"):
                try:
                    body = await asyncio.wait_for(self.body(scope, receive), PATIENCE)
                    refused = (413, f"A request has at most {self.access.body:,} bytes.", {}) if body is None else None
                    receive = _again(body or b"", receive)
                except TimeoutError:
                    refused = 408, "The request did not come to its end.", {}
            if refused is None:
                await self.app(scope, receive, told)
            else:
                await _problem(told, *refused)
        finally:
            inside = scope["path"].removeprefix(scope.get("root_path", "")).startswith("/explore")
            route = "/explore" if inside else getattr(scope.get("route"), "path_format", "other")
            seconds = time.perf_counter() - began
            REQUESTS.labels(route, scope["method"], status).inc()
            SECONDS.labels(route).observe(seconds)
            if LOG.isEnabledFor(logging.INFO):
                line = {"method": scope["method"], "route": route, "status": status, "ms": round(seconds * 1e3, 2)}
                LOG.info(json.dumps({"at": time.time(), **line}))

    def refuse(self, scope: Message) -> tuple[int, str, dict[str, str]] | None:
        """Status, words and headers where a request goes no further."""
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        if self.access.hosts and _name(host) not in self.access.hosts:
            return 400, "This host name is not answered.", {}
        origin = headers.get(b"origin", b"").decode("latin-1")
        if origin and origin not in self.access.origins and origin.partition("://")[2] != host:
            return 403, "Pages of this site may not ask here; name it in access.origins.", {}
        if scope["path"] in OPEN:
            return None
        given = [_digest(key) for key in _given(headers)]
        # each is compared with each, so that time tells nothing
        matching = [i for i, key in enumerate(self.keys) for one in given if hmac.compare_digest(key, one)]
        if self.keys and not matching:
            how = {"WWW-Authenticate": 'Bearer, Basic realm="tonearm"'}
            return 401, "A key is needed: Authorization: Bearer KEY, or X-API-Key: KEY.", how
        client = str(matching[0]) if matching else str((scope.get("client") or ("",))[0])
        if self.access.rate and not self._allowed(client):
            return 429, f"At most {self.access.rate:g} requests a second.", {"Retry-After": "1"}
        return None

    def _allowed(self, client: str) -> bool:
        """A bucket that holds one second of requests."""
        now = time.monotonic()
        if len(self.allowance) > CLIENTS:
            self.allowance.clear()
        left, then = self.allowance.get(client, (max(self.access.rate, 1.0), now))
        left = min(max(self.access.rate, 1.0), left + (now - then) * self.access.rate)
        self.allowance[client] = (left - 1 if left >= 1 else left, now)
        return left >= 1

    async def body(self, scope: Message, receive: Receive) -> bytes | None:
        """The whole body; None where it is too long."""
        said = dict(scope["headers"]).get(b"content-length", b"0")
        if not said.isdigit() or int(said) > self.access.body:
            return None
        body, more = b"", True
        while more and len(body) <= self.access.body:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        return body if len(body) <= self.access.body else None


def _again(body: bytes, receive: Receive) -> Receive:
    """A body that was read already, and then whatever comes after it."""
    sent = False

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _given(headers: dict[bytes, bytes]) -> Iterable[bytes]:
    """The keys that a request shows."""
    if b"x-api-key" in headers:
        yield headers[b"x-api-key"]
    kind, _, value = headers.get(b"authorization", b"").partition(b" ")
    if kind.lower() == b"bearer":
        yield value.strip()
    if kind.lower() == b"basic":  # what a browser asks its user for
        try:
            yield base64.b64decode(value, validate=True).partition(b":")[2]
        except binascii.Error:
            return


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _name(host: str) -> str:
    """A host header without its port."""
    if host.startswith("["):
        name, _, port = host[1:].partition("]")
        return name if port == "" or port.startswith(":") else host
    return host.partition(":")[0]


async def _problem(send: Send, status: int, detail: str, headers: dict[str, str]) -> None:
    body = json.dumps({"detail": detail}).encode()
    head = {"content-type": "application/json", "content-length": str(len(body)), **headers}
    pairs = [(name.lower().encode(), value.encode()) for name, value in head.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
