"""Paid video generation as a first-class step of a Prefect workflow.

Each name is imported when it is first used, from where the imports for type checkers below say.
"""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module
from importlib.machinery import ModuleSpec
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
    "H3ImageToVideo",
    "H3MaxImageToVideo",
    "H3MaxReferenceToVideo",
    "H3MaxTextToVideo",
    "H3MaxTurboImageToVideo",
    "H3MaxTurboTextToVideo",
    "H3ReferenceToVideo",
    "H3TextToVideo",
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
    "PurchaseOptions",
    "Question",
    "Ticket",
    "Video",
    "Video01DirectorImageToVideo",
    "Video01DirectorTextToVideo",
    "Video01ImageToVideo",
    "Video01LiveImageToVideo",
    "Video01LiveTextToVideo",
    "Video01SubjectReference",
    "Video01TextToVideo",
    "VideoOutcome",
    "VideoOutcomes",
    "aask_approval",
    "adownload_video",
    "aestimate",
    "afetch_video",
    "agenerate_video",
    "agenerate_videos",
    "agenerate_videos_as_completed",
    "ah3_image_to_video",
    "ah3_max_image_to_video",
    "ah3_max_reference_to_video",
    "ah3_max_text_to_video",
    "ah3_max_turbo_image_to_video",
    "ah3_max_turbo_text_to_video",
    "ah3_reference_to_video",
    "ah3_text_to_video",
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
    "avideo_01_director_image_to_video",
    "avideo_01_director_text_to_video",
    "avideo_01_image_to_video",
    "avideo_01_live_image_to_video",
    "avideo_01_live_text_to_video",
    "avideo_01_subject_reference",
    "avideo_01_text_to_video",
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
    "h3_image_to_video",
    "h3_max_image_to_video",
    "h3_max_reference_to_video",
    "h3_max_text_to_video",
    "h3_max_turbo_image_to_video",
    "h3_max_turbo_text_to_video",
    "h3_reference_to_video",
    "h3_text_to_video",
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
    "video_01_director_image_to_video",
    "video_01_director_text_to_video",
    "video_01_image_to_video",
    "video_01_live_image_to_video",
    "video_01_live_text_to_video",
    "video_01_subject_reference",
    "video_01_text_to_video",
    "wait_for_video",
    "webhook_app",
]


class _MovedModules:
    """Finds modules under the names that they had in earlier releases; asked last."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if not name.startswith(f"{__name__}."):
            return None
        found: ModuleSpec | None = import_module(f"{__name__}.moved").spec_of(name)
        return found


sys.meta_path.append(_MovedModules)

if TYPE_CHECKING:
    from prefect_hailuo.engine.order import buying_only
    from prefect_hailuo.engine.outcome import VideoOutcome, VideoOutcomes
    from prefect_hailuo.models.camera import CAMERA_COMMANDS, check_camera_commands
    from prefect_hailuo.models.catalogue import (
        H3ImageToVideo,
        H3MaxImageToVideo,
        H3MaxReferenceToVideo,
        H3MaxTextToVideo,
        H3MaxTurboImageToVideo,
        H3MaxTurboTextToVideo,
        H3ReferenceToVideo,
        H3TextToVideo,
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
        Video01DirectorImageToVideo,
        Video01DirectorTextToVideo,
        Video01ImageToVideo,
        Video01LiveImageToVideo,
        Video01LiveTextToVideo,
        Video01SubjectReference,
        Video01TextToVideo,
    )
    from prefect_hailuo.models.image import ImageSource
    from prefect_hailuo.models.video import Video
    from prefect_hailuo.runs.blocks import Budget, FalCredentials
    from prefect_hailuo.runs.estimate import Estimate, aestimate, estimate
    from prefect_hailuo.runs.options import PurchaseOptions
    from prefect_hailuo.runs.orders import BatchItem, GenerationCachePolicy
    from prefect_hailuo.tasks.approval import Question, aask_approval, ask_approval
    from prefect_hailuo.tasks.batch import (
        agenerate_videos,
        agenerate_videos_as_completed,
        generate_videos,
        generate_videos_as_completed,
    )
    from prefect_hailuo.tasks.clips import (
        Clip,
        ajoin_videos,
        alast_frame,
        ashow_side_by_side,
        join_videos,
        last_frame,
        show_side_by_side,
    )
    from prefect_hailuo.tasks.generate import agenerate_video, generate_video
    from prefect_hailuo.tasks.hailuo import (
        ahailuo_02_fast_image_to_video,
        ahailuo_02_pro_image_to_video,
        ahailuo_02_pro_text_to_video,
        ahailuo_02_standard_image_to_video,
        ahailuo_02_standard_text_to_video,
        ahailuo_23_fast_pro_image_to_video,
        ahailuo_23_fast_standard_image_to_video,
        ahailuo_23_pro_image_to_video,
        ahailuo_23_pro_text_to_video,
        ahailuo_23_standard_image_to_video,
        ahailuo_23_standard_text_to_video,
        hailuo_02_fast_image_to_video,
        hailuo_02_pro_image_to_video,
        hailuo_02_pro_text_to_video,
        hailuo_02_standard_image_to_video,
        hailuo_02_standard_text_to_video,
        hailuo_23_fast_pro_image_to_video,
        hailuo_23_fast_standard_image_to_video,
        hailuo_23_pro_image_to_video,
        hailuo_23_pro_text_to_video,
        hailuo_23_standard_image_to_video,
        hailuo_23_standard_text_to_video,
    )
    from prefect_hailuo.tasks.hailuo3 import (
        ah3_image_to_video,
        ah3_max_image_to_video,
        ah3_max_reference_to_video,
        ah3_max_text_to_video,
        ah3_max_turbo_image_to_video,
        ah3_max_turbo_text_to_video,
        ah3_reference_to_video,
        ah3_text_to_video,
        h3_image_to_video,
        h3_max_image_to_video,
        h3_max_reference_to_video,
        h3_max_text_to_video,
        h3_max_turbo_image_to_video,
        h3_max_turbo_text_to_video,
        h3_reference_to_video,
        h3_text_to_video,
    )
    from prefect_hailuo.tasks.jobs import HailuoVideoJob, HailuoVideoRun
    from prefect_hailuo.tasks.schedule import askip_missed_slot, skip_missed_slot, slot_take
    from prefect_hailuo.tasks.steps import (
        adownload_video,
        afetch_video,
        asubmit_video,
        await_for_video,
        download_video,
        fetch_video,
        submit_video,
        wait_for_video,
    )
    from prefect_hailuo.tasks.suspension import asuspend_for_video, suspend_for_video, webhook_app
    from prefect_hailuo.tasks.sweep import cancel_generations
    from prefect_hailuo.tasks.video01 import (
        avideo_01_director_image_to_video,
        avideo_01_director_text_to_video,
        avideo_01_image_to_video,
        avideo_01_live_image_to_video,
        avideo_01_live_text_to_video,
        avideo_01_subject_reference,
        avideo_01_text_to_video,
        video_01_director_image_to_video,
        video_01_director_text_to_video,
        video_01_image_to_video,
        video_01_live_image_to_video,
        video_01_live_text_to_video,
        video_01_subject_reference,
        video_01_text_to_video,
    )
    from prefect_hailuo.ticket import Ticket
else:
    # Kept from type checkers, for whom a module with a `__getattr__` has every name.

    @cache
    def _homes() -> dict[str, str]:
        """The module that each public name is imported from, as type checkers read it above."""
        import ast

        tree = ast.parse(__spec__.loader.get_source(__name__))
        block = next(each for each in tree.body if isinstance(each, ast.If))
        return {alias.name: each.module for each in block.body for alias in each.names}

    def __getattr__(name: str) -> object:
        """A public name from its module, or a module of the package."""
        if name in __all__:
            value = getattr(import_module(_homes()[name]), name)
        elif name.startswith("_") or not find_spec(f"{__name__}.{name}"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        else:
            value = import_module(f"{__name__}.{name}")
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        """All names, also those that nobody touched yet: Prefect finds the blocks by them."""
        return sorted({*globals(), *__all__})
