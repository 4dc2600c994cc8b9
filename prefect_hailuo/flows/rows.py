"""The rows of a batch: read from a file or a list, and checked all at once.

`read_rows` reads CSV, JSON Lines, JSON, YAML, or a prompt on each line. A column is a field of a
model's input, `model`, `take`, or a word of your own (`labels.sku`). `make_manifest` checks all
rows, names each wrong one by its line, and takes equal rows for one. What may be no prompt, such as
a file's name or the header of a table, is refused: it would be bought. `AnyModel` and `TextModel`
are the types of flow parameters that name a model: a form offers the names.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import re
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
from prefect_hailuo.models.image import DATA, is_path, many_fields, media_fields
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


Format = Literal["csv", "jsonl", "json", "yaml", "text"]
"""How rows are written: `csv` with any delimiter, `text` with a prompt on each line."""

ENDINGS: dict[str, Format] = {
    **dict.fromkeys((".csv", ".tsv", ".tab"), "csv"),
    **dict.fromkeys((".jsonl", ".ndjson"), "jsonl"),
    ".json": "json",
    **dict.fromkeys((".yaml", ".yml"), "yaml"),
}
"""The formats that a file's ending tells. Any other, such as `.txt`, may hold a table, too."""

MEDIA_TYPES: dict[str, Format] = {
    **dict.fromkeys(("text/csv", "application/csv", "text/tab-separated-values"), "csv"),
    **dict.fromkeys(("application/jsonl", "application/x-ndjson", "application/ndjson"), "jsonl"),
    "application/json": "json",
    **dict.fromkeys(("application/yaml", "application/x-yaml", "text/yaml"), "yaml"),
}
"""The formats that a server tells of an address without an ending."""

DOCUMENTS = frozenset(
    [
        ".txt",
        ".md",
        ".xlsx",
        ".xls",
        ".xlsm",
        ".ods",
        ".numbers",
        ".doc",
        ".docx",
        ".odt",
        ".rtf",
        ".pdf",
        ".parquet",
        ".zip",
    ]
)
"""Other files in which people keep prompts."""

COMPRESSED = {".gz", ".bz2", ".xz", ".zip"}

DELIMITERS = ",;\t"
"""Of CSV: a spreadsheet takes the semicolon where the comma divides decimals."""

HEADER = "prompt"
"""The column that tells a header, and by it, the delimiter."""

_LINE_END = re.compile(r"\r\n|\r|\n")
"""What ends a line, and nothing else: a prompt may hold U+2028 and the like."""

_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?[^\S\r\n]*(?:\r\n|\r|\n|\Z)', re.IGNORECASE)
"""Excel's own first line, which names the delimiter and is no header."""

_WHOLE_FLOAT = re.compile(r"([+-]?\d+)\.0+")
"""A whole number as pandas writes it once a cell of its column is empty."""

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE)

_FILE_NAME = re.compile(r"\S*\.[a-z][a-z0-9]{1,6}", re.IGNORECASE | re.ASCII)

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
        header_line: Which line that is.
        folder: Where the file is, if it is on this machine: pictures may be beside it.
    """

    unit: Literal["line", "row"]
    rows: list[RawRow] = field(default_factory=list)
    problems: list[tuple[int, str]] = field(default_factory=list)
    header: tuple[str, ...] = ()
    header_line: int = 1
    folder: Path | None = None

    def add(self, number: int, found: object) -> None:
        """Take a text as a prompt, and a mapping as a row."""
        if isinstance(found, str):
            self._add_prompt(number, found)
        elif isinstance(found, Mapping) and (twice := _named_twice(found)):
            self.refuse(number, f"{twice} is there twice; leave one")
        elif isinstance(found, Mapping):
            self.rows.append(RawRow(number, {str(name): each for name, each in found.items()}))
        else:
            kind = type(found).__name__
            self.refuse(number, f"a row is a prompt or a mapping, not {kind}; put it in quotes")

    def _add_prompt(self, number: int, text: str) -> None:
        if looks_like_file(text):
            why = f"{text.strip()[:60]!r} looks like a file's name or address, and no prompt; to "
            why += "have it read, pass it as prompts_file (--file); to buy a video of these words, "
            self.refuse(number, f"{why}write them as a row's 'prompt'")
        else:
            self.rows.append(RawRow(number, {"prompt": text}))

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
    """Whether a word of a command is the name or the address of a file of rows.

    Example:
        >>> is_row_file("s3://bucket/rows.csv.gz"), is_row_file("https://example.com/export?id=3")
        (True, True)
        >>> is_row_file("A red fox.")
        False
    """
    if "\n" in text:
        return False
    if _ending(text) in ENDINGS or _ADDRESS.fullmatch(text.strip()):
        return True
    with suppress(OSError, ValueError):  # too long for a path, or with a NUL in it
        return Path(text).is_file()
    return False


def looks_like_file(text: str) -> bool:
    """Whether a text is rather the name or the address of a file than a prompt.

    Example:
        >>> looks_like_file("rows.xlsx"), looks_like_file("A red fox."), looks_like_file("Mr. Fox")
        (True, False, False)
    """
    text = text.strip()
    if _ADDRESS.fullmatch(text) or _FILE_NAME.fullmatch(text):
        return True
    return "\n" not in text and _ending(text) in ENDINGS.keys() | DOCUMENTS


def read_rows(address: str, written_as: Format | None = None) -> RawRows:
    """The rows of a file.

    Its ending tells how they are written: `.csv`, `.tsv`, `.tab`, `.jsonl`, `.ndjson`, `.json`,
    `.yaml`, `.yml`; `.gz` and the like may follow. For another one, or none, what a web server says
    of it does, or the file itself: a table by its header. Otherwise there is a prompt on each line.

    Args:
        address: A path, or an address that fsspec opens, such as `s3://bucket/rows.csv`.
        written_as: How they are written, whatever the file is called.

    Raises:
        ConfigurationError: It cannot be read, is not UTF-8, or may be a table as well as prompts.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> path = Path(tempfile.mkdtemp(), "rows.csv")
        >>> _ = path.write_text("prompt,take\\nA fox.,2\\n")
        >>> read_rows(str(path)).rows
        [RawRow(number=2, cells={'prompt': 'A fox.', 'take': '2'})]
    """
    told = written_as or ENDINGS.get(_ending(address))
    text, media_type = _text_of(address, asking=told is None)
    kind = told or MEDIA_TYPES.get(media_type) or _format_of(text, address)
    found = RawRows("row" if kind == "json" else "line")
    found.folder = None if "://" in address else Path(address).absolute().parent
    READERS[kind](text, found)
    return found


def _ending(address: str) -> str:
    path = PurePosixPath(urlsplit(address).path if "://" in address else address)
    endings = [each.lower() for each in path.suffixes]
    if endings and endings[-1] in COMPRESSED:
        endings.pop()
    return endings[-1] if endings else ""


def _text_of(address: str, asking: bool) -> tuple[str, str]:
    """The text of a file, and its media type, where that is asked for and its server tells it."""
    media_type = ""
    try:
        opened = fsspec.open(address, "rb", compression="infer")
        with opened as file:
            content: bytes = file.read()
        if asking and "://" in address:
            media_type = _media_type(opened)
        _refuse_workbook(content, address)
        return content.decode("utf-8-sig"), media_type
    except ConfigurationError:
        raise
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


def _media_type(opened: Any) -> str:
    with suppress(Exception):  # of what kind, storages do not say; the file itself may tell
        said = opened.fs.info(opened.path)
        given = said.get("mimetype") or said.get("ContentType") or said.get("contentType") or ""
        return str(given).partition(";")[0].strip().lower()
    return ""


def _refuse_workbook(content: bytes, address: str) -> None:
    if content.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise ConfigurationError(
            f"{_shown(address)!r} is a workbook or another archive, and no text.",
            cure="Save the sheet with the rows as 'CSV UTF-8', and pass that file.",
        )


def _format_of(text: str, address: str) -> Format:
    """How rows are written, by the text itself.

    Raises:
        ConfigurationError: It may be a table as well as prompts.
    """
    kind = _guess(text)
    if kind is None:
        raise ConfigurationError(
            f"Whether {_shown(address)!r} is a table, or holds a prompt on each line, cannot be "
            "told; nothing was bought.",
            cure=f"Say so: --format {', '.join(READERS)} (in a run, prompts_format).",
        )
    return kind


def _guess(text: str) -> Format | None:
    lines = [each.strip() for each in _LINE_END.split(text) if each.strip()]
    first = lines[0] if lines else ""
    if _SEPARATOR_LINE.match(text) or _is_header(first):
        return "csv"
    if first.startswith(("{", "[")) and (kind := _kind_of_json(text, first)) != "text":
        return kind
    if first == "---" or re.match(r"(- *)?[\"']?prompt[\"']?\s*:", first, re.IGNORECASE):
        return "yaml"
    # A prompt has no tabs; and not each has as many semicolons, with nothing behind them.
    semicolons = {len(re.findall(r";(?! )", each)) for each in lines}
    cells_in_each = len(lines) > 1 and len(semicolons) == 1 and 0 not in semicolons
    return None if cells_in_each or any("\t" in each for each in lines) else "text"


def _is_header(line: str) -> bool:
    """Whether a line names columns: one of them is the prompt's, or two are known."""
    for delimiter in DELIMITERS:
        named = [column_of(each.strip(' "')) for each in line.split(delimiter)]
        if HEADER in named or len(named) - named.count(None) > 1:
            return True
    return False


def _kind_of_json(text: str, first: str) -> Format | None:
    """A camera command, such as `[Push in]`, begins with a bracket as well."""
    if isinstance(_json_or_none(first), dict):
        return "jsonl"
    if isinstance(_json_or_none(text), list):
        return "json"
    return None if first.startswith("{") or first == "[" else "text"


def _json_or_none(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _shown(address: str) -> str:
    """An address without what may be secret in it: a login, a signature."""
    if "://" not in address:
        return address
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _read_lines(text: str, found: RawRows) -> None:
    for number, line in enumerate(_LINE_END.split(text), 1):
        prompt = line.strip().strip("\ufeff")
        if prompt.startswith("#"):
            why = (
                "it begins with '#': leave a comment out; a prompt that begins so goes into a row "
            )
            found.refuse(number, f"{why}of CSV or JSON")
        elif prompt.startswith("{") and isinstance(_json_or_none(prompt), dict):
            found.refuse(number, "it is JSON, and no prompt; say --format jsonl")
        elif prompt:
            found.add(number, prompt)


@dataclass(frozen=True)
class _Twice:
    """An object of JSON that names one of its values twice."""

    name: str


def _object(pairs: list[tuple[str, Any]]) -> Mapping[str, Any] | _Twice:
    twice = _repeated(name for name, _ in pairs)
    return _Twice(twice) if twice else dict(pairs)


def _repeated(names: Iterable[str]) -> str:
    """The first name that is there twice; empty where there is none."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return ""


def _named_twice(row: Mapping[Any, Any]) -> str:
    """What a row, or its labels, name twice."""
    inner = (f"{name}.{each.name}" for name, each in row.items() if isinstance(each, _Twice))
    return next(inner, "") or _repeated(column_of(str(name)) or str(name) for name in row)


def _load_json(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _add_json(found: RawRows, number: int, row: Any) -> None:
    if isinstance(row, _Twice):
        found.refuse(number, f"{row.name} is there twice; leave one")
    else:
        found.add(number, row)


def _read_json_lines(text: str, found: RawRows) -> None:
    for number, line in enumerate(_LINE_END.split(text), 1):
        if not line.strip():
            continue
        try:
            row = _load_json(line)
        except ValueError as error:
            found.refuse(number, f"no JSON: {error}; write one object a line")
        else:
            _add_json(found, number, row)


def _read_json(text: str, found: RawRows) -> None:
    try:
        rows = _load_json(text)
    except ValueError as error:
        found.refuse(0, f"no JSON: {error}; write a list of objects")
        return
    if not isinstance(rows, list):
        found.refuse(0, "the file holds no list; write a list of objects")
        return
    for number, each in enumerate(rows, 1):
        _add_json(found, number, each)


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
            if twice := _key_twice(each):
                found.refuse(twice.start_mark.line + 1, f"{twice.value} is there twice; leave one")
                continue
            _keep_words(each)
            found.add(each.start_mark.line + 1, _plain(loader.construct_object(each, deep=True)))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        found.refuse(mark.line + 1 if mark else 0, f"no YAML: {' '.join(str(error).split())}")
    finally:
        loader.dispose()


def _key_twice(row: Any, of: Callable[[str], str | None] = column_of) -> Any:
    """The second of two equal keys of a row or of its labels; None where there are none."""
    seen: set[str] = set()
    for key, value in row.value if isinstance(row, yaml.MappingNode) else ():
        name = of(str(key.value)) or str(key.value)
        if name in seen:
            return key
        seen.add(name)
        if inner := _key_twice(value, str):
            return inner
    return None


def _keep_words(row: Any) -> None:
    """Let takes and labels be texts as they are written: `NO` is no truth, `010` no eight."""
    for key, value in row.value if isinstance(row, yaml.MappingNode) else ():
        column = column_of(str(key.value)) or ""
        if column == "take" or column.startswith(LABEL_PREFIX):
            _keep_word(value)
        elif column == LABELS and isinstance(value, yaml.MappingNode):
            for name, label in value.value:
                _keep_word(name)
                _keep_word(label)


def _keep_word(node: Any) -> None:
    if isinstance(node, yaml.ScalarNode) and node.tag != "tag:yaml.org,2002:null":
        node.tag = "tag:yaml.org,2002:str"


def _plain(found: Any) -> Any:
    """YAML reads `2026-01-31` as a date; here it is a text."""
    if isinstance(found, dict):
        return {name: _plain(each) for name, each in found.items()}
    return found.isoformat() if isinstance(found, date) else found


def _read_csv(text: str, found: RawRows) -> None:
    separator = _SEPARATOR_LINE.match(text)
    rest = text[separator.end() :] if separator else text
    first = _LINE_END.split(rest.lstrip(), maxsplit=1)[0]
    delimiter = separator[1] if separator else _delimiter(first)
    records = _records(rest, delimiter, found, 2 if separator else 1)
    for found.header_line, header in records:
        found.header = tuple(header)
        break
    for line, cells in records:
        if wrong := _wrong_record(found.header, cells):
            found.refuse(line, wrong)
            continue
        row = {
            name: _cell_of(name, cell)
            for name, cell in zip(found.header, cells, strict=False)
            if name and cell
        }
        found.rows.append(RawRow(line, row))


def _wrong_record(header: Sequence[str], cells: Sequence[str]) -> str:
    """What is wrong with a record of CSV, by its cells alone; empty where nothing is."""
    if any(cells[len(header) :]):
        return (
            f"{len(cells)} cells in {len(header)} columns; put a text with a delimiter in it in "
            "double quotes"
        )
    names = [each.strip("\ufeff") for each in cells if each]
    if HEADER in map(str.lower, names) and all(map(column_of, names)):
        return "the header again; leave one"
    first_named = next((place for place, name in enumerate(header) if name), len(header))
    for place, (name, cell) in enumerate(zip(header, cells, strict=False)):
        is_index = place < first_named and cell.isdecimal()
        if cell and not name and not is_index:
            why = f"{cell[:40]!r} is in a column without a name; name the column, or put a text "
            return f"{why}with a delimiter in it in double quotes"
    return ""


def _cell_of(name: str, cell: str) -> str:
    whole = _WHOLE_FLOAT.fullmatch(cell) if column_of(name) == "take" else None
    return whole[1] if whole else cell


def _delimiter(header: str) -> str:
    """The delimiter by which the header has a column of prompts."""
    for each in DELIMITERS:
        columns = [name.strip(' "\r').lower() for name in header.split(each)]
        if len(columns) > 1 and HEADER in columns:
            return each
    return max(DELIMITERS, key=header.count)


def _records(
    text: str, delimiter: str, found: RawRows, line: int
) -> Iterator[tuple[int, list[str]]]:
    """The records that are not empty, each with the line on which it begins."""
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True)
    before = line
    try:
        for cells in reader:
            plain = [_LINE_END.sub("\n", each).strip() for each in cells]
            if any(plain):
                yield line, plain
            line = before + reader.line_num
    except csv.Error as error:
        if "field limit" in str(error):
            why = f"a cell has more than {csv.field_size_limit():,} characters: close its quotes; "
            found.refuse(line, f"{why}name a picture by its path, or write JSON Lines")
        else:
            found.refuse(line, f"no CSV: {error}; double the quotes within a text, and close it")


READERS: dict[Format, Callable[[str, RawRows], None]] = {
    "csv": _read_csv,
    "jsonl": _read_json_lines,
    "json": _read_json,
    "yaml": _read_yaml,
    "text": _read_lines,
}
"""How rows are read, by their format."""


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
    """What is wanted.

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

    Rows that differ in their labels alone are one purchase, and a row each of what is told of it.

    A column is a field of a model's input (`prompt`, `prompt_optimizer`, …), `model`, `take`, or
    `labels.` and a name of your own; in JSON and YAML, `labels` may be a mapping. An empty cell
    says nothing, and so the default holds. A cell of several, such as `reference_image_urls`, is
    JSON, or parted by semicolons.

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
    """A cell of several: JSON, or parted by semicolons. A data: URI has semicolons of its own."""
    if not isinstance(cell, str):
        return cell
    if cell.lstrip().startswith("["):
        with suppress(ValueError):  # the input says what is wrong with it
            return json.loads(cell)
    if cell.lstrip()[: len(DATA)].lower() == DATA:
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
    plain = _WHOLE_FLOAT.sub(r"\1", given) if isinstance(given, str) else ""
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
