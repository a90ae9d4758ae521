"""Captions of scenes, with words left out at random, and the tokenizer that knows their words."""

from __future__ import annotations

import json

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from scripts.tiny_world.world.looks import COLOURS, GROUNDS, NAMED_LOOKS, TEXTURES
from scripts.tiny_world.world.scene import BYSTANDER, Scene, Thing
from scripts.tiny_world.world.shapes import SHAPES

OPENINGS = (
    "a photo of",
    "a good photo of",
    "a picture of",
    "a close-up of",
    "a bright photo of",
    "an image of",
    "there is",
    "",
)
# Words a caption may carry that say nothing: prompts with them stay within what was learned.
FILLERS = ("", "", "", "in the middle of the picture", "seen from the side", "in soft light")
ADJECTIVES = ("", "", "", "", "good", "nice", "single", "beautiful")
SMALL, BIG = 0.42, 0.72  # sides below and above which a thing may be called so
SIZED = 0.25  # share of such things that are
SILENT = 0.6  # share of the small company that a caption does not name
PLACES = {
    "grass": "on green grass",
    "night": "at night",
    "sand": "on the sand",
    "sky": "in the sky",
    "snow": "on white snow",
    "soil": "on dark soil",
    "stone": "on grey stone",
    "sunset": "at sunset",
    "water": "in the water",
    "wood": "on a wooden floor",
}
NAMES = {look: name for name, look in NAMED_LOOKS.items()}
MAX_LENGTH = 40  # tokens; the longest caption has about 30


def with_article(words: str) -> str:
    """ "an orange fish", "a fish"."""
    return ("an " if words[0] in "aeiou" else "a ") + words


def describe_thing(thing: Thing, rng: np.random.Generator) -> str:
    """Anything from "a fish" to "a small orange fish with white stripes"."""
    look, noun = thing.look, thing.category
    adjective = str(rng.choice(ADJECTIVES))
    if (thing.size < SMALL or thing.size > BIG) and rng.random() < SIZED:
        adjective = "small" if thing.size < SMALL else "big"
    told = rng.random()
    if look in NAMES and rng.random() < 0.4:
        words = f"{NAMES[look]} {noun}"
    elif told < 0.25:
        words = noun
    elif told < 0.4 or look.second is None:
        words = f"{look.colour} {noun}"
    elif told < 0.55:
        words = f"{look.texture} {noun}"
    elif told < 0.8:
        words = f"{look.colour} {noun} with {look.second} {TEXTURES[look.texture]}"
    else:
        words = f"{look.texture} {look.colour} and {look.second} {noun}"
    return with_article(f"{adjective} {words}".strip())


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """One of the many captions of a scene: captions of photos do not name everything, either.

    What the scene is about and whatever is nearly as large are always named, small company
    sometimes; what is named is named in the scene's order.
    """
    first, *company = scene.things
    named = [
        thing for thing in company if thing.size > BYSTANDER * first.size or rng.random() >= SILENT
    ]
    things = " and ".join(describe_thing(thing, rng) for thing in (first, *named))
    words = [str(rng.choice(OPENINGS)), things]
    if rng.random() < 0.5:
        place = f"on {scene.ground}" if rng.random() < 0.5 else PLACES[scene.ground]
        words.append(place)
    words.append(str(rng.choice(FILLERS)))
    return " ".join(word for word in words if word)


def world_words() -> list[str]:
    """Every word of the world, each of which is one token."""
    sentences = [
        *OPENINGS,
        *FILLERS,
        *ADJECTIVES,
        "small big",
        *PLACES.values(),
        *SHAPES,
        *COLOURS,
        *GROUNDS,
    ]
    sentences += NAMED_LOOKS
    sentences += [*TEXTURES, *TEXTURES.values(), "a an and with on in of the two close up swimming"]
    sentences += ["standing growing lying its body has covered by cap shiny background clear"]
    return sorted({word for text in sentences for word in text.replace("-", " ").split()})


def new_tokenizer() -> CLIPTokenizer:
    """A CLIP tokenizer: each word of the world is one token, other words fall into pieces."""
    backend = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token="<|endoftext|>"))
    backend.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    split = pre_tokenizers.Split(
        Regex(r"[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"), "removed", invert=True
    )
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    backend.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=4000, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False
    )
    backend.train_from_iterator(world_words(), trainer)
    merges = [tuple(pair) for pair in json.loads(backend.to_str())["model"]["merges"]]
    tokens = [*alphabet, *(letter + "</w>" for letter in alphabet), *map("".join, merges)]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    for special in ("<|startoftext|>", "<|endoftext|>"):
        vocabulary[special] = len(vocabulary)
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=MAX_LENGTH)
