"""Files of rows: CSV, JSON Lines, JSON, YAML, or a prompt on each line; each row with its line."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from io import StringIO
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from urllib.parse import urlsplit

import fsspec  # type: ignore[import-untyped]
import yaml  # type: ignore[import-untyped]

from prefect_hailuo.errors import ConfigurationError
from prefect_hailuo.notices import presentable

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
