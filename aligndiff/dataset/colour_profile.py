"""Photos in the colours of sRGB, whatever profile the camera or program gave them."""

from __future__ import annotations

import io

from PIL import Image, ImageCms

_SRGB = ImageCms.createProfile("sRGB")


def to_srgb(image: Image.Image) -> Image.Image:
    """The photo with its ICC profile converted to sRGB; as it is where there is none, or a bad one.

    Grey, and depths of more than 8 bits, have profiles of brightness alone: they are left alone.
    """
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "RGBA", "CMYK", "P"):
        return image
    if image.mode == "P":
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(source).lower():
            return image
        intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
        mode = "RGBA" if image.mode == "RGBA" else "RGB"
        converted = ImageCms.profileToProfile(
            image, source, _SRGB, renderingIntent=intent, outputMode=mode
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):  # broken, or of other channels
        return image
    return image if converted is None else converted
