"""Episodes: what the protocol says of queries and supports, and that a seed decides them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from aligndiff.core.errors import InputError
from aligndiff.dataset.images import write_image
from aligndiff.evaluation.episodes import FewShotTest, Item, class_mask, load_item, sample_episodes

ITEMS = {
    name: tuple(Item(Path(f"{name}{n}.jpg"), Path(f"{name}{n}.png"), 1) for n in range(count))
    for name, count in (("cat", 4), ("dog", 7))
}
IN_TURN = FewShotTest("toy", ITEMS, lambda item: np.zeros((2, 2), np.uint8))
BY_CLASS = FewShotTest("toy", ITEMS, lambda item: np.zeros((2, 2), np.uint8), "by class")


@pytest.mark.parametrize("test", [IN_TURN, BY_CLASS])
def test_supports_are_distinct_of_the_same_class_and_never_the_query(test: FewShotTest) -> None:
    for episode in sample_episodes(test, 3, 200, seed=0):
        of_class = test.items[episode.category]
        assert len(set(episode.support)) == 3
        assert episode.query in of_class and set(episode.support) <= set(of_class)
        assert episode.query not in episode.support


@pytest.mark.parametrize("test", [IN_TURN, BY_CLASS])
def test_a_seed_decides_and_a_larger_number_begins_alike(test: FewShotTest) -> None:
    few = sample_episodes(test, 2, 10, seed=5)
    assert few == sample_episodes(test, 2, 10, seed=5) == sample_episodes(test, 2, 90, seed=5)[:10]
    assert few != sample_episodes(test, 2, 10, seed=6)


def test_in_turn_every_image_is_a_query_once_before_any_is_one_again() -> None:
    queries = [(e.category, e.query) for e in sample_episodes(IN_TURN, 1, 22, seed=1)]
    assert set(Counter(queries).values()) == {2} and len(set(queries[:11])) == 11
    assert queries[:11] != sorted(queries[:11], key=str)


def test_by_class_the_classes_are_asked_alike_however_many_images_they_have() -> None:
    asked = Counter(e.category for e in sample_episodes(BY_CLASS, 1, 1000, seed=2))
    assert 440 < asked["cat"] < 560


def test_too_few_images_are_named_class_by_class() -> None:
    with pytest.raises(InputError) as error:
        sample_episodes(IN_TURN, 7, 1, seed=0)
    assert error.value.problems == (
        "toy: class cat has 4 images, a query and --shot 7 need 8; use a smaller --shot or add "
        "images",
        "toy: class dog has 7 images, a query and --shot 7 need 8; use a smaller --shot or add "
        "images",
    )


def test_a_class_mask_is_one_class_with_or_without_ignore() -> None:
    labels = np.array([[0, 3, 4, 255]], np.uint8)
    assert class_mask(labels, 3, ignore=True).tolist() == [[0, 1, 0, 255]]
    assert class_mask(labels, 3, ignore=False).tolist() == [[0, 1, 0, 0]]


def test_an_item_is_squeezed_and_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "1.png", np.full((6, 9, 3), 7, np.uint8))
    item = Item(tmp_path / "1.png", tmp_path / "mask.png", 1)
    truth = np.zeros((6, 9), np.uint8)
    truth[:, 6:] = 255
    test = FewShotTest("toy", {"cat": (item,)}, lambda item: truth)
    assert load_item(test, item, 0).mask is truth
    squeezed = load_item(test, item, 3)
    assert squeezed.image.shape == (3, 3, 3) and squeezed.mask.tolist() == [[0, 0, 255]] * 3
    wrong = FewShotTest("toy", {"cat": (item,)}, lambda item: truth.T)
    with pytest.raises(InputError, match="mask.png: is 6 x 9 px, its image 9 x 6; put the mask of"):
        load_item(wrong, item, 3)
