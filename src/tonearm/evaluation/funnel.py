"""Where hits are lost between the sources and the final list: every truth item followed through, block by block."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tonearm.data.lists import Lists
from tonearm.data.truth import Truth
from tonearm.errors import ConfigError
from tonearm.evaluation.bootstrap import interval, resample
from tonearm.kernels import metrics as kernels
from tonearm.kernels.metrics import UInt32s
from tonearm.types import AnyArray, Bools, Float32s, Float64s, Int32s, Int64s

MAX_SOURCES = 16


def pack(membership: Bools) -> UInt32s:
    """(n_candidates, n_sources) bool as one uint32 of bits a candidate, bit s for source s."""
    bits = np.uint32(1) << np.arange(membership.shape[1], dtype=np.uint32)
    return np.asarray(membership.astype(np.uint32) @ bits, np.uint32)


class FunnelMeter:
    """Adds up what each source found, what only it found, and what the final top k made of it.

    The hits possible at k, the sum of min(k, |truth|) over users, split into three: those in the final list, those
    lost by ranking (the union held them, and the list had room) and those lost by retrieval.

    lost: (n_evaluated, 2) float32, hits lost by retrieval less those lost by ranking, and the possible ones
    sizes: as those of `AccuracyMeter`
    """

    sizes: Float64s | None = None

    def __init__(self, truth: Truth, sources: Sequence[str], k: int = 20) -> None:
        if len(sources) > MAX_SOURCES:
            raise ConfigError(f"the funnel follows at most {MAX_SOURCES} sources, got {len(sources)}")
        self.truth, self.sources, self.k = truth, tuple(sources), k
        self._counts = np.zeros((2, 1 << len(sources)), np.int64)
        self._members = np.zeros(1 << len(sources), np.int64)
        self._recalls = np.zeros(len(sources) + 2)
        self._totals = np.zeros(3, np.int64)  # users, possible hits, hits that the union reaches
        self.lost = np.zeros((len(truth), 2), np.float32)

    def add(self, users: Int32s, union: Lists, membership: Bools | UInt32s, final: Lists) -> None:
        """Count a block of train users, each user once over all blocks.

        users: (b,) int32; union, final: candidates (in any order) and final list, row i belongs to users[i]
        membership: which sources proposed each candidate: (n_candidates, n_sources) bool, or bits as from `pack`
        """
        assert len(users) == len(union) == len(final), "one row of candidates and one list for each user"
        member = pack(membership.astype(np.bool_)) if membership.ndim == 2 else membership.astype(np.uint32)
        assert len(member) == len(union.item), "one membership for each candidate"
        truth, row = self.truth, self.truth.rows_of(users)
        sizes = np.where(row >= 0, np.diff(truth.indptr)[row] if len(truth) else 0, 0)
        offset = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
        found, hit = np.zeros(int(offset[-1]), np.uint32), np.zeros(int(offset[-1]), np.bool_)
        lists = (union.indptr, union.item, member, final.indptr, final.item)
        kernels.trace(row, *lists, self.k, truth.indptr, truth.item, offset, found, hit)
        self.lost[row[row >= 0]] = _lost(offset, found, hit, self.k)[row >= 0]
        kernels.count_members(row, union.indptr, member, self._members)
        possible, reachable = kernels.tally(offset, found, hit, self.k, len(self.sources), self._counts, self._recalls)
        self._totals += int((row >= 0).sum()), int(possible), int(reachable)

    def sums(self) -> dict[str, AnyArray]:
        """All that adds up over users but `lost`, by name, as `AccuracyMeter.sums`."""
        return {"hits": self._counts, "members": self._members, "recalls": self._recalls, "totals": self._totals}

    @property
    def _users(self) -> int:
        return int(self._totals[0])

    def summary(self, rng: np.random.Generator, resamples: int = 1000) -> dict[str, Any]:
        """The funnel as plain figures; None where there is nothing to divide by."""
        n, n_sources = self._users, len(self.sources)
        items, by_bits = int(self._counts.sum()), self._counts.sum(axis=0)
        retrieved, final_hits = int(by_bits[1:].sum()), int(self._counts[1].sum())
        recalls = [float(total / n) if n else None for total in self._recalls]
        buried = int(self._counts[0, 1:].sum())
        return {
            "k": self.k,
            "users": n,
            "truth_items": items,
            "sources": {name: self._source(s, by_bits, recalls[s]) for s, name in enumerate(self.sources)},
            "union": {
                "candidates_per_user": _share(int(self._members.sum()), n),
                "ceiling": recalls[n_sources],
                "ceiling_micro": _share(retrieved, items),
                "hits": retrieved,
            },
            "final": {
                "hits": final_hits,
                "recall": recalls[n_sources + 1],
                "recall_micro": _share(final_hits, items),
                "hits_no_source_proposed": int(self._counts[1, 0]),
            },
            "buried": buried,
            "buried_share": _share(buried, retrieved),
        } | self._limits(final_hits, resample([self.lost], rng, resamples, self.sizes)[0])

    def _source(self, s: int, by_bits: Int64s, ceiling: float | None) -> dict[str, Any]:
        bits = np.arange(len(by_bits))
        mine, alone = (bits >> s) & 1 == 1, bits == 1 << s
        hits, candidates = int(by_bits[mine].sum()), int(self._members[mine].sum())
        shared = {
            other: _share(int(self._members[mine & ((bits >> o) & 1 == 1)].sum()), candidates)
            for o, other in enumerate(self.sources)
            if o != s
        }
        return {
            "candidates_per_user": _share(candidates, self._users),
            "ceiling": ceiling,
            "ceiling_micro": _share(hits, int(by_bits.sum())),
            "hits": hits,
            "unique_hits": int(by_bits[alone].sum()),
            "unique_share": _share(int(by_bits[alone].sum()), hits),
            "overlap": _share(candidates - int(self._members[alone].sum()), candidates),
            "overlap_with": shared,
            "final_hits": int(self._counts[1, mine].sum()),
            "buried": int(self._counts[0, mine].sum()),
        }

    def _limits(self, final_hits: int, drawn: Float64s) -> dict[str, Any]:
        """What became of the possible hits, and which loss is the larger, as far as the draw of users can tell.

        drawn: (n_resamples, 2), mean hits lost by retrieval less those lost by ranking, and mean possible hits
        """
        possible, reachable = (int(total) for total in self._totals[1:])
        ranking, retrieval = reachable - final_hits, possible - reachable
        low, high, limits = None, None, None
        drawn = drawn[drawn[:, 1] > 0]
        if (ranking or retrieval) and len(drawn):
            low, high = interval(drawn[:, :1] / drawn[:, 1:])[:, 0].tolist()
            limits = "retrieval" if low > 0 else "ranking" if high < 0 else "both"
        return {
            "possible_hits": possible,
            "share_hit": _share(final_hits, possible),
            "share_lost_by_retrieval": _share(retrieval, possible),
            "share_lost_by_ranking": _share(ranking, possible),
            "retrieval_less_ranking": _share(retrieval - ranking, possible),
            "retrieval_less_ranking_interval": None if limits is None else [low, high],
            "limits": limits,
        }


def _lost(offset: Int64s, found: UInt32s, hit: Bools, k: int) -> Float32s:
    """Of each user the hits at k lost by retrieval less those lost by ranking, and the possible ones; (b, 2)."""
    hits, reached = (np.diff(np.append(0, np.cumsum(flag))[offset]) for flag in (hit, hit | (found != 0)))
    possible, reachable = np.minimum(k, np.diff(offset)), np.minimum(k, reached)
    return np.stack([possible - 2 * reachable + hits, possible], axis=1).astype(np.float32)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
