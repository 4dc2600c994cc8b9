"""The columns that rows may have: every field of every model's input, and a few of our own."""

from __future__ import annotations

from difflib import get_close_matches

from prefect_hailuo.endpoints import CATALOGUE

LABELS = "labels"

LABEL_PREFIX = "labels."
"""How a column begins that holds your own words: `labels.sku`."""

OWN_COLUMNS = ("model", "take", LABELS)
"""The columns that are no field of a model's input."""


def _fields() -> set[str]:
    """The fields of any model's input."""
    return {name for each in CATALOGUE.values() for name in each.model_fields}


def column_of(name: str) -> str | None:
    """A column's own name, however it is written; None: there is none such.

    Example:
        >>> column_of("Prompt Optimizer"), column_of("labels.SKU"), column_of("promt")
        ('prompt_optimizer', 'labels.SKU', None)
    """
    if name.startswith(LABEL_PREFIX) and len(name) > len(LABEL_PREFIX):
        return name
    plain = "_".join(name.lower().split())
    return plain if plain in _fields() or plain in OWN_COLUMNS else None


def unknown_column(name: str) -> str:
    """What is to be said of a column that there is not, with the nearest that there is.

    Example:
        >>> unknown_column("promt")[:58]
        "there is no column 'promt': did you mean 'prompt'? A word "
    """
    known = [*sorted(_fields()), "model", "take"]
    near = get_close_matches(name.lower(), known, 1)
    advice = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}."
    return (
        f"there is no column {name!r}: {advice} A word of your own goes into a column "
        f"'{LABEL_PREFIX}{name}'"
    )
