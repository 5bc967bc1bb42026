"""The report: what it answers, what it says where something is missing, and that the page can harm nobody."""

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.quick import vouched_for

from tonearm import report
from tonearm.errors import DataError, OutputError
from tonearm.report import charts, page
from tonearm.report.answers import answers, lead
from tonearm.report.parts import written
from tonearm.runs import directory, vouch
from tonearm.runs.read import Run, as_id
from tonearm.sources.left_out import LeftOut, as_rows

LIBRARY = 'window.vegaEmbed = () => "<\\/script>";'


@pytest.fixture(autouse=True)
def _no_bundling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "library", lambda: LIBRARY)


class Page(HTMLParser):
    """Every start tag with its attributes, and the text outside scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.data: dict[str, Any] = {}
        self._inside: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        tag, attrs = self._inside[-1] if self._inside else ("", {})
        if tag == "script" and attrs.get("type") == "application/json":
            self.data[str(attrs["id"])] = json.loads(data)
        elif tag not in ("script", "style") and data.strip():
            self.words.append(data.strip())

    def handle_endtag(self, tag: str) -> None:
        while self._inside and self._inside.pop()[0] != tag:
            pass

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def rebuilt(run: Path) -> Page:
    report.rebuild(run)
    return Page((run / "report.html").read_text(encoding="utf-8"))


def test_names_are_text_and_never_markup(make_run: Callable[..., Path]) -> None:
    run = make_run()
    shown = rebuilt(run)
    raw = (run / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in raw
    for name in ("<script>alert(1)</script>", "שלום עולם", "Мелодия & Ко"):
        assert name in shown.text
    assert len([tag for tag, _ in shown.tags if tag == "script"]) == 4, "two of data, the library and our own"


def test_nothing_is_loaded_from_elsewhere(make_run: Callable[..., Path]) -> None:
    shown = rebuilt(make_run())
    links = [(tag, a[key]) for tag, a in shown.tags for key in ("src", "href", "action", "srcset") if key in a]
    assert links
    assert all(str(link).startswith(("#", "data:")) for _, link in links), links
    policy = [
        a["content"] for tag, a in shown.tags if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy == [
        "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    ]
    style = (Path(page.__file__).parents[1] / "templates" / "report.css").read_text(encoding="utf-8")
    assert "url(" not in style
    assert "@import" not in style


def test_every_section_chart_and_table_is_there_and_named(make_run: Callable[..., Path]) -> None:
    shown = rebuilt(make_run())
    ids = [a["id"] for _, a in shown.tags if a.get("id")]
    assert len(ids) == len(set(ids))
    sections = [a["id"] for tag, a in shown.tags if tag == "section"]
    assert sections == ["verdict", "data", "lists", "funnel", "ranker", "slices", "users", "items", "costs", "facts"]
    anchors = [str(a["href"])[1:] for tag, a in shown.tags if tag == "a"]
    assert set(anchors) <= set(ids)
    places = {a["data-chart"]: a for _, a in shown.tags if "data-chart" in a}
    assert places.keys() == shown.data["chart-specs"].keys()
    assert {
        "volume-events",
        "popularity",
        "metric-bars",
        "differences",
        "fates",
        "importances",
        "loss",
    } <= places.keys()
    assert all(len(str(a["aria-label"])) > 20 for a in places.values())
    tables = [tag for tag, _ in shown.tags if tag in ("table", "caption")]
    assert tables.count("table") == tables.count("caption") > 8
    assert all(a.get("scope") in ("col", "row") for tag, a in shown.tags if tag == "th")


def test_charts_take_their_colours_from_the_page(make_run: Callable[..., Path]) -> None:
    specs = json.dumps([rebuilt(make_run()).data])
    assert "var(--c-final)" in specs
    assert re.findall(r"#[0-9a-fA-F]{3,6}\b", specs) == []
    style = (Path(page.__file__).parents[1] / "templates" / "report.css").read_text(encoding="utf-8")
    assert set(re.findall(r"var\((--[a-z0-9-]+)\)", specs)) <= set(re.findall(r"(--[a-z0-9-]+):", style))


def test_figures_on_the_page_are_those_of_the_run(make_run: Callable[..., Path]) -> None:
    run = make_run()
    shown, metrics = rebuilt(run), Run.open(run).metrics
    assert metrics["final"] == "recommendations"
    for name in ("top_popular", "personal_als", "recommendations"):
        assert f"{metrics['lists'][name]['ndcg@4']:.4f}" in shown.text
    rows = shown.data["chart-specs"]["metric-bars"]
    values = next(iter(rows["datasets"].values()))
    assert {(row["list"], row["metric"]): row["value"] for row in values} == {
        (name, metric): metrics["lists"][name][metric]
        for name in metrics["lists"]
        for metric in metrics["intervals"][name]
    }
    assert f"{metrics['funnel']['share_lost_by_ranking']:.1%} lost by ranking" in shown.text


def test_hits_of_the_example_users_are_marked(make_run: Callable[..., Path]) -> None:
    run = make_run()
    content = report.content(Run.open(run))
    lists = pl.read_parquet(run / "recommendations.parquet")
    assert content["users"]
    for user in content["users"]:
        truth = {entry["item_id"] for entry in user["test"] if entry["in_truth"]}
        own = lists.filter(pl.col("user_id") == user["user_id"]).sort("rank")["item_id"].to_list()
        final = next(part for part in user["lists"] if part["title"] == "Final list")
        assert [entry["item_id"] for entry in final["entries"]] == own[:10]
        assert [entry["hit"] for entry in final["entries"]] == [item in truth for item in own[:10]]
        assert final["hits"][-1] == (len(own), len(truth & set(own)))
    marked = sum(entry["hit"] for user in content["users"] for part in user["lists"] for entry in part["entries"])
    assert marked > 0
    hits = [a for tag, a in rebuilt(run).tags if tag == "li" and a.get("class") == "hit"]
    assert len(hits) == marked


def test_point_9_what_was_left_out_stands_on_the_first_screen(make_run: Callable[..., Path]) -> None:
    """Point 9: the report did not say what the run had left out."""
    run = make_run()
    part = LeftOut("source ease is <off>", 0.25, "it is", "it costs", "ease.items=3")
    metrics = directory.read_json(run / "metrics.json")
    assert "What was left out" not in rebuilt(run).text
    directory.write_json(run / "metrics.json", metrics | {"left_out": as_rows([part])})
    vouched_for(run)
    shown = rebuilt(run).text
    at = shown.index("Source ease is <off> (25.0%), as it is; it costs. What brings it back: --set ease.items=3.")
    assert shown.index("What was left out") < at < shown.index("The log")


def test_point_20_slices_show_three_lists_with_intervals_and_users(make_run: Callable[..., Path]) -> None:
    """Point 20: slices were dots of every list, without an interval or a word of how many users."""
    run = make_run()
    shown, metrics = rebuilt(run), Run.open(run).metrics
    for kind in ("activity", "popularity", "genre"):
        rows = next(iter(shown.data["chart-specs"][f"slice-{kind}"]["datasets"].values()))
        assert {row["list"] for row in rows} == {"top_popular", "personal_als", "recommendations"}
        for row in rows:
            assert row["low"] <= row["value"] <= row["high"]
            assert row["slice"].endswith(f"n = {row['users']})")
        assert any(row["low"] < row["high"] for row in rows)
    line = metrics["slices"]["activity"][0]
    values = line["lists"]["recommendations"]
    low, high = values["recall@4_interval"]
    assert 0 <= low <= values["recall@4"] <= high <= 1


def test_point_20_a_source_has_one_colour_and_one_shape(make_run: Callable[..., Path]) -> None:
    """Point 20: colours went by the order of the lists in a chart, shapes by that of the slices."""
    assert len(set(charts.MARKS.values())) == len(charts.MARKS)
    specs = rebuilt(make_run()).data["chart-specs"]
    seen: dict[str, set[str]] = {}

    def scales(tree: Any, channel: str) -> Any:
        if isinstance(tree, dict):
            scale = tree.get(channel, {}).get("scale") if isinstance(tree.get(channel), dict) else None
            if scale and "domain" in scale:
                yield from zip(scale["domain"], scale["range"], strict=True)
            for value in tree.values():
                yield from scales(value, channel)
        elif isinstance(tree, list):
            for value in tree:
                yield from scales(value, channel)

    for channel, place in (("color", 0), ("shape", 1)):
        seen = {}
        for name in ("metric-bars", "differences", "slice-activity", "slice-genre"):
            for label, mark in scales(specs[name], channel):
                seen.setdefault(label, set()).add(mark)
        assert seen == {label: {charts.MARKS[label][place]} for label in seen}
        assert {"Popular", "ALS"} <= seen.keys()
    ceilings = next(iter(specs["ceilings"]["datasets"].values()))
    assert {row["what"]: row["colour"] for row in ceilings}["ALS"] == charts.MARKS["ALS"][0]


@pytest.mark.parametrize(("n", "ticks"), [(3, [1, 2, 3]), (8, [*range(1, 9)]), (15, [1, *range(2, 16, 2)])])
def test_point_20_iterations_are_whole(n: int, ticks: list[int]) -> None:
    """Point 20: the axis of the ALS loss read 1 2 2 3 3."""
    spec = charts.loss([{"iteration": i + 1, "loss": 9.0 - i / 10} for i in range(n)])
    axis = spec["encoding"]["x"]["axis"]
    assert axis["values"] == ticks
    assert (
        charts.loss([{"iteration": i + 1, "loss": 9.0} for i in range(300)])["encoding"]["x"]["axis"]["values"][-1]
        == 300
    )


def test_items_stand_with_their_neighbours(make_run: Callable[..., Path]) -> None:
    content = report.content(Run.open(make_run()))
    for item in content["items"]:
        near = [500 + (item["item_id"] - 500 + step) % 12 for step in (1, 2)]
        assert [other["item_id"] for other in item["similar"]] == near
        assert all(other["name"] for other in item["similar"])


def test_what_is_missing_is_said_in_words(make_run: Callable[..., Path]) -> None:
    shown = rebuilt(make_run(timed=False, catalogue=False, cold=False))
    for words in (
        "The log has no started_at, so nothing can be said of time.",
        "No item has a genre, so there are no content lists",
        "No cold users.",
        "The run had no catalogue, so items are shown by their ids.",
        "Most chosen in train",
    ):
        assert words in shown.text
    assert "volume-events" not in shown.data["chart-specs"]
    assert not re.search(r"\bnan\b|\bNone\b|undefined", shown.text, re.IGNORECASE)


def test_a_run_without_evaluated_users_still_reports(make_run: Callable[..., Path]) -> None:
    run = make_run()
    metrics = Run.open(run).metrics
    metrics["lists"] = {name: dict.fromkeys(values) for name, values in metrics["lists"].items()}
    metrics["intervals"] = {name: dict.fromkeys(values) for name, values in metrics["intervals"].items()}
    metrics |= {"comparisons": [], "slices": {}, "funnel": None}
    directory.write_json(run / "metrics.json", metrics)
    tree = directory.read_json(run / "profile.json")
    tree["examples"]["users"] = []
    directory.write_json(run / "profile.json", tree)
    vouched_for(run)
    shown = rebuilt(run)
    assert "The final list could not be measured." in shown.text
    assert "No user could be evaluated." in shown.text
    assert "No user is evaluated, so there is none to show." in shown.text


def test_rebuilding_gives_the_same_page_and_keeps_the_digests_true(make_run: Callable[..., Path]) -> None:
    run = make_run()
    report.write(run, Run.open(run).manifest)
    first = (run / "report.html").read_bytes()
    report.rebuild(run)
    assert (run / "report.html").read_bytes() == first
    manifest = Run.open(run).manifest
    assert manifest["files"]["report.html"]["sha256"] == vouch.sha256(run / "report.html")
    assert manifest["seed"] == 3
    assert not [path for path in run.iterdir() if path.name.startswith(".")]


def test_a_report_is_rebuilt_alike_without_log_and_catalogue(make_run: Callable[..., Path]) -> None:
    run = make_run()
    before = rebuilt(run).text
    for path in Run.open(run).manifest["inputs"].values():
        Path(path).unlink()
    assert rebuilt(run).text == before


def test_rebuilding_needs_a_run_and_room(make_run: Callable[..., Path], tmp_path: Path, monkeypatch: Any) -> None:
    with pytest.raises(DataError, match="is not a finished run"):
        report.rebuild(tmp_path)
    run = make_run()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OutputError, match=r"report\.html: writing failed \(No space left on device\)"):
        report.rebuild(run)
    assert not (run / "report.html").exists()


def _metrics(low: float, high: float, limits: str) -> dict[str, Any]:
    lists = {"top_popular": 0.1, "als": 0.2, "recommendations": 0.25}
    wide = {"ndcg": 1.0, "hit_rate": 2.0, "recall": 0.5}
    return {
        "focus": 5,
        "final": "recommendations",
        "definitions": dict.fromkeys(("ndcg", "hit_rate", "recall", "truth", "interval"), "words"),
        "population": {"evaluated_users": 1234},
        "lists": {name: {f"{m}@5": value * scale for m, scale in wide.items()} for name, value in lists.items()},
        "intervals": {"recommendations": {"hit_rate@5": [0.4, 0.6]}},
        "comparisons": [
            {"against": "top_popular", "metric": "ndcg@5", "difference": 0.15, "low": 0.1, "high": 0.2},
            {"against": "als", "metric": "ndcg@5", "difference": 0.05, "low": low, "high": high},
        ],
        "funnel": {
            "k": 5,
            "possible_hits": 2000,
            "share_hit": 0.1,
            "share_lost_by_retrieval": 0.6,
            "share_lost_by_ranking": 0.3,
            "limits": limits,
        },
    }


@pytest.mark.parametrize(
    ("low", "high", "word", "said"),
    [
        (0.01, 0.09, "Yes", "better than the ALS list, its best source"),
        (-0.02, 0.12, "Not shown", "not shown to differ from the ALS list, its best source"),
        (-0.3, -0.1, "No", "worse than the ALS list, its best source"),
    ],
)
def test_the_first_screen_answers_by_the_intervals(low: float, high: float, word: str, said: str) -> None:
    metrics = _metrics(low, high, "retrieval")
    found = answers(metrics)
    assert [answer.word for answer in found] == ["50%", "Yes", word, "Retrieval"]
    assert "50.0% [40.0%, 60.0%] of the 1,234 evaluated users" in found[0].sentence
    assert "0.2500 ndcg@5 and the popular list 0.1000, 2.50 times as much" in found[1].sentence
    assert "60.0% no source found, and 30.0% the ranker buried" in found[3].sentence
    assert lead(metrics) == f"The final list is better than the popular list and {said}. Retrieval limits it."


def test_the_best_source_may_be_the_popular_list() -> None:
    metrics = _metrics(0.01, 0.02, "ranking")
    metrics["lists"]["als"]["ndcg@5"] = 0.05
    assert [answer.word for answer in answers(metrics)] == ["50%", "Yes", "Ranking"]
    assert lead(metrics) == "The final list is better than the popular list. Ranking limits it."


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (None, "figure", "–"),
        (0.12345, "figure", "0.1235"),
        (123.456, "figure", "123.46"),
        (51234.5, "figure", "51,234"),
        (1234567, "count", "1,234,567"),
        (-0.00214, "signed", "−0.0021"),
        (0.1234, "share", "12.3%"),
    ],
)
def test_values_are_written_alike_everywhere(value: Any, kind: Any, text: str) -> None:
    assert written(value, kind) == text


def test_ids_are_read_as_the_type_of_the_file() -> None:
    assert as_id("12", pl.Int32()) == 12
    assert as_id("12", pl.String()) == "12"
    assert as_id("bob", pl.Int64()) is None
    assert as_id("300", pl.UInt8()) is None
    assert as_id(str(2**80), pl.Int64()) is None


@pytest.mark.parametrize("error", [RuntimeError("no home\nat all"), BaseException("a panic"), MemoryError()])
def test_point_15_a_report_that_fails_is_told_and_leaves_the_rest(
    make_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """A report that could not be made took the finished lists with it."""

    def fail(*_: object) -> str:
        raise error

    run = make_run()
    monkeypatch.setattr(report, "render", fail)
    words = report.attempt(run, Run.open(run).manifest, Path("runs/today"))
    assert words is not None
    assert words.startswith(f"The report could not be made ({type(error).__name__}: ")
    assert words.endswith("Everything else is there; `tonearm report runs/today` makes it anew.")
    assert "at all" not in words
    assert not (run / "report.html").exists()
    monkeypatch.undo()
    monkeypatch.setattr(page, "library", lambda: LIBRARY)
    vouch.write_sealed(run / "manifest.json", Run.open(run).manifest | {"report_missing": words})
    report.rebuild(run)
    assert Run.open(run).manifest["report_missing"] is None


@pytest.mark.parametrize("how", [KeyboardInterrupt, SystemError])
def test_an_interrupt_is_no_failing_report(
    make_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, how: type[BaseException]
) -> None:
    def stop(*_: object) -> str:
        raise how from KeyboardInterrupt()

    run = make_run()
    monkeypatch.setattr(report, "render", stop)
    with pytest.raises(KeyboardInterrupt):
        report.attempt(run, Run.open(run).manifest, run)


def test_point_15_a_damaged_library_is_bundled_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script that was cut short went into the page, and bytes that are no text ended in a traceback."""
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(page, "_bundle", lambda: "window.vegaEmbed = 1;")
    page.library.cache_clear()
    assert page.library() == "window.vegaEmbed = 1;"
    (kept,) = (tmp_path / "tonearm").iterdir()
    whole = kept.read_bytes()
    for damage in (whole[5:], whole[:-5], b"\xff\xfe", b""):
        kept.write_bytes(damage)
        page.library.cache_clear()
        assert page.library() == "window.vegaEmbed = 1;"
        assert kept.read_bytes() == whole
    page.library.cache_clear()


def test_point_15_a_library_without_a_home_is_bundled_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither HOME nor an entry among the users: the report failed with `Could not determine home directory`."""
    monkeypatch.undo()

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.setattr(page, "_bundle", lambda: "window.vegaEmbed = 3;")
    page.library.cache_clear()
    assert page.library() == "window.vegaEmbed = 3;"
    page.library.cache_clear()


def test_the_library_is_bundled_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = iter(["window.vegaEmbed = 1;"] * 2)
    monkeypatch.setattr(page, "_bundle", lambda: next(made))
    for _ in range(2):
        page.library.cache_clear()
        assert page.library() == "window.vegaEmbed = 1;"
    assert len(list(made)) == 1, "bundled once for two"
    assert [path.suffix for path in (tmp_path / "tonearm").iterdir()] == [".js"]
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    monkeypatch.setattr(page, "_bundle", lambda: "window.vegaEmbed = 2;")
    page.library.cache_clear()
    assert page.library() == "window.vegaEmbed = 2;", "a cache that cannot be written is done without"
    page.library.cache_clear()
