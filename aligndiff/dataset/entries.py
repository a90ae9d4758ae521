"""What an entry of the prompt bank is: its keys, its prompt, its id."""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import re
import unicodedata
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)
from pydantic_core import PydanticCustomError

from aligndiff.core.options import MAX_DENOISING_STEPS, MAX_GUIDANCE
from aligndiff.dataset.mask_class import MaskClass, check_mask_class

PLACEHOLDER = "<fss-token>"  # the learned word in our prompts, whichever object it stands for
# Any learned word, also of the files that step 1 writes: `EmbeddingEntry.token`.
PLACEHOLDERS = re.compile(r"<fss-[^<>\s]*>")
SchedulerName = Literal["default", "dpm++", "pndm"]  # "default" is the diffusion model's own

_SLUG_LENGTH = 40  # characters; keeps folder names short of every file system's limit
_ID_LENGTH = 8  # hex digits
# Thai, Lao, Tibetan, Myanmar, Khmer, kana, Han (with its iteration mark) and Hangul.
_UNSPACED = (
    "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3005\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)
_UNFIT = ("Cc", "Cs", "Zl", "Zp")  # Unicode's control, half and line break characters


def placeholder_tokens(count: int) -> list[str]:
    """The learned words of an object with `count` vectors, named as diffusers names them."""
    return [PLACEHOLDER, *(f"{PLACEHOLDER}_{i}" for i in range(1, count))]


def category_spans(text: str, category: str) -> list[tuple[int, int]]:
    """(start, end) characters of every occurrence of the category in the text, in order.

    Whole words only ("cat" is not in "cattle"), in any case, with any white space between words.
    Where words are written without spaces, or with endings attached (Korean), any place will do.
    Both are spelled alike, as `Words` and `Prompt` are.
    """
    parts = category.split()
    if not parts:
        return []
    before = "" if re.match(f"[{_UNSPACED}]", parts[0]) else rf"(?<![^\W{_UNSPACED}])"
    after = "" if re.search(f"[{_UNSPACED}]$", parts[-1]) else rf"(?![^\W{_UNSPACED}])"
    pattern = before + r"\s+".join(map(re.escape, parts)) + after
    return [match.span() for match in re.finditer(pattern, text, re.IGNORECASE)]


def _one_spelling(value: object) -> object:
    """One spelling for one folder ("./fish/" is "fish"): ids and duplicates depend on it."""
    if not isinstance(value, str) or not value.strip():
        return value
    return posixpath.normpath(os.path.expanduser(value) if value.startswith("~/") else value)


def _composed(value: object) -> object:
    """Accents as one character each, in which macOS and others differ; so does the tokenizer."""
    return unicodedata.normalize("NFC", value) if isinstance(value, str) else value


def _known_mask_class(value: object) -> object:
    if value is not None and (problem := check_mask_class(value)):
        raise PydanticCustomError("mask_class", "", {"problem": problem})
    return value


def _no_control_characters(text: str) -> str:
    """Refuse what would break a line of output, end a file name, or be no character at all."""
    if character := next((c for c in text if unicodedata.category(c) in _UNFIT), None):
        raise PydanticCustomError("control_character", "", {"character": character})
    return text


def _no_control_but_space(text: str) -> str:
    """A prompt may have tabs and line breaks: to the tokenizer they are spaces."""
    _no_control_characters(re.sub(r"[\t\r\n]", " ", text))
    return text


_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000)]
_MaybeEmpty = Annotated[str, StringConstraints(strip_whitespace=True, max_length=1000)]
_Name = Annotated[_Text, AfterValidator(_no_control_characters)]
Words = Annotated[_Name, BeforeValidator(_composed)]
Prompt = Annotated[_Text, AfterValidator(_no_control_but_space), BeforeValidator(_composed)]
Negative = Annotated[_MaybeEmpty, AfterValidator(_no_control_but_space), BeforeValidator(_composed)]
Folder = Annotated[_Name, BeforeValidator(_one_spelling)]  # spelled as on the disk


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _EntryKeys(_Model):
    category: Words
    support_dir: Folder = Field(alias="D_good_dir")
    mask_class: Annotated[MaskClass | None, BeforeValidator(_known_mask_class)] = None
    negative_prompt: Negative | None = None  # None: that of the run; "": none
    definition: Words | None = None  # which sense of the category is meant; draws nothing
    source: Words | None = None  # where augment_prompts has the text from; None: typed by hand

    @property
    def image_keys(self) -> str:
        """What decides the images, as JSON: entries in which it is the same are one entry."""
        given = self.model_dump(  # no part for what is not given
            by_alias=True, exclude_none=True, exclude={"definition", "source"}
        )
        return json.dumps({key: _composed(value) for key, value in given.items()}, sort_keys=True)

    @property
    def id(self) -> str:
        """The category and a hash of `image_keys`; the entry's place in the file plays no part."""
        digest = hashlib.sha256(self.image_keys.encode()).hexdigest()
        return f"{slug(self.category)}-{digest[:_ID_LENGTH]}"


class TextEntry(_EntryKeys):
    """Images from a text that contains the category."""

    type: Literal["text"]
    text: Prompt

    def prompt(self, tokens: Sequence[str] = ()) -> str:
        """The text as it stands; `tokens` have no place in it."""
        return self.text


class EmbeddingEntry(_EntryKeys):
    """Images of a look that step 1 learns from the support pairs in `path`.

    Without a `text`, of the plain prompt that it is learned with.
    """

    type: Literal["NM_embedding"]
    path: Folder
    text: Prompt | None = None

    @property
    def token(self) -> str:
        """The object's own word: diffusers loads the embeddings of several objects side by side."""
        plain = slug(self.path)
        digest = hashlib.sha256(self.path.encode()).hexdigest()[:_ID_LENGTH]
        return f"<fss-{plain}>" if plain == self.path else f"<fss-{plain}-{digest}>"

    def prompt(self, tokens: Sequence[str] = ()) -> str:
        """The class noun where it stands first, with the learned words as its adjective."""
        if self.text is None:
            return " ".join(["a photo of a", *tokens, self.category])
        place = next(iter(category_spans(self.text, self.category)), (0, 0))[0]
        return self.text[:place] + "".join(f"{token} " for token in tokens) + self.text[place:]


Entry = TextEntry | EmbeddingEntry


class Defaults(_Model):
    """What `dataset.json` says about the models; the command line overrides it."""

    diffusion_model: Words | None = None
    fss_ckpt_path: Words | None = None
    guidance_scale: float | None = Field(default=None, ge=0, le=MAX_GUIDANCE, allow_inf_nan=False)
    num_inference_steps: int | None = Field(default=None, ge=1, le=MAX_DENOISING_STEPS)
    scheduler: SchedulerName | None = None
    negative_prompt: Negative | None = None
    heatmap_threshold: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    consensus_iou_threshold: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)


def slug(text: str) -> str:
    """Lower-case ASCII letters and digits joined by dashes, safe in any file system."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain)[:_SLUG_LENGTH].strip("-") or "entry"
