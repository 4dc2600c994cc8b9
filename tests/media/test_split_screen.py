"""Videos shown side by side in one."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_joining import BLUE, GREEN, RED, colour_at, pictures, shot

from prefect_hailuo.media.coding import WIDTH, place_side_by_side


def test_two_stand_beside_each_other(tmp_path: Path) -> None:
    """Left is left, right is right, each as large as the other, below a strip for the names."""
    parts = [shot(tmp_path / "a.mp4", RED, frames=3), shot(tmp_path / "b.mp4", BLUE, frames=3)]
    place_side_by_side(parts, ["left", "right"], tmp_path / "both.mp4")
    shown = pictures(tmp_path / "both.mp4")
    assert len(shown) == 3
    for _, picture in shown:
        assert picture.size == (WIDTH, 778)  # 720 of picture, and 58 of name
        assert [colour_at(picture, x, y) for x, y in ((480, 400), (1440, 400))] == [RED, BLUE]
        assert colour_at(picture, 955, 70) == RED and colour_at(picture, 965, 770) == BLUE
        strip = picture.crop((0, 0, 960, 58)).convert("L").tobytes()
        assert max(strip) > 150  # something is written there


def test_the_shorter_one_holds_its_last_picture(tmp_path: Path) -> None:
    """It plays at the quicker one's rate, as long as the longer one lasts."""
    short = shot(tmp_path / "short.mp4", RED, frames=2, rate=24)
    long = shot(tmp_path / "long.mp4", BLUE, frames=4, rate=12)
    place_side_by_side([short, long], ["2.3", "02"], tmp_path / "both.mp4")
    shown = pictures(tmp_path / "both.mp4")
    assert [time for time, _ in shown] == [round(n / 24, 3) for n in range(8)]
    assert {colour_at(picture, 480, 400) for _, picture in shown} == {RED}
    assert {colour_at(picture, 1440, 400) for _, picture in shown} == {BLUE}


def test_other_shapes_get_bars_and_many_get_rows(tmp_path: Path) -> None:
    """Nothing is stretched, and four stand two by two."""
    flat = shot(tmp_path / "flat.mp4", GREEN, size=(128, 48), frames=2)
    high = shot(tmp_path / "high.mp4", RED, size=(64, 48), frames=2)
    place_side_by_side([high, flat, flat, high], list("abcd"), tmp_path / "four.mp4")
    _, picture = pictures(tmp_path / "four.mp4")[0]
    assert picture.size == (WIDTH, 2 * 778)
    centres = [(480, 418), (1440, 418), (480, 1196), (1440, 1196)]
    assert [colour_at(picture, x, y) for x, y in centres] == [RED, GREEN, GREEN, RED]
    assert colour_at(picture, 1440, 80) is None  # the bar above the flat one


@pytest.mark.parametrize(("files", "names"), [(1, 1), (2, 1)])
def test_it_takes_two_and_their_names(tmp_path: Path, files: int, names: int) -> None:
    """One alone, or one without a name, is refused before anything is written."""
    part = shot(tmp_path / "a.mp4", RED, frames=2)
    with pytest.raises(ValueError, match="two files"):
        place_side_by_side([part] * files, ["a"] * names, tmp_path / "both.mp4")
    assert not (tmp_path / "both.mp4").exists()
