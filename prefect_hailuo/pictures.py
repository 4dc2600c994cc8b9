"""The pictures of a process: each read once, looked at once and uploaded once, and not kept long.

What is kept of ten thousand pictures is what they are, a few hundred bytes each. Of their contents
only the latest few are, up to `SHELF_BYTES`: whoever needs another one later reads it once more.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

import anyio
import anyio.to_thread
import httpx

from prefect_hailuo.clock import Clock, SystemClock
from prefect_hailuo.disk import on_disk
from prefect_hailuo.errors import ImageError
from prefect_hailuo.fal.hosts import Access
from prefect_hailuo.fal.uploads import upload
from prefect_hailuo.image_checks import INLINE_BYTES, Image, examine
from prefect_hailuo.images import data_uri, is_identity, is_url, shown, upload_name
from prefect_hailuo.picture_reading import file_state, read_picture

T = TypeVar("T")

AT_ONCE = 8
"""How many pictures are read or uploaded at once; each may have 20 MB."""

SHELF_BYTES = 32 << 20
"""How much of their contents is kept."""

MOST_KNOWN = 20_000
"""How many pictures, and how many uploads, a process remembers."""

MOST_INLINE_KNOWN = 32
"""How many of those that were passed as bytes: their names are as long as themselves."""

URL_SECONDS = 300.0
"""How long it is believed that a URL serves the same picture as before."""

UPLOAD_SECONDS = {"fal": 6 * 3600.0, "emulator": 300.0}
"""How long an upload is used again: fal is asked to keep it for much longer than that, and an
emulator that is started again has lost it."""


class Lately(OrderedDict[str, T], Generic[T]):
    """A dictionary of the latest; older ones are forgotten.

    Args:
        most: How many are kept.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def note(self, key: str, value: T) -> None:
        """Keep one, as the latest."""
        self[key] = value
        self.move_to_end(key)
        while len(self) > self._most:
            self.popitem(last=False)


@dataclass(frozen=True)
class _Known:
    """A picture, and how to tell whether it still is the same."""

    image: Image
    state: tuple[int, ...] | None
    seen_at: float


@dataclass(frozen=True)
class _Upload:
    url: str
    at: float


class Pictures:
    """Reads pictures, says what they are, and brings them to fal.

    Args:
        http: A client on httpx's own transport; it follows no redirect and holds no key.
        clock: What waiting is measured with.
    """

    def __init__(self, http: httpx.AsyncClient, clock: Clock | None = None) -> None:
        self._http = http
        self._clock: Clock = clock or SystemClock()
        self._known: Lately[_Known] = Lately(MOST_KNOWN)
        self._inline: Lately[_Known] = Lately(MOST_INLINE_KNOWN)
        self._uploads: Lately[_Upload] = Lately(MOST_KNOWN)
        self._shelf: OrderedDict[str, bytes] = OrderedDict()
        self._shelved = 0
        self._turns = anyio.CapacityLimiter(AT_ONCE)
        self._locks: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()

    async def look(self, source: str) -> Image:
        """What a picture is, read and checked unless that was done a moment ago.

        Args:
            source: As an input names it.

        Raises:
            ImageError: It cannot be had, or the models do not take it.
        """
        if is_identity(source):
            return Image(source)
        async with self._lock(source):
            state = None if _is_inline(source) else await self._state(source)
            known = self._memory(source).get(source)
            if known is not None and self._holds(known, source, state):
                return known.image
            async with self._turns:
                image, _ = await self._read(source)
            self._memory(source).note(source, _Known(image, state, self._clock.now()))
            return image

    async def sendable(self, source: str, image: Image, access: Access) -> str:
        """The text that fal is sent for a picture: a `data:` URI if it is small, else a URL.

        Args:
            source: As an input names it.
            image: What it is, by `look`.
            access: The account whose storage it goes to.

        Raises:
            ImageError: It cannot be had any more, or has changed, or fal's storage failed.
            FalError: fal's storage refused it.
        """
        if 0 < image.size <= INLINE_BYTES:
            content = await self._content(source, image)
            return data_uri(content, str(image.media_type))
        place = f"{access.hosts.rest_url} {access.account} {image.identity}"
        async with self._lock(place):
            done = self._uploads.get(place)
            if done is not None and self._clock.now() - done.at < UPLOAD_SECONDS[access.realm]:
                return done.url
            url = await self._upload(source, image, access)
            self._uploads.note(place, _Upload(url, self._clock.now()))
            return url

    async def _upload(self, source: str, image: Image, access: Access) -> str:
        async with self._turns:
            content, found = self._shelf.get(image.identity), image
            if content is None:
                found, content = _same(source, image, *await self._read(source))
            media_type = str(found.media_type)
            name = upload_name(image.sha256, media_type)
            return await upload(self._http, access, content, media_type, name, self._clock)

    async def _content(self, source: str, image: Image) -> bytes:
        kept = self._shelf.get(image.identity)
        if kept is not None:
            return kept
        async with self._turns:
            return _same(source, image, *await self._read(source))[1]

    async def _read(self, source: str) -> tuple[Image, bytes]:
        content = await read_picture(source, self._http, self._clock)
        image = await anyio.to_thread.run_sync(examine, content, shown(source))
        self._keep(image, content)
        return image, content

    def _keep(self, image: Image, content: bytes) -> None:
        if image.identity not in self._shelf:
            self._shelf[image.identity] = content
            self._shelved += len(content)
        self._shelf.move_to_end(image.identity)
        while self._shelved > SHELF_BYTES:
            self._shelved -= len(self._shelf.popitem(last=False)[1])

    def _memory(self, source: str) -> Lately[_Known]:
        return self._inline if _is_inline(source) else self._known

    def _holds(self, known: _Known, source: str, state: tuple[int, ...] | None) -> bool:
        if is_url(source):
            return self._clock.now() - known.seen_at < URL_SECONDS
        return known.state == state and (state is not None or _is_inline(source))

    async def _state(self, source: str) -> tuple[int, ...] | None:
        return None if is_url(source) else await on_disk(file_state, source)

    def _lock(self, name: str) -> anyio.Lock:
        lock = self._locks.get(name)
        if lock is None:
            lock = self._locks[name] = anyio.Lock()
        return lock


def _is_inline(source: str) -> bool:
    return source[:5].lower() == "data:"


def _same(source: str, image: Image, found: Image, content: bytes) -> tuple[Image, bytes]:
    """What was read once more, if it still is what the generation is of.

    Raises:
        ImageError: It is not.
    """
    if found.identity != image.identity:
        raise ImageError(
            f"{shown(source)} changed while its video was about to be bought; nothing was bought.",
            cure="Run it again: the picture as it is now is another generation.",
            retryable=True,
        )
    return found, content
