"""What a client's HTTP request is about, told from its method and path."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qs

from starlette.types import Scope

Kind = Literal[
    "submit",
    "status",
    "stream",
    "result",
    "cancel",
    "media",
    "run",
    "history",
    "models",
    "pricing",
    "upload",
    "other",
]
"""What a request is for."""

COUNTED: tuple[Kind, ...] = ("submit", "status", "stream", "result", "cancel", "media")
"""The kinds that the statistics count."""

_BELOW_APP = r"/[^/]+/[^/]+/requests/(?P<request_id>[^/]+)"
_ROUTES: tuple[tuple[Kind, frozenset[str], re.Pattern[str]], ...] = (
    ("media", frozenset({"GET", "HEAD"}), re.compile(r"/files/(?P<request_id>[^/]+)/[^/]+")),
    ("run", frozenset({"POST"}), re.compile(r"/run/(?P<endpoint>.+)")),
    ("history", frozenset({"GET"}), re.compile(r"/platform/v1/models/requests/by-endpoint")),
    ("models", frozenset({"GET"}), re.compile(r"/platform/v1/models")),
    ("pricing", frozenset({"GET"}), re.compile(r"/platform/v1/models/pricing")),
    (
        "upload",
        frozenset({"POST", "PUT"}),
        re.compile(r"/rest/storage/upload/initiate|/cdn/files/upload|/storage/.+"),
    ),
    ("other", frozenset({"GET", "POST"}), re.compile(r"/(_emulator|api|rest|platform)(/.*)?")),
    ("status", frozenset({"GET"}), re.compile(_BELOW_APP + "/status")),
    ("stream", frozenset({"GET"}), re.compile(_BELOW_APP + "/status/stream")),
    ("result", frozenset({"GET"}), re.compile(_BELOW_APP)),
    ("cancel", frozenset({"PUT"}), re.compile(_BELOW_APP + "/cancel")),
    ("submit", frozenset({"POST"}), re.compile(r"/(?P<endpoint>.+)")),
)


@dataclass(frozen=True)
class Call:
    """A client's request, as far as faults choose by it.

    Args:
        kind: What it is for.
        request_id: The id of the generation that it is about, if its path names one.
        endpoint: The endpoint's id, if it is known.
        prompt: The prompt of what is submitted or asked about, if it is known.
    """

    kind: Kind
    request_id: str | None = None
    endpoint: str | None = None
    prompt: str | None = None


def call_of(scope: Scope) -> Call:
    """What an HTTP request is for."""
    for kind, methods, pattern in _ROUTES:
        match = pattern.fullmatch(scope["path"])
        if match and scope["method"] in methods:
            named = match.groupdict()
            endpoint = named.get("endpoint") or _endpoint_asked_about(scope)
            return Call(kind, named.get("request_id"), endpoint)
    return Call("other")


def _endpoint_asked_about(scope: Scope) -> str | None:
    """The endpoint that a question to the platform API names, if it is one."""
    named = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("endpoint_id", [])
    return named[0] if len(named) == 1 else None
