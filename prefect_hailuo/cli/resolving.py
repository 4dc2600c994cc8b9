"""`prefect-hailuo ledger resolve`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from prefect_hailuo.cli.asking import (
    CredentialsOption,
    JsonOption,
    RealmOption,
    access_of,
    ask,
    ask_with,
    realm_of,
)
from prefect_hailuo.cli.printing import say, say_json
from prefect_hailuo.cli.storytelling import rerun_of, story_document
from prefect_hailuo.connections import Connections, Emit
from prefect_hailuo.errors import ConfigurationError
from prefect_hailuo.fal.messages import Realm
from prefect_hailuo.key import shown_key
from prefect_hailuo.ledger.attempts import Attempt
from prefect_hailuo.ledger.ledger import Ledger
from prefect_hailuo.ledger.reading import Story
from prefect_hailuo.resolving import Resolving


def resolve(
    key: Annotated[str, Parameter(help="The key, or any beginning of it that is unique.")],
    /,
    *,
    adopt: Annotated[
        str | None, Parameter(help="It is this request of fal's: the next run collects it.")
    ] = None,
    allow_one_resubmit: Annotated[
        bool,
        Parameter(
            help="The next run may buy once more, which may pay twice.",
            negative="",
            show_default=False,
        ),
    ] = False,
    abandon: Annotated[
        bool, Parameter(help="Give it up; it counts as spent.", negative="", show_default=False)
    ] = False,
    attempt: Annotated[
        int | None, Parameter(help="Only if this attempt still is the latest.")
    ] = None,
    force: Annotated[
        bool,
        Parameter(
            help="Adopt it though fal's history does not show its input.",
            negative="",
            show_default=False,
        ),
    ] = False,
    credentials: CredentialsOption = None,
    realm: RealmOption = None,
    json: JsonOption = False,
) -> None:
    """Decide about an attempt that may have been bought: one of the three, for the latest."""
    choices = [name for name, given in _choices(adopt, allow_one_resubmit, abandon) if given]
    if len(choices) != 1:
        raise ConfigurationError(
            f"{' and '.join(choices) or 'Nothing'} was chosen.",
            cure="Choose one: --adopt REQUEST_ID, --allow-one-resubmit or --abandon.",
        )
    where = realm_of(realm)
    whole = ask(where, lambda ledger: ledger.reading.key_of(where, key))
    if adopt is not None:
        said = _adopt(where, whole, attempt, adopt.strip(), credentials, force)
    elif allow_one_resubmit:
        ask(where, lambda ledger: Resolving(ledger, whole, attempt).allow())
        said = "One more purchase is allowed."
    else:
        ask(where, lambda ledger: Resolving(ledger, whole, attempt).abandon())
        said = "It is given up, and counts as spent."
    _tell(ask(where, lambda ledger: ledger.reading.story(whole)), said, json)


def _choices(
    adopt: str | None, allow_one_resubmit: bool, abandon: bool
) -> tuple[tuple[str, bool], ...]:
    return (
        ("--adopt", adopt is not None),
        ("--allow-one-resubmit", allow_one_resubmit),
        ("--abandon", abandon),
    )


def _adopt(
    realm: Realm,
    key: str,
    number: int | None,
    request_id: str,
    credentials: str | None,
    force: bool,
) -> str:
    one = ask(realm, lambda ledger: Resolving(ledger, key, number).latest())
    access = access_of(realm, credentials or one.credentials)

    async def adopt(ledger: Ledger, connections: Connections, emit: Emit) -> Attempt:
        resolving = Resolving(ledger, key, one.number)
        return await resolving.adopt(request_id, access, connections, force=force)

    adopted = ask_with(realm, adopt)
    return f"The request {request_id} is attempt {adopted.number}'s now."


def _tell(story: Story, said: str, json: bool) -> None:
    if json:
        say_json(story_document(story))
        return
    say(f"{shown_key(story.key)}: {said}")
    say(f"A rerun will: {rerun_of(story)}.")
