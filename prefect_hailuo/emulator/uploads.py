"""The files that clients upload to the emulator's storage."""

from __future__ import annotations

import re
import secrets
import threading
import time
from dataclasses import dataclass

TOKEN_SECONDS = 3600
"""How long a token for the CDN is good."""

_ODD = re.compile(r"[^\w.-]+", re.ASCII)


@dataclass
class Upload:
    """A file in the storage.

    Args:
        path: Where it is served, below the emulator's address.
        content_type: As the client said.
        signature: What whoever puts the content there must know.
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


class Uploads:
    """The storage: kept in memory, as long as the emulator runs."""

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
        """Those whose content is there, oldest first."""
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
