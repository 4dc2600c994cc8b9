"""Where fal is, which addresses may be given the API key, and errors that do not show it.

httpx's errors quote an answer, and an answer may quote the request: `without_key` and `concealed`
take the key out of them.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Awaitable, Collection
from contextlib import suppress
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import TypeVar
from urllib.parse import quote

import httpx
from pydantic import SecretStr

from prefect_hailuo.errors import ConfigurationError, InsecureHostError, UnknownEndpointError
from prefect_hailuo.ticket import Realm, Ticket

PLAIN_CHARACTERS = 2000
"""Longer addresses are parsed."""

FAL_DOMAINS = ("fal.run", "fal.ai", "falrun.com", "fal.media", "fal.dev")

OWN_HOSTS = frozenset(
    {"queue.fal.run", "fal.run", "rest.fal.ai", "rest.alpha.fal.ai", "api.fal.ai"}
)
"""The hosts of fal's API. Others below its domains may be its customers' own programs."""

T = TypeVar("T")


def is_loopback(url: httpx.URL) -> bool:
    """Whether an address is on this machine.

    Example:
        >>> is_loopback(httpx.URL("http://127.0.0.1:8000")), is_loopback(httpx.URL("http://fal.ai"))
        (True, False)
    """
    if url.host == "localhost":
        return True
    try:
        return ipaddress.ip_address(url.host).is_loopback
    except ValueError:
        return False


def is_confidential(url: httpx.URL) -> bool:
    """Whether the connection is private: https, or this machine's loopback."""
    return bool(url.host) and (url.scheme == "https" or (url.scheme == "http" and is_loopback(url)))


@dataclass(frozen=True)
class Hosts:
    """fal's API hosts; the key is sent to these origins and to no other.

    Args:
        queue_url: The queue.
        run_url: Synchronous calls.
        rest_url: Webhook keys and uploads.
        platform_url: Prices, request history, model metadata.

    Raises:
        InsecureHostError: An address is neither https nor plain http to loopback, or carries
            a user name, a query or a fragment.

    Example:
        >>> Hosts(queue_url="http://fal.example")
        Traceback (most recent call last):
        ...
        prefect_hailuo.errors.InsecureHostError: queue_url 'http://fal.example' ...
    """

    queue_url: str = "https://queue.fal.run"
    run_url: str = "https://fal.run"
    rest_url: str = "https://rest.fal.ai"
    platform_url: str = "https://api.fal.ai/v1"

    def __post_init__(self) -> None:
        for host in fields(self):
            checked = _checked_base(host.name, getattr(self, host.name))
            object.__setattr__(self, host.name, checked)

    def trusts(self, url: str) -> bool:
        """Whether a URL is on one of the configured origins."""
        if self._is_plainly_of_the_queue(url):
            return True
        try:
            parsed = httpx.URL(url)
        except (httpx.InvalidURL, TypeError):
            return False
        # A user name would be sent in place of the key, and it hides where an address leads.
        if parsed.userinfo:
            return False
        return _origin(parsed) in {_origin(httpx.URL(getattr(self, f.name))) for f in fields(self)}

    def _is_plainly_of_the_queue(self, url: str) -> bool:
        """Whether it is a plain address of the queue, as in fal's answers: no need to parse."""
        plain = isinstance(url, str) and url.isascii() and url.isprintable()
        return plain and len(url) < PLAIN_CHARACTERS and url.startswith(f"{self.queue_url}/")

    def names_fal(self) -> bool:
        """Whether any of them is a host of fal."""
        return _names_fal(self)

    def beyond(self, trusted: Collection[str] = ()) -> list[str]:
        """The hosts that are neither fal's own nor trusted by name: they would get the key.

        Args:
            trusted: Names of hosts, each with its port where that is not the usual one.

        Example:
            >>> Hosts(queue_url="https://gateway.example:8443").beyond()
            ['gateway.example:8443']
            >>> Hosts(queue_url="https://gateway.example").beyond({"Gateway.example"})
            []
        """
        good = OWN_HOSTS | {name.strip().lower() for name in trusted}
        urls = (httpx.URL(getattr(self, host.name)) for host in fields(self))
        names = [url.netloc.decode().lower() for url in urls]
        return sorted({name for name in names if name not in good})

    def are_local(self) -> bool:
        """Whether all of them are on this machine."""
        return all(is_loopback(httpx.URL(getattr(self, host.name))) for host in fields(self))

    def submit_url(self, endpoint: str) -> str:
        """Where a request of an endpoint is submitted."""
        return f"{self.queue_url}/{_checked_endpoint(endpoint)}"

    def synchronous_url(self, endpoint: str) -> str:
        """Where an endpoint is called synchronously."""
        return f"{self.run_url}/{_checked_endpoint(endpoint)}"

    def request_url(self, ticket: Ticket) -> str:
        """Where a request's result is; its status and its cancellation are below that.

        fal serves them below owner and app, without the rest of the endpoint's id.

        Raises:
            ConfigurationError: The id of the request or of the endpoint would lead elsewhere.
        """
        if ticket.request_id in (".", ".."):
            raise ConfigurationError(
                f"{ticket.request_id!r} is no request id.",
                cure="Copy it again from https://fal.ai/dashboard/requests.",
            )
        app = "/".join(_checked_endpoint(ticket.endpoint).split("/")[:2])
        return f"{self.queue_url}/{app}/requests/{quote(ticket.request_id, safe='')}"

    def response_url(self, ticket: Ticket) -> str:
        """Where the result is: as fal said, if that is a configured origin; otherwise rebuilt."""
        return self._trusted(ticket.response_url) or self.request_url(ticket)

    def status_url(self, ticket: Ticket) -> str:
        """Where the status is."""
        return self._trusted(ticket.status_url) or f"{self.request_url(ticket)}/status"

    def stream_url(self, ticket: Ticket) -> str:
        """Where the stream of statuses is."""
        path, mark, query = self.status_url(ticket).partition("?")
        return f"{path}/stream{mark}{query}"

    def cancel_url(self, ticket: Ticket) -> str:
        """Where the request is cancelled."""
        return self._trusted(ticket.cancel_url) or f"{self.request_url(ticket)}/cancel"

    def _trusted(self, url: str | None) -> str | None:
        return url if url and self.trusts(url) else None


@lru_cache
def _names_fal(hosts: Hosts) -> bool:
    # Cached: it parses four addresses, and each of a thousand tasks asks several times.
    names = (httpx.URL(getattr(hosts, f.name)).host.rstrip(".") for f in fields(hosts))
    return any(h == d or h.endswith(f".{d}") for h in names for d in FAL_DOMAINS)


@dataclass(frozen=True)
class Access:
    """A key and the hosts that it is for: everything that talking to fal takes, as a value.

    Args:
        key: The API key, `id:secret`.
        hosts: Where fal is.
        realm: Whether that is fal or the emulator.
        account: The account's label; by default, a digest of the key's id part.

    Raises:
        ConfigurationError: This is no key, or the emulator's realm has fal's hosts.
    """

    key: SecretStr
    hosts: Hosts = field(default_factory=Hosts)
    realm: Realm = "fal"
    account: str = ""

    def __post_init__(self) -> None:
        secret = self.key.get_secret_value()
        # Checked here, because httpx would show the header in its error.
        if not re.fullmatch(r"[\x21-\x7e]+", secret):
            raise ConfigurationError(
                "The API key is empty or holds blanks, line ends or non-ASCII characters.",
                cure="Copy it again from https://fal.ai/dashboard/keys, as one line.",
            )
        if self.realm == "emulator" and self.hosts.names_fal():
            raise ConfigurationError(
                "Credentials of the realm 'emulator' name a host of fal, where money is spent.",
                cure="Use emulator.credentials(), or set realm='fal' for a real account.",
            )
        if not self.account:
            digest = hashlib.sha256(secret.partition(":")[0].encode()).hexdigest()
            object.__setattr__(self, "account", digest[:12])

    @property
    def authorization(self) -> dict[str, str]:
        """The header that carries the key."""
        return {"Authorization": f"Key {self.key.get_secret_value()}"}

    def conceal(self, text: str) -> str:
        """A text with asterisks in place of the key or its secret part."""
        secret = self.key.get_secret_value()
        parts = [secret, secret.partition(":")[2]]
        for part in parts:
            # A part of a few letters is no secret, and would hide ordinary words.
            text = text.replace(part, "**********") if len(part) >= 6 else text
        return text


def _checked_base(name: str, given: str) -> str:
    bare = InsecureHostError(
        f"{name} must be a bare address.",
        cure="Write it as https://host, without user name, query and fragment.",
    )
    # It may be a secret that was pasted into the wrong place: it is not shown, nor httpx's error.
    try:
        url = httpx.URL(given)
    except httpx.InvalidURL:
        raise bare from None
    if url.userinfo or any(mark in given for mark in "@?#"):
        raise bare
    if not url.host:
        raise InsecureHostError(f"{name} names no host.")
    if not is_confidential(url):
        raise InsecureHostError(f"{name} {given!r} must not be given the API key.")
    return given.rstrip("/")


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    port = url.port or {"https": 443, "http": 80}.get(url.scheme)
    return (url.scheme, url.host, port)


def _checked_endpoint(endpoint: str) -> str:
    """An endpoint's id; as a part of a URL, it must not lead elsewhere."""
    if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)+", endpoint, re.ASCII):
        raise UnknownEndpointError(
            f"{endpoint!r} is no endpoint's id.",
            cure="Pass one such as 'fal-ai/minimax/hailuo-02/pro/text-to-video'.",
        )
    return endpoint


async def without_key(sending: Awaitable[T], access: Access) -> T:
    """The result of a call, whose errors do not show the key.

    httpx shows what it could not understand, and that may be the head of our request.

    Raises:
        httpx.HTTPError: It failed.
    """
    try:
        return await sending
    except httpx.HTTPError as error:
        seen = concealed(error, access)
    raise seen  # out here: inside, its context would be the error that shows the key


def concealed(error: httpx.HTTPError, access: Access) -> httpx.HTTPError:
    """A new error that says the same without the key, and without its causes.

    Dask, for one, hands errors on with all their causes: what aiohttp raises holds the header that
    has the key, and cannot be pickled.
    """
    clean = type(error)(access.conceal(str(error)))
    with suppress(RuntimeError):  # it has no request
        clean.request = httpx.Request(error.request.method, error.request.url)
    return clean


FAL_HOSTS = Hosts()
"""fal's own hosts, where nothing else is configured."""
