"""The pages of the explorer: what each shows, and how it is answered."""

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote, urlencode

import polars as pl
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from tonearm import compare, explanation
from tonearm.data.times import to_moment
from tonearm.errors import DataError
from tonearm.explore import views
from tonearm.explore.later import Later
from tonearm.explore.neighbours import Models
from tonearm.explore.tracks import Tracks
from tonearm.kernels.machine.threads import KERNELS, threads
from tonearm.ranking.feature_names import feature_title, feature_value
from tonearm.report import REPORT, headline
from tonearm.report.answers import answers, lead
from tonearm.report.parts import figure, written
from tonearm.runs.lists import FILES, SIMILAR_FILE
from tonearm.runs.lists import FINAL as FINAL_LIST
from tonearm.runs.read import Id, Run, as_id
from tonearm.runs.restore import Restored, restore
from tonearm.terminal.progress import Progress
from tonearm.terminal.words import counted

FINAL = FILES[FINAL_LIST]

PAGE = 50
"""Tracks of a history on a page."""

SHOWN = 20
"""Entries of a list, unless all are asked for; also listeners of a track."""

WHOLE = 10_000
FOUND = 30
NEAR = 10
AROUND = 100

SECONDS = 0.1
"""How long a page waits for what is made in the background before it says so."""

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}

REPORT_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)

ASSETS = {"base.css": "text/css", "explore/explore.css": "text/css", "explore/explore.js": "text/javascript"}


class Links:
    """Addresses of pages, wherever the app is mounted."""

    def __init__(self, root: str) -> None:
        self.root = root

    def to(self, page: str = "", /, **query: object) -> str:
        """A page that needs no id."""
        return f"{self.root}/{page}" + (f"?{urlencode(query)}" if query else "")

    def listener(self, user: Id, /, **query: object) -> str:
        return self.to(f"listener/{token(user)}", **query)

    def track(self, item: Id) -> str:
        return self.to(f"track/{token(item)}")

    def why(self, user: Id, item: Id) -> str:
        return self.to(f"why/{token(user)}/{token(item)}")


def token(value: Id) -> str:
    """An id as one part of a path; what servers and browsers take for parts of the path themselves is written ~XX."""
    odd = r"[~%/.]" if str(value) in (".", "..") else r"[~%/]"
    return quote(re.sub(odd, lambda found: f"~{ord(found[0]):02X}", str(value)), safe="~")


def untoken(text: str) -> str:
    """The id that `token` wrote, the path being unquoted already."""
    return re.sub(r"~([0-9A-F]{2})", lambda found: chr(int(found[1], 16)), text)


class Site:
    """One run, open for looking at.

    against: a run to compare it with
    """

    def __init__(self, run: Path, against: Path | None) -> None:
        self.run = Run.open(run)
        self.against = None if against is None else Run.open(against)
        self.tracks = Tracks.open(self.run)
        self.models = Models(self.run, self.tracks)
        self.restored: Later[Restored] = Later(self._restore)
        self.compared: Later[dict[str, Any]] = Later(self._compare)
        self.random = Random()
        self.templates = Environment(
            loader=PackageLoader("tonearm", "templates/explore"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self.templates.filters |= {"written": written, "figure": figure, "title": views.called, "counted": counted}
        self.templates.filters |= {"feature_title": feature_title, "feature_value": feature_value}
        self.templates.globals |= {"day": _day}

    def _restore(self, progress: Progress) -> Restored:
        del progress
        return restore(self.run.folder, self.run.mend)

    def _compare(self, progress: Progress) -> dict[str, Any]:
        del progress
        assert self.against is not None
        return compare.differences(self.run, self.against)

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """The content of metrics.json."""
        return self.run.metrics

    def page(
        self,
        request: Request,
        template: str,
        content: Mapping[str, Any],
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """One page; everything in `content` is escaped."""
        common = {
            "link": Links(request.scope.get("root_path", "")),
            "folder": str(self.run.folder),
            "compared": self.against is not None,
            "has_report": REPORT in self.run.manifest["files"],
            "query": "",
        }
        html = self.templates.get_template(f"{template}.html.j2").render(common | dict(content))
        return HTMLResponse(html, status, HEADERS | dict(headers or {}))

    def missing(
        self,
        request: Request,
        what: str,
        words: Sequence[str],
        hints: Sequence[tuple[str, str]] = (),
        status: int = 404,
    ) -> Response:
        """A page that says what is not there, and what to do."""
        return self.page(request, "missing", {"heading": what, "words": words, "hints": hints}, status)

    def not_found(self, request: Request, error: Exception) -> Response:
        """For an address that no page has."""
        del error
        return self.missing(
            request, "There is no such page", ["Search for a listener or a track above, or begin at the first page."]
        )

    def unreadable(self, request: Request, error: Exception) -> Response:
        """For files of the run that cannot be read."""
        return self.missing(request, "A file of the run cannot be read", [str(error)], status=503)

    def asset(self, request: Request) -> Response:
        """Style and script."""
        name = request.path_params["name"]
        if name not in ASSETS:
            return self.not_found(request, KeyError(name))
        text = (files("tonearm") / "templates" / name).read_text(encoding="utf-8")
        return Response(text, media_type=ASSETS[name], headers=HEADERS)

    def home(self, request: Request) -> Response:
        """What run this is, and ways in."""
        examples = self.run.profile["examples"]
        content = {
            "facts": headline(self.run.manifest),
            "lead": lead(self.metrics),
            "answers": answers(self.metrics),
            "warnings": self.metrics["warnings"],
            "left_out": [row["sentence"] for row in self.metrics.get("left_out", [])],
            "focus": self.metrics["focus"],
            "final": self.metrics["final"],
            "lists": self.metrics["lists"],
            "users": examples["users"],
            "items": [(self.tracks.track(row["item_id"]), row) for row in examples["items"]],
            "note": self.tracks.note,
        }
        return self.page(request, "home", content)

    def report(self, request: Request) -> Response:
        """The run's report."""
        path = self.run.files.find(REPORT)
        if path is None:
            return self.missing(request, "The run has no report", ["Write it by tonearm report, then come back."])
        return FileResponse(path, headers=HEADERS | {"Content-Security-Policy": REPORT_POLICY})

    def lucky(self, request: Request) -> Response:
        """To a listener drawn at random."""
        scan = self.run.scan(FINAL)
        assert scan is not None
        row = self.random.randrange(int(scan.select(pl.len()).collect().item()))
        user = scan.select("user_id").slice(row, 1).collect().item()
        to = Links(request.scope.get("root_path", "")).listener(user)
        return RedirectResponse(to, 302, HEADERS | {"Cache-Control": "no-store"})

    def search(self, request: Request) -> Response:
        """Listeners and tracks that words could mean; with `part`, the list alone."""
        words = request.query_params.get("q", "").strip()
        part = "part" in request.query_params
        found, total = self.tracks.search(words, NEAR if part else FOUND)
        content = {
            "query": words,
            "listeners": self._listeners(words) if words else [],
            "tracks": [(track, float(self.tracks.plays[track.place or 0])) for track in found],
            "total": total,
        }
        return self.page(request, "results" if part else "search", content)

    def _listeners(self, words: str) -> list[tuple[Id, str]]:
        """The listener of that id, or those whose ids begin so, each with words on them."""
        scan = self.run.scan(FINAL)
        assert scan is not None
        dtype = scan.collect_schema()["user_id"]
        typed = as_id(words, dtype)
        if typed is None:
            return []
        user = pl.col("user_id")
        like = user == typed if dtype.is_integer() else (user >= typed) & (user < f"{typed}\U0010ffff")
        found = scan.filter(like & (pl.col("rank") == 1)).select("user_id").head(NEAR).collect()["user_id"].to_list()
        if not found:
            cold = self.run.listener(typed, 1)
            return [(typed, "cold: not heard of before the cut")] if cold is not None else []
        return [(user, "") for user in found]

    def listener(self, request: Request) -> Response:
        """A listener's history beside all lists of the run."""
        user, asked = untoken(request.path_params["user"]), request.query_params
        k = WHOLE if asked.get("k") == "all" else SHOWN
        found = self.run.listener(user, k)
        if found is None:
            return self._no_listener(request, user)
        by = "plays" if asked.get("by") == "plays" else "latest"
        number = int(asked["page"]) if asked.get("page", "").isdecimal() and len(asked["page"]) < 9 else 1
        content = views.listener(found, self.tracks, self.metrics["filter_seen"], by, number, PAGE)
        return self.page(request, "listener", content | {"user": user, "whole": k == WHOLE, "shown": SHOWN})

    def _no_listener(self, request: Request, user: str) -> Response:
        links = Links(request.scope.get("root_path", ""))
        near = self.run.ids_near("user_id", FINAL, user)
        words = [f"Neither the lists of this run nor its log know a listener of the id {user}.", "Some whom they know:"]
        hints = [(str(other), links.listener(other)) for other in near]
        return self.missing(request, f"There is no listener {user}", words, hints)

    def track(self, request: Request) -> Response:
        """A track: who listens to it, what is near it, and a map of what lies around."""
        item = untoken(request.path_params["item"])
        track = self.tracks.track(item)
        heard = self.run.events_of(item, "item_id")
        if track.place is None and len(heard[0]) + len(heard[1]) == 0:
            return self._no_track(request, item)
        content = views.track(track, self.tracks, self.models, heard, (NEAR, AROUND, SHOWN))
        return self.page(request, "track", content)

    def _no_track(self, request: Request, item: str) -> Response:
        links = Links(request.scope.get("root_path", ""))
        near = self.tracks.of_ids(self.run.ids_near("item_id_1", SIMILAR_FILE, item)).values()
        words = [
            f"Neither the catalogue nor the log of this run know a track of the id {item}.",
            "Search for its title or artist above. Some that they know:",
        ]
        return self.missing(request, f"There is no track {item}", words, [(t.title, links.track(t.id)) for t in near])

    def ask(self, request: Request) -> Response:
        """From the form that asks about any track, to the answer."""
        user, item = (request.query_params.get(name, "").strip() for name in ("user", "item"))
        if not user or not item:
            return self.missing(request, "Why whom, and which track?", ["Give the id of a listener and of a track."])
        return RedirectResponse(Links(request.scope.get("root_path", "")).why(user, item), 302, HEADERS)

    def why(self, request: Request) -> Response:
        """Why a listener gets a track, or why not."""
        user, item = (untoken(request.path_params[name]) for name in ("user", "item"))
        restored = self.restored.get(SECONDS)
        if restored is None:
            return self._wait(request, "Loading the models of the run", self.restored.progress)
        try:
            with KERNELS, threads(1):
                told = explanation.explain(user, item, restored)
        except DataError as error:
            return self.missing(
                request, "Nothing to explain", [str(error), "Ids stand on the pages of listeners and tracks."]
            )
        return self.page(request, "why", views.why(told, self.tracks))

    def compare(self, request: Request) -> Response:
        """This run beside another."""
        if self.against is None:
            words = ["Start the explorer with a second run to set beside this one:"]
            return self.missing(request, "No run to compare with", [*words, "tonearm explore RUN --against OTHER"])
        found = self.compared.get(SECONDS)
        if found is None:
            return self._wait(request, "Comparing the runs", "measuring both on the same log")
        rows = compare.metric_rows(found)
        return self.page(request, "compare", {"found": found, "rows": rows, "other": str(self.against.folder)})

    def _wait(self, request: Request, heading: str, words: str) -> Response:
        # by a header, as a reader may stop it and pages stay the same for those who do not see them
        return self.page(request, "wait", {"heading": heading, "words": words}, 202, {"Refresh": "1"})


def _day(seconds: int) -> str:
    return to_moment(seconds).date().isoformat()
