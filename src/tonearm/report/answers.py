"""The first screen: is it good, is it better than the simple thing, what limits it; each in a word and a sentence."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tonearm.evaluation.words import best_source
from tonearm.runs.lists import POPULAR, key_of, title, within
from tonearm.terminal.words import counted

Metrics = Mapping[str, Any]

ALS = key_of("als")


@dataclass(frozen=True)
class Answer:
    """One of the questions of the first screen.

    word: the answer in a word or a figure
    tone: "good", "bad" or "plain"
    definition: what the figures mean
    """

    question: str
    word: str
    tone: str
    sentence: str
    definition: str


def in_sentence(name: str) -> str:
    """A list within a sentence."""
    return f"the {within(name)} list"


def _role(best: str) -> str:
    return "the best simple rule" if best.startswith("own_") else "its best source"


def answers(metrics: Metrics) -> list[Answer]:
    """The four answers; each says so where it cannot be given."""
    best = best_source(metrics)
    found = [_good(metrics), _better(metrics, POPULAR, "Is it better than the popular list?")]
    if best is not None and best != POPULAR:
        found.append(_better(metrics, best, f"Is it better than {_role(best)}?"))
    return [*found, _limits(metrics)]


def lead(metrics: Metrics) -> str:
    """All the answers in one line."""
    final, metric, best = metrics["final"], f"ndcg@{metrics['focus']}", best_source(metrics)
    said = []
    for against in dict.fromkeys((POPULAR, best or POPULAR)):
        for c in metrics["comparisons"]:
            if c["against"] == against and c["metric"] == metric:
                verb = "better than" if c["low"] > 0 else "worse than" if c["high"] < 0 else "not shown to differ from"
                role = "" if against == POPULAR else f", {_role(against)}"
                said.append(f"{verb} {in_sentence(against)}{role}")
    funnel = metrics["funnel"]
    limits = ""
    if funnel is not None and funnel["limits"] is not None:
        both = funnel["limits"] == "both"
        limits = " Both retrieval and ranking limit it." if both else f" {funnel['limits'].capitalize()} limits it."
    subject = in_sentence(final)
    subject = subject[0].upper() + subject[1:]
    return f"{subject} is {' and '.join(said)}.{limits}" if said else f"{subject} could not be measured.{limits}"


def signed(value: float) -> str:
    """A difference as people write it: +.0021, −.0004."""
    return f"{value:+.4f}".replace("0.", ".", 1).replace("-", "−")


def between(interval: list[float] | None, per_cent: bool = False) -> str:
    """An interval in brackets, or nothing where there is none."""
    if interval is None:
        return ""
    low, high = (f"{v:.1%}" if per_cent else f"{v:.4f}" for v in interval)
    return f" [{low}, {high}]"


def _good(metrics: Metrics) -> Answer:
    question, k, final = "How good is it?", metrics["focus"], metrics["final"]
    values, words = metrics["lists"][final], metrics["definitions"]
    share, recall, users = values[f"hit_rate@{k}"], values[f"recall@{k}"], metrics["population"]["evaluated_users"]
    definition = (
        f"hit_rate@{k}: {words['hit_rate']}. recall@{k}: {words['recall']}. Truth: {words['truth']}. "
        f"In brackets: {words['interval']}."
    )
    if share is None:
        return Answer(question, "Not known", "plain", "No user could be evaluated.", definition)
    limits = between(metrics["intervals"][final][f"hit_rate@{k}"], per_cent=True)
    sentence = (
        f"{share:.1%}{limits} of the {counted(users, 'evaluated user', 'finds')} something they went on to choose "
        f"among their first {k}. These {k} hold {recall:.1%} of what they chose, on average."
    )
    return Answer(question, f"{share:.0%}" if share >= 0.1 else f"{share:.1%}", "plain", sentence, definition)


def _better(metrics: Metrics, against: str, question: str) -> Answer:
    metric, final = f"ndcg@{metrics['focus']}", metrics["final"]
    words = metrics["definitions"]
    definition = f"{metric}: {words['ndcg']}. In brackets: {words['interval']} of the difference."
    found = [c for c in metrics["comparisons"] if c["against"] == against and c["metric"] == metric]
    if not found:
        return Answer(question, "Not known", "plain", "The two lists could not be compared.", definition)
    c = found[0]
    word, tone = ("Yes", "good") if c["low"] > 0 else ("No", "bad") if c["high"] < 0 else ("Not shown", "plain")
    mine, theirs = (metrics["lists"][name][metric] for name in (final, against))
    times = f", {mine / theirs:.2f} times as much" if theirs else ""
    sentence = (
        f"{title(final)} has {mine:.4f} {metric} and {in_sentence(against)} {theirs:.4f}{times}: a difference of "
        f"{signed(c['difference'])} [{signed(c['low'])}, {signed(c['high'])}]"
        + (", which may be luck of the draw." if word == "Not shown" else ".")
    )
    return Answer(question, word, tone, sentence, definition)


def _limits(metrics: Metrics) -> Answer:
    question, funnel = "What limits it?", metrics["funnel"]
    definition = (
        "Hits possible: min(k, |truth|) added up over users. Retrieval lost those that no source proposed, ranking "
        "those that a source proposed and the final list left out although it had room."
    )
    if funnel is None or funnel["limits"] is None:
        return Answer(question, "Not known", "plain", "There was no hit to lose.", definition)
    advice = {
        "retrieval": "More or better sources, or more candidates from each, would help most.",
        "ranking": "A better ranker would help most: the sources find much that it leaves out.",
        "both": "Which of the two weighs more may be luck of the draw.",
    }[funnel["limits"]]
    sentence = (
        f"{funnel['share_hit']:.1%} of {counted(funnel['possible_hits'], 'hit')} possible in the first {funnel['k']} "
        f"were made. {funnel['share_lost_by_retrieval']:.1%} no source found, and "
        f"{funnel['share_lost_by_ranking']:.1%} the ranker buried. {advice}"
    )
    return Answer(question, funnel["limits"].capitalize(), "plain", sentence, definition)
