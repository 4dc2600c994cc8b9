"""The tree of errors: each says what cures it, what it cost, and whether trying again helps."""

from __future__ import annotations

import copy
import json
import pickle
from importlib import import_module
from typing import Any

import pytest
from prefect.serializers import JSONSerializer

from prefect_hailuo import errors
from prefect_hailuo.engine.decision import RefusedError
from prefect_hailuo.engine.outcome import Failure, VideoOutcome, VideoOutcomes
from prefect_hailuo.errors import (
    Billed,
    ContentPolicyError,
    FalError,
    HailuoError,
    InputRefusedError,
    Problem,
    about,
)
from prefect_hailuo.flows.report import BatchSummary
from prefect_hailuo.models.catalogue import Hailuo02ProTextToVideo
from prefect_hailuo.runs.results import SERIALIZER
from prefect_hailuo.ticket import Ticket

TICKET = Ticket(endpoint="fal-ai/minimax/hailuo-02/pro/text-to-video", request_id="r1")
OUTCOME = VideoOutcome(
    index=0,
    input=Hailuo02ProTextToVideo(prompt="A fox."),
    take="0",
    key="abc",
    failure=Failure.of(errors.FalFaultError("Out of order.", ticket=TICKET)),
)
ALL = sorted(
    (each for each in vars(errors).values() if isinstance(each, type)),
    key=lambda each: each.__name__,
)
CLASSES = [each for each in ALL if issubclass(each, HailuoError)]
BASES: list[type[HailuoError]] = [HailuoError, errors.ConfigurationError, FalError]
"""These are raised with a cure of their own, or not at all."""

RAISED = [each for each in CLASSES if each not in BASES]


def test_the_tree_is_drawn_as_it_is() -> None:
    """The drawing at the top of the module shows every class, below its own parent."""
    drawing = (errors.__doc__ or "").split("\n\n")[1]
    path: dict[int, str] = {}
    drawn: dict[str, str | None] = {}
    for line in drawing.splitlines():
        depth = len(line) - len(line.lstrip(" │├└─"))
        name = line[depth:].split()[0]
        path[depth] = name
        drawn[name] = path.get(depth - 4)
    assert drawn == {
        each.__name__: each.__base__.__name__ if each is not HailuoError and each.__base__ else None
        for each in CLASSES
    }


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_survives_pickling_with_all_that_it_knows(kind: type[HailuoError]) -> None:
    """An error that crosses to another process is the same error there, ticket and all."""
    error = kind(
        "It broke.",
        cure="Mend it.",
        billed=Billed.YES,
        retryable=True,
        retry_after=2.5,
        ticket=TICKET,
    )
    if isinstance(error, FalError):
        error.error_type = "string_too_long"
    if isinstance(error, InputRefusedError):
        error.problems = (Problem(("body", 0), "Too long", "string_too_long"),)
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301 - our own
        assert type(twin) is kind
        assert vars(twin) == vars(error)
        assert str(twin) == str(error)
        assert twin.args == ("It broke.",)


def known(kind: type[HailuoError]) -> HailuoError:
    """An error of a kind with everything that it can know, all of it unlike its class's."""
    billed = next(each for each in Billed if each is not kind.default_billed)
    error = kind(
        "It broke.",
        cure="Mend it.",
        billed=billed,
        retryable=not kind.default_retryable,
        retry_after=2.5,
        ticket=TICKET,
    )
    for name, value in {
        "error_type": "string_too_long",
        "problems": (Problem(("body", 0), "Too long", "string_too_long"),),
        "answered_by": "emulator-1",
        "key": "abc",
        "outcomes": VideoOutcomes([OUTCOME]),
        "summary": BatchSummary(videos=1, failed=1),
    }.items():
        if hasattr(kind, name):
            setattr(error, name, value)
    return error


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_survives_the_tasks_own_json(kind: type[HailuoError]) -> None:
    """Read by another process it is the same: its money, its ticket, its cure and all else."""
    error = known(kind)
    twin = SERIALIZER.loads(SERIALIZER.dumps(error))
    assert type(twin) is kind
    assert vars(twin) == vars(error)
    assert str(twin) == str(error)


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_survives_dask_and_ray(kind: type[HailuoError]) -> None:
    """They pickle it in their own ways, Dask with all that led to it."""
    error = known(kind)
    dask: Any = import_module("distributed.protocol")  # neither has types
    ray_pickle: Any = import_module("ray.cloudpickle")
    twins = [
        ray_pickle.loads(ray_pickle.dumps(error)),
        dask.deserialize(*dask.serialize(error)),
    ]
    for twin in twins:
        assert type(twin) is kind
        assert vars(twin) == vars(error)


def test_an_error_of_the_house_arrives_as_its_public_class() -> None:
    """A class that only one release has is no hindrance to another."""
    told = json.loads(SERIALIZER.dumps(RefusedError("No.")))
    assert told["__hailuo_error__"] == "ConfigurationError"
    told["__hailuo_error__"] = "OfALaterReleaseError"
    assert type(SERIALIZER.loads(json.dumps(told).encode())) is HailuoError


def test_what_an_earlier_release_wrote_is_still_read() -> None:
    """Prefect's own form of an error: its class and its text."""
    written = JSONSerializer[Any]().dumps(ContentPolicyError("Violence."))
    assert type(SERIALIZER.loads(written)) is ContentPolicyError


@pytest.mark.parametrize("kind", RAISED)
def test_every_message_names_a_cure_the_money_and_whether_to_try_again(
    kind: type[HailuoError],
) -> None:
    """Whoever reads the message alone knows what to do, and what it has cost."""
    error = kind("It broke.", ticket=TICKET)
    text = str(error)
    again = "can help" if error.retryable else "will not help by itself"
    assert kind.default_cure
    assert text.startswith(f"It broke. {kind.default_cure} Request id: r1. (Money spent: ")
    assert text.endswith(f"(Money spent: {error.billed.value}. Trying again: {again}.)")


@pytest.mark.parametrize("kind", BASES)
def test_a_cure_can_be_given(kind: type[HailuoError]) -> None:
    """The bases have no advice of their own: what is raised as one brings it along."""
    error = kind("The disk is full.", cure="Free some space.")
    known = "(Money spent: no. Trying again: will not help by itself.)"
    assert str(error) == f"The disk is full. Free some space. {known}"


def test_what_is_given_wins_over_what_the_class_says() -> None:
    """A class knows the usual case; the answer at hand may know better."""
    error = errors.FalFaultError("It broke.", cure="", billed=Billed.UNKNOWN, retryable=False)
    assert str(error) == (
        "It broke. (Money spent: unknown. Trying again: will not help by itself.)"
    )


def test_nobody_claims_to_know_what_a_lost_submission_cost() -> None:
    """Only what was surely not bought says that no money was spent."""
    unspent = {kind.__name__ for kind in RAISED if kind.default_billed is Billed.NO}
    assert unspent == {
        "BadKeyError",
        "BudgetError",
        "ConcurrencyLimitError",
        "FalFaultError",
        "ImageError",
        "InsecureHostError",
        "LedgerError",
        "MissingExtraError",
        "MissingKeyError",
        "NoCreditError",
        "NotApprovedError",
        "OtherAccountError",
        "RateLimitedError",
        "RealmMismatchError",
        "RunCancelledError",
        "SchemaDriftError",
        "UnknownEndpointError",
        "UnreachableError",
    }


def test_only_what_may_pass_by_itself_is_worth_trying_again() -> None:
    """Whoever retries whatever is `retryable` never repeats a submission that may have bought."""
    retryable = {kind.__name__ for kind in RAISED if kind.default_retryable}
    assert retryable == {
        "ConcurrencyLimitError",
        "DownloadError",
        "FalFaultError",
        "GenerationTimeoutError",
        "NotReadyError",
        "RateLimitedError",
        "StreamDroppedError",
        "UnreachableError",
    }


def test_a_problem_names_its_place() -> None:
    """Where the input is wrong is a path that can be read."""
    assert Problem(("body", "shots", 0, "prompt"), "Too long", "x").place == "body.shots.0.prompt"
    assert Problem((), "Too long", "x").place == ""


def test_details_that_only_some_errors_have_are_always_there() -> None:
    """Code may ask any error of fal's for its type, any refusal for its problems."""
    assert FalError("It broke.").error_type is None
    assert ContentPolicyError("No.").problems == ()


def test_the_first_ticket_stays() -> None:
    """An error that names its request is not given another one on its way up."""
    other = TICKET.model_copy(update={"request_id": "r2"})
    error = about(TICKET, FalError("It broke."))
    assert about(other, error) is error
    assert error.ticket == TICKET
    assert about(None, error).ticket == TICKET
