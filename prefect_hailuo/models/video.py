"""The video that a caller gets: downloaded, verified and stored, with its provenance."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from prefect_hailuo.ticket import Realm, Ticket


def leads_out(name: str) -> bool:
    """Whether a name might lead out of its place, on some platform.

    Example:
        >>> leads_out("2026/fox.mp4"), leads_out("../fox.mp4"), leads_out("/etc/fox.mp4")
        (False, True, True)
    """
    return any(not part.strip(" .") for part in re.split(r"[/\\]", name)) or bool(
        {*":\0"} & {*name}
    )


class Video(BaseModel):
    """A stored video and where it came from: a small, serializable value.

    Args:
        path: The local file; None if a storage block holds it.
        storage: The place that holds it.
        storage_key: Its name in that place.
        machine: The machine of a directory, and the directory's number there; None where a storage
            block holds it, or an earlier release stored it.
        url: fal's link to it, which expires some day.
        content_type: Its media type.
        size: Bytes.
        sha256: The file's SHA-256, hexadecimal.
        width: Pixels; None if the file does not say plainly, as for the next four.
        height: Pixels.
        duration_seconds: Seconds.
        frames_per_second: Frames per second.
        codec: Such as `h264`.
        audio_codec: Such as `aac`; None without a sound track, as for the next two, or where it is
            not known.
        audio_channels: The sound's channels.
        audio_hz: The sound's samples a second.
        has_manifest: Whether the file carries a C2PA manifest, which tells that a model made it;
            None where that is not known.
        notes: What in the file is not as it was asked for.
        output: What fal told besides the file, word for word, such as `seed` and
            `expanded_prompt`.
        endpoint: fal's endpoint id.
        input: The input; None for a request that was adopted by its id alone.
        take: Which of several videos of the same input.
        key: The generation's key; None for an adopted request.
        labels: The caller's labels.
        request_id: fal's id of the request.
        account: The label of the account that bought it.
        realm: Whether fal or the emulator made it.
        price_usd: What it cost by the catalogue, in US dollars; an estimate. None if no price is
            known.
        submitted_at: When fal accepted the request, UTC.
        completed_at: When its completion was seen, UTC.
        stored_at: When it was stored, UTC.
        inference_seconds: How long the model worked, as fal said.

    Example:
        >>> from prefect_hailuo import hailuo_02_pro_text_to_video
        >>> from prefect_hailuo.emulator import FalEmulator
        >>> with FalEmulator(speed=1000, clip="plain") as emulator:
        ...     mine = emulator.credentials()
        ...     video = hailuo_02_pro_text_to_video("An owl.", credentials=mine, storage="videos")
        >>> video.is_there(), video.made_by_emulator, video.prompt
        (True, True, 'An owl.')
        >>> Video.model_validate_json(video.path.with_suffix(".json").read_bytes()) == video
        True
    """

    model_config = ConfigDict(frozen=True)

    path: Path | None
    storage: str
    storage_key: str
    machine: str | None = None
    url: str
    content_type: str | None
    size: int
    sha256: str
    width: int | None = None
    height: int | None = None
    duration_seconds: float | None = None
    frames_per_second: float | None = None
    codec: str | None = None
    audio_codec: str | None = None
    audio_channels: int | None = None
    audio_hz: int | None = None
    has_manifest: bool | None = None
    notes: tuple[str, ...] = ()
    output: dict[str, Any] = Field(default_factory=dict)
    endpoint: str
    input: dict[str, Any] | None = None
    take: str = "0"
    key: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    request_id: str
    account: str | None = None
    realm: Realm
    price_usd: Decimal | None
    submitted_at: datetime | None = None
    completed_at: datetime | None = None
    stored_at: datetime
    inference_seconds: float | None = None

    def __setstate__(self, state: dict[Any, Any]) -> None:
        # What an earlier release pickled lacks the fields that came later.
        fields = type(self).model_fields.items()
        defaults = {
            name: field.get_default(call_default_factory=True)
            for name, field in fields
            if not field.is_required()
        }
        super().__setstate__({**state, "__dict__": defaults | state["__dict__"]})

    @field_validator("storage_key")
    @classmethod
    def _check_inside(cls, name: str) -> str:
        # Anybody who can write into a shared place can write a record, too.
        if leads_out(name):
            raise ValueError(f"{name!r} leads out of the storage")
        return name

    @property
    def made_by_emulator(self) -> bool:
        """Whether the emulator made it: then it shows nothing real, and cost nothing."""
        return self.realm == "emulator"

    @property
    def prompt(self) -> str | None:
        """The prompt; None if it is not known."""
        return self.input.get("prompt") if self.input else None

    @property
    def place(self) -> str:
        """Where it is, for people to read."""
        return str(self.path) if self.path else f"{self.storage}/{self.storage_key}"

    def is_there(self) -> bool:
        """Whether the local file is there in its size; True if there is no local path."""
        if self.path is None:
            return True
        try:
            return self.path.stat().st_size == self.size
        except OSError:
            return False


def ticket_of(video: Video) -> Ticket:
    """The ticket of the request that a video came from."""
    return Ticket.model_validate(video.model_dump(include=set(Ticket.model_fields)))
