"""What the emulator can read of the pictures that a request names.

It asks no other host: a picture that is elsewhere is taken for good, and not shown in the video.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect_hailuo.emulator.outcomes import Outcome, model_failure
from prefect_hailuo.emulator.stills import Stills
from prefect_hailuo.emulator.uploads import Uploads
from prefect_hailuo.endpoints import VideoInput
from prefect_hailuo.images import DATA, decode_data_uri, image_fields, media_type_of

FIRST, LAST = "image_url", "end_image_url"
"""The fields that hold a picture, as they are called on the wire."""


class PictureReader:
    """Reads pictures out of `data:` URIs and out of the emulator's own storage.

    Args:
        uploads: The storage.
    """

    def __init__(self, uploads: Uploads) -> None:
        self._uploads = uploads

    def stills(self, kind: type[VideoInput], body: Mapping[str, Any], url: str) -> Stills:
        """The pictures of a request that is in order.

        Args:
            kind: Its endpoint's input class.
            body: Its input.
            url: The emulator's address.
        """
        named = {name: body.get(name) for name in image_fields(kind)}
        return Stills(*(self._read(named.get(name), url) for name in (FIRST, LAST)))

    def flaw(self, kind: type[VideoInput], body: Mapping[str, Any], url: str) -> Outcome | None:
        """How a request ends one of whose pictures is none; None where there is no such.

        Args:
            kind: Its endpoint's input class.
            body: Its input.
            url: The emulator's address.
        """
        for name in image_fields(kind):
            source = body.get(name)
            content = self._read(source, url)
            if content is None and self._is_here(source, url):
                text = "Failed to download the file. Please check if the URL is accessible."
                return model_failure(422, text, "file_download_error", field=name)
            if content is not None and media_type_of(content) is None:
                text = "Failed to load the image. Please ensure the image file is not corrupted."
                return model_failure(422, text, "image_load_error", field=name)
        return None

    def _read(self, source: object, url: str) -> bytes | None:
        if not isinstance(source, str):
            return None
        if source[: len(DATA)].lower() == DATA:
            return _decoded(source)
        upload = self._uploads.find(source.removeprefix(url)) if source.startswith(url) else None
        return upload.content if upload else None

    @staticmethod
    def _is_here(source: object, url: str) -> bool:
        return isinstance(source, str) and source.startswith(f"{url}/")


def _decoded(uri: str) -> bytes:
    try:
        return decode_data_uri(uri)
    except ValueError:
        return b""
