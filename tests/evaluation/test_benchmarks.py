"""The three layouts on disk: classes of folds, lists, masks, and what is told when one lacks."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from aligndiff.core.errors import InputError
from aligndiff.dataset.images import write_grey, write_image
from aligndiff.evaluation.benchmarks import (
    COCO_CLASSES,
    PASCAL_CLASSES,
    coco_labels,
    open_coco,
    open_fss,
    open_pascal,
    pascal_labels,
)
from tests.benchmark_data import PER_CLASS, draw_coco, draw_fss, draw_pascal


def test_folds_are_disjoint_and_cover_all_classes() -> None:
    for labels, count in ((pascal_labels, 20), (coco_labels, 80)):
        folds = [list(labels(fold)) for fold in range(4)]
        assert sorted(label for fold in folds for label in fold) == list(range(1, count + 1))


def test_the_classes_of_a_fold_are_those_of_the_protocol() -> None:
    assert [PASCAL_CLASSES[label - 1] for label in pascal_labels(2)] == [
        *("diningtable", "dog", "horse", "motorbike", "person")
    ]
    assert list(coco_labels(1))[:3] == [2, 6, 10] and len(coco_labels(1)) == 20
    assert [COCO_CLASSES[label - 1] for label in (1, 2, 80)] == ["person", "bicycle", "toothbrush"]
    assert (len(PASCAL_CLASSES), len(COCO_CLASSES)) == (20, 80)


def test_pascal_reads_its_list_and_keeps_ignore(tmp_path: Path) -> None:
    test = open_pascal(draw_pascal(tmp_path), fold=0)
    assert list(test.items) == list(PASCAL_CLASSES[:5])
    assert {len(items) for items in test.items.values()} == {PER_CLASS}
    bird = test.items["bird"][1]
    assert (bird.name, bird.label) == ("2007_003001", 3)
    mask = test.read_mask(bird)
    assert set(np.unique(mask)) == {0, 1, 255}
    assert (mask[:, 90:] == 0).all()  # class 9 is background here
    assert test.usual_episodes == 1000 and test.made_list == ()


def test_without_a_list_one_is_made_of_objects_that_are_large_enough(tmp_path: Path) -> None:
    root = draw_pascal(tmp_path, with_list=False)
    small = np.zeros((80, 100), np.uint8)
    small[:40, :51] = 2  # 2040 px
    write_image(root / "VOC2012" / "JPEGImages" / "small.jpg", np.zeros((80, 100, 3), np.uint8))
    path = root / "VOC2012" / "SegmentationClassAug" / "small.png"
    write_grey(path, small)
    names = root / "VOC2012" / "ImageSets" / "Segmentation" / "val.txt"
    names.write_text(names.read_text() + "small\n")
    test = open_pascal(root, fold=0)
    assert {name: len(items) for name, items in test.items.items()} == dict.fromkeys(
        PASCAL_CLASSES[:5], PER_CLASS
    )
    assert test.made_list[0] == "2007_001000__01" and len(test.made_list) == 5 * PER_CLASS
    small[:40, :52] = 2  # 2080 px
    write_grey(path, small)
    assert len(open_pascal(root, fold=0).items["bicycle"]) == PER_CLASS + 1


def test_coco_reads_hsnets_pickle_or_makes_the_same_list(tmp_path: Path) -> None:
    test = open_coco(draw_coco(tmp_path / "a"), fold=1)
    assert len(test.items) == 20 and {len(items) for items in test.items.values()} == {2}
    assert test.queries == "by class"
    mask = test.read_mask(test.items["bicycle"][0])
    assert set(np.unique(mask)) == {0, 1}  # in HSNet 255 is background here
    made = open_coco(draw_coco(tmp_path / "b", pickled=False), fold=1)
    assert {n: [i.name for i in items] for n, items in made.items.items()} == {
        n: [i.name for i in items] for n, items in test.items.items()
    }
    splits = tmp_path / "splits" / "coco" / "val"
    splits.mkdir(parents=True)
    (splits / "fold1.txt").write_text("\n".join(made.made_list))
    again = open_coco(tmp_path / "b", 1, tmp_path / "splits")
    assert again.items == made.items and again.made_list == ()


def test_a_pickle_that_could_run_code_is_refused(tmp_path: Path) -> None:
    root = draw_coco(tmp_path)
    path = root / "splits" / "coco" / "val" / "fold1.pkl"
    path.write_bytes(pickle.dumps({1: Path("x")}))
    with pytest.raises(InputError, match="fold1.pkl: is no list of COCO-20i; put .*pathlib"):
        open_coco(root, 1)
    path.write_bytes(b"no pickle")
    with pytest.raises(InputError, match="fold1.pkl: is no list of COCO-20i"):
        open_coco(root, 1)
    path.write_bytes(pickle.dumps({0: ["val2014/a.jpg"], 1: []}))
    with pytest.raises(InputError, match="class 1 is not of this fold, which tests 2, 6, 10"):
        open_coco(root, 1)


def test_fss_tests_the_classes_of_its_list_every_image_once(tmp_path: Path) -> None:
    test = open_fss(draw_fss(tmp_path))
    assert {name: len(items) for name, items in test.items.items()} == {"abacus": 4, "zebra": 4}
    assert test.usual_episodes == 8
    assert set(np.unique(test.read_mask(test.items["zebra"][0]))) == {0, 1}
    with pytest.raises(InputError, match="--fold 1: FSS-1000 has one test split and no folds"):
        open_fss(tmp_path, 1)
    (tmp_path / "splits" / "fss" / "test.txt").unlink()
    with pytest.raises(InputError, match="fss/test.txt: no such file; it holds the names of"):
        open_fss(tmp_path)


@pytest.mark.parametrize("open_benchmark", [open_pascal, open_coco, open_fss])
def test_missing_folders_are_told_one_a_line_with_what_they_hold(
    open_benchmark, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as error:
        open_benchmark(tmp_path, 0)
    assert len(error.value.problems) == (1 if open_benchmark is open_fss else 2)
    for line in error.value.problems:
        assert line.startswith(str(tmp_path)) and ": no such folder; it holds " in line


def test_every_bad_line_and_every_missing_file_of_a_list_is_told(tmp_path: Path) -> None:
    root = draw_pascal(tmp_path)
    path = root / "splits" / "pascal" / "val" / "fold0.txt"
    path.write_text("2007_001000__01\nnonsense\n2007_001000__07\n")
    with pytest.raises(InputError) as error:
        open_pascal(root, 0)
    assert [line.split(": ", 1)[1] for line in error.value.problems] == [
        "line 2: 'nonsense' is none of a list; a line is an image and a class number, as in "
        "2007_000033__01",
        "line 3: class 7 is not of this fold, which tests 1, 2, 3, 4, 5; put the fold's list there",
    ]
    path.write_text("2007_001000__01\ngone__01\n")
    with pytest.raises(InputError) as error:
        open_pascal(root, 0)
    assert len(error.value.problems) == 2 and "gone.jpg: no such file" in error.value.problems[0]
    with pytest.raises(InputError, match="fold0.txt: no such list; --splits_dir is a folder like"):
        open_pascal(root, 0, tmp_path / "nowhere")


def test_a_mask_in_colours_is_no_map_of_classes(tmp_path: Path) -> None:
    root = draw_pascal(tmp_path)
    item = open_pascal(root, 0).items["boat"][0]
    write_image(item.mask, np.zeros((80, 100, 3), np.uint8))
    with pytest.raises(InputError, match="holds RGB colours, not 8-bit class numbers; save it as"):
        open_pascal(root, 0).read_mask(item)
