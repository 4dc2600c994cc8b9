"""The rows of a batch: read from a file or a list, and checked all at once.

`read_rows` reads CSV, JSON Lines, JSON, YAML, or a prompt on each line. A column is a field of a
model's input, `model`, `take`, or a word of your own (`labels.sku`). `make_manifest` checks all
rows, names each wrong one by its line, and takes equal rows for one. `AnyModel` and `TextModel` are
the types of flow parameters that name a model: a form offers the names.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from difflib import get_close_matches
from io import StringIO
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import fsspec  # type: ignore[import-untyped]
import yaml  # type: ignore[import-untyped]
from pydantic import AfterValidator, Field, ValidationError

from prefect_hailuo.errors import ConfigurationError, UnknownEndpointError
from prefect_hailuo.models.catalogue import CATALOGUE, VideoInput, find_input_class
from prefect_hailuo.models.image import image_fields
from prefect_hailuo.models.key import canonical_take, generation_key
from prefect_hailuo.runs.events import presentable
from prefect_hailuo.runs.orders import BatchItem, check_texts


def needs_only_a_prompt(input_class: type[VideoInput]) -> bool:
    """Whether a model makes a video of a prompt alone."""
    return input_class.endpoint.category == "text-to-video"


def text_models() -> list[str]:
    """The names of the models that make a video of a prompt alone.

    Example:
        >>> text_models()[0]
        'hailuo-2.3-pro'
    """
    return [each.endpoint.name for each in CATALOGUE.values() if needs_only_a_prompt(each)]


def _text_model(name: str) -> str:
    found = find_input_class(name)
    if not needs_only_a_prompt(found):
        raise ValueError(f"{found.endpoint.name} needs a picture; use one of {text_models()}")
    return found.endpoint.name


def _names(*names: str) -> Any:
    return Field(json_schema_extra={"enum": list(names)})


AnyModel = Annotated[
    str,
    AfterValidator(lambda name: find_input_class(name).endpoint.name),
    _names(*(each.endpoint.name for each in CATALOGUE.values())),
]
"""The name of any model; a form offers all of them."""

TextModel = Annotated[str, AfterValidator(_text_model), _names(*text_models())]
"""The name of a model that makes a video of a prompt alone; a form offers all of them."""


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


COMPRESSED = {".gz", ".bz2", ".xz", ".zip"}

DELIMITERS = ",;\t"
"""Of CSV: a spreadsheet takes the semicolon where the comma divides decimals."""

HEADER = "prompt"
"""The column that tells a header, and by it, the delimiter."""

Cells = Mapping[str, Any]


@dataclass(frozen=True)
class RawRow:
    """A row as it was written.

    Args:
        number: Which line it begins on, or which row it is, from 1.
        cells: What is in its columns, by their names.
    """

    number: int
    cells: Cells


@dataclass
class RawRows:
    """What a file holds.

    Args:
        unit: What its rows are counted in: lines, or rows where there are none.
        rows: Its rows, in order.
        problems: What is no row: the number, and why; 0 is the whole.
        header: The columns' names, where the file has a line of them.
        folder: Where the file is, if it is on this machine: pictures may be beside it.
    """

    unit: Literal["line", "row"]
    rows: list[RawRow] = field(default_factory=list)
    problems: list[tuple[int, str]] = field(default_factory=list)
    header: tuple[str, ...] = ()
    folder: Path | None = None

    def add(self, number: int, found: object) -> None:
        """Take a text as a prompt, and a mapping as a row."""
        if isinstance(found, str):
            self.rows.append(RawRow(number, {"prompt": found}))
        elif isinstance(found, Mapping):
            self.rows.append(RawRow(number, {str(name): each for name, each in found.items()}))
        else:
            kind = type(found).__name__
            self.refuse(number, f"a row is a prompt or a mapping, not {kind}; put it in quotes")

    def refuse(self, number: int, why: str) -> None:
        """Note that there is something that is no row."""
        self.problems.append((number, why))

    def place(self, number: int) -> str:
        """Where something is, for people: `line 3`."""
        return f"{self.unit} {number}"


def rows_of_list(wanted: list[Any]) -> RawRows:
    """Rows that are not from a file: each a prompt, or a mapping.

    Example:
        >>> rows_of_list(["A fox.", {"prompt": "An owl."}]).rows[1]
        RawRow(number=2, cells={'prompt': 'An owl.'})
    """
    found = RawRows("row")
    for number, each in enumerate(wanted, 1):
        found.add(number, each)
    return found


def is_row_file(text: str) -> bool:
    """Whether a text is the name of a file of rows, by its ending.

    Example:
        >>> is_row_file("s3://bucket/rows.csv.gz"), is_row_file("A red fox.")
        (True, False)
    """
    return "\n" not in text and _ending(text) in READERS


def read_rows(address: str) -> RawRows:
    """The rows of a file, by its ending: `.csv`, `.tsv`, `.jsonl`, `.ndjson`, `.json`, `.yaml`,
    `.yml`; of any other, a prompt on each line. `.gz` and the like may follow.

    Args:
        address: A path, or an address that fsspec opens, such as `s3://bucket/rows.csv`.

    Raises:
        ConfigurationError: It cannot be read, or is not UTF-8.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> path = Path(tempfile.mkdtemp(), "rows.csv")
        >>> _ = path.write_text("prompt,take\\nA fox.,2\\n")
        >>> read_rows(str(path)).rows
        [RawRow(number=2, cells={'prompt': 'A fox.', 'take': '2'})]
    """
    text = _text_of(address)
    ending = _ending(address)
    found = RawRows("row" if ending == ".json" else "line")
    found.folder = None if "://" in address else Path(address).absolute().parent
    READERS.get(ending, _read_lines)(text, found)
    return found


def _ending(address: str) -> str:
    path = PurePosixPath(urlsplit(address).path if "://" in address else address)
    endings = [each.lower() for each in path.suffixes]
    if endings and endings[-1] in COMPRESSED:
        endings.pop()
    return endings[-1] if endings else ""


def _text_of(address: str) -> str:
    try:
        with fsspec.open(address, "rb", compression="infer") as file:
            content: bytes = file.read()
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"The rows of {_shown(address)!r} are not UTF-8: {error}.",
            cure="Save the file as UTF-8; of a spreadsheet, as 'CSV UTF-8'.",
        ) from error
    except Exception as error:  # of what kind, storages do not say
        # Their words name the whole address, which may be signed, or hold a login.
        why = presentable(str(error).replace(address, _shown(address)))
        raise ConfigurationError(
            f"The rows cannot be read from {_shown(address)!r}: {type(error).__name__}: {why}",
            cure="Pass a UTF-8 file that the worker of this run can open.",
        ) from None


def _shown(address: str) -> str:
    """An address without what may be secret in it: a login, a signature."""
    if "://" not in address:
        return address
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _read_lines(text: str, found: RawRows) -> None:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            found.add(number, line.strip())


def _read_json_lines(text: str, found: RawRows) -> None:
    # Only "\n" divides them: JSON texts may hold U+2028 and the like.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            found.add(number, json.loads(line))
        except ValueError as error:
            found.refuse(number, f"no JSON: {error}; write one object a line")


def _read_json(text: str, found: RawRows) -> None:
    try:
        rows = json.loads(text)
    except ValueError as error:
        found.refuse(0, f"no JSON: {error}; write a list of objects")
        return
    if not isinstance(rows, list):
        found.refuse(0, "the file holds no list; write a list of objects")
        return
    for number, each in enumerate(rows, 1):
        found.add(number, each)


def _read_yaml(text: str, found: RawRows) -> None:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return
        if not isinstance(node, yaml.SequenceNode):
            found.refuse(0, "the file holds no list; begin each row with '- prompt: …'")
            return
        for each in node.value:
            found.add(each.start_mark.line + 1, _plain(loader.construct_object(each, deep=True)))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        found.refuse(mark.line + 1 if mark else 0, f"no YAML: {' '.join(str(error).split())}")
    finally:
        loader.dispose()


def _plain(found: Any) -> Any:
    """YAML reads `2026-01-31` as a date; here it is a text, such as a take."""
    if isinstance(found, dict):
        return {name: _plain(each) for name, each in found.items()}
    return found.isoformat() if isinstance(found, date) else found


def _read_csv(text: str, found: RawRows) -> None:
    first = text.lstrip().partition("\n")[0]
    records = _records(text, _delimiter(first), found)
    for _, header in records:
        found.header = tuple(each.strip() for each in header)
        break
    for line, cells in records:
        if len(cells) > len(found.header) and any(cells[len(found.header) :]):
            why = f"{len(cells)} cells in {len(found.header)} columns; put a text with a delimiter "
            found.refuse(line, f"{why}in it in double quotes")
            continue
        pairs = zip(found.header, (each.strip() for each in cells), strict=False)
        found.rows.append(RawRow(line, {name: cell for name, cell in pairs if cell}))


def _delimiter(header: str) -> str:
    """The delimiter by which the header has a column of prompts."""
    for each in DELIMITERS:
        columns = [name.strip(' "\r').lower() for name in header.split(each)]
        if len(columns) > 1 and HEADER in columns:
            return each
    return max(DELIMITERS, key=header.count)


def _records(text: str, delimiter: str, found: RawRows) -> Iterator[tuple[int, list[str]]]:
    """The records that are not empty, each with the line on which it begins."""
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    try:
        for cells in reader:
            if any(each.strip() for each in cells):
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        why = f"no CSV: {error}; double the quotes within a text, and close it"
        found.refuse(line, why)


READERS: dict[str, Callable[[str, RawRows], None]] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".json": _read_json,
    ".yaml": _read_yaml,
    ".yml": _read_yaml,
}
"""How a file is read, by its ending."""


MOST_PROBLEMS = 200
"""How many wrong rows are named; a file of the wrong kind has as many as it has lines."""


@dataclass(frozen=True)
class Defaults:
    """What holds for the rows that do not say.

    Args:
        model: The model's name.
        take: Which of several videos of the same input.
        fields: Fields of the input, for the models that have them.
        read_take: What makes a take of what is written as one, such as `slot_take`.
    """

    model: str
    take: int | str = 0
    fields: Mapping[str, Any] | None = None
    read_take: Callable[[Any], Any] = field(default=lambda written: written)


@dataclass(frozen=True)
class Manifest:
    """What is wanted, each once.

    Args:
        items: The videos, in order.
        places: Where each was first asked for, such as `line 3`.
        repeated: How many rows asked for one of them again.
        digest: Tells it from other manifests, in whatever order they are written.
    """

    items: tuple[BatchItem, ...]
    places: tuple[str, ...]
    repeated: int
    digest: str


class _RowError(Exception):
    """What is wrong with a row, one line each."""


def make_manifest(raw: RawRows, defaults: Defaults) -> Manifest:
    """Check all rows, and take equal ones for one. It spends nothing.

    A column is a field of a model's input (`prompt`, `prompt_optimizer`, …), `model`, `take`, or
    `labels.` and a name of your own; in JSON and YAML, `labels` may be a mapping. An empty cell
    says nothing, and so the default holds.

    Args:
        raw: What `read_rows` or `rows_of_list` found.
        defaults: What holds for the rows that do not say.

    Raises:
        ConfigurationError: Rows are wrong: the message names each with its line and its cure.

    Example:
        >>> from prefect_hailuo.flows.rows import rows_of_list
        >>> rows = [{"prompt": "A fox.", "take": 2}, "An owl.", "An owl."]
        >>> manifest = make_manifest(rows_of_list(rows), Defaults("hailuo-02-pro"))
        >>> [(each.input.prompt, each.take) for each in manifest.items], manifest.repeated
        ([('A fox.', '2'), ('An owl.', '0')], 1)
    """
    problems = [*raw.problems, *((1, each) for each in _wrong_header(raw.header))]
    headed = bool(raw.header)
    readable = not headed or "prompt" in map(column_of, raw.header)
    found: dict[str, tuple[str, BatchItem]] = {}
    for row in raw.rows if readable else ():
        try:
            item = _item(row, defaults, headed, raw.folder)
        except _RowError as error:
            problems += [(row.number, each) for each in error.args]
        else:
            key = generation_key(item.input, realm="fal", take=item.take or 0)
            found.setdefault(key, (raw.place(row.number), item))
    if problems or not raw.rows:
        raise _refusal([_say(raw, *each) for each in sorted(problems)])
    places, items = zip(*found.values(), strict=True)
    digest = hashlib.sha256("".join(sorted(found)).encode()).hexdigest()
    return Manifest(items, places, len(raw.rows) - len(items), digest)


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
    if foreign := [_foreign(each, input_class) for each in cells if not _has(input_class, each)]:
        raise _RowError(*foreign)
    pictures = {name: cells[name] for name in image_fields(input_class) if name in cells}
    beside = {name: _beside(folder, each) for name, each in pictures.items()}
    fields = {**given, **cells, **beside}
    item = BatchItem(input=_input(input_class, fields), take=take, labels=labels)
    _check_texts(item)
    return item


def _beside(folder: Path | None, picture: Any) -> Any:
    """A picture's path that is meant from where the rows are; any other as it is."""
    if folder is None or not isinstance(picture, str) or ":" in picture:
        return picture
    with suppress(RuntimeError):  # ~somebody, who has no home here; the input says so
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
        if each is None or (column is None and headed):
            continue  # said once, of the header
        if column is None:
            wrong.append(unknown_column(name))
        elif column == LABELS and isinstance(each, Mapping):
            labels |= {str(key): str(value) for key, value in each.items()}
        elif column == LABELS:
            wrong.append(f"labels: write a mapping, or a column '{LABEL_PREFIX}<name>'")
        elif column.startswith(LABEL_PREFIX):
            labels[column.removeprefix(LABEL_PREFIX)] = str(each)
        else:
            cells[column] = each
    if wrong:
        raise _RowError(*wrong)
    return cells, labels


def _input_class(model: str) -> type[VideoInput]:
    try:
        return find_input_class(model)
    except UnknownEndpointError as error:
        names = [each.endpoint.name for each in CATALOGUE.values()]
        near = get_close_matches(model.lower(), names, 1)
        cure = f"Did you mean {near[0]!r}?" if near else error.cure
        raise _RowError(f"model: {error.message} {cure}") from error


def _take(given: Any) -> str:
    try:
        return canonical_take(str(given) if isinstance(given, float) else given)
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
        return str(given)
    return int(given) if isinstance(given, str) and given.isdecimal() else given


def _complaint(error: Any) -> str:
    where = ".".join(str(each) for each in error["loc"])
    said = "it is missing; fill it in" if error["type"] == "missing" else error["msg"]
    return f"{where}: {said}" if where else str(said)


def _check_texts(item: BatchItem) -> None:
    try:
        check_texts("take", str(item.take))
        check_texts("labels", *item.labels, *item.labels.values())
        check_texts("prompt", item.input.prompt)
    except ConfigurationError as error:
        raise _RowError(f"{error.message} {error.cure}") from error
