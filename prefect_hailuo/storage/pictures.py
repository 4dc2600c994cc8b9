"""The pictures of inputs, and videos and sounds: read from a file, a URL or a `data:` URI, checked,
and uploaded to fal.

A process remembers what each picture is, so that it is read, checked and uploaded once. Contents
are kept up to `CONTENT_BYTES`; another one that is needed later is read once more.

A URL may come from a stranger, for example through a form. So it may not lead to a cloud's metadata
service, and no redirect may lead into a private network. Names are resolved before the request; one
that changes right then still leads elsewhere, but nothing that is no picture is kept or shown.
"""

from __future__ import annotations

import stat
from collections.abc import MutableMapping
from functools import partial
from pathlib import Path
from weakref import WeakValueDictionary

import anyio
import anyio.to_thread
import httpx
from cachetools import LRUCache, TTLCache

from prefect_hailuo.clock import Clock, Deadline, SystemClock
from prefect_hailuo.errors import ImageError
from prefect_hailuo.fal.client import upload
from prefect_hailuo.fal.hosts import Access
from prefect_hailuo.fal.replies import compression, retry_after
from prefect_hailuo.fal.retry import pause_within, retry
from prefect_hailuo.models.image import (
    INLINE_BYTES,
    Image,
    check_size,
    data_uri,
    decode_data_uri,
    examine,
    is_data_uri,
    is_identity,
    is_url,
    shown,
    upload_name,
)
from prefect_hailuo.models.media import PICTURE, Medium, Rules
from prefect_hailuo.storage.addresses import Reach, find_reach
from prefect_hailuo.storage.place import on_disk
from prefect_hailuo.ticket import Realm

FETCH_SECONDS = 60.0
"""How long a URL is tried, retries included."""

MOST_ATTEMPTS = 4

MOST_REDIRECTS = 5

AS_IT_IS = {"Accept-Encoding": "identity"}

TRANSIENT = frozenset({408, 425, 429})

FileState = tuple[int, int, int, int]
"""Inode, size, and when the content and the inode changed last."""

AT_ONCE = 8
"""How many pictures are read or uploaded at once; each may have 20 MB."""

CONTENT_BYTES = 32 << 20
"""How many bytes of contents are kept."""

MOST_KNOWN = 20_000
"""How many files, how many URLs, and how many uploads a process remembers."""

MOST_INLINE_KNOWN = 32
"""How many pictures that were passed as bytes it remembers: their names are as long as they are."""

URL_SECONDS = 300.0
"""How long a URL is taken to serve the same picture as before."""

UPLOAD_SECONDS: dict[Realm, float] = {"fal": 6 * 3600.0, "emulator": 300.0}
"""How long an upload is used again. fal is asked to keep it for much longer; an emulator that is
started again has lost it."""


class Pictures:
    """Reads pictures, says what they are, and brings them to fal.

    Args:
        http: A client on httpx's own transport; it follows no redirect and holds no key.
        clock: What waiting is measured with.
    """

    def __init__(self, http: httpx.AsyncClient, clock: Clock | None = None) -> None:
        self._http = http
        self._clock: Clock = clock or SystemClock()
        now = self._clock.now
        self._inline: LRUCache[Medium, Image] = LRUCache(MOST_INLINE_KNOWN)
        self._at_urls: TTLCache[Medium, Image] = TTLCache(MOST_KNOWN, URL_SECONDS, now)
        self._in_files: LRUCache[Medium, tuple[FileState, Image]] = LRUCache(MOST_KNOWN)
        self._contents: LRUCache[str, bytes] = LRUCache(CONTENT_BYTES, len)
        self._uploads: dict[Realm, TTLCache[tuple[str, str, str], str]] = {
            realm: TTLCache(MOST_KNOWN, seconds, now) for realm, seconds in UPLOAD_SECONDS.items()
        }
        self._turns = anyio.CapacityLimiter(AT_ONCE)
        self._locks: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()

    async def look(self, medium: Medium) -> Image:
        """What a picture is, or a video or sound. It is read and checked, unless it was before.

        Args:
            medium: As an input names it, and what it must be.

        Raises:
            ImageError: It cannot be read, or the models do not take it.
        """
        source = medium.source
        if is_identity(source):
            return Image(source)
        async with self._lock(source):
            if is_url(source):
                return self._at_urls.get(medium) or await self._note(self._at_urls, medium)
            if is_data_uri(source):
                return self._inline.get(medium) or await self._note(self._inline, medium)
            state = await on_disk(file_state, source)
            known = self._in_files.get(medium)
            if known and state and known[0] == state:
                return known[1]
            async with self._turns:
                image, _ = await self._read(medium)
            if state:
                self._in_files[medium] = (state, image)
            return image

    async def _note(self, memory: MutableMapping[Medium, Image], medium: Medium) -> Image:
        async with self._turns:
            image, _ = await self._read(medium)
        memory[medium] = image
        return image

    async def sendable(self, medium: Medium, image: Image, access: Access) -> str:
        """The text that fal is sent for it: a `data:` URI if it is small, otherwise a URL.

        Args:
            medium: As an input names it.
            image: What `look` returned for it.
            access: The account to whose storage it is uploaded.

        Raises:
            ImageError: It can no longer be read, or has changed, or fal's storage failed.
            FalError: fal's storage refused it.
        """
        # That fal takes a video as a data: URI was not seen.
        if 0 < image.size <= INLINE_BYTES and medium.rules.kind != "video":
            content = await self._content(medium, image)
            return data_uri(content, str(image.media_type))
        place = (access.hosts.rest_url, access.account, image.identity)
        uploads = self._uploads[access.realm]
        async with self._lock(" ".join(place)):
            url = uploads.get(place)
            if url is None:
                url = uploads[place] = await self._upload(medium, image, access)
            return url

    async def _upload(self, medium: Medium, image: Image, access: Access) -> str:
        async with self._turns:
            content, found = self._contents.get(image.identity), image
            if content is None:
                found, content = _same(medium, image, *await self._read(medium))
            media_type = str(found.media_type)
            name = upload_name(image.sha256, media_type)
            return await upload(self._http, access, content, media_type, name, self._clock)

    async def _content(self, medium: Medium, image: Image) -> bytes:
        kept = self._contents.get(image.identity)
        if kept is not None:
            return kept
        async with self._turns:
            return _same(medium, image, *await self._read(medium))[1]

    async def _read(self, medium: Medium) -> tuple[Image, bytes]:
        source, rules = medium
        content = await read_picture(source, self._http, self._clock, rules)
        image = await anyio.to_thread.run_sync(examine, content, shown(source), rules)
        if len(content) <= CONTENT_BYTES:
            self._contents[image.identity] = content
        return image, content

    def _lock(self, name: str) -> anyio.Lock:
        lock = self._locks.get(name)
        if lock is None:
            lock = self._locks[name] = anyio.Lock()
        return lock


def _same(medium: Medium, image: Image, found: Image, content: bytes) -> tuple[Image, bytes]:
    """A picture that was read once more, if it is still the same.

    Raises:
        ImageError: It is another.
    """
    if found.identity != image.identity:
        raise ImageError(
            f"{shown(medium.source)} changed while its video was about to be bought; nothing was "
            "bought.",
            cure=f"Run it again: the {medium.rules.kind} as it is now is another generation.",
            retryable=True,
        )
    return found, content


async def read_picture(
    source: str, http: httpx.AsyncClient, clock: Clock | None = None, rules: Rules = PICTURE
) -> bytes:
    """A picture's content, or a video's or sound's, unchecked: it may be no picture at all.

    Args:
        source: As an input names it.
        http: The client for URLs; it follows no redirect and sends no key.
        clock: What waiting is measured with.
        rules: What it must be; of these, only the size counts here.

    Raises:
        ImageError: It cannot be read, or is too large; nothing was bought.
    """
    if is_identity(source):
        raise ImageError(
            f"The video of the {rules.kind} {source} was not made yet, and the digest alone does "
            f"not tell what the {rules.kind} shows; nothing was bought.",
            cure=f"Pass the {rules.kind} itself: its path, its URL or its bytes.",
        )
    if is_url(source):
        return await _fetch(Medium(source, rules), http, clock or SystemClock())
    if is_data_uri(source):
        return await anyio.to_thread.run_sync(decode_data_uri, source)
    return await on_disk(_read_file, source, rules)


def file_state(path: str) -> FileState | None:
    """What changes when a file does; None if there is no file. It waits for the disk."""
    try:
        seen = Path(path).stat()
    except (OSError, ValueError):
        return None
    return (seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)


def _read_file(path: str, rules: Rules) -> bytes:
    try:
        seen = Path(path).stat()
        if not stat.S_ISREG(seen.st_mode):
            raise ImageError(
                f"{shown(path)} is no file; nothing was bought.",
                cure=f"Name the {rules.kind}'s file itself.",
            )
        check_size(seen.st_size, shown(path), rules)
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise ImageError(
            f"There is no {rules.kind} {shown(path)} on this machine; nothing was bought.",
            cure="Put it there, or pass a URL that every worker can read. A video that was made of "
            "it before is still stored: find it with prefect-hailuo ledger list, or pass its "
            "sha256:… instead of its path.",
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ImageError(
            f"The {rules.kind} {shown(path)} cannot be read ({reason}); nothing was bought.",
            cure="Give this process the right to read it, or pass its bytes.",
        ) from error


async def _fetch(medium: Medium, http: httpx.AsyncClient, clock: Clock) -> bytes:
    deadline = Deadline(FETCH_SECONDS, clock)
    with anyio.move_on_after(FETCH_SECONDS):
        pause = partial(pause_within, deadline, MOST_ATTEMPTS)
        return await retry(lambda: _follow(medium, http), clock, pause)
    raise _unreachable(medium, f"it did not arrive within {FETCH_SECONDS:g} seconds")


async def _follow(medium: Medium, http: httpx.AsyncClient) -> bytes:
    at, before = medium.source, None
    for _ in range(MOST_REDIRECTS + 1):
        try:
            before = await _checked_reach(at, before, medium)
            async with http.stream("GET", at, headers=AS_IT_IS) as response:
                if not response.is_redirect:
                    _check_answer(response, medium)
                    return await _receive(response, medium)
                at = _next(response, at, medium)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # Without its message, which may show the URL's query.
            raise _unreachable(medium, type(error).__name__) from None
    raise _unusable(medium, f"it was redirected more than {MOST_REDIRECTS} times")


async def _checked_reach(at: str, before: Reach | None, medium: Medium) -> Reach:
    reach = await find_reach(httpx.URL(at))
    if reach is Reach.NEVER:
        raise _unusable(medium, "it leads to an address at which clouds keep a machine's secrets")
    if before is Reach.PUBLIC and reach is not Reach.PUBLIC:
        raise _unusable(medium, "it was redirected from a public address into a private network")
    return reach


def _next(response: httpx.Response, at: str, medium: Medium) -> str:
    """Where a redirect leads."""
    base = httpx.URL(at)
    there = base.join(response.headers.get("Location", ""))
    if there.scheme not in ("http", "https") or there.userinfo or not there.host:
        raise _unusable(medium, "it was redirected to something that is no plain web address")
    if base.scheme == "https" and there.scheme == "http":
        raise _unusable(
            medium, "it was redirected from https to http, where anybody could change it"
        )
    return str(there)


async def _receive(response: httpx.Response, medium: Medium) -> bytes:
    """The bytes as they come: a few kilobytes that are compressed may stand for gigabytes."""
    if encoding := compression(response):
        raise _unusable(
            medium, f"its server compressed it ({encoding}), though it was asked not to"
        )
    announced = response.headers.get("Content-Length", "")
    if announced.isdecimal():
        check_size(int(announced), shown(medium.source), medium.rules)
    content = bytearray()
    async for piece in response.aiter_raw():
        content += piece
        check_size(len(content), shown(medium.source), medium.rules)
    return bytes(content)


def _check_answer(response: httpx.Response, medium: Medium) -> None:
    code = response.status_code
    if response.is_success:
        return
    if code >= 500 or code in TRANSIENT:
        error = _unreachable(medium, f"its server answered HTTP {code}")
        error.retry_after = retry_after(response)
        raise error
    raise _unusable(medium, f"its server answered HTTP {code}")


def _unreachable(medium: Medium, why: str) -> ImageError:
    return ImageError(
        f"The {medium.rules.kind} {shown(medium.source)} could not be fetched: {why}; nothing "
        "was bought.",
        cure=f"Try again later, or pass the {medium.rules.kind} as a file or as bytes.",
        retryable=True,
    )


def _unusable(medium: Medium, why: str) -> ImageError:
    return ImageError(
        f"The {medium.rules.kind} {shown(medium.source)} cannot be fetched: {why}; nothing was "
        "bought.",
        cure="Check the URL in a browser without a login; a signed one may have expired, so sign "
        "it anew. No cookie and no key is sent: if it needs one, pass a file or bytes.",
    )
