"""The manifest of a batch: its rows, all checked at once, as the videos that are wanted.

`make_manifest` names each wrong row by its line, and takes equal rows for one.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from prefect_hailuo.errors import ConfigurationError, UnknownEndpointError
from prefect_hailuo.flows.row_files import (
    LABEL_PREFIX,
    LABELS,
    WHOLE_FLOAT,
    RawRow,
    RawRows,
    column_of,
    unknown_column,
)
from prefect_hailuo.models.catalogue import CATALOGUE, VideoInput, find_input_class
from prefect_hailuo.models.image import is_data_uri, is_path, many_fields, media_fields
from prefect_hailuo.models.key import canonical_take, generation_key
from prefect_hailuo.runs.orders import BatchItem, check_texts

MOST_PROBLEMS = 200
"""How many wrong rows are named; a file of the wrong kind has as many as it has lines."""


@dataclass(frozen=True)
class Defaults:
    """What applies to rows that do not say otherwise.

    Args:
        model: The model's name.
        take: Which of several videos of the same input.
        fields: Fields of the input, for the models that have them.
        read_take: Makes the take of a row from what its cell says, as `slot_take` does.
    """

    model: str
    take: int | str = 0
    fields: Mapping[str, Any] | None = None
    read_take: Callable[[Any], Any] = field(default=lambda written: written)


@dataclass(frozen=True)
class Manifest:
    """The videos that a batch wants.

    Args:
        items: The rows, in order: each that asks for another video, or has other labels. Their
            numbers, from 1, are those of the log, the card, the table, the sheet and the CSV.
        purchases: The videos, each once: the first of its rows.
        places: Where each row is, such as `line 3`.
        repeated: How many rows ask for a video that another row asks for.
        digest: Tells it from other manifests, in whatever order they are written.
    """

    items: tuple[BatchItem, ...]
    purchases: tuple[BatchItem, ...]
    places: tuple[str, ...]
    repeated: int
    digest: str


class _RowError(Exception):
    """What is wrong with a row, one line each."""


def make_manifest(raw: RawRows, defaults: Defaults) -> Manifest:
    """Check all rows, and take equal ones for one. It spends nothing.

    Rows that differ only in their labels are one purchase, and one row each in the report.

    A column is a field of a model's input (`prompt`, `prompt_optimizer`, …), `model`, `take`, or
    `labels.` and a name of your own; in JSON and YAML, `labels` may be a mapping. An empty cell
    means the default. A cell with several values, such as of `reference_image_urls`, is a JSON
    list, or separated by semicolons.

    Args:
        raw: What `read_rows` or `rows_of_list` found.
        defaults: What applies to rows that do not say otherwise.

    Raises:
        ConfigurationError: Rows are wrong: the message names each with its line and its cure.

    Example:
        >>> from prefect_hailuo.flows.row_files import rows_of_list
        >>> rows = [{"prompt": "A fox.", "take": 2}, "An owl.", "An owl."]
        >>> manifest = make_manifest(rows_of_list(rows), Defaults("hailuo-02-pro"))
        >>> [(each.input.prompt, each.take) for each in manifest.items], manifest.repeated
        ([('A fox.', '2'), ('An owl.', '0')], 1)
    """
    problems = [*raw.problems, *((raw.header_line, each) for each in _wrong_header(raw.header))]
    headed = bool(raw.header)
    readable = not headed or "prompt" in map(column_of, raw.header)
    found: dict[str, BatchItem] = {}
    rows: dict[tuple[str, frozenset[tuple[str, str]]], tuple[str, BatchItem]] = {}
    for row in raw.rows if readable else ():
        try:
            item = _item(row, defaults, headed, raw.folder)
        except _RowError as error:
            problems += [(row.number, each) for each in error.args]
        else:
            key = generation_key(item.input, realm="fal", take=item.take or 0)
            found.setdefault(key, item)
            own = (key, frozenset(item.labels.items()))
            rows.setdefault(own, (raw.place(row.number), item))
    if problems or not raw.rows:
        raise _refusal([_say(raw, *each) for each in sorted(problems)])
    places, items = zip(*rows.values(), strict=True)
    purchases = tuple(found.values())
    digest = hashlib.sha256("".join(sorted(found)).encode()).hexdigest()
    return Manifest(items, purchases, places, len(raw.rows) - len(purchases), digest)


def rows_of(items: Iterable[BatchItem], model: str) -> list[dict[str, Any]]:
    """Items as rows again, as small as can be: what `make_manifest` makes the same items of.

    Args:
        items: What a manifest holds.
        model: The model of the defaults that they will be read with, its take being 0, and its
            fields none.

    Example:
        >>> from prefect_hailuo import Hailuo02ProTextToVideo
        >>> rows_of([BatchItem(input=Hailuo02ProTextToVideo(prompt="A fox."), take="2")], "x")
        [{'prompt': 'A fox.', 'model': 'hailuo-02-pro', 'take': '2'}]
    """
    return [_row(each, model) for each in items]


def _row(item: BatchItem, model: str) -> dict[str, Any]:
    row = item.input.model_dump(mode="json", exclude_defaults=True)
    if item.input.endpoint.name != model:
        row["model"] = item.input.endpoint.name
    if item.take not in (None, "0"):
        row["take"] = item.take
    return {**row, LABELS: item.labels} if item.labels else row


def _say(raw: RawRows, number: int, why: str) -> str:
    return f"{raw.place(number)}: {why}" if number else why


def _refusal(problems: Sequence[str]) -> ConfigurationError:
    if not problems:
        return ConfigurationError("There are no rows.", cure="Write a prompt on each.")
    more = len(problems) - MOST_PROBLEMS
    lines = [*problems[:MOST_PROBLEMS], *([f"and {more:,} more"] if more > 0 else [])]
    return ConfigurationError(
        "Nothing was bought, for these rows are wrong:\n  " + "\n  ".join(lines) + "\n",
        cure="Correct them, and run the batch again.",
    )


def _wrong_header(header: Sequence[str]) -> list[str]:
    named = [column_of(each) for each in header]
    wrong = [unknown_column(each) for each in header if each and column_of(each) is None]
    twice = sorted({each for each in named if each and named.count(each) > 1})
    wrong += [f"there are several columns {each!r}; leave one" for each in twice]
    if header and "prompt" not in named and not wrong:
        wrong.append(
            "there is no column 'prompt'; begin the file with a line of the columns' names"
        )
    return wrong


def _item(row: RawRow, defaults: Defaults, headed: bool, folder: Path | None) -> BatchItem:
    cells, labels = _sorted_out(row, headed)
    input_class = _input_class(str(cells.pop("model", defaults.model)))
    take = _take(defaults.read_take(cells.pop("take", defaults.take)))
    given = {
        name: each
        for name, each in (defaults.fields or {}).items()
        if name in input_class.model_fields
    }
    if "prompt_optimizer" in (defaults.fields or {}):
        given |= input_class.rewriting((defaults.fields or {})["prompt_optimizer"])
    if foreign := [_foreign(each, input_class) for each in cells if not _has(input_class, each)]:
        raise _RowError(*foreign)
    cells |= {name: _listed(cells[name]) for name in many_fields(input_class) if name in cells}
    media = {name: cells[name] for name in media_fields(input_class) if name in cells}
    beside = {name: _beside(folder, each) for name, each in media.items()}
    fields = {**given, **cells, **beside}
    item = BatchItem(input=_input(input_class, fields), take=take, labels=labels)
    if item.input.impossible:
        raise _RowError(f"{item.input.impossible}; change one of the two")
    _check_texts(item)
    return item


def _listed(cell: Any) -> Any:
    """A cell with several values: JSON, or separated by semicolons."""
    if not isinstance(cell, str):
        return cell
    if cell.lstrip().startswith("["):
        with suppress(ValueError):  # the input says what is wrong with it
            return json.loads(cell)
    if is_data_uri(cell.lstrip()):  # which has semicolons of its own
        return [cell]
    return [each.strip() for each in cell.split(";") if each.strip()]


def _beside(folder: Path | None, picture: Any) -> Any:
    """A picture's path that is meant from where the rows are; any other as it is."""
    if isinstance(picture, list):
        return [_beside(folder, each) for each in picture]
    if folder is None or not isinstance(picture, str) or not is_path(picture):
        return picture
    # ~somebody, who has no home here, or what is too long for a path: the input says so.
    with suppress(RuntimeError, OSError, ValueError):
        path = folder / Path(picture).expanduser()
        return str(path) if path.exists() else picture
    return picture


def _sorted_out(row: RawRow, headed: bool) -> tuple[dict[str, Any], dict[str, str]]:
    """A row's cells by their columns' own names, and its labels."""
    cells: dict[str, Any] = {}
    labels: dict[str, str] = {}
    wrong: list[str] = []
    for name, each in row.cells.items():
        column = column_of(name)
        if _is_empty(each) or (column is None and headed):
            continue  # said once, of the header
        if column is None:
            wrong.append(unknown_column(name))
        elif column == LABELS and isinstance(each, Mapping):
            named = {str(key): str(value) for key, value in each.items() if not _is_empty(value)}
            wrong += [f"{LABEL_PREFIX}{key} is there twice" for key in named.keys() & labels.keys()]
            labels |= named
        elif column == LABELS:
            wrong.append(f"labels: write a mapping, or a column '{LABEL_PREFIX}<name>'")
        elif column.startswith(LABEL_PREFIX) and column.removeprefix(LABEL_PREFIX) in labels:
            wrong.append(f"{column} is there twice; leave one")
        elif column.startswith(LABEL_PREFIX):
            labels[column.removeprefix(LABEL_PREFIX)] = str(each)
        else:
            cells[column] = each
    if wrong:
        raise _RowError(*wrong)
    return cells, labels


def _is_empty(cell: Any) -> bool:
    """Whether a cell says nothing: pandas writes an empty one as NaN."""
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def _input_class(model: str) -> type[VideoInput]:
    try:
        return find_input_class(model)
    except UnknownEndpointError as error:
        names = [each.endpoint.name for each in CATALOGUE.values()]
        near = get_close_matches(model.lower(), names, 1)
        cure = f"Did you mean {near[0]!r}?" if near else error.cure
        raise _RowError(f"model: {error.message} {cure}") from error


def _take(given: Any) -> str:
    if isinstance(given, float) and math.isfinite(given):  # pandas' 1.0 is 1
        given = int(given) if given.is_integer() else str(given)
    try:
        return canonical_take(given)
    except TypeError as error:
        raise _RowError(f"take: {error}") from error


def _has(input_class: type[VideoInput], name: str) -> bool:
    return name in input_class.model_fields


def _foreign(name: str, input_class: type[VideoInput]) -> str:
    takers = [each.endpoint.name for each in CATALOGUE.values() if _has(each, name)]
    return (
        f"{name}: {input_class.endpoint.name} has no such field; leave it empty, or take a model "
        f"that has it: {', '.join(takers)}"
    )


def _input(input_class: type[VideoInput], fields: Mapping[str, Any]) -> VideoInput:
    try:
        return input_class(**fields)
    except ValidationError as error:
        wrong = {str(each["loc"][0]) for each in error.errors() if each["loc"]}
        other = {name: _otherwise(fields[name]) for name in wrong if name in fields}
        if any(each is not fields[name] for name, each in other.items()):
            try:
                return input_class(**{**fields, **other})
            except ValidationError:  # the first complaint is about what was written
                pass
        raise _RowError(*(_complaint(each) for each in error.errors())) from error


def _otherwise(given: Any) -> Any:
    """A number as a text, and a text of digits as a number: a file's kind decides which it is."""
    if isinstance(given, int | float) and not isinstance(given, bool):
        return str(int(given) if isinstance(given, float) and given.is_integer() else given)
    plain = WHOLE_FLOAT.sub(r"\1", given) if isinstance(given, str) else ""
    return int(plain) if plain.isdecimal() else given


def _complaint(error: Any) -> str:
    where = ".".join(str(each) for each in error["loc"])
    if error["type"] == "missing":
        return f"the {where} is missing; fill it in"
    return f"{where}: {error['msg']}" if where else str(error["msg"])


def _check_texts(item: BatchItem) -> None:
    try:
        check_texts("take", str(item.take))
        check_texts("labels", *item.labels, *item.labels.values())
        check_texts("prompt", item.input.prompt)
    except ConfigurationError as error:
        raise _RowError(f"{error.message} {error.cure}") from error
