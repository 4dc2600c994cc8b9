"""`prefect-hailuo ledger prune`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter, validators

from prefect_hailuo.cli.asking import JsonOption, RealmOption, ask, realm_of
from prefect_hailuo.cli.printing import say, say_json


def prune(
    *,
    older_than: Annotated[
        float,
        Parameter(help="Days since it ended; 1 at least.", validator=validators.Number(gte=1)),
    ],
    redact: Annotated[
        bool,
        Parameter(
            help="Also remove prompts, labels and errors' words.", negative="", show_default=False
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        Parameter(help="Change nothing, and say what would be.", negative="", show_default=False),
    ] = False,
    realm: RealmOption = None,
    json: JsonOption = False,
) -> None:
    """Drop old rows that cost nothing and can matter no more; redact what was asked for.

    What cost money, or may have, is under way, or waits for a decision is never dropped: budgets
    and the promise to buy once stand on it. A redacted video is still found and reused. Files,
    their names and the records beside them are left as they are.
    """
    where = realm_of(realm)
    pruned = ask(
        where,
        lambda ledger: ledger.pruning.prune(where, older_than, redact=redact, dry_run=dry_run),
    )
    if json:
        say_json({**asdict(pruned), "dry_run": dry_run})
        return
    say(
        "Would be dropped:" if dry_run else "Dropped:",
        f"{pruned.attempts} attempts that cost nothing, {pruned.generations} keys without any,",
        f"{pruned.waiters} ended waiters, {pruned.cancelled_runs} cancelled flow runs.",
    )
    if redact:
        say(f"{'Would be redacted' if dry_run else 'Redacted'}: {pruned.redacted} attempts.")
