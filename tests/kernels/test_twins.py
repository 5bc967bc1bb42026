"""Every kernel that others may call has a slow twin in twins.py, or says here what it is held against."""

import ast
from pathlib import Path

import pytest
from tests.kernels import twins

from tonearm import kernels

ROOT = Path(kernels.__file__).parent
KINDS = {"jit", "jit_fast", "jit_parallel"}

WITHOUT = {
    "als.csr.count_after": "the first step of transpose_csr, which is compared with SciPy",
    "als.fit.fold_in": "slow_solve_rows, of one side",
    "best.heap.offer": "similar_top_k, whose lists are sorted ones",
    "best.heap.sort_best_first": "similar_top_k, whose lists are sorted ones",
    "best.heap.pack_rows": "top_k, whose rows are compared one by one",
    "best.keys.key_of": "the order of keys, which is that of slow_descending",
    "best.keys.score_bits": "top_k, whose scores come back to the last bit",
    "best.keys.keep_best": "top_k",
    "best.keys.cut_keys": "a sort of all keys",
    "best.keys.cut_back": "top_k and sums.search",
    "best.keys.sort_keys": "a sort of all keys",
    "best.keys.write": "top_k",
    "best.keys.write_best": "top_k",
    "best.lists.first_of_rows": "rows by hand",
    "content.recommend_sets": "score_sets, over all items, sorted",
    "events.tally": "counts by hand",
    "events.scatter": "places by hand",
    "features.place_known": "the feature matrix by hand",
    "features.item_times": "times by hand",
    "item_item.cut_histories": "histories cut by sorting",
    "item_item.keep_items": "the columns of a dense matrix",
    "item_item.cost_by_rank": "costs by hand",
    "machine.dense.add_squares": "gram, which is compared with NumPy's product",
    "machine.dense.solve_positive": "fold_in, which is compared with numpy.linalg.solve",
    "metrics.grouped": "slow_accuracy, of the truth of one group",
    "metrics.count_exposure": "counts of plain loops",
    "metrics.add_up": "numpy.nansum",
    "metrics.trace": "the funnel of plain sets",
    "metrics.tally": "the funnel of plain sets",
    "metrics.count_members": "numpy.bincount",
    "metrics.sum_groups": "sums of each group",
    "nearest.pairs.meet": "similar_top_k, for every item",
    "nearest.pairs.sort_all": "similar_top_k, for every item",
    "nearest.scan.pack_items": "top_k",
    "nearest.scan.pack_group": "top_k",
    "nearest.scan.scan_group": "top_k",
    "nearest.scan.room_for": "top_k",
    "profile.count_by_time": "counts by hand",
    "shape.labels_of": "shaped lists",
    "synth.next_random": "SlowRandom, which is one stream",
    "sums.recency_weights": "weights by sorting, in the tests of sources",
}
"""What stands in for a twin."""


def public_kernels() -> list[str]:
    """By module and name."""
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        module = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
                continue
            decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
            if KINDS & decorators:
                found.append(f"{module}.{node.name}")
    return found


@pytest.mark.parametrize("kernel", public_kernels())
def test_a_kernel_has_a_twin_or_says_what_it_is_held_against(kernel: str) -> None:
    module, name = kernel.split(".")[-2:]
    names = {f"slow_{name}", f"slow_{module}_{name}"}
    assert any(hasattr(twins, one) for one in names) != (kernel in WITHOUT), "one of both"


def test_what_is_held_against_something_exists() -> None:
    assert set(WITHOUT) <= set(public_kernels())
