"""What the figures of `metrics.json` say, in words: warnings, sentences, and the table for the terminal."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from tonearm.terminal.words import counted

Metrics = dict[str, Any]


def warnings(metrics: Metrics) -> list[str]:
    """Results that are too good or too bad to be true, each with its likeliest cause."""
    found: list[str] = []
    lists, focus = metrics["lists"], metrics["focus"]
    metric, smallest = f"ndcg@{focus}", min(metrics["ks"])
    for name, values in lists.items():
        precision, novelty = values[f"precision@{smallest}"], values[f"novelty@{focus}"]
        # with repeats, a short list of favourites may well be right more often than not
        if metrics["filter_seen"] and precision is not None and precision > 0.5:
            found.append(
                f"{name}: precision@{smallest} is {precision:.3f}; real listening hardly ever allows above .5. "
                "Likeliest leak: test events are also in train, as when both are one file that was not cut by time."
            )
        if metrics["filter_seen"] and novelty is not None and novelty < 1:
            found.append(
                f"{name}: {1 - novelty:.2%} of its top {focus} were already heard, though heard items cannot count as "
                "hits. Likeliest cause: the list was made with filter_seen = false, or from another train set."
            )
        if values[metric] == 0:
            found.append(
                f"{name}: not one hit in the top {focus}. Likeliest cause: its ids and those of the truth are not of "
                "the same kind."
            )
    found.extend(_against_sources(metrics, metric))
    funnel = metrics["funnel"]
    orphans = funnel["final"]["hits_no_source_proposed"] if funnel is not None else 0
    if orphans > 0:
        found.append(
            f"{counted(orphans, 'hit')} of the final list {'was' if orphans == 1 else 'were'} proposed by no source. "
            "Unless the list was filled up with popular items, scores and items have come apart."
        )
    return found


def _against_sources(metrics: Metrics, metric: str) -> list[str]:
    final, values = metrics["final"], {n: v[metric] for n, v in metrics["lists"].items() if v[metric] is not None}
    others = {name: value for name, value in values.items() if name not in (final, f"{final}_unshaped")}
    if final not in values or not others:
        return []
    best = max(others, key=lambda name: others[name])
    if others[best] > 0 and values[final] >= 10 * others[best]:
        return [
            f"{final}: {metric} is {values[final] / others[best]:.0f} times that of the best source, {best}. Likeliest "
            "leak: a feature or label of the ranker saw events of the test period."
        ]
    cause = "the ranker's labels come from events that its sources were fitted on, or there are too few of them"
    if f"{final}_unshaped" in metrics["lists"]:
        cause = "the rules of [shape], which say below what each of them costs"
    worse = [c for c in metrics["comparisons"] if c["metric"] == metric and c["against"] == best and c["high"] < 0]
    return [
        f"{final} is significantly below {best} by {metric} ({_signed(c['difference'])}). Likeliest cause: {cause}."
        for c in worse
    ]


def _signed(value: float) -> str:
    """A difference as people write it: +.0021, -.0004."""
    return f"{value:+.4f}".replace("0.", ".", 1)


def figure(value: float | None) -> str:
    """A figure as people write it: .0421."""
    return "–" if value is None else f"{value:.4f}".removeprefix("0")


def sentence(comparison: Mapping[str, Any]) -> str:
    """One comparison in words, as in "final beats als by +.0021 ndcg@10 [+.0016, +.0026]"."""
    c = comparison
    verb = "beats" if c["low"] > 0 else "loses to" if c["high"] < 0 else "cannot be told from"
    between = f"[{_signed(c['low'])}, {_signed(c['high'])}]"
    return f"{c['list']} {verb} {c['against']} by {_signed(c['difference'])} {c['metric']} {between}"


def rule_lines(metrics: Mapping[str, Any]) -> list[str]:
    """What shaping did to the final list, a line for each rule; nothing where there was none."""
    shape = metrics.get("shape")
    if shape is None:
        return []
    rules = shape["rules"] if len(shape["rules"]) < 2 else shape["rules"] | {"all rules": shape["all"]}
    found = []
    for rule, cost in rules.items():
        share = "" if cost["removed_share"] is None else f" ({cost['removed_share']:.1%})"
        changes = [f"{key} {_signed(v)}" for key, v in cost.items() if not key.startswith("removed") and v is not None]
        by_itself = "together" if rule == "all rules" else "alone"
        found.append(
            f"shape {rule}: {counted(cost['removed'], 'entry')}{share} gave way; {by_itself}: {', '.join(changes)}"
        )
    filled, above, short = shape["filled_by_popular"], shape["above_limits"], shape["short_lists"]
    if filled or above or short:
        found.append(
            f"shape: of {counted(shape['entries'], 'entry')} {filled:,} {'was' if filled == 1 else 'were'} filled "
            f"in from the popular list, {above:,} {'stands' if above == 1 else 'stand'} above a limit, as nothing "
            f"else was left; {counted(short, 'list', 'is')} short"
        )
    return found


def best_source(metrics: Mapping[str, Any]) -> str | None:
    """The list other than the final one, shaped or not, with the highest ndcg at the focus, the first of equals."""
    metric = f"ndcg@{metrics['focus']}"
    final = metrics["final"]
    values = {n: v[metric] for n, v in metrics["lists"].items() if n not in (final, f"{final}_unshaped")}
    known = {name: value for name, value in values.items() if value is not None}
    return max(known, key=lambda name: known[name]) if known else None


def lines(metrics: Metrics, verbose: bool = False) -> list[str]:
    """What stands below the table: the verdict, the funnel, what was left out, notes and warnings.

    verbose: all comparisons, cold users and definitions as well
    """
    against = [c for c in metrics["comparisons"] if c["metric"] == f"ndcg@{metrics['focus']}"]
    main = dict.fromkeys(("top_popular", best_source(metrics)))
    found = [sentence(c) for name in main for c in against if c["against"] == name]
    if verbose or not found:
        found = [sentence(c) for c in against]
    found.extend(_of_parts(metrics))
    found.extend(fold_lines(metrics))
    funnel, cold, population = metrics["funnel"], metrics["cold"], metrics["population"]
    found += rule_lines(metrics)
    if funnel is not None and funnel["limits"] is not None:
        which = "retrieval and ranking limit" if funnel["limits"] == "both" else f"{funnel['limits']} limits"
        equally = " about equally" if funnel["limits"] == "both" else ""
        found.append(
            f"{which} the result{equally}: of {counted(funnel['possible_hits'], 'hit')} possible at {funnel['k']}, "
            f"{funnel['share_hit']:.1%} were made, {funnel['share_lost_by_retrieval']:.1%} no source found, "
            f"{funnel['share_lost_by_ranking']:.1%} the ranker buried"
        )
    if cold is not None and cold["share_with_hit"] is not None and verbose:
        found.append(
            f"cold users: {cold['users']:,}, of whom {cold['users_with_truth']:,} heard an item that exists in train; "
            f"{cold['share_with_hit']:.1%} of these find at least one in the popular list of {cold['k']}, "
            f"{cold['mean_hits']:.2f} on average"
        )
    if cold is not None and cold["users"]:
        found.append(without_hit(cold))
    words = metrics["definitions"]
    said = f"{counted(population['evaluated_users'], 'user')} evaluated"
    found.append(
        f"{said}: {words['population']}"
        if verbose
        else f"{said}, {counted(population['truth_items'], 'item')} of truth"
    )
    if verbose:
        found.append(f"truth: {words['truth']} ({population['truth_items']:,} in all); intervals: {words['interval']}")
    found.extend(metrics["notes"])
    found.extend(f"left out: {row['sentence']}" for row in metrics.get("left_out", []))
    found.extend(f"warning: {text}" for text in metrics["warnings"])
    return found


def fold_lines(metrics: Mapping[str, Any]) -> list[str]:
    """What several cuts say of the final list, in words; nothing where there is one."""
    folds = metrics.get("folds")
    if folds is None:
        return []
    metric = f"ndcg@{metrics['focus']}"
    final = folds["lists"][metrics["final"]][metric]
    by_fold = ", ".join(
        f"{figure(value)} from {cut['cut'][:10]}" for value, cut in zip(final["by_fold"], folds["cuts"], strict=True)
    )
    spread = "" if final["sd"] is None else f", standard deviation {figure(final['sd'])}"
    earlier = [
        f"from {cut['cut'][:10]}: {sentence(cut['against_best_source'])}"
        for cut in folds["cuts"][1:]
        if cut["against_best_source"] is not None
    ]
    what = f"over {len(folds['cuts'])} cuts {metrics['final']} has {metric}"
    return [f"{what} {by_fold}: mean {figure(final['mean'])}{spread}", *earlier]


def without_hit(cold: Mapping[str, Any]) -> str:
    """The two figures of all cold users, in words."""
    mean, share = cold["mean_hits_of_cold_users_with_hit"], cold["share_of_cold_users_without_hit"]
    rest = "" if mean is None else f"; the others find {mean:.2f} on average"
    return f"{share:.1%} of all cold users ({cold['users']:,}) find none in the popular list of {cold['k']}{rest}"


def _of_parts(metrics: Metrics) -> list[str]:
    """Repeats and discoveries apart: the final list against the best other one of each."""
    found, metric = [], f"ndcg@{metrics['focus']}"
    for name, part in (metrics.get("parts") or {}).items():
        against = [c for c in part["comparisons"] if c["metric"] == metric]
        if against:
            best = min(against, key=lambda c: float(c["difference"]))
            found.append(f"{name} ({counted(part['population']['evaluated_users'], 'user')}): {sentence(best)}")
    return found


WIDTH = 80
"""Columns of a window that does not say."""


def shown(metrics: Metrics, width: int = WIDTH, verbose: bool = False) -> Group:
    """The table, and what stands below it, each sentence on a line of its own."""
    return Group(
        table(metrics, width),
        *(Text(f"\n{line}" if place == 0 else line) for place, line in enumerate(lines(metrics, verbose))),
    )


def table(metrics: Metrics, width: int = WIDTH) -> Table:
    """The lists as rows, and as many metrics as the width has room for, the main ones first."""
    parts = metrics.get("parts") or {}
    columns = _columns(metrics, width, parts)
    result = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    result.add_column("list", no_wrap=True)
    for column in columns:
        result.add_column(column.replace("@", "\n@"), justify="right", no_wrap=True)
    for part in parts:
        result.add_column(f"{part}\nrecall@{metrics['focus']}", justify="right", no_wrap=True)
    for name, values in metrics["lists"].items():
        figures = [values.get(column) for column in columns]
        figures += [part["lists"][name][f"recall@{metrics['focus']}"] for part in parts.values()]
        style = "bold" if name == metrics["final"] else None
        result.add_row(Text(_label(metrics, name)), *map(figure, figures), style=style)
    return result


def _label(metrics: Metrics, name: str) -> str:
    return "unshaped" if name == f"{metrics['final']}_unshaped" else name


def _columns(metrics: Metrics, width: int, parts: Mapping[str, Any]) -> list[str]:
    """What fits; metrics.json and the report have the rest."""
    ks, focus = metrics["ks"], metrics["focus"]
    smallest = min(ks)
    wanted = [f"ndcg@{focus}", f"recall@{focus}", f"precision@{smallest}", "coverage"]
    if not parts:
        wanted[3:] = [f"hit_rate@{focus}", "coverage", f"diversity@{focus}"]
    main = len(wanted)
    wanted += [f"{family}@{focus}" for family in ("novelty", "mrr", "map", "precision", "hit_rate")]
    wanted += [f"{family}@{smallest}" for family in ("ndcg", "recall", "hit_rate", "coverage", "novelty")]
    wanted += [f"{family}@{focus}" for family in ("coverage", "popularity_bias", "surprisal")]
    wanted = list(dict.fromkeys(wanted))
    left = width - max(len(_label(metrics, name)) for name in metrics["lists"])
    left -= sum(3 + max(len(part), len(f"recall@{focus}")) for part in parts)
    taken = 0
    for column in wanted:
        left -= 3 + max(6, len(column.split("@")[0]))
        if left < 0 and taken >= main:
            break
        taken += 1
    return wanted[:taken]
