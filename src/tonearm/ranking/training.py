"""What the ranker learns from: candidates of the users of label windows, and what became of each."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tonearm.data.dataset import Block
from tonearm.data.log import Log, Pairs
from tonearm.data.truth import Truth
from tonearm.ranking.candidates import Candidates
from tonearm.ranking.features import Features, Scratch
from tonearm.types import Bools, Float32s, Int32s, Int64s

WHOLE = 2_500
"""Groups of all label windows whose candidates are all kept: to hold those of all users takes gigabytes.

No fewer than half of `ranker.many`, so that negatives are drawn anew from all candidates wherever they are drawn twice.
"""


@dataclass(frozen=True)
class TrainingTable:
    """Candidates of the label windows' users, with what became of each.

    A group is one user in one window. Groups of which no played item is a candidate have no rows.

    names: the features; z: the columns of the sources' standardised scores
    features: (n, n_features) float32; label: (n,) float32, 1 where the user played the item in the label window
    indptr: (n_groups + 1,) int64, each group's rows
    user: (n_groups,) int32; a user of several windows has a group in each
    wanted: (n_groups,) int64, items that the user played in the window, candidates or not
    whole: (n_groups,) bool, whether all candidates are here; else the played and some others
    refused: (n,) bool, candidates that the user skipped or the like in the window, which are drawn before other ones;
        None where nothing is known of that
    """

    names: tuple[str, ...]
    z: Int64s
    features: Float32s
    label: Float32s
    indptr: Int64s
    user: Int32s
    wanted: Int64s
    whole: Bools
    refused: Bools | None = None

    @classmethod
    def empty(cls, names: tuple[str, ...]) -> "TrainingTable":
        """A table of some features without a group."""
        z = np.array([i for i, name in enumerate(names) if name.endswith("_z")], np.int64)
        nothing = np.empty((0, len(names)), np.float32)
        none = np.empty(0, np.int64)
        return cls(names, z, nothing, nothing[:, 0], np.zeros(1, np.int64), none.astype(np.int32), none, none > 0)

    @property
    def found(self) -> Bools:
        """Whether a played item is among the candidates of each group, (n_groups,)."""
        return np.bincount(self.of_rows(np.arange(len(self.user))), self.label, len(self.user)) > 0

    def of_rows(self, of_groups: Any) -> Any:
        """For each row what is given for its group."""
        return np.repeat(of_groups, np.diff(self.indptr))

    def thinned(self, negatives: int, rng: np.random.Generator) -> "TrainingTable":
        """A copy with at most some negatives, drawn at random, of each group that is not whole."""
        return self._kept(np.where(self.whole, np.iinfo(np.int32).max, negatives), self.whole, rng)

    def drawn(self, negatives: int, rng: np.random.Generator) -> "TrainingTable":
        """A copy with at most some negatives of each group, drawn at random."""
        most = np.full(len(self.user), negatives)
        return self._kept(most, self.whole & (np.diff(self.indptr) == 0), rng)

    def _kept(self, negatives: Int64s, whole: Bools, rng: np.random.Generator) -> "TrainingTable":
        indptr, kept = sample_negatives(self.indptr, self.label, negatives, rng, self.refused)
        label, features = self.label[kept], self.features[kept]
        refused = None if self.refused is None else self.refused[kept]
        return TrainingTable(self.names, self.z, features, label, indptr, self.user, self.wanted, whole, refused)

    def parts(self, n: int, rng: np.random.Generator, one: bool) -> Int64s:
        """A part of n for each group, (n_groups,) int64; all groups of a user are in the same.

        one: only the first part matters, and takes users whose candidates are all here as long as there are some; else
            users with a played candidate are spread evenly
        """
        users, of_group = np.unique(self.user, return_inverse=True)
        first = np.bincount(of_group, self.whole if one else self.found, len(users)) > 0
        order = np.lexsort((rng.random(len(users)), ~first))
        part = np.empty(len(users), np.int64)
        place = np.arange(len(users))
        part[order] = np.minimum(place // max(1, len(users) // n), n - 1) if one else place % n
        return np.asarray(part[of_group])


def label_blocks(
    features: Features,
    found: Iterable[tuple[Block, Candidates]],
    answers: Truth,
    whole: Bools,
    negatives: int,
    rng: np.random.Generator,
    against: Log | None = None,
) -> TrainingTable:
    """Candidates of some users, labelled by what they went on to play.

    found: these users' blocks in the order of `answers`, each with its candidates
    whole: (n_users,) bool, whose candidates are all kept
    negatives: candidates without a play kept of each other user at most, drawn at random
    against: what each of the users skipped or the like in the window, a row for each; these are drawn first
    """
    scratch, nothing = Scratch(), TrainingTable.empty(features.names)
    parts, lo = [nothing], 0
    for block, candidates in found:
        hi = lo + len(block)
        bounds, indptr = answers.indptr[lo : hi + 1], candidates.lists.indptr
        wanted = answers.item[bounds[0] : bounds[-1]]
        every = replace(
            nothing,
            features=features.compute(block, candidates, scratch),
            label=label_candidates(indptr, candidates.lists.item, bounds - bounds[0], wanted),
            indptr=indptr,
            user=block.users,
            wanted=np.diff(bounds),
            whole=whole[lo:hi],
        )
        if against is not None:
            skipped = Pairs.of(against.rows(lo, hi))
            refused = label_candidates(indptr, candidates.lists.item, skipped.indptr, skipped.item) > 0
            every = replace(every, refused=refused)
        parts.append(every.thinned(negatives, rng))
        lo = hi
    return join_tables(parts)


def label_candidates(indptr: Int64s, item: Int32s, truth_indptr: Int64s, truth: Int32s) -> Float32s:
    """1 for each candidate among its row's truth, else 0; (n,) float32. `truth` ascends within a row."""
    width = np.int64(max(int(item.max(initial=0)), int(truth.max(initial=0))) + 1)
    rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr)) * width + item
    wanted = np.repeat(np.arange(len(truth_indptr) - 1), np.diff(truth_indptr)) * width + truth
    return np.isin(rows, wanted).astype(np.float32)


def sample_negatives(
    indptr: Int64s, label: Float32s, negatives: Int64s, rng: np.random.Generator, first: Bools | None = None
) -> tuple[Int64s, Int64s]:
    """Places of all positives and some negatives of each row, none of a row without a positive, and row pointers.

    negatives: (n_rows,) how many to keep of each row at most
    first: (n,) bool, negatives that are kept before others; None for none
    """
    n_rows = len(indptr) - 1
    row = np.repeat(np.arange(n_rows), np.diff(indptr))
    # One sort by row, positives first: half of a sort by two keys, whose second would be the draw.
    draw = 0.25 + 0.5 * rng.random(len(label))
    if first is not None:
        draw[first] = 0.1 + 0.1 * draw[first]
    order = np.argsort(row + np.where(label > 0, 0.0, draw))
    rank = np.arange(len(label)) - np.repeat(indptr[:-1], np.diff(indptr))
    positives = np.bincount(row, weights=label, minlength=n_rows)
    kept = order[(rank < (positives + negatives)[row]) & (positives[row] > 0)]
    kept.sort()
    lengths = np.bincount(row[kept], minlength=n_rows)
    return np.concatenate(([0], np.cumsum(lengths))).astype(np.int64), kept.astype(np.int64)


def join_tables(parts: Sequence[TrainingTable]) -> TrainingTable:
    """Several tables of the same features as one."""
    if len(parts) == 1:
        return parts[0]
    lengths = np.concatenate([np.diff(part.indptr) for part in parts])
    return TrainingTable(
        parts[0].names,
        parts[0].z,
        np.concatenate([part.features for part in parts]),
        np.concatenate([part.label for part in parts]),
        np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        np.concatenate([part.user for part in parts]),
        np.concatenate([part.wanted for part in parts]),
        np.concatenate([part.whole for part in parts]),
        _joined_refused(parts),
    )


def _joined_refused(parts: Sequence[TrainingTable]) -> Bools | None:
    if all(part.refused is None for part in parts):
        return None
    return np.concatenate(
        [np.zeros(len(part.label), np.bool_) if part.refused is None else part.refused for part in parts]
    )
