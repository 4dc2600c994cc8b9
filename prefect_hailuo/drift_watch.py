"""Asks fal what its models are today, and says what has drifted from what this release knows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import anyio
from anyio.to_thread import run_sync

from prefect_hailuo.blocks import Credentials, FalCredentials, resolve_credentials
from prefect_hailuo.connections import Connections, Emit
from prefect_hailuo.drift import Difference, DriftReport, compare
from prefect_hailuo.endpoints import CATALOGUE, VideoInput, find_input_class
from prefect_hailuo.errors import HailuoError, MissingKeyError
from prefect_hailuo.fal.documents import ModelDocument, read_document
from prefect_hailuo.loop import process_loop
from prefect_hailuo.quoting import quote

ASKED_AT_ONCE = 4
"""Documents that are asked for at the same time."""

Answer = ModelDocument | HailuoError | None
"""A model as fal describes it, None where it has it no more, or why that is not known."""


def watch_schemas(
    credentials: Credentials = None, models: Sequence[str] | None = None
) -> DriftReport:
    """Compare fal's OpenAPI documents and prices of today with what this release knows.

    fal gives its documents to anybody; its prices it tells to those who have a key.

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
        ours="not known" if known.price_usd is None else f"${known.price_usd} a video",
        theirs=" ".join(live.notes),
        matters=True,
    )
