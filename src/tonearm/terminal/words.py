"""Numbers with their nouns."""

ODD = {"entry": "entries"}
VERBS = {"is": "are", "has": "have", "does": "do"}


def counted(n: float, noun: str, verb: str = "") -> str:
    """1 play, 2 plays, 1,250 plays, 0.5 plays: a number with its noun, and a verb, in the right form."""
    one = n == 1
    said = f"{number(n)} {noun if one else ODD.get(noun, f'{noun}s')}"
    if not verb:
        return said
    return f"{said} {verb if one else VERBS.get(verb, verb.removesuffix('s'))}"


def number(n: float) -> str:
    """With commas, and with digits after the point only where there are some."""
    return f"{n:,.0f}" if float(n).is_integer() or abs(n) >= 10_000 else f"{n:,.4g}"
