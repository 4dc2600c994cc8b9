"""A request's video in the place where it is wanted: there already, copied, or downloaded.

From a stored generation to a video in the place where it is wanted: never a purchase.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio.to_thread

from prefect_hailuo.engine.collect import Collecting, ForgottenError
from prefect_hailuo.engine.events import Reused, Stored
from prefect_hailuo.engine.loop import Emit
from prefect_hailuo.engine.order import FindPlace, Order
from prefect_hailuo.errors import DownloadError, StorageError, VideoExpiredError
from prefect_hailuo.fal.messages import Completed, Output
from prefect_hailuo.ledger.attempt import Attempt, Fate, Purchase
from prefect_hailuo.models.video import Video
from prefect_hailuo.storage.names import name_and_key, name_apart, video_name
from prefect_hailuo.storage.store import Storing
from prefect_hailuo.ticket import Ticket

if TYPE_CHECKING:
    from prefect_hailuo.ledger.ledger import Ledger


class Keeping:
    """Brings videos into one place, and writes down that they are there.

    Args:
        ledger: Where it is written down.
        storing: The way into the place.
        find_place: Finds the other places that the ledger names.
        emit: Called with `Stored`, once the ledger knows.
    """

    def __init__(self, ledger: Ledger, storing: Storing, find_place: FindPlace, emit: Emit) -> None:
        self._ledger = ledger
        self._storing = storing
        self._find_place = find_place
        self._emit = emit

    async def keep(
        self,
        ticket: Ticket,
        output: Output,
        completed: Completed | None = None,
        one: Attempt | None = None,
    ) -> Video:
        """The video of a result. Only what the ledger knows nowhere is downloaded.

        Args:
            ticket: The request.
            output: Its result.
            completed: How it completed, if that was seen.
            one: The request's attempt, as it was before it was waited for; None: ask the ledger.

        Raises:
            DownloadError: It did not arrive whole, or is no longer served.
            StorageError: The place does not take it.
        """
        one = one or await self._ledger.records.of_request(ticket.realm, ticket.request_id)
        if one is None:
            stored = await self._storing.store(ticket, output, completed)
            self._emit(Stored(*stored))
            return stored.video
        if not _is_new(one):
            name = await self._name(one, ticket)
            if found := await self._find_kept(one, ticket, name):
                return found
            return await self._store(one, ticket, output, completed, name)
        try:
            return await self._store(one, ticket, output, completed)
        except DownloadError:
            found = await self._find_kept(one, ticket, await self._name(one, ticket))
            if found is None:
                raise
            return found

    async def _store(
        self,
        one: Attempt,
        ticket: Ticket,
        output: Output,
        completed: Completed | None,
        name: str | None = None,
    ) -> Video:
        stored = await self._storing.store(ticket, output, completed, name)
        await self._ledger.records.stored(one, stored.video)
        self._emit(Stored(*stored))
        return stored.video

    async def _find_kept(self, one: Attempt, ticket: Ticket, name: str) -> Video | None:
        """The request's video, if it is in the place, or in another that the ledger knows."""
        # Somebody else may have waited for it too, and have been quicker.
        videos = await self._ledger.files.of(one.key)
        same = [each for each in videos if each.request_id == ticket.request_id]
        if found := await self.find(one, same, name):
            return found
        apart = name_apart(name_and_key(ticket)[0], ticket.request_id)
        video = await self._unrecorded(ticket, name) or await self._unrecorded(ticket, apart)
        if video is not None:
            await self._ledger.records.stored(one, video)
        return video

    async def _name(self, one: Attempt, ticket: Ticket) -> str:
        """The video's name: the generation's is for the attempt that counts."""
        name = name_and_key(ticket)[0]
        counted = await self._ledger.claims.latest(one.key)
        counts = counted is None or counted.number == one.number
        return name if counts else name_apart(name, ticket.request_id)

    async def _unrecorded(self, ticket: Ticket, name: str) -> Video | None:
        """The request's video that is in the place with its record, though the ledger is newer."""
        key = name_and_key(ticket)[1]
        video = None
        with suppress(StorageError):  # a damaged record is written anew, with its file
            video = await self._storing.find(name, key) if key else None
        if video is None or video.request_id != ticket.request_id:
            return None
        return video if await self._storing.holds(video) else None

    async def find(self, one: Attempt, videos: Sequence[Video], name: str) -> Video | None:
        """One of some stored videos in this place: there already, or as a verified copy.

        Args:
            one: The attempt that they are of.
            videos: Where the ledger says that it is stored.
            name: Its name here.
        """
        return await self._in_place(one, videos, name) or await self._copied(one, videos, name)

    async def _in_place(self, one: Attempt, videos: Sequence[Video], name: str) -> Video | None:
        """The file that is in this place, though the ledger may know it elsewhere only."""
        for video in videos:
            known = video.storage == self._storing.label
            for each in {video.storage_key} if known else {name, video.storage_key}:
                here = self._storing.here(video, each)
                if await self._storing.holds(here):
                    if not known:  # the place was moved, with its files
                        await self._ledger.files.add(one, here)
                    return here
        return None

    async def _copied(self, one: Attempt, videos: Sequence[Video], name: str) -> Video | None:
        for video in videos:
            if video.storage == self._storing.label:
                continue
            # It may ask Prefect's API, which no other generation must wait for.
            place = await anyio.to_thread.run_sync(self._find_place, video.storage)
            copy = place and await self._storing.copy(video, place, name)
            if copy:
                await self._ledger.files.add(one, copy)
                return copy
        return None


def _is_new(one: Attempt) -> bool:
    """Whether nobody can have kept the video before the caller began to wait for it.

    A result is written down before its video is downloaded, and a process that died in between, or
    before the ledger heard of the kept video, left it so: such an attempt is not new. What has no
    result yet has no video; two callers who wait for it at the same time may both download it, and
    the second puts the same file in the place of the first. A ledger that is older than the place,
    because it was restored, may call new what is there already: that costs a download, and where
    fal serves it no longer, the place is looked into after all.

    A second request of a key, or one that was found later, takes the long way, for its video may
    have to go by another name.
    """
    return one.fate is Fate.SUBMITTED and one.output is None and not (one.duplicate or one.adopted)


class Reusing:
    """Finds the stored video of one order.

    Args:
        order: The order.
        ledger: Where it is written down where the video is.
        storing: The way into the order's place.
        collecting: Asks an emulator whether it is still the one.
        emit: Called with `Reused`.
    """

    def __init__(
        self,
        order: Order,
        ledger: Ledger,
        storing: Storing,
        collecting: Collecting,
        emit: Emit,
    ) -> None:
        self._order = order
        self._ledger = ledger
        self._storing = storing
        self._collecting = collecting
        self._emit = emit
        self._keeping = Keeping(ledger, storing, order.find_place, emit)
        self._name = video_name(order.input, order.key)

    async def enter_unrecorded(self, purchase: Purchase) -> bool:
        """Write down a video that is in the place with its record, though the ledger is new.

        Raises:
            StorageError: There is a record, and it cannot be read.
        """
        video = await self._storing.find(self._name, self._order.key)
        if video is None:
            return False
        await self._ledger.records.found(purchase, video)
        return True

    async def reuse(self, one: Attempt) -> Video | None:
        """The stored video, in the order's place: there already, copied, or downloaded again.

        Returns:
            None where it is to be made anew: with the order's consent, or by an emulator.

        Raises:
            VideoExpiredError: It is nowhere any more, and the order does not allow to pay again.
            DownloadError: It did not arrive whole.
            StorageError: The place does not take it.
        """
        videos = await self._ledger.files.of(one.key)
        video = await self._keeping.find(one, videos, self._name)
        if video is None:
            video = await self._restored(one, videos[0])
        if video is not None:
            self._emit(Reused(video))
        return video

    async def _restored(self, one: Attempt, video: Video) -> Video | None:
        """The video downloaded again from fal, for as long as it serves it."""
        try:
            await self._collecting.check_known(one)
            restored = await self._storing.restore(self._storing.here(video, self._name))
        except ForgottenError:
            return None
        except VideoExpiredError:
            if self._order.on_lost == "resubmit":
                await self._ledger.claims.consent(one.key, one.number)
                return None
            raise
        await self._ledger.files.add(one, restored)
        return restored
