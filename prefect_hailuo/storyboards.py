"""What came of a storyboard, and the card that shows it."""

from __future__ import annotations

from decimal import Decimal

from prefect.artifacts import create_image_artifact, create_markdown_artifact
from pydantic import BaseModel

from prefect_hailuo.artifacts import escape
from prefect_hailuo.comparison import posters_of
from prefect_hailuo.endpoints import model_name
from prefect_hailuo.montage import Clip
from prefect_hailuo.prefect_calls import synchronously
from prefect_hailuo.publishing import Publisher
from prefect_hailuo.storage import Storage
from prefect_hailuo.video import Video

CARD_KEY = "hailuo-storyboard"
SCENES_KEY = "hailuo-storyboard-scenes"


class Storyboard(BaseModel):
    """What came of a storyboard.

    Args:
        title: What it is called.
        videos: The scenes' videos, in order.
        clip: The clip of them all.
    """

    title: str
    videos: list[Video]
    clip: Clip


def storyboard_card(board: Storyboard) -> str:
    """A storyboard's card, in Markdown: where the clip is, and a line for each scene."""
    clip = board.clip
    banner = "**Made by the emulator: nothing was generated or charged.**\n\n"
    how = (
        f"coded once more, for {escape(clip.reencoded)}"
        if clip.reencoded
        else "copied as they were"
    )
    prices = [each.price_usd or Decimal(0) for each in board.videos]
    facts = [
        ("Clip", f"`{clip.place}`"),
        ("Picture", f"{clip.width}×{clip.height}, {clip.frames_per_second:g} fps, {clip.codec}"),
        ("Length", f"{clip.duration_seconds:g} s"),
        ("Size", f"{clip.size:,} bytes"),
        ("Pictures", how),
        ("Scenes cost in all", _money(sum(prices, Decimal(0)), clip.realm == "emulator")),
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in facts)
    scenes = "\n".join(_line(number, each) for number, each in enumerate(board.videos, 1))
    return (
        f"{banner if clip.realm == 'emulator' else ''}### {escape(board.title)}\n\n"
        f"| | |\n| --- | --- |\n{table}\n\n"
        f"| Scene | Prompt | Model | Cost | File |\n|{' --- |' * 5}\n{scenes}\n"
    )


def _line(number: int, video: Video) -> str:
    cost = "not known" if video.price_usd is None else f"${video.price_usd}"
    cells = [str(number), escape(video.prompt or ""), model_name(video.endpoint), cost]
    return f"| {' | '.join(cells)} | `{video.place}` |"


def _money(usd: Decimal, emulated: bool) -> str:
    return f"nothing (at fal, ${usd})" if emulated else f"${usd}"


def publish_storyboard(board: Storyboard, storage: Storage) -> None:
    """Show a storyboard in the run's artifacts; from a thread that may wait.

    Args:
        board: The storyboard.
        storage: Where its videos are.
    """
    _Teller().tell(board, storage)


class _Teller(Publisher):
    def tell(self, board: Storyboard, storage: Storage) -> None:
        if not self._may_publish:
            return
        with self._letting_go("card"):
            card = storyboard_card(board)
            synchronously(create_markdown_artifact, card, CARD_KEY, escape(board.title))
        if self._may_publish:
            with self._letting_go("scenes"):
                names = [str(number) for number in range(1, len(board.videos) + 1)]
                posters = posters_of(board.videos, names, storage)
                synchronously(create_image_artifact, posters, SCENES_KEY, escape(board.title))
