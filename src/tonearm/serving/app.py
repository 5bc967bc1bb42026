"""The service over HTTP: routes, their types, and what goes on beside them."""

import asyncio
import json
import os
import re
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from importlib.metadata import version as installed
from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Counter, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StrictInt, StrictStr, field_validator

from tonearm import explore
from tonearm.errors import DataError
from tonearm.explore.site import untoken
from tonearm.serving.answers import Answer, History, Items, Why
from tonearm.serving.events import Event
from tonearm.serving.guard import LOG, Access, App, Guard, Message, Receive, Send
from tonearm.serving.service import Kind, Service, Unknown
from tonearm.serving.version import RUN

T = TypeVar("T")

EVENTS = Counter("tonearm_events", "Events taken in for the first time")
SWAPS = Counter("tonearm_versions", "Versions that this worker went over to")

BATCH = 1000
"""Events of one request at most."""

LOOK = 1.0
"""Seconds between two looks at which version is served."""

WAITING = 4
"""Lists that are being made, from which on a request that can be answered otherwise does not ask for another."""

BUSY = 100
"""Lists asked for in a second, from which on no request waits for one that is made, if it can be answered otherwise."""

SWITCH = 0.0005
"""Seconds after which the thread that makes a list lets those that answer go on."""

PLAIN = r"^[^\x00-\x1f\x7f]+$"
Id = Annotated[str, Path(min_length=1, max_length=256, pattern=PLAIN)]
IdText = Annotated[StrictStr, Field(min_length=1, max_length=256, pattern=PLAIN)]
IdNumber = Annotated[StrictInt, Field(ge=-(2**63), lt=2**63)]
Genre = Annotated[str | None, Query(alias="filter", max_length=256, pattern=r"^genre:.+$", examples=["genre:rock"])]
Context = Annotated[str, Query(max_length=64, pattern=r"^[\w.:-]*$")]


class Rate:
    """How many requests a second there are."""

    def __init__(self) -> None:
        self._second, self._now, self._before = 0, 0, 0

    def count(self, now: float) -> int:
        """One more at a moment, in seconds; those of this second, or of the one before where these were more."""
        second = int(now)
        if second != self._second:
            self._before = self._now if second == self._second + 1 else 0
            self._second, self._now = second, 0
        self._now += 1
        return max(self._now, self._before)


class NewEvent(BaseModel):
    """A user played an item, or met it in the way that `kind` says.

    event_id: sent again it counts once; made where it is left out. at: now where it is left out
    """

    model_config = ConfigDict(extra="forbid")

    event_id: IdText | None = None
    user_id: IdNumber | IdText
    item_id: IdNumber | IdText
    at: AwareDatetime | None = None
    kind: Annotated[str, Field(pattern=r"^\w{1,32}$")] = "play"
    weight: Annotated[float, Field(gt=0, le=1e6)] = 1.0

    @field_validator("at")
    @classmethod
    def _not_ahead(cls, at: datetime | None) -> datetime | None:
        if at is not None and at > datetime.now(UTC) + timedelta(days=1):
            raise ValueError("is more than a day ahead of now")
        return at

    def event(self) -> Event:
        """As it is kept."""
        at = self.at or datetime.now(UTC)
        name = self.event_id or uuid.uuid4().hex
        return Event(name, str(self.user_id), str(self.item_id), at.timestamp(), self.kind, self.weight)


class Taken(BaseModel):
    """Events that are kept for good now: how many of them were new, and the ids of all."""

    new: int
    event_ids: list[str]


class Forgotten(BaseModel):
    """A user of whom nothing is left but a fingerprint, which keeps later versions from bringing them back."""

    user_id: str
    events: int


class State(BaseModel):
    """Whether it is up."""

    status: str


class About(BaseModel):
    """What is served, and by what."""

    version: str
    published: str
    tonearm: str
    users: int
    items: int


class Problem(BaseModel):
    """What is wrong with a request."""

    detail: str


def app(service: Service, access: Access | None = None) -> FastAPI:
    """The ASGI app; it may be mounted below any path."""
    access = access or Access()
    made = FastAPI(
        title="Tonearm",
        version=installed("tonearm"),
        lifespan=_lifespan(service),
        responses={code: {"model": Problem} for code in (400, 401, 404, 413, 429, 503)},
    )
    made.add_exception_handler(Unknown, _unknown)
    made.add_exception_handler(RequestValidationError, _invalid)
    made.add_exception_handler(DataError, _unreadable)
    _lists(made, service)
    _users(made, service)
    _operations(made, service)
    made.mount("/explore", Explorer(service))
    if access.origins:
        made.add_middleware(CORSMiddleware, allow_origins=list(access.origins), allow_headers=["*"])
    made.add_middleware(Guard, access=access)
    return made


def _lists(made: FastAPI, service: Service) -> None:
    k_of = Annotated[int, Query(ge=1, le=service.limits.k)]
    making: set[asyncio.Task[Any]] = set()
    rate = Rate()

    def make(function: Callable[..., T], *asked: Any) -> "asyncio.Task[T]":
        task = asyncio.create_task(asyncio.to_thread(function, *asked))
        making.add(task)
        task.add_done_callback(making.discard)
        return task

    async def lists(user: str, k: int, kind: Kind, genre: str | None, context: str) -> Answer:
        name = None if genre is None else genre.removeprefix("genre:")
        busy = rate.count(time.monotonic()) > BUSY
        if service.events.embedded and name is None:
            found = service.at_once(user, k, kind, context)
            if found is None and (making or busy) and kind == "blended":
                found = service.meanwhile(user, k, context)
                if found is not None and len(making) < WAITING:
                    make(service.prepare, user, k)
            if found is not None:
                return found
        return await asyncio.shield(make(service.recommend, user, k, kind, name, context))

    async def blended(user_id: Id, k: k_of = 20, genre: Genre = None, context: Context = "") -> Answer:
        """A user's list as it is now; an unknown user's is the popular one."""
        return await lists(user_id, k, "blended", genre, context)

    async def offline(user_id: Id, k: k_of = 20, genre: Genre = None, context: Context = "") -> Answer:
        """The list that was published, less what was played since."""
        return await lists(user_id, k, "offline", genre, context)

    async def online(user_id: Id, k: k_of = 20, genre: Genre = None, context: Context = "") -> Answer:
        """A list of what was played alone, with no regard to the published one."""
        return await lists(user_id, k, "online", genre, context)

    async def similar(item_id: Id, k: k_of = 10) -> Items:
        """The items most similar to one."""
        return service.similar(item_id, k)

    async def popular(k: k_of = 20, genre: Annotated[str | None, Query(max_length=256)] = None) -> Items:
        """What is played most, of all genres or of one."""
        return service.popular(k, genre)

    async def explain(user_id: Id, item_id: Id) -> Why:
        """Why a user gets an item, or why not."""
        return await asyncio.to_thread(service.explain, user_id, item_id)

    made.get("/recommendations/{user_id:path}/offline")(offline)
    made.get("/recommendations/{user_id:path}/online")(online)
    made.get("/recommendations/{user_id:path}")(blended)
    made.get("/similar/{item_id:path}")(similar)
    made.get("/popular")(popular)
    made.get("/explain/{user_id}/{item_id:path}")(explain)


def _users(made: FastAPI, service: Service) -> None:
    async def take(
        body: NewEvent | Annotated[list[NewEvent], Field(min_length=1, max_length=BATCH)],
    ) -> Taken:
        """Take in one event or a batch; they are kept for good once this answers."""
        events = [one.event() for one in (body if isinstance(body, list) else [body])]
        new = await asyncio.to_thread(service.events.add, events)
        EVENTS.inc(new)
        return Taken(new=new, event_ids=[event.event_id for event in events])

    async def history(user_id: Id, k: Annotated[int, Query(ge=1, le=1000)] = 50) -> History:
        """What a user played, the latest first."""
        return await asyncio.to_thread(service.history, user_id, k)

    async def forget(user_id: Id) -> Forgotten:
        """Forget a user: events and history at once, lists too, and whatever the next versions would know."""
        return Forgotten(user_id=user_id, events=await asyncio.to_thread(service.events.forget, user_id))

    made.post("/events")(take)
    made.get("/users/{user_id:path}/history")(history)
    made.delete("/users/{user_id:path}")(forget)


def _operations(made: FastAPI, service: Service) -> None:
    async def health() -> State:
        """Whether the process answers."""
        return State(status="ok")

    async def ready() -> State:
        """Whether lists can be made: a version is open, and the events can be read."""
        await asyncio.to_thread(service.events.recent, "", 1)
        return State(status="ready")

    async def about() -> About:
        """Which version is served."""
        version = service.version
        return About(
            version=version.id,
            published=version.about["published"],
            tonearm=installed("tonearm"),
            users=len(version.users),
            items=len(version.items),
        )

    async def metrics() -> Response:
        """Figures for Prometheus, of all workers together."""
        return Response(generate_latest(_registry()), media_type=CONTENT_TYPE_LATEST)

    made.get("/health")(health)
    made.get("/ready")(ready)
    made.get("/version")(about)
    made.get("/metrics", include_in_schema=False)(metrics)


def _registry() -> Any:
    """What all workers counted, where there are several."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry


async def _unknown(request: Request, error: Exception) -> JSONResponse:
    del request
    return JSONResponse({"detail": str(error)}, 404)


async def _invalid(request: Request, error: Exception) -> Response:
    """What is wrong and where, without what was given, which JSON may not be able to say."""
    del request
    assert isinstance(error, RequestValidationError)
    detail = [{name: one[name] for name in ("type", "loc", "msg")} for one in error.errors()]
    return Response(json.dumps({"detail": detail}), 422, media_type="application/json")


async def _unreadable(request: Request, error: Exception) -> JSONResponse:
    """A file of the version or the event store cannot be used."""
    LOG.error(json.dumps({"at": time.time(), "path": request.url.path, "error": str(error)}))
    return JSONResponse({"detail": str(error)}, 503)


def _lifespan(service: Service) -> Callable[[FastAPI], Any]:
    @asynccontextmanager
    async def lifespan(made: FastAPI) -> AsyncIterator[None]:
        del made
        before = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH)
        task = asyncio.create_task(_follow(service))
        try:
            yield
        finally:
            task.cancel()
            sys.setswitchinterval(before)
            await asyncio.to_thread(service.flush)
            await asyncio.to_thread(service.events.close)

    return lifespan


async def _follow(service: Service) -> None:
    """Go over to another version as soon as it is published; one that cannot be read is told, and tried again."""
    while True:
        await asyncio.sleep(LOOK)
        try:
            await asyncio.to_thread(service.flush)
            if await asyncio.to_thread(service.refresh):
                SWAPS.inc()
        except (DataError, OSError) as error:
            LOG.error(json.dumps({"at": time.time(), "error": str(error)}))


class Explorer:
    """The explorer of the version that is served; pages of a user who asked to be forgotten are not there."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._shown: tuple[str, App] | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        version = self.service.version
        if self._shown is None or self._shown[0] != version.id:
            self._shown = version.id, await asyncio.to_thread(explore.app, version.folder / RUN)
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        user = re.match(r"/(?:listener|why)/([^/]+)", path)
        if user and (await asyncio.to_thread(self.service.events.recent, untoken(user[1]), 1)).forgotten:
            await JSONResponse({"detail": "There is no such listener."}, 404)(scope, receive, send)
            return
        await self._shown[1](scope, receive, send)
