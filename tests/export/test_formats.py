"""Every format read again by a program that we did not write, and compared with the masks."""

from __future__ import annotations

import io
import json
import tarfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from aligndiff.core.errors import InputError
from aligndiff.core.files import write_json
from aligndiff.dataset.colour_map import colour_map
from aligndiff.dataset.layout import EntryFolder
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.evaluation.benchmarks.fold import Fold
from aligndiff.evaluation.benchmarks.table import open_benchmark
from aligndiff.export.config import SelectionConfig
from aligndiff.export.export import export
from aligndiff.export.formats.voc import label_map, uncertain
from aligndiff.export.items import SUPPORT
from aligndiff.export.job import ExportJob, Format, FormatChoice
from aligndiff.export.selection import select

SUPPORT_AREA = 15 * 22  # px, of both pairs


def check_picture(made, name: str, image: Image.Image | np.ndarray, mask: np.ndarray) -> None:
    """A sample's image must be the stored one, its mask the truth; of a pair the object."""
    pixels = np.asarray(image)
    assert pixels.shape[:2] == mask.shape
    if name in made.masks:
        assert np.array_equal(mask, made.masks[name])
        assert np.array_equal(pixels, np.asarray(Image.open(made.images[name]).convert("RGB")))
    else:
        assert name.startswith("support-") and mask.sum() == SUPPORT_AREA
        assert set(np.unique(mask)) == {0, 1}


def by_split(job: ExportJob) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {"train": set(), "val": set()}
    for item in job.written:
        found[job.selection.split(item)].add(item.name)
    assert found["train"] and found["val"]
    assert {item.name for item in job.written if item.source == SUPPORT} <= found["train"]
    return found


@pytest.mark.parametrize("polygons", [False, True])
def test_coco_by_pycocotools(made, exported, polygons: bool) -> None:
    from pycocotools.coco import COCO

    job = exported("coco", polygons=polygons, min_object_area=1)
    ids: list[int] = []
    for split, names in by_split(job).items():
        coco = COCO(job.folder / "annotations" / f"instances_{split}.json")
        categories = {key: category["name"] for key, category in coco.cats.items()}
        assert list(categories.values()) == job.categories and list(categories) == [1, 2, 3, 4, 5]
        assert {Path(image["file_name"]).stem for image in coco.imgs.values()} == names
        for key, image in coco.imgs.items():
            annotations = coco.loadAnns(coco.getAnnIds(imgIds=key))
            masks = [coco.annToMask(annotation) for annotation in annotations]
            name = Path(image["file_name"]).stem
            path = job.folder / "images" / image["file_name"]
            check_picture(made, name, Image.open(path), sum(masks))  # no pixel is in two objects
            if name in made.images:
                assert path.read_bytes() == made.images[name].read_bytes()  # encoded only once
                assert len(annotations) == 3  # the ellipse, the islet, the pixel
            for annotation, mask in zip(annotations, masks, strict=True):
                assert isinstance(annotation["segmentation"], list) == polygons
                assert (image["height"], image["width"]) == mask.shape
                assert annotation["name"] == name and annotation["iscrowd"] == 0
                assert categories[annotation["category_id"]] == annotation["category"]
                assert annotation["area"] == mask.sum()
                ys, xs = np.nonzero(mask)
                box = [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1]
                assert annotation["bbox"] == box
        ids += coco.anns
    assert len(set(ids)) == 3 * len(made.masks) + 10  # both splits may be loaded together
    facts = {"iou": 0.9, "mask_source": "consensus", "category": "fish"}
    first = coco_annotations(job, next(name for name in made.masks if name.endswith("_000000")))
    assert all(facts.items() <= annotation.items() for annotation in first)


def coco_annotations(job: ExportJob, name: str) -> list[dict]:
    files = [json.loads(path.read_text()) for path in (job.folder / "annotations").iterdir()]
    return [
        annotation
        for file in files
        for annotation in file["annotations"]
        if annotation["name"] == name
    ]


def test_coco_polygons_by_the_rules_of_detectron2(made, exported) -> None:
    """Its `load_coco_json`: unique ids, no RLE, polygons of pairs of numbers, three at least."""
    job = exported("coco", polygons=True)
    annotations = [each for item in job.written for each in coco_annotations(job, item.name)]
    assert len({each["id"] for each in annotations}) == len(annotations)
    for polygon in (polygon for each in annotations for polygon in each["segmentation"]):
        assert len(polygon) % 2 == 0 and len(polygon) >= 6
    by_image = Counter(each["image_id"] for each in annotations)
    assert sorted(by_image.values()) == [1] * 10 + [2] * len(made.masks)  # without the pixel


@pytest.mark.parametrize("form", ["coco", "yolo"])
def test_specks_are_no_objects_and_are_counted(made, exported, form: str) -> None:
    job = exported(form, {"val_fraction": 0.4})
    assert job.left_out == {"parts below --min_object_area": len(made.masks)}
    card = (job.folder / "README.md").read_text()
    assert f"| left out: parts below --min_object_area | {len(made.masks)} |" in card
    assert (
        "left out: parts"
        not in (exported(form, min_object_area=1).folder / "README.md").read_text()
    )


def test_voc_by_pillow(made, exported) -> None:
    job = exported("voc")
    labels = (job.folder / "labels.txt").read_text().splitlines()
    assert labels == ["background", *job.categories]
    lists = job.folder / "ImageSets" / "Segmentation"
    names = {path.stem: path.read_text().split() for path in lists.iterdir()}
    assert {split: set(names[split]) for split in ("train", "val")} == by_split(job)
    assert sorted(names["trainval"]) == sorted(names["train"] + names["val"])
    ignored = []
    for name in names["trainval"]:
        label = Image.open(job.folder / "SegmentationClass" / f"{name}.png")
        assert label.mode == "P" and label.getpalette() == colour_map().flatten().tolist()
        indices = np.asarray(label)
        image = Image.open(job.folder / "JPEGImages" / f"{name}.jpg")
        if name not in made.masks:  # the second pair ignores a line of 24 pixels
            assert image.size == label.size and not image.getexif()
            ignored.append(int((indices == 255).sum()))
            assert ((indices > 0) & (indices < 255)).sum() == SUPPORT_AREA
            continue
        # Void only at most 0.01 x 64 px from the border, which is nowhere: a pixel is 1 away.
        number = labels.index(made.categories[name])
        check_picture(made, name, image, indices // number)
        assert set(np.unique(indices)) == {0, number}
    assert sorted(ignored) == [0] * 5 + [24] * 5


def test_voc_by_the_rules_of_torchvision(made, exported) -> None:
    """`VOCSegmentation(root, "2012", split)`: what its constructor looks for below its root."""
    job = exported("voc", vocdevkit=True)
    root = job.folder / "VOCdevkit" / "VOC2012"
    for split, names in by_split(job).items():
        lines = (root / "ImageSets" / "Segmentation" / f"{split}.txt").read_text().splitlines()
        assert set(lines) == names
        for name in lines:
            image = Image.open(root / "JPEGImages" / f"{name}.jpg").convert("RGB")
            indices = np.asarray(Image.open(root / "SegmentationClass" / f"{name}.png"))
            check_picture(made, name, image, ((indices > 0) & (indices < 255)).astype(np.uint8))
    assert (root / "labelmap.txt").exists() and (root / "labels.txt").exists()
    assert {path.name for path in job.folder.iterdir()} == {"VOCdevkit", "README.md", "export.json"}


def read_label_map(text: str) -> dict[str, tuple[int, ...]]:
    """By the rules of Datumaro's `parse_label_map`, CVAT's too: name : colour : parts : actions."""
    colours: dict[str, tuple[int, ...]] = {}
    for line in (line.strip() for line in text.splitlines()):
        if not line or line[0] == "#":
            continue
        name, colour, _, _ = line.split(":")
        assert name not in colours
        colours[name] = tuple(int(value) for value in colour.split(","))
        assert len(colours[name]) == 3
    return colours


def test_voc_tells_the_colours_of_its_classes(made, exported) -> None:
    job = exported("voc", void_width=0.05)
    colours = read_label_map((job.folder / "labelmap.txt").read_text(encoding="utf-8"))
    assert list(colours) == [
        "background",
        "fish",
        "Fish",
        "a-b-c-1-d-79b4af0b",
        "魚",
        "train",
        "ignored",
    ]
    names = {colour: name for name, colour in colours.items()}
    for item in job.written:
        label = Image.open(job.folder / "SegmentationClass" / f"{item.name}.png").convert("RGB")
        seen = {
            names[tuple(colour)] for colour in np.unique(np.asarray(label).reshape(-1, 3), axis=0)
        }
        named = list(colours)[job.categories.index(item.category) + 1]
        assert named in seen and seen <= {"background", "ignored", named}


@settings(derandomize=True, deadline=None, database=None, max_examples=200)
@given(
    st.lists(
        st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1),
        unique_by=str.strip,
        max_size=5,
    )
)
def test_a_label_map_holds_any_name(words: list[str]) -> None:
    categories = [name.strip() for name in words if name.strip()]
    categories += ["ignored", "background", "a:b", "# c"]
    categories = list(dict.fromkeys(categories))
    colours = read_label_map(label_map(categories))
    assert list(colours.values()) == [
        tuple(c) for c in colour_map()[[*range(len(categories) + 1), 255]]
    ]
    plain = {name for name in categories if ":" not in name and name[0] != "#"}
    assert plain - {"ignored", "background"} <= set(colours)


def test_voc_is_void_near_the_border_where_the_heatmap_disagrees(made, exported) -> None:
    job = exported("voc", void_width=0.05)
    synthetic = [item for item in job.written if item.read_coarse is not None]
    assert len(synthetic) == len(made.masks)
    for item in synthetic:
        indices = np.asarray(Image.open(job.folder / "SegmentationClass" / f"{item.name}.png"))
        mask, coarse = made.masks[item.name] > 0, item.read_coarse()
        void = brute_force(mask, coarse, 0.05 * max(mask.shape))
        assert void.any() and np.array_equal(indices == 255, void)
        assert np.array_equal(indices[~void] > 0, mask[~void])


def brute_force(mask: np.ndarray, coarse: np.ndarray, width: float) -> np.ndarray:
    """The definition of void, pixel by pixel."""
    void = np.zeros_like(mask)
    for y, x in np.argwhere(mask != coarse):
        across = np.argwhere(mask != mask[y, x])
        void[y, x] = np.sqrt(((across - (y, x)) ** 2).sum(axis=1)).min() <= width
    return void


def test_uncertain_by_hand() -> None:
    mask = np.array([[0, 0, 0, 1, 1, 1]], dtype=bool)
    coarse = np.array([[0, 1, 1, 1, 1, 0]], dtype=bool)  # differs at 1, 2 and 5
    assert uncertain(mask, coarse, 1).tolist() == [[False, False, True, False, False, False]]
    assert uncertain(mask, coarse, 2).tolist() == [[False, True, True, False, False, False]]
    assert uncertain(mask, coarse, 3).tolist() == [[False, True, True, False, False, True]]


def test_vocs_own_colours() -> None:
    colours = colour_map()[[0, 1, 2, 3, 8, 20, 255]].tolist()
    assert colours == [
        *([0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]),
        *([64, 0, 0], [0, 64, 128], [224, 224, 192]),
    ]


@pytest.mark.parametrize("reader", ["cv2", "pillow"])
def test_yolo_by_drawing_its_polygons(made, exported, reader: str) -> None:
    job = exported("yolo", min_object_area=1)
    data = yaml.safe_load((job.folder / "data.yaml").read_text(encoding="utf-8"))
    assert data["names"] == dict(enumerate(job.categories))
    for split, names in by_split(job).items():
        images = job.folder / data[split]
        assert {path.stem for path in images.iterdir()} == names
        for image in images.iterdir():
            label = job.folder / "labels" / split / f"{image.stem}.txt"
            rows = [line.split() for line in label.read_text().splitlines()]
            picture = Image.open(image)
            mask = drawn([row[1:] for row in rows], picture.size, reader)
            if image.stem in made.masks:
                truth = made.masks[image.stem] > 0
                numbers = {job.categories[int(row[0])] for row in rows}
                assert numbers == {made.categories[image.stem]}
                assert np.array_equal(mask, truth)
                assert len(rows) == 3  # the ellipse, the islet, the pixel
                assert min(len(row) for row in rows) >= 7


def drawn(rows: list[list[str]], size: tuple[int, int], reader: str) -> np.ndarray:
    """Polygons of x and y in [0, 1] as a mask, bool (h, w), as trainers draw them."""
    width, height = size
    polygons = [np.array(row, float).reshape(-1, 2) * size for row in rows]
    if reader == "cv2":
        mask = np.zeros((height, width), np.uint8)
        for polygon in polygons:
            cv2.fillPoly(mask, [polygon.astype(np.int32)], 1)
        return mask > 0
    from PIL import ImageDraw

    canvas = Image.new("1", size)
    for polygon in polygons:
        ImageDraw.Draw(canvas).polygon([tuple(p) for p in np.floor(polygon)], fill=1, outline=1)
    return np.asarray(canvas)


def test_yolo_without_validation_has_a_val_all_the_same(exported) -> None:
    job = exported("yolo", {"val_fraction": 0.0})
    data = yaml.safe_load((job.folder / "data.yaml").read_text(encoding="utf-8"))
    assert data["train"] == data["val"] == "images/train"


def test_fss1000_by_pillow(made, exported) -> None:
    job = exported("fss1000")
    names = json.loads((job.folder / "splits" / "categories.json").read_text(encoding="utf-8"))
    classes = (job.folder / "splits" / "classes.txt").read_text().split("\n")[:-1]
    assert [names[folder] for folder in classes] == job.categories
    assert len({folder.casefold() for folder in classes}) == len(job.categories)
    assert {path.name for path in (job.folder / "FSS-1000").iterdir()} == set(classes)
    test = open_benchmark("fss", Fold(job.folder))  # by the list that its readers look for
    assert {name: len(items) for name, items in test.items.items()} == {
        folder: len(list((job.folder / "FSS-1000" / folder).glob("*.jpg"))) for folder in classes
    }
    splits = by_split(job)
    for folder in classes:
        files = {path.name for path in (job.folder / "FSS-1000" / folder).iterdir()}
        numbers = range(1, len(files) // 2 + 1)  # without a gap
        assert files == {f"{n}.{suffix}" for n in numbers for suffix in ("jpg", "png")}
    for split in ("train", "val"):
        lines = (job.folder / "splits" / f"{split}.txt").read_text().splitlines()
        assert {line.split("\t")[1] for line in lines} == splits[split]
        for line in lines:
            place, name = line.split("\t")
            path = job.folder / "FSS-1000" / place
            grey = np.asarray(Image.open(f"{path}.png").convert("L"))
            assert set(np.unique(grey)) == {0, 255}
            check_picture(made, name, Image.open(f"{path}.jpg"), (grey >= 128).astype(np.uint8))
            if name in made.categories:
                assert names[place.split("/")[0]] == made.categories[name]
    first = [line.split("\t") for line in (job.folder / "splits" / "train.txt").open()]
    assert [place for place, name in first if name.startswith(SUPPORT)] == [
        f"{folder}/{number}" for folder in classes for number in (1, 2)
    ]


def test_fss1000_in_its_own_size(made, exported) -> None:
    job = exported("fss1000", side=24)
    for path in (job.folder / "FSS-1000").rglob("*.*"):
        assert Image.open(path).size == (24, 24)
    place, name = (job.folder / "splits" / "val.txt").read_text().splitlines()[0].split("\t")
    truth = Image.fromarray(made.masks[name] * 255).resize((24, 24), Image.Resampling.NEAREST)
    mask = Image.open(job.folder / "FSS-1000" / f"{place}.png")
    assert np.array_equal(np.asarray(mask), np.asarray(truth))


def test_imagefolder_by_datasets(made, exported, tmp_path: Path, monkeypatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    job = exported("imagefolder")
    splits = by_split(job)
    lines = (job.folder / "train" / "metadata.jsonl").read_text("utf-8").splitlines()
    unknown = [json.loads(line)["iou"] is None for line in lines]
    assert any(unknown) and unknown == sorted(unknown)  # a first chunk of them would have no type
    for loaded in (
        datasets.load_dataset("imagefolder", data_dir=str(job.folder), cache_dir=str(tmp_path)),
        datasets.load_dataset(str(job.folder), cache_dir=str(tmp_path)),  # by its README.md
    ):
        assert set(loaded) == {"train", "validation"}
        for split, rows in (("train", loaded["train"]), ("val", loaded["validation"])):
            assert {row["name"] for row in rows} == splits[split]
            assert isinstance(rows.features["mask"], datasets.Image)
            for row in rows:
                mask = np.asarray(row["mask"])
                assert set(np.unique(mask)) == {0, 255}
                check_picture(made, row["name"], row["image"], mask // 255)
                assert row["area"] == pytest.approx((mask > 0).mean())
                if row["name"] in made.categories:
                    assert row["category"] == made.categories[row["name"]]
                    assert row["iou"] in (0.3, 0.5, 0.9)
                else:
                    assert row["iou"] is None and row["mask_source"] == SUPPORT


def test_webdataset_by_webdataset_and_by_datasets(made, exported, tmp_path: Path) -> None:
    import datasets
    import webdataset

    job = exported("webdataset", shard_size=4)
    index = json.loads((job.folder / "index.json").read_text())
    for split, names in by_split(job).items():
        shards = [str(job.folder / one["shard"]) for one in index[split]]
        assert [one["samples"] for one in index[split][:-1]] == [4] * (len(shards) - 1)
        rows = list(webdataset.WebDataset(shards, shardshuffle=False).decode("pil"))
        assert len(rows) == len(names) == sum(one["samples"] for one in index[split])
        assert {row["__key__"] for row in rows} == names
        for row in rows:
            mask = np.asarray(row["mask.png"].convert("L"))
            check_picture(made, row["__key__"], row["jpg"], mask // 255)
            assert row["json"]["name"] == row["__key__"]
            assert row["json"]["category"] == made.categories.get(
                row["__key__"], row["json"]["category"]
            )
    loaded = datasets.load_dataset(str(job.folder), cache_dir=str(tmp_path))
    assert {split: len(rows) for split, rows in loaded.items()} == {
        split: sum(one["samples"] for one in index[ours])
        for split, ours in (("train", "train"), ("validation", "val"))
    }


def test_webdataset_is_the_same_to_the_byte(made, exported) -> None:
    job = exported("webdataset")
    before = {path.name: path.read_bytes() for path in job.folder.iterdir()}
    again = exported("webdataset")
    assert {path.name: path.read_bytes() for path in again.folder.iterdir()} == before
    with tarfile.open(fileobj=io.BytesIO(before["train-000000.tar"])) as tar:
        assert {(one.mtime, one.uid, one.uname, one.mode) for one in tar} == {(0, 0, "", 0o644)}
        entries = [name.split("_")[0] for name in tar.getnames()[::3]]
    assert entries != sorted(entries)  # classes are mixed


@pytest.mark.parametrize("form", ["coco", "yolo", "imagefolder", "webdataset", "voc", "fss1000"])
def test_png_images_stay_lossless_where_the_layout_lets_them(
    made_as_png, exported, form: str
) -> None:
    job = exported(form, {"val_fraction": 0.4}, made_as_png.root)
    images = {path for path in job.folder.rglob("*.jpg")}
    if form in ("voc", "fss1000"):
        assert len(images) == len(made_as_png.masks)
    else:
        assert not images
    if form == "coco":
        for name, stored in made_as_png.images.items():
            assert (job.folder / "images" / f"{name}.png").read_bytes() == stored.read_bytes()


def test_the_threshold_of_the_heatmap_comes_from_the_record_of_step_3(own, exported) -> None:
    """A record without one is an error of its images: no default of step 3 is guessed here."""
    place = EntryFolder(own.root, load_prompt_bank(own.root).entries[0])
    write_json(place.folder / "refinement.json", {"settings": {}})
    job = exported("voc", {}, own.root)
    assert len(job.failures) == 3
    assert all(
        "refinement.json: tells no heatmap_threshold; repeat step 3" in line
        for line in job.failures
    )


def test_voc_holds_254_classes(made, exported, monkeypatch) -> None:
    monkeypatch.setattr("aligndiff.export.formats.voc._MOST_CLASSES", 4)
    with pytest.raises(InputError, match="at most 4 classes, these are 5; choose some with"):
        exported("voc")


def test_a_new_format_is_what_its_module_declares(made, tmp_path: Path) -> None:
    """Options, card and marker follow from the declaration; no other module knows the format."""

    @dataclass(frozen=True)
    class Largest:
        limit: float = 0.2

    def write(job: ExportJob) -> None:
        areas = dict(job.each(lambda item, picture: picture.area))
        lines = [
            f"{item.name} {min(area, job.options(Largest).limit)}" for item, area in areas.items()
        ]
        (job.folder / "areas.txt").write_text("\n".join(lines))

    toy = Format("areas", "One *line* an image.", write, (Largest,), {"train": "areas.txt"})
    bank = load_prompt_bank(made.root)
    selection = select(bank, SelectionConfig(val_fraction=0))
    target = tmp_path / "areas"
    export(bank, selection, FormatChoice(toy, (Largest(0.1),)), target, lambda: None)
    lines = [line.split() for line in (target / "areas.txt").read_text().splitlines()]
    assert {name: float(area) for name, area in lines} == {
        name: min(mask.mean(), 0.1) for name, mask in made.masks.items()
    }
    card = (target / "README.md").read_text()
    assert "\nOne *line* an image.\n" in card and "| limit | 0.1 |" in card
    assert "path: areas.txt" in card
    settings = json.loads((target / "export.json").read_text())["settings"]
    assert settings.items() >= {"format": "areas", "limit": 0.1, "min_iou": 0.0}.items()
