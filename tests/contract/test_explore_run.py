"""The explorer on a whole run: its figures are those of the models and of `explain`, and no link leads nowhere."""

import re
import time
from pathlib import Path
from urllib.parse import urldefrag

import numpy as np
import polars as pl
import pytest
from markupsafe import escape
from starlette.testclient import TestClient
from tests.quick import Log, copied, run_quick

from tonearm import explore
from tonearm.explanation import explain
from tonearm.explore.neighbours import Models
from tonearm.explore.site import Links
from tonearm.explore.tracks import Tracks
from tonearm.ranking.feature_names import feature_title
from tonearm.runs import directory
from tonearm.runs.read import Run
from tonearm.runs.restore import restore
from tonearm.sources.als import ALSModel
from tonearm.sources.item_item import ItemItemModel

PAGES = 120
"""Pages that are followed."""


def browser_of(run: Path) -> TestClient:
    return TestClient(explore.app(run), follow_redirects=False)


def ready(browser: TestClient, address: str) -> str:
    """A page that may take some time to be made."""
    end = time.monotonic() + 120
    while (answer := browser.get(address)).status_code == 202:
        assert time.monotonic() < end
        assert "reload" in answer.text
        time.sleep(0.05)
    assert answer.status_code == 200, answer.text
    return answer.text


def test_no_link_leads_nowhere(tiny_run: Path) -> None:
    browser = browser_of(tiny_run)
    user = pl.read_parquet(tiny_run / "recommendations.parquet")["user_id"][0]
    ready(browser, f"/why/{user}/{pl.read_parquet(tiny_run / 'top_popular.parquet')['item_id'][0]}")
    left, done = ["/", "/search?q=a", f"/listener/{user}?k=all"], dict[str, str]()
    while left and len(done) < PAGES:
        address = left.pop(0)
        if address in done:
            continue
        answer = browser.get(address)
        assert answer.status_code in (200, 302), address
        done[address] = answer.text
        if address in ("/report", "/random"):
            continue
        ids = re.findall(r' id="([^"]+)"', answer.text)
        assert len(ids) == len(set(ids)), address
        for link in re.findall(r' href="([^"]+)"', answer.text):
            page, anchor = urldefrag(link.replace("&amp;", "&"))
            if page == "":
                assert anchor in ids, (address, link)
            elif page.startswith("/") and not page.startswith("/assets"):
                left.append(page)
        # the kinds of pages in turn, so that some of each are among the first
        left.sort(key=lambda page: sum(page.split("/")[1] == other.split("/")[1] for other in done))
    assert {page.split("/")[1].split("?")[0] for page in done} >= {"", "search", "listener", "track", "why", "report"}


def test_why_says_what_explain_says(tiny_run: Path, tmp_path: Path) -> None:
    run = copied(tiny_run, tmp_path, {"mix": 0.5})
    browser, restored = browser_of(run), restore(run)
    user = restored.data.users.ids[5]
    item = restored.data.catalogue.items.ids[int(restored.lists(restored.block(5)).lists.item[2])]
    told = explain(user, item, restored)
    html = ready(browser, f"/why/{user}/{item}")
    assert told.because is not None
    assert told.because in html.replace("&#39;", "'").replace("&amp;", "&")
    assert told.ranking is not None
    assert told.rank == 3
    assert "Place 3 in the final list" in html
    for feature in told.ranking.features[:12]:
        row = html[html.index(f'<th scope="row">{escape(feature_title(feature.name))}</th>') :]
        assert f"{feature.shap:+.3f}".replace("-", "−") in row[: row.index("</tr>")]
    for part in told.sources:
        if part.score is not None:
            assert f'<td class="num">{part.score:.4g}</td>' in html
    heard = pl.read_parquet(restored.manifest["inputs"]["events"])
    played = heard.filter((pl.col("user_id") == user) & (pl.col("started_at") < pl.datetime(2022, 12, 16)))["item_id"][
        0
    ]
    html = ready(browser, f"/why/{user}/{played}")
    assert "<h1>Why not" in html
    assert "Already heard" in html
    answer = browser.get(f"/why/nobody/{item}")
    assert answer.status_code == 404
    assert "train has no user nobody" in answer.text


def test_neighbours_are_those_of_the_models(tiny_run: Path) -> None:
    run = Run.open(tiny_run)
    tracks, restored = Tracks.open(run), restore(tiny_run)
    assert tracks.table["item_id"].to_list() == restored.data.catalogue.items.ids.to_list()
    np.testing.assert_array_equal(tracks.plays, restored.data.plays)
    sources = {source.name: source for source in restored.sources}
    restored_similar, ids = pl.read_parquet(tiny_run / "similar.parquet"), restored.data.catalogue.items.ids
    popular = restored.data.popularity_order
    genres = restored.data.catalogue.genres
    assert genres is not None
    for place in (int(popular[0]), int(popular[40]), int(popular[-1])):
        found = Models(run, tracks).neighbours(place, 5)
        assert found.keys() == {"similar", "als", "content", "item_item", "ease", "spectral", "trend"}
        als = sources["als"]
        assert isinstance(als, ALSModel)
        nearest = als.similar(np.array([place], np.int32), 5)
        assert found["als"].items.tolist() == nearest.item.tolist()
        np.testing.assert_allclose(found["als"].scores, nearest.score, rtol=1e-4)
        assert found["similar"].about.endswith("from similar.parquet")
        said = restored_similar.filter(pl.col("item_id_1") == ids[place]).head(5)
        assert found["similar"].items.tolist() == restored.data.catalogue.items.encode(said["item_id_2"]).tolist()
        labels = {i: set(genres.of(i)) for i in range(len(tracks))}
        mine = labels[place]
        cosine = {
            i: len(mine & labels[i]) / (len(mine) * len(labels[i])) ** 0.5
            for i in popular.tolist()
            if i != place and mine & labels[i]
        }
        best = sorted(cosine, key=lambda i: -cosine[i])[:5]
        assert list(found["content"].items) == best
        np.testing.assert_allclose(found["content"].scores, [cosine[i] for i in best])
        arrays = directory.load_arrays(run.folder / "models" / "spectral_model.npz")
        score = arrays["target"] @ arrays["source"][place]
        score[[place, *np.flatnonzero(~arrays["played"])]] = -1
        assert list(found["spectral"].items) == np.argsort(-score, kind="stable")[:5].tolist()
        for name in ("item_item", "ease", "trend"):
            model = sources[name]
            assert isinstance(model, ItemItemModel)
            weights = np.zeros(len(tracks))
            row = slice(int(model.indptr[place]), int(model.indptr[place + 1]))
            weights[model.targets[model.place[row]]] = model.weight[row] * model.scale[model.place[row]]
            order = [j for j in np.argsort(-weights, kind="stable")[:5].tolist() if weights[j] > 0]
            assert list(found[name].items) == order


def test_the_map_holds_the_nearest_and_keeps_their_distances(tiny_run: Path) -> None:
    run = Run.open(tiny_run)
    tracks = Tracks.open(run)
    als = ALSModel.load(directory.load_arrays(run.folder / "models" / "als_model.npz"))
    place = int(np.argmax(tracks.plays))
    points, share = Models(run, tracks).around(place, 30)
    nearest = als.similar(np.array([place], np.int32), 30)
    assert [point.place for point in points] == [place, *nearest.item.tolist()]
    np.testing.assert_allclose([point.cosine for point in points[1:]], nearest.score, rtol=1e-4)
    assert 0 < share <= 1
    plane = np.array([(point.x, point.y) for point in points])
    assert plane.min() == 0
    assert plane.max() == 1
    unit = als.item_factors[[point.place for point in points]]
    unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
    centred = unit - unit.mean(axis=0)
    values = np.sort(np.linalg.eigvalsh(centred.T @ centred))[::-1]
    assert share == pytest.approx(values[:2].sum() / values.sum(), rel=1e-4)
    along = np.corrcoef(plane[:, 0], centred @ np.linalg.eigh(centred.T @ centred)[1][:, -1])[0, 1]
    assert abs(along) == pytest.approx(1, abs=1e-3)
    unheard = int(np.flatnonzero(~als.known_items)[0])
    assert Models(run, tracks).around(unheard, 30) == ([], 0.0)


def test_ids_of_any_letters_find_their_pages(tiny_log: Log, tmp_path: Path) -> None:
    odd = {1: "a/b", 2: "100%", 3: "..", 4: "<i>&", 5: "%2F", 6: "é ?#"}

    def letters(table: pl.DataFrame, *columns: str) -> pl.DataFrame:
        for column in columns:
            ids = table[column].unique().sort().to_list()
            names = {i: odd.get(place, f"id {i}") for place, i in enumerate(ids)}
            table = table.with_columns(pl.col(column).replace_strict(names, return_dtype=pl.String))
        return table

    users = tiny_log.train["user_id"].unique().sort()
    log = tiny_log.events.join(pl.DataFrame({"user_id": users}), on="user_id", how="semi")
    items = tiny_log.items
    together = letters(items.select("item_id"), "item_id").with_columns(old=items["item_id"])
    events = letters(log, "user_id").join(together.rename({"item_id": "new"}), left_on="item_id", right_on="old")
    events = events.drop("item_id").rename({"new": "item_id"})
    run = run_quick(tmp_path / "odd", events, items.with_columns(item_id=together["item_id"]))
    browser, links = browser_of(run), Links("")
    ready(browser, links.why("a/b", "a/b"))
    listed = pl.read_parquet(run / "recommendations.parquet")
    assert set(odd.values()) <= set(listed["user_id"])
    for name in odd.values():
        assert "before the cut" in browser.get(links.listener(name)).text, name
        assert browser.get(links.track(name)).status_code == 200, name
        assert browser.get(links.why(name, name)).status_code == 200, name
        assert links.listener(name).replace("&", "&amp;") in browser.get("/search", params={"q": name}).text, name
