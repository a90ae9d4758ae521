"""Scores of masks and of episodes, with a toy segmenter whose answers can be told by hand."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aligndiff.core.errors import InputError
from aligndiff.dataset.images import write_grey, write_image
from aligndiff.evaluation.benchmarks.fold import Fold
from aligndiff.evaluation.benchmarks.table import open_benchmark
from aligndiff.evaluation.episodes import Episode, FewShotTest, Item, sample_episodes
from aligndiff.evaluation.evaluate import answer_episodes, evaluate_episodes, evaluate_masks
from aligndiff.evaluation.mask_pairs import MaskPair
from aligndiff.evaluation.report import PROTOCOL, score_columns, scores_json
from aligndiff.segmenters.ssp.checkpoint import load_ssp
from aligndiff.segmenters.ssp.segmenter import SSPSegmenter
from tests.benchmark_data import draw_fss, draw_pascal

ROOT = Path(__file__).resolve().parents[2]
TRUTH = np.array([[1, 1, 0, 0], [255, 255, 0, 1]], np.uint8)
SAID = np.array([[1, 0, 1, 0], [1, 0, 0, 1]], np.uint8)  # says the object at one ignored pixel


def still(*_: object, **__: object) -> None:
    return None


@dataclass(frozen=True)
class Seen:
    """What RedSegmenter keeps of an image: its reds, uint8 (h, w)."""

    red: np.ndarray

    @property
    def nbytes(self) -> int:
        return self.red.nbytes


class RedSegmenter:
    """Object is what is as red as the support's objects are on average, to 20 grey levels."""

    def __init__(self):
        self.red, self.batches = None, []

    def encode(self, images):
        self.batches.append(len(images))
        return [Seen(image[..., 0]) for image in images]

    def describe(self, encoded, mask):
        return float(encoded.red[mask == 1].mean())

    def set_support(self, support, weights=None):
        self.red = np.average(support, weights=weights)

    def segment(self, encoded):
        return (np.abs(encoded.red.astype(float) - self.red) < 20).astype(np.float32)


def palette_png(path: Path, mask: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(mask)
    colours = [(0, 0, 0), *((colour, 90, 255 - colour) for colour in range(1, 256))]
    image.putpalette([level for colour in colours for level in colour])
    image.save(path)
    return path


def mask_pair(folder: Path, category: str, said: np.ndarray, truth: np.ndarray) -> MaskPair:
    name = f"{category}/{len(list(folder.rglob('*.png')))}"
    for side in ("said", "truth"):
        (folder / side / name).parent.mkdir(parents=True, exist_ok=True)
    write_grey(folder / "said" / f"{name}.png", said * np.uint8(255))
    return MaskPair(
        category,
        name,
        folder / "said" / f"{name}.png",
        palette_png(folder / "truth" / f"{name}.png", truth),
    )


def test_masks_are_scored_by_sums_over_images_without_ignored_pixels(tmp_path: Path) -> None:
    """Fish: 2 of 4, then 1 of 1; were 255 counted, it would be 2 of 5 or 3 of 6, then 1 of 1."""
    small = np.array([[1, 0, 0, 0]], np.uint8)
    pairs = [
        mask_pair(tmp_path, "fish", SAID, TRUTH),
        mask_pair(tmp_path, "fish", small, small),
        mask_pair(tmp_path, "dog", 1 - small, small),
    ]
    found = evaluate_masks(pairs, still)
    assert found.scores.class_ious == {"fish": (2 + 1) / (4 + 1), "dog": 0}
    assert found.scores.miou == (3 / 5 + 0) / 2
    # Background: of the three images 2 of 4, 3 of 3, and 0 of 4; object: 3 of 5, and 0 of 4.
    assert found.scores.fb_iou == pytest.approx((5 / 11 + 3 / 9) / 2)
    assert [image.iou for image in found.images] == [0.5, 1, 0]
    assert score_columns(found)[1] == [
        ("dog", 1, 0),
        ("fish", 2, 0.6),
        ("mIoU", 3, 0.3),
        ("FB-IoU", 3, pytest.approx((5 / 11 + 3 / 9) / 2)),
    ]
    told = json.loads(json.dumps(scores_json(found, {"seed": 1})))
    assert told["protocol"] == PROTOCOL and told["settings"] == {"seed": 1}
    assert told["classes"]["fish"]["union"] == 5 and len(told["images"]) == 3


def test_every_pair_that_cannot_be_compared_is_told(tmp_path: Path) -> None:
    pairs = [mask_pair(tmp_path, "fish", SAID, TRUTH) for _ in range(3)]
    pairs[0].predicted.write_bytes(b"nothing")
    write_grey(pairs[2].predicted, np.zeros((2, 3), np.uint8))
    with pytest.raises(InputError) as error:
        evaluate_masks(pairs, still)
    first, second = error.value.problems
    assert "fish/0.png: not a readable image" in first
    assert "fish/4.png: is 3 x 2 px, its truth" in second and second.endswith("the image's size")


@pytest.fixture
def reds(tmp_path: Path) -> tuple[FewShotTest, list[Episode]]:
    """A query with reds 100 (object), 140 and 180 (ignored); supports of red 100 and of 180."""

    def item(name: str, reds: list[int]) -> Item:
        image = np.zeros((1, len(reds), 3), np.uint8)
        image[..., 0] = reds
        write_image(tmp_path / f"{name}.png", image)
        return Item(tmp_path / f"{name}.png", tmp_path / name, 1)

    masks = {"query": [[1, 0, 255]], "low": [[1, 0, 0]], "high": [[1, 0, 0]]}
    query, low, high = (
        item("query", [100, 140, 180]),
        item("low", [100, 9, 9]),
        item("high", [180, 9, 9]),
    )
    test = FewShotTest(
        "toy", {"red": (query, low, high)}, lambda i: np.array(masks[i.mask.name], np.uint8)
    )
    return test, [Episode("red", query, (low,)), Episode("red", query, (low, high))]


def test_a_query_is_segmented_by_its_own_support(reds) -> None:
    test, (one, two) = reds
    (answer,) = answer_episodes(RedSegmenter(), test, [one], 0, 8)
    assert answer.predicted.tolist() == [[True, False, False]]
    (answer,) = answer_episodes(RedSegmenter(), test, [two], 0, 8)
    assert answer.predicted.tolist() == [[False, True, False]]  # red 140, between both


def test_ignored_pixels_of_a_query_do_not_count(reds) -> None:
    """A support of red 180 finds the ignored pixel alone: neither found nor missed."""
    test, _ = reds
    query, _, high = test.items["red"]
    found, _ = evaluate_episodes(
        RedSegmenter(), test, [Episode("red", query, (high,))], 0, 8, still
    )
    background, foreground = found.scores.classes["red"]
    assert (foreground.intersection, foreground.union) == (0, 1)
    assert (background.intersection, background.union) == (1, 2)


@pytest.mark.parametrize("batch_size", [1, 2, 7, 64])
def test_answers_do_not_depend_on_the_batch(batch_size: int, reds) -> None:
    test, (one, _) = reds
    segmenter = RedSegmenter()
    found, shown = evaluate_episodes(segmenter, test, [one] * 9, 0, batch_size, still)
    assert [image.iou for image in found.images] == [1] * 9
    assert found.images[0].support == ("low",) and found.images[0].name == "query"
    assert max(segmenter.batches) <= max(batch_size, 2) and sum(segmenter.batches) == 18
    assert len(shown) == 8


@pytest.mark.parametrize(("opened", "drawn"), [("pascal", draw_pascal), ("fss", draw_fss)])
def test_the_tiny_segmenter_finds_the_drawn_objects(opened, drawn, tmp_path: Path) -> None:
    checkpoint = load_ssp(ROOT / "pretrained_weights" / "tiny_ssp.safetensors")
    test = open_benchmark(opened, Fold(drawn(tmp_path)))
    episodes = sample_episodes(test, 2, 5, seed=0)

    def scores(batch_size: int, side: int) -> dict[str, float]:
        segmenter = SSPSegmenter(checkpoint.network, checkpoint.input_side, batch_size=batch_size)
        found, _ = evaluate_episodes(segmenter, test, episodes, side, batch_size, still)
        return found.scores.class_ious

    at_400 = scores(4, 400)
    assert at_400 == pytest.approx(scores(1, 400), abs=1e-3)
    assert min(at_400.values()) > 0.5 < min(scores(4, 0).values())
