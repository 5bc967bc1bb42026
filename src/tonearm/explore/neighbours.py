"""A track's neighbours by each model of a run, and a map of those nearest; models are read from disk as memory maps."""

from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tonearm.data.lists import best_places
from tonearm.errors import DataError
from tonearm.explore.tracks import Tracks
from tonearm.runs import directory
from tonearm.runs.lists import SIMILAR, SIMILAR_BY, SIMILAR_FILE
from tonearm.runs.read import Run
from tonearm.sources import MODELS
from tonearm.sources.base import Near, Neighbouring
from tonearm.types import AnyArray, Float32s, Int64s

Arrays = dict[str, AnyArray]

ROWS = 65_536
"""Vectors whose length is taken at a time."""


@dataclass(frozen=True)
class Point:
    """A track on the map, x and y within 0 to 1; cosine to the track in its middle."""

    place: int
    x: float
    y: float
    cosine: float


class Models:
    """The models of a run that know neighbours."""

    def __init__(self, run: Run, tracks: Tracks) -> None:
        self.run = run
        self.tracks = tracks
        self._mapped: dict[str, Arrays] = {}

    def warm(self) -> None:
        """Take the lengths of all vectors, so that the first map need not wait for it."""
        with suppress(DataError):
            if self._arrays("als") is not None:
                _ = self._lengths

    def neighbours(self, place: int, k: int) -> dict[str, Near]:
        """The k nearest tracks by each model that has any notion of it, in the order of the run's sources."""
        found = {"als" if self.run.similar_by == "als" else SIMILAR: self._similar(place, k)}
        if "als" not in found:
            near, cosine = self._by_cosine(place, k)
            found["als"] = Near("cosine of ALS vectors", near, cosine)
        for name in self.run.manifest["sources"]:
            model: object = MODELS[name]
            arrays = self._arrays(name)
            if arrays is not None and isinstance(model, Neighbouring):
                try:
                    found[name] = model.neighbours(arrays, place, k)
                except KeyError as error:
                    words = f"{self.run.folder / 'models'}: written by another version. Make the run anew."
                    raise DataError(words) from error
        return found

    def around(self, place: int, n: int) -> tuple[list[Point], float]:
        """The track and the n nearest to it by ALS, in the plane of their two principal components.

        Returns the points, the track first and then nearest first, and the share of their variance in that plane;
        no points where ALS has no vector of the track.
        """
        arrays = self._arrays("als")
        near, cosine = self._by_cosine(place, n)
        if arrays is None or len(near) < 2:
            return [], 0.0
        chosen = np.concatenate(([place], near))
        unit = arrays["item_factors"][chosen] / self._lengths[chosen][:, None]
        plane, share = _plane(unit)
        said = np.concatenate(([1.0], cosine))
        return [
            Point(int(p), float(x), float(y), float(c)) for p, (x, y), c in zip(chosen, plane, said, strict=True)
        ], share

    def _by_cosine(self, place: int, k: int) -> tuple[Int64s, AnyArray]:
        """The k tracks of highest cosine, and the cosines; none where ALS has no vector of the track."""
        arrays = self._arrays("als")
        if arrays is None or not arrays["known_items"][place]:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        vectors, lengths = arrays["item_factors"], self._lengths
        mine = np.asarray(vectors[place], np.float32)
        with np.errstate(invalid="ignore", divide="ignore"):
            cosine = (vectors @ mine) / (lengths * lengths[place])
        cosine[~arrays["known_items"] | ~np.isfinite(cosine)] = -np.inf
        cosine[place] = -np.inf
        near = best_places(cosine, k)
        return near, cosine[near]

    def _similar(self, place: int, k: int) -> Near:
        rows = self.run.similar_to(self.tracks.table["item_id"][place], k)
        pairs = [] if rows is None else zip(map(self.tracks.place, rows["item_id"]), rows["score"], strict=True)
        known = [(place, score) for place, score in pairs if place is not None]
        places, scores = np.array(known, np.float64).reshape(-1, 2).T
        return Near(f"{SIMILAR_BY[self.run.similar_by]}, from {SIMILAR_FILE}", places.astype(np.int64), scores)

    def _arrays(self, name: str) -> Arrays | None:
        """A model's arrays; None where there is no such file, or it is of other tracks than those known here."""
        files = self.run.files
        if files.find(f"models/{name}_model.npz") is None or len(self.tracks) != self.run.manifest["items"]:
            return None
        return directory.read_model(
            name, lambda s: directory.map_arrays(files.need(f"models/{s}_model.npz")), self._mapped
        )

    @cached_property
    def _lengths(self) -> Float32s:
        arrays = self._arrays("als")
        assert arrays is not None
        vectors = arrays["item_factors"]
        starts = range(0, len(vectors), ROWS)
        return np.concatenate([np.linalg.norm(vectors[lo : lo + ROWS], axis=1) for lo in starts])


def _plane(vectors: AnyArray) -> tuple[AnyArray, float]:
    """Vectors (n, d) on their two principal components, each scaled to 0 to 1, and the share of variance there."""
    centred = np.asarray(vectors, np.float64) - vectors.mean(axis=0)
    left, size, _ = np.linalg.svd(centred, full_matrices=False)
    size = np.concatenate((size, np.zeros(2)))
    left = np.concatenate((left, np.zeros((len(left), 2))), axis=1)
    plane = left[:, :2] * size[:2]
    plane *= np.where(plane[0] < 0, -1, 1)  # the track itself lies right of and below the middle, whatever the signs
    low, high = plane.min(axis=0), plane.max(axis=0)
    total = float((size**2).sum())
    return (plane - low) / np.maximum(high - low, 1e-12), float((size[:2] ** 2).sum()) / max(total, 1e-12)
