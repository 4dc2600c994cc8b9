"""Paid video generation as a first-class step of a Prefect workflow."""

from prefect_hailuo.blocks import FalCredentials
from prefect_hailuo.budget import Budget
from prefect_hailuo.caching import GenerationCachePolicy
from prefect_hailuo.endpoints import Hailuo02ProTextToVideo, Hailuo23ProTextToVideo
from prefect_hailuo.estimating import Estimate, aestimate, estimate
from prefect_hailuo.fal.messages import Ticket
from prefect_hailuo.hooks import cancel_generations
from prefect_hailuo.jobs import HailuoVideoJob, HailuoVideoRun
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
from prefect_hailuo.tasks import (
    agenerate_video,
    ahailuo_02_pro_text_to_video,
    ahailuo_23_pro_text_to_video,
    generate_video,
    hailuo_02_pro_text_to_video,
    hailuo_23_pro_text_to_video,
)
from prefect_hailuo.video import Video

__all__ = [
    "Budget",
    "Estimate",
    "FalCredentials",
    "GenerationCachePolicy",
    "Hailuo02ProTextToVideo",
    "Hailuo23ProTextToVideo",
    "HailuoVideoJob",
    "HailuoVideoRun",
    "Ticket",
    "Video",
    "adownload_video",
    "aestimate",
    "afetch_video",
    "agenerate_video",
    "ahailuo_02_pro_text_to_video",
    "ahailuo_23_pro_text_to_video",
    "asubmit_video",
    "await_for_video",
    "cancel_generations",
    "download_video",
    "estimate",
    "fetch_video",
    "generate_video",
    "hailuo_02_pro_text_to_video",
    "hailuo_23_pro_text_to_video",
    "submit_video",
    "wait_for_video",
]
