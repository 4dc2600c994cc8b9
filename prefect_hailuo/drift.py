"""Where fal's word of today is not what this release knows: inputs, outputs, prices.

What matters for buying is told apart: what would have a request refused, or charged without a
video of use, or its result not understood. A field that fal has added and nobody must send, is no
such thing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from prefect_hailuo.endpoints import VideoInput
from prefect_hailuo.fal.documents import ModelDocument
from prefect_hailuo.fal.messages import Realm
from prefect_hailuo.schemas import LOWER_LIMITS, Facts, fields_of

VIDEO = {"video": Facts(required=True, types=frozenset({"object"}))}
VIDEO_FILE = {
    "url": Facts(required=True, types=frozenset({"string"})),
    "content_type": Facts(types=frozenset({"string"})),
    "file_name": Facts(types=frozenset({"string"})),
    "file_size": Facts(types=frozenset({"integer"})),
}
"""What this package reads of a result; by fal's documents, only the address is always there."""


AT_TIMES = frozenset({"file_data"})
"""What some of fal's documents name in a file and others do not; nobody needs it."""


class Difference(BaseModel):
    """One thing that is not as this release knows it.

    Args:
        model: The endpoint's short name.
        place: Where, such as `input.prompt`.
        ours: What this release knows.
        theirs: What fal says.
        matters: Whether buying is touched by it.

    Example:
        >>> Difference(model="m", place="price", ours="$1", theirs="$2", matters=True).matters
        True
    """

    model_config = ConfigDict(frozen=True)

    model: str
    place: str
    ours: str
    theirs: str
    matters: bool


class DriftReport(BaseModel):
    """What was compared, and what is different.

    Args:
        realm: Who was asked.
        checked: The models whose schemas were compared.
        differences: What is not as this release knows it; what matters for buying comes first.
        prices_checked: Whether prices were compared, too.
        notes: What could not be compared, and why.

    Example:
        >>> report = DriftReport(realm="fal", checked=("hailuo-02-pro",), prices_checked=True)
        >>> report.summary
        'Nothing has drifted; 1 model was compared.'
    """

    model_config = ConfigDict(frozen=True)

    realm: Realm
    checked: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()
    prices_checked: bool = False
    notes: tuple[str, ...] = ()

    @property
    def drifted(self) -> bool:
        """Whether anything is not as this release knows it."""
        return bool(self.differences)

    @property
    def matters(self) -> bool:
        """Whether buying is touched by any of it."""
        return any(each.matters for each in self.differences)

    @property
    def summary(self) -> str:
        """All of it in a line."""
        number = len(self.checked)
        compared = f"{number} model{' was' if number == 1 else 's were'} compared."
        if not self.drifted:
            return f"Nothing has drifted; {compared}"
        grave = sum(each.matters for each in self.differences)
        return f"{len(self.differences)} differences, {grave} of them matter; {compared}"

    def to_markdown(self) -> str:
        """All of it, in Markdown."""
        parts = [self.summary]
        for matters, title in ((True, "Matters for buying"), (False, "Does not matter")):
            rows = [each for each in self.differences if each.matters is matters]
            if rows:
                parts.append(f"### {title}\n\n{_table(rows)}")
        if self.notes:
            parts.append("\n".join(f"- {_cell(note)}" for note in self.notes))
        return "\n\n".join(parts) + "\n"


def compare(input_class: type[VideoInput], theirs: ModelDocument | None) -> list[Difference]:
    """What fal says of a model, beside what this release knows of it.

    Args:
        input_class: The model's.
        theirs: fal's description of today; None where fal has the model no more.

    Raises:
        LookupError: fal's document names no input or no output.
    """
    endpoint = input_class.endpoint
    told = _Telling(endpoint.name)
    if theirs is None:
        return [told.that("model", "served by fal", "fal has it no more", True)]
    status = theirs.metadata.status
    if status not in (None, "active"):
        told.that("model", "active", str(status), False)
    document = theirs.openapi
    if document is None:
        raise LookupError("fal gives no OpenAPI document of it")
    ours = input_class.model_json_schema()
    _compare_input(told, fields_of(ours, ours), fields_of(_input_of(document), document))
    outputs = fields_of(_output_of(document, endpoint.id), document)
    _compare_output(told, "output", VIDEO, outputs)
    if "video" in outputs:
        file = {
            name: each for name, each in outputs["video"].fields.items() if name not in AT_TIMES
        }
        _compare_output(told, "output.video", VIDEO_FILE, file)
    return told.differences


class _Telling:
    """Notes the differences of one model."""

    def __init__(self, model: str) -> None:
        self._model = model
        self.differences: list[Difference] = []

    def that(self, place: str, ours: object, theirs: object, matters: bool) -> Difference:
        found = Difference(
            model=self._model, place=place, ours=str(ours), theirs=str(theirs), matters=matters
        )
        self.differences.append(found)
        return found


def _compare_input(told: _Telling, ours: Mapping[str, Facts], theirs: Mapping[str, Facts]) -> None:
    for name in sorted({*ours, *theirs}):
        place = f"input.{name}"
        mine, yours = ours.get(name), theirs.get(name)
        if yours is None:
            # An unknown field may be refused, or passed over and charged: reports disagree.
            told.that(place, "a field", "no such field", True)
        elif mine is None:
            kind = "a new field that is required" if yours.required else "a new field"
            told.that(place, "no such field", kind, yours.required)
        else:
            _compare_field(told, place, mine, yours)


def _compare_field(told: _Telling, place: str, mine: Facts, yours: Facts) -> None:
    if mine.required != yours.required:
        # What has a default is sent all the same.
        unsent = yours.required and mine.default is None
        told.that(place, _must(mine), _must(yours), unsent)
    if mine.types != yours.types:
        # To take nothing in particular is to take anything.
        narrower = bool(yours.types) and not mine.types <= yours.types
        told.that(place, f"type {_list(mine.types)}", f"type {_list(yours.types)}", narrower)
    if mine.choices != yours.choices:
        told.that(place, _list(mine.choices), _list(yours.choices), _lost_choice(mine, yours))
    if mine.default != yours.default:
        told.that(place, f"default {mine.default}", f"default {yours.default}", False)
    for name in sorted({*mine.limits, *yours.limits}):
        before, now = mine.limits.get(name), yours.limits.get(name)
        if before != now:
            told.that(place, f"{name} {before}", f"{name} {now}", _is_tighter(name, before, now))


def _compare_output(
    told: _Telling, place: str, ours: Mapping[str, Facts], theirs: Mapping[str, Facts]
) -> None:
    for name in sorted({*ours, *theirs}):
        mine, yours = ours.get(name), theirs.get(name)
        where = f"{place}.{name}"
        if mine is None:
            told.that(where, "no such field", "a new field", False)
        elif yours is None:
            told.that(where, "a field", "no such field", mine.required)
        else:
            if mine.required and not yours.required:
                told.that(where, "always there", "may be missing", True)
            if yours.types and mine.types != yours.types:
                ours_of, theirs_of = _list(mine.types), _list(yours.types)
                told.that(where, f"type {ours_of}", f"type {theirs_of}", mine.required)


def _input_of(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema of what is submitted.

    Raises:
        LookupError: There is none.
    """
    for operation in _operations(document, "post"):
        content = operation.get("requestBody", {}).get("content", {})
        return _schema(content)
    raise LookupError("fal's document of it names no input")


def _output_of(document: Mapping[str, Any], endpoint: str) -> Mapping[str, Any]:
    """The schema of a result: what is answered where no status is.

    Raises:
        LookupError: There is none.
    """
    for path, methods in document.get("paths", {}).items():
        if "get" in methods and path.rstrip("/").endswith("/requests/{request_id}"):
            return _schema(methods["get"].get("responses", {}).get("200", {}).get("content", {}))
    raise LookupError("fal's document of it names no result")


def _operations(document: Mapping[str, Any], method: str) -> Iterator[Mapping[str, Any]]:
    for methods in document.get("paths", {}).values():
        if method in methods:
            yield methods[method]


def _schema(content: Mapping[str, Any]) -> Mapping[str, Any]:
    found = content.get("application/json", {}).get("schema")
    if not isinstance(found, Mapping):
        raise LookupError("fal's document of it has no schema")
    return found


def _lost_choice(mine: Facts, yours: Facts) -> bool:
    """Whether fal no longer takes what this release would send."""
    if yours.choices is None:
        return False
    return mine.choices is None or not mine.choices <= yours.choices


def _is_tighter(name: str, before: float | None, now: float | None) -> bool:
    if now is None:
        return False
    if before is None:
        return True
    return now > before if name in LOWER_LIMITS else now < before


def _must(facts: Facts) -> str:
    return "required" if facts.required else "optional"


def _list(values: frozenset[Any] | None) -> str:
    if values is None:
        return "any value"
    return ", ".join(sorted(str(each) for each in values)) or "any"


def _table(rows: list[Difference]) -> str:
    head = ["Model", "Where", "This release knows", "fal says"]
    cells = [[each.model, f"`{each.place}`", each.ours, each.theirs] for each in rows]
    lines = [head, ["---"] * len(head), *([_cell(text) for text in row] for row in cells)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
