"""The emulator's storage: the files that clients upload, and the pictures that a request names.

The emulator asks no other host. A picture that is kept elsewhere counts as good, and is not shown
in the video.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from prefect_hailuo.emulator.clip import Stills
from prefect_hailuo.emulator.outcome import Outcome, model_failure
from prefect_hailuo.models.catalogue import VideoInput
from prefect_hailuo.models.image import decode_data_uri, is_data_uri, media_fields
from prefect_hailuo.models.media import Rules, media_type_of

if TYPE_CHECKING:
    pass


TOKEN_SECONDS = 3600
"""How long a token for the CDN is good."""

_ODD = re.compile(r"[^\w.-]+", re.ASCII)


@dataclass
class Upload:
    """A file in the storage.

    Args:
        path: Where it is served, below the emulator's address.
        content_type: As the client said.
        signature: What a client must know to put the content there.
        content: The file; None until it was put there.
        expires_at: Until when it is served, in seconds since 1970; None: for ever.
        authorized: Whether the PUT carried an Authorization header. A client should send none: the
            URL is signed, and its host must not learn the key.
    """

    path: str
    content_type: str
    signature: str
    expires_at: float | None = None
    content: bytes | None = None
    authorized: bool = False
    parts: dict[int, bytes] = field(default_factory=dict)

    def take_part(self, number: int, content: bytes) -> str:
        """Keep a part; returns its ETag."""
        self.parts[number] = content
        return _etag(content)

    def complete(self, named: Any) -> bool:
        """Put the parts together, in the order of their numbers; False if others are named."""
        mine = {number: _etag(content) for number, content in self.parts.items()}
        try:
            theirs = {each["partNumber"]: each["etag"] for each in named}
        except (TypeError, KeyError):
            return False
        if not mine or theirs != mine:
            return False
        self.content = b"".join(self.parts.pop(number) for number in sorted(mine))
        return True


def _etag(content: bytes) -> str:
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'


class Uploads:
    """All uploaded files. They are kept in memory as long as the emulator runs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_path: dict[str, Upload] = {}
        self._tokens: dict[str, float] = {}

    def begin(
        self, file_name: str, content_type: str, lifetime_seconds: float | None = None
    ) -> Upload:
        """Make room for a file. Its name stays in its path, as third parties report of fal."""
        name = _ODD.sub("-", file_name).strip("-.") or "upload.bin"
        path = f"/storage/{secrets.token_hex(8)}/{name}"
        expires_at = None if lifetime_seconds is None else time.time() + lifetime_seconds
        upload = Upload(path, content_type, secrets.token_hex(16), expires_at)
        with self._lock:
            self._by_path[path] = upload
        return upload

    def find(self, path: str) -> Upload | None:
        """The file at a path, whether its content is there yet or not; None once it expired."""
        upload = self._by_path.get(path)
        expired = upload and upload.expires_at is not None and upload.expires_at < time.time()
        return None if expired else upload

    def kept(self) -> list[Upload]:
        """The files whose content is there, oldest first."""
        with self._lock:
            return [each for each in self._by_path.values() if each.content is not None]

    def issue_token(self) -> str:
        """A token with which files may be put into the CDN for a while."""
        token = secrets.token_urlsafe(24)
        self._tokens[token] = time.time() + TOKEN_SECONDS
        return token

    def knows_token(self, token: str) -> bool:
        """Whether a token is good."""
        return self._tokens.get(token, 0.0) > time.time()


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
        """The pictures of a request.

        Args:
            kind: Its endpoint's input class.
            body: Its input.
            url: The emulator's address.
        """
        named = {name: body.get(name) for name in media_fields(kind)}
        return Stills(*(self._read(named.get(name), url) for name in (FIRST, LAST)))

    def flaw(self, kind: type[VideoInput], body: Mapping[str, Any], url: str) -> Outcome | None:
        """How a request fails because of a picture, video or sound; None if they are good.

        Args:
            kind: Its endpoint's input class.
            body: Its input.
            url: The emulator's address.
        """
        for name, rules in media_fields(kind).items():
            given = body.get(name)
            for source in given if isinstance(given, list) else [given]:
                if flaw := self._flaw(name, rules, source, url):
                    return flaw
        return None

    def _flaw(self, name: str, rules: Rules, source: object, url: str) -> Outcome | None:
        content = self._read(source, url)
        if content is None and self._is_here(source, url):
            text = "Failed to download the file. Please check if the URL is accessible."
            return model_failure(422, text, "file_download_error", field=name)
        if content is None or media_type_of(content) in rules.media_types.values():
            return None
        word = {"picture": "image", "sound": "audio"}.get(rules.kind, rules.kind)
        text = f"Failed to load the {word}. Please ensure the {word} file is not corrupted."
        return model_failure(422, text, f"{word}_load_error", field=name)

    def _read(self, source: object, url: str) -> bytes | None:
        if not isinstance(source, str):
            return None
        if is_data_uri(source):
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
