"""A comparison: what several models made of one prompt, and the card that shows it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from pydantic import BaseModel

from prefect_hailuo.engine.outcome import VideoOutcome
from prefect_hailuo.flows.cards import CardPublisher
from prefect_hailuo.models.money import told_usd
from prefect_hailuo.models.video import Video
from prefect_hailuo.runs.markdown import escape, notice, table
from prefect_hailuo.runs.storage import Storage
from prefect_hailuo.tasks.clips import Clip

CARD_KEY = "hailuo-comparison"
POSTERS_KEY = "hailuo-comparison-posters"


class Comparison(BaseModel):
    """What several models made of one prompt.

    Args:
        prompt: The prompt.
        outcomes: What came of each model: a video, or an error.
        clip: The clip that plays the videos side by side; None where there are not two.
    """

    prompt: str
    outcomes: list[VideoOutcome]
    clip: Clip | None = None

    @property
    def videos(self) -> list[Video]:
        """The videos that there are."""
        return [each.video for each in self.outcomes if each.video]

    @property
    def failed(self) -> list[VideoOutcome]:
        """The outcomes that are errors."""
        return [each for each in self.outcomes if each.failure]


def name_of(outcome: VideoOutcome) -> str:
    """The model that an outcome is of."""
    return outcome.input.endpoint.name


def seconds_taken(video: Video) -> float | None:
    """How long fal took, from accepting the request until its completion was seen.

    Example:
        >>> from datetime import datetime
        >>> begun, done = datetime(2026, 1, 1, 0, 0), datetime(2026, 1, 1, 0, 2)
        >>> seconds_taken(Video.model_construct(submitted_at=begun, completed_at=done))
        120.0
    """
    if video.submitted_at is None or video.completed_at is None:
        return None
    taken: timedelta = video.completed_at - video.submitted_at
    return taken.total_seconds()


def comparison_card(comparison: Comparison) -> str:
    """A comparison's card, in Markdown: a column for each model."""
    emulated = any(each.made_by_emulator for each in comparison.videos)
    links = [f"[{name_of(each)}]({each.input.endpoint.page})" for each in comparison.outcomes]
    text = f"> {escape(comparison.prompt)}\n\n{table(['', *links], _rows(comparison.outcomes))}"
    banner = notice("emulator" if emulated else "fal")
    return f"{banner}{text}\n\n{_clip_text(comparison)}\n"


def _rows(outcomes: Sequence[VideoOutcome]) -> list[list[str]]:
    cells = [_cells(each) for each in outcomes]
    names = dict.fromkeys(name for each in cells for name in each)
    named = [[name, *(each.get(name, "") for each in cells)] for name in names]
    failed = [each.failure for each in outcomes]
    if any(failed):
        said = [escape(f"{each.kind}: {each.message}") if each else "" for each in failed]
        named.append(["Failed", *said])
    return [row for row in named if any(row[1:])]


def _cells(outcome: VideoOutcome) -> dict[str, str]:
    video = outcome.video
    if video is None:
        return {}
    taken, worked = seconds_taken(video), video.inference_seconds
    return {
        "Cost": told_usd(video.price_usd, video.realm),
        "Took": _seconds(taken),
        "Model worked": _seconds(worked),
        "Picture": f"{video.width}×{video.height}" if video.width else "",
        "Length": _seconds(video.duration_seconds),
        "Size": f"{video.size:,} bytes",
        "Take": escape(video.take),
        "File": f"`{video.place}`",
        "Link": f"[fal's copy, for as long as it keeps it]({video.url})",
        "Request id": f"`{video.request_id}`",
    }


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.1f} s"


def _clip_text(comparison: Comparison) -> str:
    if comparison.clip is None:
        return "There is no clip, for there are not two videos."
    return f"Side by side: `{comparison.clip.place}`"


def publish_comparison(comparison: Comparison, storage: Storage) -> None:
    """Show a comparison in the run's artifacts; from a thread that may wait.

    Args:
        comparison: The comparison.
        storage: Where its videos are.
    """
    named = [(name_of(each), each.video) for each in comparison.outcomes]
    publisher = CardPublisher(escape(comparison.prompt))
    publisher.publish(CARD_KEY, lambda: comparison_card(comparison))
    publisher.publish_posters(POSTERS_KEY, named, storage)
