"""Paid video generation as a first-class step of a Prefect workflow.

Each name is imported when it is first touched: whoever needs one thing does not wait for the rest.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

__all__ = [
    "CAMERA_COMMANDS",
    "BatchItem",
    "Budget",
    "Clip",
    "Estimate",
    "FalCredentials",
    "GenerationCachePolicy",
    "Hailuo02FastImageToVideo",
    "Hailuo02ProImageToVideo",
    "Hailuo02ProTextToVideo",
    "Hailuo02StandardImageToVideo",
    "Hailuo02StandardTextToVideo",
    "Hailuo23FastProImageToVideo",
    "Hailuo23FastStandardImageToVideo",
    "Hailuo23ProImageToVideo",
    "Hailuo23ProTextToVideo",
    "Hailuo23StandardImageToVideo",
    "Hailuo23StandardTextToVideo",
    "HailuoVideoJob",
    "HailuoVideoRun",
    "ImageSource",
    "Question",
    "Ticket",
    "Video",
    "VideoOutcome",
    "VideoOutcomes",
    "aask_approval",
    "adownload_video",
    "aestimate",
    "afetch_video",
    "agenerate_video",
    "agenerate_videos",
    "agenerate_videos_as_completed",
    "ahailuo_02_fast_image_to_video",
    "ahailuo_02_pro_image_to_video",
    "ahailuo_02_pro_text_to_video",
    "ahailuo_02_standard_image_to_video",
    "ahailuo_02_standard_text_to_video",
    "ahailuo_23_fast_pro_image_to_video",
    "ahailuo_23_fast_standard_image_to_video",
    "ahailuo_23_pro_image_to_video",
    "ahailuo_23_pro_text_to_video",
    "ahailuo_23_standard_image_to_video",
    "ahailuo_23_standard_text_to_video",
    "ajoin_videos",
    "alast_frame",
    "ashow_side_by_side",
    "ask_approval",
    "askip_missed_slot",
    "asubmit_video",
    "asuspend_for_video",
    "await_for_video",
    "buying_only",
    "cancel_generations",
    "check_camera_commands",
    "download_video",
    "estimate",
    "fetch_video",
    "generate_video",
    "generate_videos",
    "generate_videos_as_completed",
    "hailuo_02_fast_image_to_video",
    "hailuo_02_pro_image_to_video",
    "hailuo_02_pro_text_to_video",
    "hailuo_02_standard_image_to_video",
    "hailuo_02_standard_text_to_video",
    "hailuo_23_fast_pro_image_to_video",
    "hailuo_23_fast_standard_image_to_video",
    "hailuo_23_pro_image_to_video",
    "hailuo_23_pro_text_to_video",
    "hailuo_23_standard_image_to_video",
    "hailuo_23_standard_text_to_video",
    "join_videos",
    "last_frame",
    "show_side_by_side",
    "skip_missed_slot",
    "slot_take",
    "submit_video",
    "suspend_for_video",
    "wait_for_video",
    "webhook_app",
]

if TYPE_CHECKING:
    from prefect_hailuo.approval import Question, aask_approval, ask_approval
    from prefect_hailuo.approved import buying_only
    from prefect_hailuo.as_completed import (
        agenerate_videos_as_completed,
        generate_videos_as_completed,
    )
    from prefect_hailuo.batch_tasks import agenerate_videos, generate_videos
    from prefect_hailuo.blocks import FalCredentials
    from prefect_hailuo.budget import Budget
    from prefect_hailuo.caching import GenerationCachePolicy
    from prefect_hailuo.camera import CAMERA_COMMANDS, check_camera_commands
    from prefect_hailuo.catalogue import BatchItem
    from prefect_hailuo.endpoints import (
        Hailuo02FastImageToVideo,
        Hailuo02ProImageToVideo,
        Hailuo02ProTextToVideo,
        Hailuo02StandardImageToVideo,
        Hailuo02StandardTextToVideo,
        Hailuo23FastProImageToVideo,
        Hailuo23FastStandardImageToVideo,
        Hailuo23ProImageToVideo,
        Hailuo23ProTextToVideo,
        Hailuo23StandardImageToVideo,
        Hailuo23StandardTextToVideo,
    )
    from prefect_hailuo.estimating import Estimate, aestimate, estimate
    from prefect_hailuo.fal.messages import Ticket
    from prefect_hailuo.hooks import cancel_generations
    from prefect_hailuo.images import ImageSource
    from prefect_hailuo.jobs import HailuoVideoJob, HailuoVideoRun
    from prefect_hailuo.montage import Clip
    from prefect_hailuo.montage_tasks import (
        ajoin_videos,
        alast_frame,
        ashow_side_by_side,
        join_videos,
        last_frame,
        show_side_by_side,
    )
    from prefect_hailuo.outcomes import VideoOutcome, VideoOutcomes
    from prefect_hailuo.schedules import askip_missed_slot, skip_missed_slot, slot_take
    from prefect_hailuo.step_tasks import (
        adownload_video,
        afetch_video,
        asubmit_video,
        await_for_video,
        download_video,
        fetch_video,
        submit_video,
        wait_for_video,
    )
    from prefect_hailuo.suspending import asuspend_for_video, suspend_for_video
    from prefect_hailuo.tasks.generating import agenerate_video, generate_video
    from prefect_hailuo.tasks.image_02 import (
        ahailuo_02_pro_image_to_video,
        ahailuo_02_standard_image_to_video,
        hailuo_02_pro_image_to_video,
        hailuo_02_standard_image_to_video,
    )
    from prefect_hailuo.tasks.image_02_fast import (
        ahailuo_02_fast_image_to_video,
        hailuo_02_fast_image_to_video,
    )
    from prefect_hailuo.tasks.image_23 import (
        ahailuo_23_pro_image_to_video,
        ahailuo_23_standard_image_to_video,
        hailuo_23_pro_image_to_video,
        hailuo_23_standard_image_to_video,
    )
    from prefect_hailuo.tasks.image_23_fast import (
        ahailuo_23_fast_pro_image_to_video,
        ahailuo_23_fast_standard_image_to_video,
        hailuo_23_fast_pro_image_to_video,
        hailuo_23_fast_standard_image_to_video,
    )
    from prefect_hailuo.tasks.text_02 import (
        ahailuo_02_pro_text_to_video,
        ahailuo_02_standard_text_to_video,
        hailuo_02_pro_text_to_video,
        hailuo_02_standard_text_to_video,
    )
    from prefect_hailuo.tasks.text_23 import (
        ahailuo_23_pro_text_to_video,
        ahailuo_23_standard_text_to_video,
        hailuo_23_pro_text_to_video,
        hailuo_23_standard_text_to_video,
    )
    from prefect_hailuo.video import Video
    from prefect_hailuo.webhooks import webhook_app
else:
    # Kept from type checkers, for whom a module with a `__getattr__` has every name.
    _HOMES = {
        "BatchItem": "catalogue",
        "Budget": "budget",
        "CAMERA_COMMANDS": "camera",
        "Clip": "montage",
        "Estimate": "estimating",
        "FalCredentials": "blocks",
        "GenerationCachePolicy": "caching",
        "Hailuo02FastImageToVideo": "endpoints",
        "Hailuo02ProImageToVideo": "endpoints",
        "Hailuo02ProTextToVideo": "endpoints",
        "Hailuo02StandardImageToVideo": "endpoints",
        "Hailuo02StandardTextToVideo": "endpoints",
        "Hailuo23FastProImageToVideo": "endpoints",
        "Hailuo23FastStandardImageToVideo": "endpoints",
        "Hailuo23ProImageToVideo": "endpoints",
        "Hailuo23ProTextToVideo": "endpoints",
        "Hailuo23StandardImageToVideo": "endpoints",
        "Hailuo23StandardTextToVideo": "endpoints",
        "HailuoVideoJob": "jobs",
        "HailuoVideoRun": "jobs",
        "ImageSource": "images",
        "Question": "approval",
        "Ticket": "fal.messages",
        "Video": "video",
        "VideoOutcome": "outcomes",
        "VideoOutcomes": "outcomes",
        "aask_approval": "approval",
        "adownload_video": "step_tasks",
        "aestimate": "estimating",
        "afetch_video": "step_tasks",
        "agenerate_video": "tasks.generating",
        "agenerate_videos": "batch_tasks",
        "agenerate_videos_as_completed": "as_completed",
        "ahailuo_02_fast_image_to_video": "tasks.image_02_fast",
        "ahailuo_02_pro_image_to_video": "tasks.image_02",
        "ahailuo_02_pro_text_to_video": "tasks.text_02",
        "ahailuo_02_standard_image_to_video": "tasks.image_02",
        "ahailuo_02_standard_text_to_video": "tasks.text_02",
        "ahailuo_23_fast_pro_image_to_video": "tasks.image_23_fast",
        "ahailuo_23_fast_standard_image_to_video": "tasks.image_23_fast",
        "ahailuo_23_pro_image_to_video": "tasks.image_23",
        "ahailuo_23_pro_text_to_video": "tasks.text_23",
        "ahailuo_23_standard_image_to_video": "tasks.image_23",
        "ahailuo_23_standard_text_to_video": "tasks.text_23",
        "ajoin_videos": "montage_tasks",
        "alast_frame": "montage_tasks",
        "ashow_side_by_side": "montage_tasks",
        "askip_missed_slot": "schedules",
        "ask_approval": "approval",
        "asubmit_video": "step_tasks",
        "asuspend_for_video": "suspending",
        "await_for_video": "step_tasks",
        "buying_only": "approved",
        "cancel_generations": "hooks",
        "check_camera_commands": "camera",
        "download_video": "step_tasks",
        "estimate": "estimating",
        "fetch_video": "step_tasks",
        "generate_video": "tasks.generating",
        "generate_videos": "batch_tasks",
        "generate_videos_as_completed": "as_completed",
        "hailuo_02_fast_image_to_video": "tasks.image_02_fast",
        "hailuo_02_pro_image_to_video": "tasks.image_02",
        "hailuo_02_pro_text_to_video": "tasks.text_02",
        "hailuo_02_standard_image_to_video": "tasks.image_02",
        "hailuo_02_standard_text_to_video": "tasks.text_02",
        "hailuo_23_fast_pro_image_to_video": "tasks.image_23_fast",
        "hailuo_23_fast_standard_image_to_video": "tasks.image_23_fast",
        "hailuo_23_pro_image_to_video": "tasks.image_23",
        "hailuo_23_pro_text_to_video": "tasks.text_23",
        "hailuo_23_standard_image_to_video": "tasks.image_23",
        "hailuo_23_standard_text_to_video": "tasks.text_23",
        "join_videos": "montage_tasks",
        "last_frame": "montage_tasks",
        "show_side_by_side": "montage_tasks",
        "skip_missed_slot": "schedules",
        "slot_take": "schedules",
        "submit_video": "step_tasks",
        "suspend_for_video": "suspending",
        "wait_for_video": "step_tasks",
        "webhook_app": "webhooks",
    }

    def __getattr__(name: str) -> object:
        """A public name from its module, or a module of the package."""
        if name in _HOMES:
            value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        elif name.startswith("_") or not find_spec(f"{__name__}.{name}"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        else:
            value = import_module(f"{__name__}.{name}")
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        """All names, also those that nobody touched yet: Prefect finds the blocks by them."""
        return sorted({*globals(), *__all__})
