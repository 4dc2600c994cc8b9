"""The walk through the code that the documentation lists: it is short, and it is the real one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.road import counted, walk

ROOT = Path(__file__).parents[2]


def test_the_walk_is_straight() -> None:
    """At most so many functions, in so few files, hardly one that only hands on, few ways back."""
    hops, files, forwards, returns = map(int, re.findall(r"\d+", counted(walk())))
    assert hops <= 110
    assert files <= 32
    assert forwards <= 20
    assert returns <= 40


@pytest.mark.campaign
def test_a_video_takes_the_walk_that_is_documented() -> None:
    """A real video passes every function of it, in its order."""
    command = [sys.executable, "-m", "benchmarks.road", "--every"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    passed = [tuple(line.split()) for line in done.stdout.splitlines() if ".py " in line]
    places = [passed.index((hop.file, hop.name)) for hop in walk()]
    assert places == sorted(places)
