"""A storyboard's videos: made at once where they can be, in turn where one goes on from another."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from prefect_hailuo.as_completed import agenerate_videos_as_completed
from prefect_hailuo.batch_tasks import agenerate_videos
from prefect_hailuo.catalogue import BatchItem
from prefect_hailuo.endpoints import VideoInput
from prefect_hailuo.errors import BatchError, Billed, HailuoError
from prefect_hailuo.estimating import aestimate
from prefect_hailuo.montage_tasks import alast_frame
from prefect_hailuo.outcomes import VideoOutcome, VideoOutcomes
from prefect_hailuo.scenes import Script
from prefect_hailuo.video import Video


class Shooting:
    """What there is of a storyboard, and the way to the rest.

    Each chain is a list of scenes that go on from one another; its next scene is the first of them
    that is not there yet.

    Args:
        script: The scenes.
        options: Credentials, storage and budget, as for `generate_videos`.
    """

    def __init__(self, script: Script, options: dict[str, Any]) -> None:
        self._script = script
        self._options = options
        self._next: dict[int, tuple[int, VideoInput]] = {}
        self.outcomes: dict[int, VideoOutcome] = {}
        self.errors: dict[int, HailuoError] = {}
        for number, chain in enumerate(script.chains):
            self._next[number] = (chain[0], script.given(chain[0]))

    async def find(self) -> None:
        """Find what was stored before, which costs nothing."""
        while stored := await self._stored():
            wanted = [self._wanted(number) for number in stored]
            outcomes = await agenerate_videos(wanted, **self._options)
            await asyncio.gather(*map(self._advance, stored, outcomes))

    def rest(self) -> list[BatchItem]:
        """What is not there yet, in the chains' order. Where a scene's first picture is not there
        either, it has the stand-in of one."""
        rest: list[BatchItem] = []
        for number, (index, given) in self._next.items():
            chain = self._script.chains[number]
            rest.append(BatchItem(input=given, take=self._script.take(index)))
            rest += [self._script.expected(each) for each in chain if each > index]
        return rest

    async def make(self) -> None:
        """Make the rest. **This may spend money, for each.** What can be made now is, at once."""
        chains = list(self._next)
        if not chains:
            return
        wanted = [self._wanted(number) for number in chains]
        going_on: list[asyncio.Task[None]] = []
        try:
            async for outcome in agenerate_videos_as_completed(wanted, **self._options):
                follow = self._follow(chains[outcome.index], outcome)
                going_on.append(asyncio.create_task(follow))
            await asyncio.gather(*going_on)
        finally:
            for task in going_on:
                task.cancel()
            await asyncio.gather(*going_on, return_exceptions=True)

    def videos(self) -> list[Video]:
        """All the videos, in the scenes' order.

        Raises:
            BatchError: Some scenes have none; the message names them.
        """
        self._raise_for_failed()
        return [self.outcomes[index].result() for index in range(len(self._script))]

    def _raise_for_failed(self) -> None:
        failed = dict(sorted(self.errors.items()))
        if not failed:
            return
        said = [f"{self._script.name(index)} failed by {_say(e)}" for index, e in failed.items()]
        left = [n + 1 for n in range(len(self._script)) if n not in self.outcomes | self.errors]
        if left:
            said.append(f"not begun, for they go on from one that failed: {_listed(left)}")
        error = BatchError(
            f"{'; '.join(said)}.",
            cure="What was bought is kept, and a rerun goes on with it. "
            + " ".join(dict.fromkeys(each.cure for each in failed.values() if each.cure)),
            billed=_billed([each.billed for each in failed.values()]),
            retryable=any(each.retryable for each in failed.values()),
        )
        error.outcomes = VideoOutcomes(each for _, each in sorted(self.outcomes.items()))
        raise error

    async def _stored(self) -> list[int]:
        """The chains whose next scene is stored."""
        if not self._next:
            return []
        numbers = list(self._next)
        wanted = [self._wanted(number) for number in numbers]
        known = await aestimate(wanted, credentials=self._options.get("credentials"))
        states = zip(numbers, known.lines, strict=True)
        return [number for number, line in states if line.state == "stored"]

    def _wanted(self, number: int) -> tuple[VideoInput, int | str]:
        index, given = self._next[number]
        return given, self._script.take(index)

    async def _follow(self, number: int, outcome: VideoOutcome) -> None:
        """Take a scene's outcome, and make those that go on from it, one after the other."""
        await self._advance(number, outcome)
        while number in self._next:
            try:
                (outcome,) = await agenerate_videos([self._wanted(number)], **self._options)
            except HailuoError as error:  # the other chains go on
                index, _ = self._next.pop(number)
                self.errors[index] = error
            else:
                await self._advance(number, outcome)

    async def _advance(self, number: int, outcome: VideoOutcome) -> None:
        """Take a scene's outcome, and prepare the one that goes on from it."""
        index, _ = self._next.pop(number)
        if outcome.video is None:
            self.errors[index] = outcome.error or HailuoError("There is no video.")
            return
        self.outcomes[index] = outcome.model_copy(update={"index": index})
        if index == self._script.chains[number][-1]:
            return
        try:
            storage = self._options.get("storage")
            picture = await alast_frame(outcome.video, storage=storage)
            self._next[number] = (index + 1, self._script.given(index + 1, picture))
        except HailuoError as error:
            self.errors[index + 1] = error


def _say(error: HailuoError) -> str:
    return f"{type(error).__name__}: {error.message.rstrip('.')}"


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _billed(of_each: Sequence[Billed]) -> Billed:
    if Billed.YES in of_each:
        return Billed.YES
    return Billed.UNKNOWN if Billed.UNKNOWN in of_each else Billed.NO
