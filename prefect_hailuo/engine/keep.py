"""How a video gets to its place: it is there already, copied from another place, or downloaded.

`keep` is for a result at fal; `reuse` for a generation that the ledger calls stored. Neither buys
anything. The ledger is written first, and then the run is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

import anyio.to_thread

from prefect_hailuo.engine.collect import ForgottenError, check_known, fresh_file
from prefect_hailuo.engine.events import Reused, Stored
from prefect_hailuo.engine.job import Job
from prefect_hailuo.engine.loop import Emit
from prefect_hailuo.engine.order import FindPlace
from prefect_hailuo.errors import (
    Billed,
    DownloadError,
    StorageError,
    VideoExpiredError,
    about,
)
from prefect_hailuo.fal.messages import Completed, Output
from prefect_hailuo.ledger.attempt import MOST_ATTEMPTS, Attempt, Fate
from prefect_hailuo.models.video import Video
from prefect_hailuo.storage.download import Renew
from prefect_hailuo.storage.names import name_and_key, name_apart
from prefect_hailuo.storage.place import Place, this_machine
from prefect_hailuo.storage.store import VideoStore
from prefect_hailuo.ticket import Ticket

if TYPE_CHECKING:
    from prefect_hailuo.ledger.ledger import Ledger


async def keep(
    ledger: Ledger,
    store: VideoStore,
    find_place: FindPlace,
    emit: Emit,
    ticket: Ticket,
    output: Output,
    completed: Completed | None = None,
    one: Attempt | None = None,
    renew: Renew | None = None,
) -> Video:
    """The video of a result. Only what the ledger knows nowhere is downloaded.

    Args:
        ledger: Where it is written down where videos are.
        store: The way into the place where it is wanted.
        find_place: Finds the other places that the ledger names.
        emit: Called with `Stored`, once the ledger knows.
        ticket: The request.
        output: Its result.
        completed: How it completed, if that was seen.
        one: The request's attempt, as it was before it was waited for; None: ask the ledger.
        renew: Asks fal for a fresh link.

    Raises:
        VideoExpiredError: It is no longer served; the attempt is left to a person's decision.
        DownloadError: It did not arrive whole.
        StorageError: The place does not take it.
    """
    one = one or await ledger.records.of_request(ticket.realm, ticket.request_id)
    name = None
    if one is not None and not _is_new(one):
        name = await _name(ledger, one, ticket)
        if found := await _find_kept(ledger, store, find_place, one, ticket, name):
            return found
    try:
        stored = await store.store(ticket, output, completed, name, renew)
    except DownloadError as error:
        if one is None:
            raise
        if name is None:  # it was not looked for before
            name = await _name(ledger, one, ticket)
            if found := await _find_kept(ledger, store, find_place, one, ticket, name):
                return found
        if isinstance(error, VideoExpiredError):
            await _park(ledger, one, error)
        raise
    if one is not None:
        await ledger.records.stored(one, stored.video)
    emit(Stored(*stored))
    return stored.video


async def reuse(job: Job, one: Attempt) -> Video | None:
    """The stored video, in the order's place: there already, copied, or downloaded again.

    Returns:
        None where it is to be made anew: with the order's consent, or by an emulator.

    Raises:
        VideoExpiredError: It is nowhere any more, and the order does not allow to pay again.
        DownloadError: It did not arrive whole.
        StorageError: The place does not take it.
    """
    hidden: list[str] = []
    video = await _look(job, one, hidden)
    if video is None:
        try:
            video = await _restored(job, one)
        except ForgottenError:
            return None
        except VideoExpiredError as error:
            if not hidden:  # while fal was asked, a disk may have come back, or gone
                video = await _look(job, one, hidden)
            if video is None and hidden:
                raise _hidden(one, hidden, error) from error
            if video is None:
                await _replace(job, one, error)
                return None
    job.session.emit(Reused(video))
    return video


async def _look(job: Job, one: Attempt, hidden: list[str]) -> Video | None:
    """The stored video, as what is in the order's place by now; see `_find`."""
    ledger = job.session.ledger
    videos = await ledger.files.of(one.key)
    with _paid_for(one.open_ticket()):
        return await _find(ledger, job.store, job.order.find_place, one, videos, job.name, hidden)


async def _restored(job: Job, one: Attempt) -> Video:
    """The stored video once more from fal, for as long as it serves it."""
    session, store = job.session, job.store
    await check_known(session, one)
    latest = (await session.ledger.files.of(one.key))[0]
    renew = partial(fresh_file, session, one, one.completed)
    video = await store.restore(store.here(latest, job.name), renew)
    await session.ledger.files.add(one, video)
    return video


async def _replace(job: Job, one: Attempt, error: VideoExpiredError) -> None:
    """Have a video that is nowhere any more made anew, where the order allows to pay again.

    Raises:
        VideoExpiredError: It does not, or it was made too often.
    """
    if not job.may_replace:
        raise error
    if not await job.session.ledger.claims.replace_lost(one.key, one.number):
        raise _too_often(one, error) from error


async def enter_unrecorded(job: Job) -> bool:
    """Write down a video that is in the place with its record, though the ledger is new.

    Raises:
        StorageError: There is a record, and it cannot be read.
    """
    video = await job.store.find(job.name, job.order.key)
    if video is None:
        return False
    await job.session.ledger.records.found(job.purchase, video)
    return True


async def _find_kept(
    ledger: Ledger,
    store: VideoStore,
    find_place: FindPlace,
    one: Attempt,
    ticket: Ticket,
    name: str,
) -> Video | None:
    """The request's video, if it is in the place, or in another that the ledger knows."""
    # Somebody else may have waited for it too, and have been quicker.
    videos = await ledger.files.of(one.key)
    same = [each for each in videos if each.request_id == ticket.request_id]
    with _paid_for(ticket):
        if found := await _find(ledger, store, find_place, one, same, name, []):
            return found
    apart = name_apart(name_and_key(ticket)[0], ticket.request_id)
    video = await _unrecorded(store, ticket, name) or await _unrecorded(store, ticket, apart)
    if video is not None:
        await ledger.records.stored(one, video)
    return video


async def _find(
    ledger: Ledger,
    store: VideoStore,
    find_place: FindPlace,
    one: Attempt,
    videos: Sequence[Video],
    name: str,
    hidden: list[str],
) -> Video | None:
    """One of some stored videos in this place: there already, or as a verified copy.

    Args:
        ledger: Where it is written down where they are.
        store: The way into this place.
        find_place: Finds the other places.
        one: The attempt that they are of.
        videos: Where the ledger says that it is stored.
        name: Its name here.
        hidden: Gets a text for each place that cannot be read, so that it may have the video.

    Raises:
        StorageError: This place cannot be read; what is there must not be written over.
    """
    for video in videos:
        known = video.storage == store.label
        for each in {video.storage_key} if known else {name, video.storage_key}:
            here = store.here(video, each)
            if await store.holds(here):
                if not known:  # the place was moved, with its files
                    await ledger.files.add(one, here)
                return here
        if known and (why := _elsewhere(video, store.place)):
            hidden.append(why)
    for video in videos:
        if video.storage != store.label and (
            copy := await _copied(store, find_place, video, name, hidden)
        ):
            await ledger.files.add(one, copy)
            return copy
    return None


async def _copied(
    store: VideoStore, find_place: FindPlace, video: Video, name: str, hidden: list[str]
) -> Video | None:
    """A verified copy of a video that another place holds."""
    # It may ask Prefect's API, which no other generation must wait for.
    place = await anyio.to_thread.run_sync(find_place, video.storage)
    if place is None:
        hidden.append(f"{video.storage} cannot be looked into from here.")
        return None
    try:
        copy = await store.copy(video, place, name)
    except StorageError as error:  # another place or fal may have it
        hidden.append(error.message)
        return None
    if copy is None and (why := _elsewhere(video, place)):
        hidden.append(why)
    return copy


def _elsewhere(video: Video, place: Place) -> str | None:
    """The hint that a place without the video may not be the one that the ledger means."""
    if video.machine in (None, place.machine):
        return None
    machine, here = video.machine.split(":")[0], this_machine()
    if video.machine.startswith(f"{here}:"):
        return (
            f"{video.storage} is another directory than the one that it was stored in: a disk may "
            "not be mounted."
        )
    return f"It is on another machine: in {video.storage} of {machine!r}."


def _hidden(one: Attempt, hidden: Sequence[str], error: VideoExpiredError) -> StorageError:
    told = StorageError(
        f"Whether the video is still somewhere cannot be told: {' '.join(hidden)} fal does not "
        f"serve it any more: {error.message}",
        cure="It was paid for once, and is not bought again while it may be there: make that place "
        "readable, or run it where it is; or pass a new take.",
        ticket=one.ticket,
    )
    told.untold = True
    return told


@contextmanager
def _paid_for(ticket: Ticket) -> Iterator[None]:
    """Let no error of a place say that no money was spent, when it was."""
    try:
        yield
    except StorageError as error:
        error.billed = Billed.YES
        raise about(ticket, error)  # noqa: B904 - it is the same error


async def _park(ledger: Ledger, one: Attempt, error: VideoExpiredError) -> None:
    """Leave an attempt whose video is nowhere to a person's decision."""
    now = await ledger.claims.attempt(one.key, one.number)
    if now is not None:
        await ledger.records.parked(now, error.message)


def _too_often(one: Attempt, error: VideoExpiredError) -> VideoExpiredError:
    return VideoExpiredError(
        f"{error.message} It was made {MOST_ATTEMPTS} times already, and is not made again.",
        cure="Find out where its files go, and put one back; or pass a new take.",
        ticket=one.ticket,
    )


async def _name(ledger: Ledger, one: Attempt, ticket: Ticket) -> str:
    """The video's name: the generation's is for the attempt that counts."""
    name = name_and_key(ticket)[0]
    counted = await ledger.claims.latest(one.key)
    counts = counted is None or counted.number == one.number
    return name if counts else name_apart(name, ticket.request_id)


async def _unrecorded(store: VideoStore, ticket: Ticket, name: str) -> Video | None:
    """The request's video that is in the place with its record, though the ledger is newer."""
    key = name_and_key(ticket)[1]
    video = None
    with suppress(StorageError):  # a damaged record is written anew, with its file
        video = await store.find(name, key) if key else None
    if video is None or video.request_id != ticket.request_id:
        return None
    return video if await store.holds(video) else None


def _is_new(one: Attempt) -> bool:
    """Whether the video cannot have been kept before the caller began to wait for it.

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
