"""The card of several videos, with their posters in one picture, as artifacts of a flow run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from prefect.artifacts import create_image_artifact, create_markdown_artifact

from prefect_hailuo.errors import HailuoError
from prefect_hailuo.media.frames import MOST_PICTURES, filmstrip
from prefect_hailuo.models.video import Video
from prefect_hailuo.runs.cards import Publisher
from prefect_hailuo.runs.settings import synchronously
from prefect_hailuo.runs.storage import Storage, resolve_storage
from prefect_hailuo.tasks.clips import local_files


class CardPublisher(Publisher):
    """Publishes the card of several videos, and their posters in one picture.

    Args:
        description: What the artifacts are of, in Markdown.
    """

    def __init__(self, description: str) -> None:
        super().__init__()
        self._description = description

    def publish(self, key: str, card: Callable[[], str]) -> None:
        """Publish the card.

        Args:
            key: The artifact's key.
            card: Makes the card, in Markdown.
        """
        if self._may_publish:
            with self._letting_go("card"):
                synchronously(create_markdown_artifact, card(), key, self._description)

    def publish_posters(
        self, key: str, named: Sequence[tuple[str, Video | None]], storage: Storage
    ) -> None:
        """Publish the posters, if there is any video.

        Args:
            key: The artifact's key.
            named: The videos, each with what to write above it; None in place of one that is not
                there.
            storage: Where they are.
        """
        if self._may_publish and any(video for _, video in named):
            with self._letting_go("posters"):
                names, videos = zip(*named, strict=True)
                posters = posters_of(videos, names, storage)
                synchronously(create_image_artifact, posters, key, self._description)


def posters_of(videos: Sequence[Video | None], names: Sequence[str], storage: Storage) -> str:
    """The posters of videos as one picture, in an address that holds it.

    Args:
        videos: The videos; None in place of one that is not there.
        names: What to write above each.
        storage: Where they are.
    """
    files: list[Path | None] = []
    with ExitStack() as stack:
        for video in videos[:MOST_PICTURES]:
            file = None
            if video is not None:
                place = resolve_storage(storage, video.realm)
                with suppress(HailuoError):  # one missing poster is no reason to show none
                    (file,) = stack.enter_context(local_files([video], place))
            files.append(file)
        return filmstrip(files, names[: len(files)])
