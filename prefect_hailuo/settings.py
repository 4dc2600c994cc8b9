"""What a user can set once for all calls, in Prefect's own way."""

from __future__ import annotations

from pathlib import Path

from prefect.settings import get_current_settings
from prefect.settings.base import PrefectBaseSettings, build_settings_config
from pydantic import Field

from prefect_hailuo.fal.client import DEFAULT_TIMEOUT_SECONDS
from prefect_hailuo.fal.messages import Realm


class HailuoSettings(PrefectBaseSettings):
    """Read from `PREFECT_INTEGRATIONS_HAILUO_…` environment variables, Prefect's profile,
    `prefect.toml`, or `pyproject.toml`.

    Example:
        >>> HailuoSettings(timeout_seconds=3600).timeout_seconds
        3600.0
    """

    model_config = build_settings_config(("integrations", "hailuo"))

    output_directory: Path | None = Field(
        default=None,
        description="Where videos are kept when a call names no storage, a folder a realm; "
        "by default, in `hailuo` under Prefect's home.",
    )
    timeout_seconds: float = Field(
        default=DEFAULT_TIMEOUT_SECONDS,
        gt=0,
        description="How long a generation is waited for when a call does not say; passing it "
        "loses nothing.",
    )
    emulator_url: str | None = Field(
        default=None,
        description="Where an emulator runs that calls without credentials are to use instead of "
        "fal, to test flows as they are at no cost. Such calls then need no key.",
    )
    artifacts: bool = Field(
        default=True,
        description="Whether runs publish artifacts: progress, a card, and a poster.",
    )

    def videos_of(self, realm: Realm) -> Path:
        """The default output directory of a realm: what is real and what is not stay apart."""
        base = self.output_directory or get_current_settings().home / "hailuo"
        return base / realm / "videos"
