"""FSS-1000: FSS-1000/<class>/1.jpg + 1.png, 2.jpg + 2.png ..., and lists in splits/.

Numbers go from the surest to the least sure, those of the training split first: HSNet's reader
draws support pairs from the first ten. Masks are grey, 0 and 255.
"""

from __future__ import annotations

from dataclasses import dataclass

from aligndiff.core.errors import InputError
from aligndiff.core.files import write_json, write_text
from aligndiff.core.options import Options, option
from aligndiff.dataset.images import resize_image, resize_mask
from aligndiff.export.items import SPLITS, ExportItem, Picture
from aligndiff.export.job import ExportJob, Format
from aligndiff.export.markup import folder_names

ROOT = "FSS-1000"  # where readers look for the classes
NEGATIVES = "scenes without the object, which FSS-1000 has not"
_LEAST_SIDE, _MOST_SIDE = 8, 4096  # px


@dataclass(frozen=True)
class Fss1000Options(Options):
    """The size of the images."""

    side: int | None = option(
        None,
        "width and height of the images; FSS-1000's own are 224",
        8,
        4096,
        unit="px",
        shown_default="as they are",
    )


def write_fss1000(job: ExportJob) -> None:
    """Write the job's items in the layout of FSS-1000."""
    categories = job.categories
    folders, side = folder_names(categories), job.options(Fss1000Options).side

    def write(item: ExportItem, picture: Picture) -> tuple[bytes, bytes]:
        if side is not None:
            picture = _squared(item, picture, side)
        return picture.image_file("jpg"), picture.mask_file()

    def place(item: ExportItem) -> tuple[int, int, tuple[int, float, str]]:
        split = SPLITS.index(job.selection.split(item))
        return categories.index(item.category), split, item.sureness

    # Every image of FSS-1000 shows its class.
    shown = [item for item in job.selection.items if not item.is_negative]
    job.unfit = job.left_out[NEGATIVES] = len(job.selection.items) - len(shown)
    for _ in range(job.unfit):
        job.done()
    counts = dict.fromkeys(categories, 0)
    listed: dict[str, list[str]] = {split: [] for split in SPLITS}
    for item, (image, mask) in job.each(write, sorted(shown, key=place)):
        counts[item.category] += 1  # here, so that one that cannot be read leaves no gap
        name = f"{folders[item.category]}/{counts[item.category]}"
        folder = job.make(ROOT, folders[item.category])
        (folder / f"{counts[item.category]}.jpg").write_bytes(image)
        (folder / f"{counts[item.category]}.png").write_bytes(mask)
        listed[job.selection.split(item)].append(f"{name}\t{item.name}")
    classes = [folders[category] for category, count in counts.items() if count]
    splits = job.make("splits")
    # Readers of FSS-1000, scripts.evaluate among them, find the classes to test in fss/test.txt.
    for name, lines in {"classes": classes, "fss/test": classes, **listed}.items():
        write_text(splits / f"{name}.txt", "".join(f"{line}\n" for line in lines))
    write_json(splits / "categories.json", {folder: name for name, folder in folders.items()})


def _squared(item: ExportItem, picture: Picture, side: int) -> Picture:
    """Image and mask with `side` pixels each way. Raises InputError when no object is left."""
    size = (side, side)
    small = Picture(resize_image(picture.image, size), resize_mask(picture.mask, size))
    if not small.object.any():
        raise InputError(f"{item.name}: its object is too small for --side {side}; enlarge it")
    return small


FSS1000 = Format(
    name="fss1000",
    layout="FSS-1000: `FSS-1000/<class>/1.jpg` + `1.png`, the surest first; `splits/` lists "
    "classes and samples, `categories.json` the names. What a real pair ignores is background.",
    write=write_fss1000,
    options=(Fss1000Options,),
    only_jpg=True,
)
