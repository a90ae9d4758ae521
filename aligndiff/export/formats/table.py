"""The export formats that there are. A new one is its module, and a line here."""

from __future__ import annotations

from aligndiff.export.formats.coco import COCO
from aligndiff.export.formats.fss1000 import FSS1000
from aligndiff.export.formats.imagefolder import IMAGEFOLDER
from aligndiff.export.formats.voc import VOC
from aligndiff.export.formats.webdataset import WEBDATASET
from aligndiff.export.formats.yolo import YOLO
from aligndiff.export.job import Format

FORMATS: dict[str, Format] = {
    layout.name: layout for layout in (COCO, VOC, YOLO, FSS1000, IMAGEFOLDER, WEBDATASET)
}
