"""`prefect-hailuo ledger list` and `show`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter, validators
from rich.text import Text

from prefect_hailuo.cli.asking import JsonOption, RealmOption, ask, realm_of
from prefect_hailuo.cli.picturing import as_document, fate_words
from prefect_hailuo.cli.printing import console, plain, say, say_json, table, usd, when
from prefect_hailuo.cli.storytelling import story_document, tell
from prefect_hailuo.endpoints import find_input_class, model_name
from prefect_hailuo.key import shown_key
from prefect_hailuo.ledger.fates import Fate
from prefect_hailuo.ledger.ledger import Ledger
from prefect_hailuo.ledger.reading import Choice, Entry, Story


def list_(
    *,
    fate: Annotated[
        list[Fate] | None,
        Parameter(help="Only these, such as stored or failed.", negative="", show_default=False),
    ] = None,
    parked: Annotated[
        bool, Parameter(help="Only what waits for your decision.", negative="", show_default=False)
    ] = False,
    scope: Annotated[str | None, Parameter(help="Only on this budget scope.")] = None,
    model: Annotated[str | None, Parameter(help="Only of this model.")] = None,
    limit: Annotated[
        int, Parameter(help="So many at most.", validator=validators.Number(gte=1))
    ] = 50,
    realm: RealmOption = None,
    json: JsonOption = False,
) -> None:
    """List the attempts to buy, the newest first. Times are UTC, costs are the catalogue's."""
    choice = Choice(
        realm=realm_of(realm),
        fates=tuple(fate or ()),
        parked=parked,
        scope=scope,
        endpoint=find_input_class(model).endpoint.id if model else None,
        limit=limit,
    )
    entries = ask(choice.realm, lambda ledger: ledger.reading.entries(choice))
    if json:
        say_json([as_document(entry.attempt, entry.cancelled_by) for entry in entries])
    else:
        _print(entries, choice)


def _print(entries: list[Entry], choice: Choice) -> None:
    if not entries:
        say(f"Nothing of that kind is in the ledger of the realm {choice.realm!r}.")
        return
    shown = table()
    shown.add_column("key and attempt", no_wrap=True)
    shown.add_column("fate", width=14)
    shown.add_column("model, prompt, request", ratio=1)
    shown.add_column("cost", justify="right", no_wrap=True)
    for entry in entries:
        one = entry.attempt
        shown.add_row(
            f"{shown_key(one.key)} #{one.number}\n{when(one.intended_at)[:16]}",
            "\n".join(fate_words(one, entry.cancelled_by)),
            _about(entry),
            usd(one.cost_usd if one.cost_usd is not None else one.estimated_usd),
        )
    console.print(shown)
    if len(entries) == choice.limit:
        say(f"Only the newest {choice.limit} are shown; see more with --limit.")


def _about(entry: Entry) -> Text:
    """The model and the prompt on one line, cut to the terminal; and the request."""
    one = entry.attempt
    prompt = (one.body or {}).get("prompt", "(redacted)")
    room = max(20, console.width - 44)
    line = f"{model_name(one.endpoint)}: {plain(prompt)}"
    first = line if len(line) <= room else f"{line[: room - 1]}…"
    return Text(f"{first}\n{plain(one.request_id or 'no request id')}", overflow="fold")


def show(
    key: Annotated[str, Parameter(help="The key, or any beginning of it that is unique.")],
    /,
    *,
    realm: RealmOption = None,
    json: JsonOption = False,
) -> None:
    """Show everything about one key: its attempts, who waits, its files, and what a rerun does."""
    where = realm_of(realm)

    async def read(ledger: Ledger) -> Story:
        return await ledger.reading.story(await ledger.reading.key_of(where, key))

    story = ask(where, read)
    if json:
        say_json(story_document(story))
    else:
        tell(story)
