"""Annotated photos as other tools write them: COCO, VOC, YOLO, pairs of files and others."""
