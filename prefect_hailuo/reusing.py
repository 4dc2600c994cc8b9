"""From a stored generation to a video in the place where it is wanted: never a purchase."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect_hailuo.collecting import Collecting, ForgottenError
from prefect_hailuo.connections import Emit
from prefect_hailuo.errors import VideoExpiredError
from prefect_hailuo.events import Reused
from prefect_hailuo.keeping import Keeping
from prefect_hailuo.ledger.attempts import Attempt
from prefect_hailuo.ledger.wishes import Wish
from prefect_hailuo.naming import video_name
from prefect_hailuo.order import Order
from prefect_hailuo.storing import Storing
from prefect_hailuo.video import Video

if TYPE_CHECKING:
    from prefect_hailuo.ledger.ledger import Ledger


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
        self._keeping = Keeping(ledger, storing, order.find_place)
        self._name = video_name(order.input, order.key)

    async def enter_unrecorded(self, wish: Wish) -> bool:
        """Write down a video that is in the place with its record, though the ledger is new.

        Raises:
            StorageError: There is a record, and it cannot be read.
        """
        video = await self._storing.find(self._name, self._order.key)
        if video is None:
            return False
        await self._ledger.records.found(wish, video)
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
