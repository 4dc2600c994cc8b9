"""What a caller asks the ledger for, and what the ledger decides."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from prefect_hailuo.fal.messages import Realm
from prefect_hailuo.images import identity_of
from prefect_hailuo.ledger.attempts import Attempt

RECONCILE_SECONDS = 60.0
"""How long a lost request is looked for, counted from its POST: fal's history may lag."""


@dataclass(frozen=True)
class Limits:
    """What a scope may spend, in US dollars; None: as much as it likes.

    Args:
        per_day_usd: In a day, UTC.
        per_month_usd: In a calendar month, UTC.
        total_usd: In all.
    """

    per_day_usd: Decimal | None = None
    per_month_usd: Decimal | None = None
    total_usd: Decimal | None = None


@dataclass(frozen=True)
class Run:
    """Who asks: a flow run, the one that it is part of, or neither.

    Args:
        flow_run_id: The flow run.
        root_flow_run_id: The flow run that this process was started for.
    """

    flow_run_id: str | None = None
    root_flow_run_id: str | None = None

    @property
    def ids(self) -> list[str]:
        """Those that there are."""
        return sorted({each for each in (self.flow_run_id, self.root_flow_run_id) if each})

    def among(self, flow_runs: Collection[str]) -> bool:
        """Whether it, or the one that it is part of, is among some flow runs.

        Example:
            >>> Run("subflow", "parent").among({"parent"})
            True
        """
        return self.flow_run_id in flow_runs or self.root_flow_run_id in flow_runs

    def only(self, flow_runs: Collection[str]) -> Run:
        """The same, without the ids that are not among some flow runs.

        Example:
            >>> Run("subflow", "parent").only({"subflow"})
            Run(flow_run_id='subflow', root_flow_run_id=None)
        """
        flow_run_id, root = self.flow_run_id, self.root_flow_run_id
        return Run(
            flow_run_id if flow_run_id in flow_runs else None, root if root in flow_runs else None
        )


NOBODY = Run()
"""A caller that is no flow run."""


@dataclass(frozen=True)
class Wish:
    """A video that somebody wants, and on what terms.

    Args:
        key: The generation's key.
        realm: fal or emulator.
        endpoint: fal's endpoint id.
        body: The exact body to send.
        take: Which of several videos of the same input.
        account: The label of the account that pays.
        credentials: The saved credentials block's name, if it is one.
        place: The label of the place that the video is meant for.
        scope: Whose budget it is on.
        limits: The scope's limits as the caller knows them; None: as the ledger knows them.
        estimated_usd: What it will cost; None where no price is known.
        labels: The caller's own words for it.
        run: Who asks.
        waiter: This call's name in the ledger.
        is_ready: Whether the body can be sent as it is; else something is to be uploaded first.
        is_approved: Whether it may be bought; else only what is bought already may be had.
    """

    key: str
    realm: Realm
    endpoint: str
    body: Mapping[str, Any]
    take: str
    account: str
    waiter: str
    credentials: str | None = None
    place: str | None = None
    scope: str = "default"
    limits: Limits | None = None
    estimated_usd: Decimal | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    run: Run = NOBODY
    is_ready: bool = True
    is_approved: bool = True

    @property
    def body_digest(self) -> str:
        """Equal for equal bodies."""
        return digest_of(self.body)

    def asked(self) -> dict[str, Any]:
        """What an attempt's row says of what was asked for."""
        return {
            "key": self.key,
            "realm": self.realm,
            "endpoint": self.endpoint,
            "account": self.account,
            "credentials": self.credentials,
            "place": self.place,
            "scope": self.scope,
            "take": self.take,
            "body": dict(self.body),
            "body_digest": self.body_digest,
            "labels": dict(self.labels),
        }


def digest_of(body: Mapping[str, Any]) -> str:
    """Equal for equal bodies, whatever the order of their fields, and however accents are written.

    A picture counts by its content, where the body tells it: the same one may have been uploaded
    twice. What is one generation by its key must be one body in fal's history.

    Example:
        >>> digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
        True
        >>> digest_of({"prompt": "Caf\u00e9"}) == digest_of({"prompt": "Cafe\u0301"})
        True
    """
    text = json.dumps(_composed(body), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _composed(value: Any) -> Any:
    """The same with all text in Unicode's NFC form, and pictures by content, as keys are made."""
    if isinstance(value, str):
        return unicodedata.normalize("NFC", identity_of(value))
    if isinstance(value, Mapping):
        return {name: _composed(each) for name, each in value.items()}
    return [_composed(each) for each in value] if isinstance(value, list | tuple) else value


@dataclass(frozen=True)
class Buy:
    """The attempt is the caller's to POST, before its lease ends."""

    attempt: Attempt


@dataclass(frozen=True)
class Wait:
    """Somebody alive is submitting it."""

    attempt: Attempt


@dataclass(frozen=True)
class Reconcile:
    """It may have been bought: look in fal's history."""

    attempt: Attempt


@dataclass(frozen=True)
class Attach:
    """It is fal's request, or its result, to be collected."""

    attempt: Attempt


@dataclass(frozen=True)
class Reuse:
    """It is stored."""

    attempt: Attempt


@dataclass(frozen=True)
class Prepare:
    """It is to be bought, and its body is not ready: get that done, and claim again."""


Decision = Buy | Wait | Reconcile | Attach | Reuse | Prepare
