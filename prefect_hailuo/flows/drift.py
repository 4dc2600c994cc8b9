"""Drift: where fal's current inputs, outputs and prices differ from what this release knows.

`watch_schemas` asks fal and returns a `DriftReport`. A difference matters when it touches buying: a
request would be refused, a video would be charged and be of no use, or a result would not be
understood. A new field that nobody must send does not matter. Pydantic, FastAPI's OpenAPI and fal
write the same schema in different ways; `fields_of` reads all of them into the same `Facts`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio
from anyio.to_thread import run_sync
from pydantic import BaseModel, ConfigDict

from prefect_hailuo.engine.loop import Connections, Emit, process_loop
from prefect_hailuo.errors import HailuoError, MissingKeyError
from prefect_hailuo.fal.platform import ModelDocument, read_document
from prefect_hailuo.models.catalogue import CATALOGUE, VideoInput, find_input_class
from prefect_hailuo.models.money import dollars
from prefect_hailuo.runs.blocks import Credentials, FalCredentials, resolve_credentials
from prefect_hailuo.runs.estimate import quote
from prefect_hailuo.runs.markdown import table
from prefect_hailuo.ticket import Realm

Schema = Mapping[str, Any]

LOWER_LIMITS = ("minimum", "exclusiveMinimum", "minLength", "minItems")
UPPER_LIMITS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")

MOST_REFERENCES = 20
"""How many references are followed in a row; a longer chain goes in a circle."""


@dataclass(frozen=True)
class Facts:
    """What a field takes.

    Args:
        required: Whether it must be there.
        types: Such as `string`; none where anything is taken.
        choices: The only values that it takes; None where it is not limited to some.
        default: What it is where it is left out; None where nothing is said of that.
        limits: Its limits by name, such as `maxLength`.
        fields: The facts of its own fields, of an object.
    """

    required: bool = False
    types: frozenset[str] = frozenset()
    choices: frozenset[Any] | None = None
    default: Any = None
    limits: Mapping[str, float] = field(default_factory=dict)
    fields: Mapping[str, Facts] = field(default_factory=dict)


def fields_of(schema: Schema, root: Schema, depth: int = 2) -> dict[str, Facts]:
    """The facts of an object's fields.

    Args:
        schema: The object's schema.
        root: The document that its references point into.
        depth: How many objects deep to look.

    Example:
        >>> schema = {"properties": {"prompt": {"type": "string"}}, "required": ["prompt"]}
        >>> fields_of(schema, schema)["prompt"].required
        True
    """
    plain = _plain(schema, root)
    required = plain.get("required", ())
    properties: Mapping[str, Schema] = plain.get("properties", {})
    return {
        name: _facts(_plain(each, root), root, name in required, depth)
        for name, each in properties.items()
    }


def _facts(plain: Schema, root: Schema, required: bool, depth: int) -> Facts:
    limits = (*LOWER_LIMITS, *UPPER_LIMITS)
    return Facts(
        required=required,
        types=_types(plain),
        choices=_choices(plain),
        default=plain.get("default"),
        limits={name: plain[name] for name in limits if plain.get(name) is not None},
        fields=fields_of(plain, root, depth - 1) if depth > 1 else {},
    )


def _plain(schema: Schema, root: Schema) -> dict[str, Any]:
    """A schema without references, with what it is put together from laid into one."""
    plain = dict(_followed(schema, root))
    for part in plain.pop("allOf", ()):
        plain = {**_plain(part, root), **plain}
    choices = [*plain.pop("anyOf", ()), *plain.pop("oneOf", ())]
    found = [_plain(each, root) for each in choices]
    found = [each for each in found if each.get("type") != "null"]
    if len(found) == 1:
        plain = {**found[0], **plain}
    elif found:
        plain["type"] = sorted({kind for each in found for kind in _types(each)})
    return plain


def _followed(schema: Schema, root: Schema) -> Schema:
    for _ in range(MOST_REFERENCES):
        reference = schema.get("$ref")
        if not isinstance(reference, str):
            return schema
        rest = {name: value for name, value in schema.items() if name != "$ref"}
        schema = {**_pointed_at(reference, root), **rest}
    return {}


def _pointed_at(reference: str, root: Schema) -> Schema:
    found: Any = root
    for step in reference.removeprefix("#/").split("/"):
        found = found.get(step, {}) if isinstance(found, Mapping) else {}
    return found if isinstance(found, Mapping) else {}


def _types(plain: Schema) -> frozenset[str]:
    given = plain.get("type", ())
    named = {given} if isinstance(given, str) else set(given)
    return frozenset(named - {"null"})


def _choices(plain: Schema) -> frozenset[Any] | None:
    if "const" in plain:
        return frozenset({plain["const"]})
    given = plain.get("enum")
    return None if given is None else frozenset(each for each in given if each is not None)


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
        matters: Whether it affects buying.

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
        """Whether any of it affects buying."""
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
            parts.append("\n".join(f"- {' '.join(note.split())}" for note in self.notes))
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
    expected = {**VIDEO, **{name: Facts() for name in endpoint.output_fields}}
    _compare_output(told, "output", expected, outputs)
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
        taken = yours.types | ({"integer"} if "number" in yours.types else set())
        narrower = bool(yours.types) and not mine.types <= taken
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
            if mine.types and yours.types and mine.types != yours.types:
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
    return table(head, ([each.model, f"`{each.place}`", each.ours, each.theirs] for each in rows))


ASKED_AT_ONCE = 4
"""How many documents are read at the same time."""

Answer = ModelDocument | HailuoError | None
"""A model as fal describes it, None where it has it no more, or why that is not known."""


def watch_schemas(
    credentials: Credentials = None, models: Sequence[str] | None = None
) -> DriftReport:
    """Compare fal's OpenAPI documents and prices of today with what this release knows.

    fal's documents are public; its prices need a key.

    Args:
        credentials: Whom to ask for prices, and where; as for `generate_video`.
        models: Names or ids of the models to compare; None for all.

    Raises:
        UnknownEndpointError: No model is called that.
        HailuoError: None of the documents could be read; by kind, as `prefect_hailuo.errors`
            draws them.

    Example:
        >>> from prefect_hailuo.emulator import FalEmulator
        >>> with FalEmulator() as emulator:
        ...     report = watch_schemas(emulator.credentials(), ["hailuo-2.3-pro"])
        >>> report.drifted, report.prices_checked
        (False, True)
    """
    block = resolve_credentials(credentials)
    chosen = [find_input_class(name) for name in CATALOGUE if models is None]
    chosen += [find_input_class(name) for name in models or ()]
    answers = process_loop().run(partial(_ask, block, chosen))
    errors = [each for each in answers if isinstance(each, HailuoError)]
    if errors and len(errors) == len(answers):
        raise errors[0]
    return _report(block, list(zip(chosen, answers, strict=True)))


async def awatch_schemas(
    credentials: Credentials = None, models: Sequence[str] | None = None
) -> DriftReport:
    """The asynchronous twin of `watch_schemas`."""
    return await run_sync(partial(watch_schemas, credentials, models))


async def _ask(
    block: FalCredentials,
    chosen: Sequence[type[VideoInput]],
    connections: Connections,
    emit: Emit,
) -> list[Answer]:
    answers: list[Answer] = [None] * len(chosen)
    limiter = anyio.CapacityLimiter(ASKED_AT_ONCE)

    async def ask(place: int, endpoint: str) -> None:
        async with limiter:
            try:
                answers[place] = await read_document(
                    endpoint, block.hosts(), block.realm, connections.http
                )
            except HailuoError as error:
                answers[place] = error

    async with anyio.create_task_group() as tasks:
        for place, input_class in enumerate(chosen):
            tasks.start_soon(ask, place, input_class.endpoint.id)
    return answers


def _report(block: FalCredentials, asked: list[tuple[type[VideoInput], Answer]]) -> DriftReport:
    checked: list[str] = []
    differences: list[Difference] = []
    notes: list[str] = []
    for input_class, answer in asked:
        name = input_class.endpoint.name
        try:
            if isinstance(answer, HailuoError):
                raise LookupError(answer.message)
            differences += compare(input_class, answer)
            checked.append(name)
        except LookupError as error:
            notes.append(f"{name} could not be compared: {error.args[0]}")
    there = [each.endpoint.name for each, answer in asked if isinstance(answer, ModelDocument)]
    drifted, unpriced = _compare_prices(block, there)
    differences += drifted
    return DriftReport(
        realm=block.realm,
        checked=tuple(checked),
        differences=tuple(sorted(differences, key=lambda each: not each.matters)),
        prices_checked=not unpriced,
        notes=(*notes, *unpriced),
    )


def _compare_prices(
    block: FalCredentials, names: Sequence[str]
) -> tuple[list[Difference], list[str]]:
    """What has another price, and why prices are not known."""
    try:
        found = [each for name in names if (each := _compare_price(block, name))]
    except MissingKeyError:
        return [], ["Prices were not checked: fal tells them to those who have a key. Set FAL_KEY."]
    except HailuoError as error:
        return [], [f"Prices were not checked: {error.message} {error.cure}"]
    return found, []


def _compare_price(block: FalCredentials, name: str) -> Difference | None:
    known, live = quote(name), quote(name, credentials=block, live=True)
    if not live.notes:
        return None
    return Difference(
        model=name,
        place="price",
        ours="not known" if known.price_usd is None else f"{dollars(known.price_usd)} a video",
        theirs=" ".join(live.notes),
        matters=True,
    )
