"""Support with and without synthetic samples: draws, sums and figures told by hand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from aligndiff.dataset.images import write_grey, write_image, write_mask
from aligndiff.dataset.support import find_pairs
from aligndiff.evaluation.config import SupportGainConfig
from aligndiff.evaluation.intervals import fb_iou, gain_curve, gain_rows
from aligndiff.evaluation.report import gain_columns, gain_json, gain_plot, gain_sheet
from aligndiff.evaluation.support_gain import ClassGain, GainTask, measure_gain, plan_draws
from tests.evaluation.test_evaluation import RedSegmenter, still


@dataclass
class Sample:
    """The part of a StoredSample that is used: an object of one red on the left half."""

    red: int
    name: str = "sample"

    def read_image(self) -> np.ndarray:
        return half(self.red)

    def read_labels(self) -> np.ndarray:
        return half(1)[..., 0] == 1


def half(red: int) -> np.ndarray:
    image = np.zeros((4, 8, 3), np.uint8)
    image[:, :4, 0] = red
    return image


def task(root: Path, category: str, samples: list[int], tests: list[int]) -> GainTask:
    """Real pairs of red 100; samples and tests of the given reds, objects on the left half."""
    for folder, reds in (("real", [100, 100]), ("test", tests)):
        (root / category / folder).mkdir(parents=True)
        for number, red in enumerate(reds):
            exact = root / category / folder / f"{number}i.png"  # a JPEG would blur the reds
            write_image(exact, half(red))
            exact.rename(exact.with_name(f"{number}.webp"))
            write_mask(root / category / folder / f"{number}.png", half(1)[..., 0] == 1)
    real, test = (tuple(find_pairs(root / category / name)) for name in ("real", "test"))
    return GainTask(category, real, tuple(Sample(red) for red in samples), test, side=8)


@pytest.fixture
def classes(tmp_path: Path) -> list[ClassGain]:
    """Cats gain: half of their tests are of red 140, halfway to the samples. Dogs lose them all."""
    tasks = [
        task(tmp_path, "cat", [180, 180, 180], [140, 100]),
        task(tmp_path, "dog", [240], [100]),
    ]
    config = SupportGainConfig(Path(), Path(), counts=(1, 2), draws=3, resamples=200)
    return measure_gain(RedSegmenter(), tasks, config, seed=0, batch_size=2, advance=still)


def test_draws_are_nested_follow_from_the_seed_and_end_with_all_samples() -> None:
    draws = plan_draws(6, 9, (1, 4, 50), 3, seed=(0, 1))
    assert list(draws) == [0, 1, 4, 9]
    assert draws[0] == [()] * 3 and draws[9] == [tuple(range(6))] * 3
    for one, four in zip(draws[1], draws[4], strict=True):
        assert len(four) == 4 and set(one) < set(four)
    assert draws == plan_draws(6, 9, (1, 4, 50), 3, seed=(0, 1))
    assert draws != plan_draws(6, 9, (1, 4, 50), 3, seed=(1, 1))
    assert draws[4] == plan_draws(6, 9, (4,), 3, seed=(0, 1))[4]  # whatever else is asked for


def test_real_pairs_keep_their_share_and_sums_are_exact(classes: list[ClassGain]) -> None:
    """With samples of red 180 the mean is 140, were all five alike it would be 148."""
    cat, dog = classes
    assert cat.none.tolist() == [[16, 32, 0, 16], [16, 16, 16, 16]]
    assert cat.all.tolist() == [[16, 16, 16, 16], [16, 32, 0, 16]]
    assert all(sums.tolist() == cat.all.tolist() for members, sums in cat.sums.items() if members)
    assert dog.none.tolist() == [[16, 16, 16, 16]] and dog.all.tolist() == [[16, 32, 0, 16]]


def test_rows_and_curve_by_hand(classes: list[ClassGain]) -> None:
    cat, dog, both = gain_rows(classes, 200, seed=0)
    assert (cat.without, cat.with_all, cat.gain) == (0.5, 0.5, 0)
    assert cat.low == -1 and cat.high == 1  # of two images, either may be drawn twice
    assert (dog.without, dog.with_all, dog.low, dog.high) == (1, 0, -1, -1)
    assert (both.category, both.without, both.with_all, both.gain) == ("mIoU", 0.75, 0.25, -0.5)
    assert (both.tests, both.real, both.synthetic) == (3, 4, 4) and (both.low, both.high) == (-1, 0)
    curve = gain_curve(classes)
    assert [(point.samples, point.miou) for point in curve] == [
        (0, 0.75),
        (1, 0.25),
        (2, 0.25),
        (3, 0.25),
    ]
    assert curve[1].mious == (0.25,) * 3 and curve[1].interval == (0.25, 0.25)
    assert curve[0].class_ious == {"cat": 0.5, "dog": 1}
    assert fb_iou([one.none for one in classes]) == pytest.approx((48 / 64 + 32 / 48) / 2)


def test_what_is_told_and_shown(classes: list[ClassGain]) -> None:
    rows, curve = gain_rows(classes, 200, seed=0), gain_curve(classes)
    columns, cells = gain_columns(rows)
    assert len(columns) == len(cells[0])
    assert cells[1] == ("dog", 1, 2, 1, 1, 0, "-100.00", "-100.00 to -100.00")
    told = gain_json(classes, rows, curve, {})
    assert told["images"]["dog"] == [
        {"name": "0", "without": [16, 16, 16, 16], "with_all": [16, 32, 0, 16]}
    ]
    assert told["rows"][-1]["gain"] == -0.5 and told["curve"][2]["interval"] == (0.25, 0.25)
    assert gain_plot(curve).shape == (380, 680, 3)
    assert gain_sheet(classes).shape[2] == 3 and [len(one.shown) for one in classes] == [2, 1]


def test_ignored_pixels_of_a_test_image_do_not_count(tmp_path: Path) -> None:
    one = task(tmp_path, "cat", [180], [100])
    ignored = half(1)[..., 0]
    ignored[:, 6:] = 255
    write_grey(one.tests[0].mask, ignored)
    config = SupportGainConfig(Path(), Path(), counts=(), draws=1)
    (found,) = measure_gain(RedSegmenter(), [one], config, 0, 2, still)
    assert found.none.tolist() == [[8, 8, 16, 16]]
