"""Captions say what is there; the tokenizer knows the world's words and spells all others."""

from __future__ import annotations

import numpy as np
import pytest
from transformers import CLIPTokenizer

from scripts.tiny_world.world.captions import (
    MAX_LENGTH,
    caption,
    describe_thing,
    new_tokenizer,
    world_words,
)
from scripts.tiny_world.world.looks import NAMED_LOOKS
from scripts.tiny_world.world.scene import BYSTANDER, random_scene
from scripts.tiny_world.world.shapes import RARE


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return new_tokenizer()


def test_every_word_of_the_world_is_one_token(tokenizer: CLIPTokenizer) -> None:
    split = [word for word in world_words() if len(tokenizer.tokenize(word)) != 1]
    assert not split


def test_unknown_words_fall_into_known_pieces(tokenizer: CLIPTokenizer) -> None:
    pieces = tokenizer.tokenize("albatross")
    assert len(pieces) > 1
    assert "".join(pieces) == "albatross</w>"


def test_tokenizer_survives_its_folder(tokenizer: CLIPTokenizer, tmp_path) -> None:
    tokenizer.save_pretrained(tmp_path)
    text = "a photo of a striped Fish, seen from the side"
    assert CLIPTokenizer.from_pretrained(tmp_path)(text).input_ids == tokenizer(text).input_ids


def test_caption_names_the_object_and_all_that_is_nearly_as_large_and_fits(
    tokenizer: CLIPTokenizer,
) -> None:
    rng = np.random.default_rng(0)
    for seed in range(100):
        scene = random_scene(seed)
        words = caption(scene, rng).split()
        first, *company = scene.things
        large = [thing for thing in company if thing.size > BYSTANDER * first.size]
        assert all(thing.category in words for thing in (first, *large))
        assert len(tokenizer(" ".join(words)).input_ids) <= MAX_LENGTH
        assert all(len(tokenizer.tokenize(word.replace("-", " "))) <= 2 for word in words)


def test_small_company_is_named_by_some_captions_and_not_by_others() -> None:
    rng, named = np.random.default_rng(0), []
    for seed in range(300):
        scene = random_scene(seed, alone=False)
        first, second = scene.things
        if second.size <= BYSTANDER * first.size:
            named.append(second.category in caption(scene, rng).split())
    assert len(named) > 80 and 0.25 < np.mean(named) < 0.55


def test_small_and_big_are_said_of_what_is() -> None:
    rng = np.random.default_rng(0)
    things = [random_scene(seed, alone=True).things[0] for seed in range(300)]
    texts = [(thing.size, describe_thing(thing, rng).split()) for thing in things]
    assert max(size for size, words in texts if "small" in words) < 0.42
    assert min(size for size, words in texts if "big" in words) > 0.72


def test_no_caption_says_the_rare_class() -> None:
    rng = np.random.default_rng(0)
    assert RARE not in world_words()
    assert not any(RARE in caption(random_scene(seed), rng).split() for seed in range(200))


def test_captions_of_one_scene_vary() -> None:
    scene, rng = random_scene(1), np.random.default_rng(0)
    assert len({caption(scene, rng) for _ in range(50)}) > 20


def test_a_named_look_is_sometimes_called_by_its_name_and_sometimes_spelled_out() -> None:
    rng = np.random.default_rng(0)
    scene = random_scene(3, "car", NAMED_LOOKS["tartan"], alone=True)
    captions = [caption(scene, rng) for _ in range(100)]
    assert 20 < sum("tartan car" in text for text in captions) < 60
    assert any("checkered green and blue car" in text for text in captions)
