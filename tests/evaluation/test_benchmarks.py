"""The layouts on disk: classes of folds, lists, masks, and what is told when one lacks."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from aligndiff.core.errors import InputError
from aligndiff.dataset.images import write_grey, write_image
from aligndiff.evaluation.benchmarks import coco, pascal
from aligndiff.evaluation.benchmarks.fold import Fold
from aligndiff.evaluation.benchmarks.table import open_benchmark
from aligndiff.evaluation.episodes import load_item, sample_episodes
from tests.benchmark_data import (
    BOX,
    HEAD_END,
    PER_CLASS,
    draw_coco,
    draw_fss,
    draw_lvis,
    draw_pascal,
    draw_pascal_part,
    photo,
)


def test_folds_are_disjoint_and_cover_all_classes() -> None:
    for labels, count in ((pascal.labels_of, 20), (coco.labels_of, 80)):
        folds = [list(labels(fold)) for fold in range(4)]
        assert sorted(label for fold in folds for label in fold) == list(range(1, count + 1))


def test_the_classes_of_a_fold_are_those_of_the_protocol() -> None:
    assert [pascal.CLASSES[label - 1] for label in pascal.labels_of(2)] == [
        *("diningtable", "dog", "horse", "motorbike", "person")
    ]
    assert list(coco.labels_of(1))[:3] == [2, 6, 10] and len(coco.labels_of(1)) == 20
    assert [coco.CLASSES[label - 1] for label in (1, 2, 80)] == ["person", "bicycle", "toothbrush"]
    assert (len(pascal.CLASSES), len(coco.CLASSES)) == (20, 80)


def test_pascal_reads_its_list_and_keeps_ignore(tmp_path: Path) -> None:
    test = open_benchmark("pascal", Fold(draw_pascal(tmp_path)))
    assert list(test.items) == list(pascal.CLASSES[:5])
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
    test = open_benchmark("pascal", Fold(root))
    assert {name: len(items) for name, items in test.items.items()} == dict.fromkeys(
        pascal.CLASSES[:5], PER_CLASS
    )
    assert test.made_list[0] == "2007_001000__01" and len(test.made_list) == 5 * PER_CLASS
    small[:40, :52] = 2  # 2080 px
    write_grey(path, small)
    assert len(open_benchmark("pascal", Fold(root)).items["bicycle"]) == PER_CLASS + 1


def test_coco_reads_hsnets_pickle_or_makes_the_same_list(tmp_path: Path) -> None:
    test = open_benchmark("coco", Fold(draw_coco(tmp_path / "a"), 1))
    assert len(test.items) == 20 and {len(items) for items in test.items.values()} == {2}
    assert test.queries == "by class"
    mask = test.read_mask(test.items["bicycle"][0])
    assert set(np.unique(mask)) == {0, 1}  # in HSNet 255 is background here
    made = open_benchmark("coco", Fold(draw_coco(tmp_path / "b", pickled=False), 1))
    assert {n: [i.name for i in items] for n, items in made.items.items()} == {
        n: [i.name for i in items] for n, items in test.items.items()
    }
    splits = tmp_path / "splits" / "coco" / "val"
    splits.mkdir(parents=True)
    (splits / "fold1.txt").write_text("\n".join(made.made_list))
    again = open_benchmark("coco", Fold(tmp_path / "b", 1, splits_dir=tmp_path / "splits"))
    assert again.items == made.items and again.made_list == ()


def test_a_pickle_that_could_run_code_is_refused(tmp_path: Path) -> None:
    root = draw_coco(tmp_path)
    path = root / "splits" / "coco" / "val" / "fold1.pkl"
    path.write_bytes(pickle.dumps({1: Path("x")}))
    with pytest.raises(InputError, match="fold1.pkl: is no list of COCO-20i; put .*pathlib"):
        open_benchmark("coco", Fold(root, 1))
    path.write_bytes(b"no pickle")
    with pytest.raises(InputError, match="fold1.pkl: is no list of COCO-20i"):
        open_benchmark("coco", Fold(root, 1))
    path.write_bytes(pickle.dumps({0: ["val2014/a.jpg"], 1: []}))
    with pytest.raises(InputError, match="class 1 is not of this fold, which tests 2, 6, 10"):
        open_benchmark("coco", Fold(root, 1))


def test_fss_tests_the_classes_of_its_list_every_image_once(tmp_path: Path) -> None:
    test = open_benchmark("fss", Fold(draw_fss(tmp_path)))
    assert {name: len(items) for name, items in test.items.items()} == {"abacus": 4, "zebra": 4}
    assert test.usual_episodes == 8
    assert set(np.unique(test.read_mask(test.items["zebra"][0]))) == {0, 1}
    with pytest.raises(InputError, match="--fold 1: FSS-1000 has one test split and no folds"):
        open_benchmark("fss", Fold(tmp_path, 1))
    (tmp_path / "splits" / "fss" / "test.txt").unlink()
    with pytest.raises(InputError, match="fss/test.txt: no such file; it holds the names of"):
        open_benchmark("fss", Fold(tmp_path))


@pytest.mark.parametrize(
    ("name", "folders"),
    [("pascal", 2), ("coco", 2), ("fss", 1), ("lvis", 1), ("pascal_part", 2)],
)
def test_missing_folders_are_told_one_a_line_with_what_they_hold(
    name: str, folders: int, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as error:
        open_benchmark(name, Fold(tmp_path))
    assert len(error.value.problems) == folders
    for line in error.value.problems:
        assert line.startswith(str(tmp_path)) and ": no such folder; it holds " in line


def test_every_bad_line_and_every_missing_file_of_a_list_is_told(tmp_path: Path) -> None:
    root = draw_pascal(tmp_path)
    path = root / "splits" / "pascal" / "val" / "fold0.txt"
    path.write_text("2007_001000__01\nnonsense\n2007_001000__07\n")
    with pytest.raises(InputError) as error:
        open_benchmark("pascal", Fold(root))
    assert [line.split(": ", 1)[1] for line in error.value.problems] == [
        "line 2: 'nonsense' is none of a list; a line is an image and a class number, as in "
        "2007_000033__01",
        "line 3: class 7 is not of this fold, which tests 1, 2, 3, 4, 5; put the fold's list there",
    ]
    path.write_text("2007_001000__01\ngone__01\n")
    with pytest.raises(InputError) as error:
        open_benchmark("pascal", Fold(root))
    assert len(error.value.problems) == 2 and "gone.jpg: no such file" in error.value.problems[0]
    with pytest.raises(InputError, match="fold0.txt: no such list; --splits_dir is a folder like"):
        open_benchmark("pascal", Fold(root, splits_dir=tmp_path / "nowhere"))


def test_a_mask_in_colours_is_no_map_of_classes(tmp_path: Path) -> None:
    root = draw_pascal(tmp_path)
    item = open_benchmark("pascal", Fold(root)).items["boat"][0]
    write_image(item.mask, np.zeros((80, 100, 3), np.uint8))
    with pytest.raises(InputError, match="holds RGB colours, not 8-bit class numbers; save it as"):
        open_benchmark("pascal", Fold(root)).read_mask(item)


def test_lvis_takes_every_tenth_class_of_matchers_table(tmp_path: Path) -> None:
    """21 classes, the last has one photo: 20 are left, two in each of ten folds."""
    root = draw_lvis(tmp_path)
    folds = [open_benchmark("lvis", Fold(root, number)) for number in range(10)]
    numbers = [[items[0].label for items in fold.items.values()] for fold in folds]
    assert numbers[:2] == [[140, 70], [133, 63]]  # in the table's order, which is the reverse here
    assert sorted(n for two in numbers for n in two) == [7 * n for n in range(1, 21)]
    assert list(folds[0].items) == ["class 140", "class 70"]
    assert (folds[0].title, folds[0].usual_episodes) == ("LVIS-92i, fold 0", 2300)
    item = folds[0].items["class 70"][1]
    image, labels = photo(10_000, 1, border=False)
    mask = folds[0].read_mask(item)
    assert np.abs(mask.astype(int) - (labels == 1)).sum() < 0.05 * (labels == 1).sum()
    asked = [episode.category for episode in sample_episodes(folds[0], 1, 5, seed=0)]
    assert asked == ["class 140", "class 70", "class 140", "class 70", "class 140"]


def test_lvis_without_matchers_table_goes_by_the_numbers_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = draw_lvis(tmp_path, pickled=False)
    test = open_benchmark("lvis", Fold(root))
    assert list(test.items) == ["thing_1", "thing_11"]
    assert [item.image.parent.name for item in test.items["thing_1"]] == ["train2017"] * 2
    assert "lvis_val.pkl is there" in caplog.text and "20 classes with more than 1" in caplog.text
    with_table = draw_lvis(tmp_path)  # and then the names are still LVIS's own
    assert list(open_benchmark("lvis", Fold(with_table)).items) == ["thing_20", "thing_10"]
    with pytest.raises(InputError, match="fold 0: no class has a query and --shot 2 images"):
        open_benchmark("lvis", Fold(root, shot=2))


def test_what_is_wrong_with_lvis_is_told(tmp_path: Path) -> None:
    root = draw_lvis(tmp_path)
    photo_path = root / "LVIS" / "coco" / "val2017" / "000000020000.jpg"
    photo_path.unlink()
    with pytest.raises(InputError, match="000000020000.jpg: no such file, but .*lvis_val.pkl nam"):
        open_benchmark("lvis", Fold(root))
    with pytest.raises(InputError, match="--fold 10: LVIS-92i has folds 0 to 9"):
        open_benchmark("lvis", Fold(root, 10))
    with pytest.raises(InputError, match="--splits_dir: LVIS-92i takes its folds from its annot"):
        open_benchmark("lvis", Fold(root, splits_dir=tmp_path))
    table = root / "LVIS" / "lvis_val.pkl"
    table.write_bytes(pickle.dumps({7: [1]}))
    with pytest.raises(InputError, match="lvis_val.pkl: holds no annotations of LVIS"):
        open_benchmark("lvis", Fold(root))
    table.write_bytes(pickle.dumps([]))
    with pytest.raises(InputError, match="lvis_val.pkl: is no pickled table"):
        open_benchmark("lvis", Fold(root))
    table.unlink()
    with pytest.raises(InputError, match="lvis_v1_val.json: no such file; it holds LVIS v1's"):
        open_benchmark("lvis", Fold(root))


def test_no_code_of_matchers_table_is_run(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "run",)

    root = draw_lvis(tmp_path)
    path = root / "LVIS" / "lvis_val.pkl"
    table = pickle.loads(path.read_bytes())
    table["harmful"] = Harmful()
    path.write_bytes(pickle.dumps(table))
    with pytest.raises(InputError, match="lvis_val.pkl: holds no annotations of LVIS"):
        open_benchmark("lvis", Fold(root))
    assert not (tmp_path / "run").exists()


def test_pascal_part_asks_for_parts_within_the_box_of_their_object(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    test = open_benchmark("pascal_part", Fold(draw_pascal_part(tmp_path)))
    assert test.title == "PASCAL-Part, animals"
    assert {name: len(items) for name, items in test.items.items()} == {
        **{"cat+TAIL": 3, "dog+HEAD": 3}
    }
    assert "left out, with 1 images at most: cat+HEAD" in caplog.text
    assert test.usual_episodes == 9
    item = test.items["dog+HEAD"][2]
    pair = load_item(test, item, 0)
    left, top, right, bottom = BOX
    _, labels = photo(502, 1, border=False)
    head = (labels == 1) & (np.arange(labels.shape[1]) < HEAD_END)
    assert pair.image.shape == (bottom - top, right - left, 3)
    assert (pair.mask == head[top:bottom, left:right]).all() and pair.mask.any()


def test_what_is_wrong_with_pascal_part_is_told(tmp_path: Path) -> None:
    root = draw_pascal_part(tmp_path)
    voc = root / "Pascal-Part" / "VOCdevkit" / "VOC2010"
    with pytest.raises(InputError, match="all_obj.*: holds no parts of indoor"):
        open_benchmark("pascal_part", Fold(root, 1))
    with pytest.raises(InputError, match="--fold 4: PASCAL-Part has folds 0 to 3"):
        open_benchmark("pascal_part", Fold(root, 4))
    (voc / "JPEGImages" / "2008_000001.jpg").unlink()
    with pytest.raises(InputError, match="2008_000001.jpg: no such file, but .*all_obj_part"):
        open_benchmark("pascal_part", Fold(root))
    file = voc / "Annotations_Part_json_merged_part_classes" / "2008_000000.json"
    file.write_text(file.read_text().replace('"xmax": "88"', '"xmax": "1"'))
    with pytest.raises(InputError, match="2008_000000.json: an object has an empty `bndbox`"):
        open_benchmark("pascal_part", Fold(root))
    file.write_text("[]")
    with pytest.raises(InputError, match="2008_000000.json: has no list `object`"):
        open_benchmark("pascal_part", Fold(root))
