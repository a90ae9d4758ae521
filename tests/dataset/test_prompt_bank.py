from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aligndiff.core.errors import InputError, MissingWeightsError
from aligndiff.dataset.bank_checks import TokenCount
from aligndiff.dataset.entries import (
    Defaults,
    EmbeddingEntry,
    TextEntry,
    category_spans,
    placeholder_tokens,
)
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.dataset.raster import KINDS

MakeBank = Callable[..., Path]
Json = dict[str, Any]
LONG = "a photo of a fish " + "and another fish " * 5


def text(**changes: object) -> Json:
    entry = {"type": "text", "category": "fish", "D_good_dir": "fish", "text": "a photo of a fish"}
    return {**entry, **changes}


def learned(**changes: object) -> Json:
    entry = {"type": "NM_embedding", "category": "fish", "D_good_dir": "fish", "path": "fish"}
    return {**entry, **changes}


def without(entry: Json, key: str) -> Json:
    return {name: value for name, value in entry.items() if name != key}


def problems_of(root: Path, *categories: str, **options: Any) -> list[str]:
    with pytest.raises(InputError) as error:
        load_prompt_bank(root, categories, **options)
    return list(error.value.problems)


def test_a_good_bank(make_bank: MakeBank) -> None:
    mushroom = text(category="red mushroom", D_good_dir="mushroom", text="two Red\tmushroom")
    root = make_bank([text(), learned(), mushroom, learned(D_good_dir="mushroom")])
    bank = load_prompt_bank(root)
    assert [type(entry) for entry in bank.entries] == [
        TextEntry,
        EmbeddingEntry,
        TextEntry,
        EmbeddingEntry,
    ]
    assert bank.root == root
    assert bank.categories == ["fish", "red mushroom"]
    assert bank.objects == [bank.entries[1]]
    assert bank.defaults == Defaults()
    assert bank.entries[2].support_dir == "mushroom"
    assert load_prompt_bank(root, ["red mushroom"]).entries == (bank.entries[2],)


def test_prompts() -> None:
    assert TextEntry(**text()).prompt(["<fss-token>"]) == "a photo of a fish"
    entry = EmbeddingEntry(**learned())
    assert entry.prompt() == "a photo of a fish"
    tokens = placeholder_tokens(3)
    assert tokens == ["<fss-token>", "<fss-token>_1", "<fss-token>_2"]
    assert entry.prompt(tokens[:2]) == "a photo of a <fss-token> <fss-token>_1 fish"


def test_an_id_comes_from_what_an_entry_is() -> None:
    entry = TextEntry(**text())
    assert entry.id == TextEntry(**dict(reversed(text().items()))).id
    assert re.fullmatch(r"fish-[0-9a-f]{8}", entry.id)
    # pinned: folders of earlier versions must be found again
    assert entry.id == "fish-a6375220"
    assert entry.id == TextEntry(**text(D_good_dir="./fish/")).id
    others = [
        text(D_good_dir="other"),
        text(text="one fish"),
        text(category="Fish"),
        learned(),
        learned(path="other"),
        learned(D_good_dir="other"),
    ]
    kinds = {"text": TextEntry, "NM_embedding": EmbeddingEntry}
    assert len({entry.id, *(kinds[other["type"]](**other).id for other in others)}) == 7


@pytest.mark.parametrize(
    ("category", "slug"),
    [
        ("Red Mushroom!", "red-mushroom"),
        ("Ägäis/..", "agais"),
        ("猫", "entry"),
        ("x" * 99, "x" * 40),
    ],
)
def test_ids_are_safe_folder_names(category: str, slug: str) -> None:
    assert EmbeddingEntry(**learned(category=category)).id[:-9] == slug


def test_source_and_definition_change_no_id_and_hide_no_repetition(make_bank: MakeBank) -> None:
    told = {"source": "templates", "definition": "an animal"}
    assert TextEntry(**text(**told)).id == TextEntry(**text()).id
    with pytest.raises(InputError, match="the same as entry 1; remove one of them"):
        load_prompt_bank(make_bank([text(), text(**told)]))


def test_a_text_takes_the_learned_words_before_the_category() -> None:
    entry = EmbeddingEntry(**learned(text="A Fish and a fish"))
    assert entry.prompt(["<fss-token>", "<fss-token>_1"]) == (
        "A <fss-token> <fss-token>_1 Fish and a fish"
    )
    assert entry.prompt() == "A Fish and a fish"
    assert entry.id != EmbeddingEntry(**learned()).id


@pytest.mark.parametrize(
    ("text", "category", "found"),
    [
        ("a cat and a CAT", "cat", ["cat", "CAT"]),
        ("cattle, a bobcat, cats", "cat", []),
        ("(cat) cat's cat-like", "cat", ["cat", "cat", "cat"]),
        ("a red  \n mushroom", "Red mushroom", ["red  \n mushroom"]),
        ("an áé cat", "áé", ["áé"]),
        ("c++ and c", "c++", ["c++"]),
        ("anything", " ", []),
    ],
)
def test_category_spans(text: str, category: str, found: list[str]) -> None:
    assert [text[begin:end] for begin, end in category_spans(text, category)] == found


KEYS = (
    "the keys are type, category, D_good_dir, text, mask_class, negative_prompt, definition, source"
)


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("fish", ": must be an object {...}, not a text"),
        (None, ": must be an object {...}, not null"),
        (without(text(), "type"), ' (fish): type: missing; add "text" or "NM_embedding"'),
        (
            text(type="NM_embeding"),
            ' (fish): type: "NM_embeding" is unknown (did you mean "NM_embedding"?); use "text" or '
            '"NM_embedding"',
        ),
        (text(type=3), ' (fish): type: "3" is unknown; use "text" or "NM_embedding"'),
        (without(text(), "category"), ": category: missing; add the noun of the object"),
        (text(category=" "), ": category: is empty; give the noun of the object"),
        (text(category=7), ": category: must be a text in quotes, not a number"),
        (without(text(), "text"), " (fish): text: missing; add the prompt"),
        (text(text=["a"]), " (fish): text: must be a text in quotes, not a list"),
        (
            without(learned(), "path"),
            " (fish): path: missing; add the folder of support pairs to learn from",
        ),
        (
            text(D_good_dirr="x"),
            f' (fish): D_good_dirr: unknown key (did you mean "D_good_dir"?); {KEYS}',
        ),
        (text(support_dir="fish"), f" (fish): support_dir: unknown key; {KEYS}"),
        (
            learned(txt="a fish"),
            ' (fish): txt: unknown key (did you mean "text"?); the keys are type, category, '
            "D_good_dir, text, path, mask_class, negative_prompt, definition, source",
        ),
        (
            learned(text="a boat"),
            ' (fish): text: the category "fish" is not in the text "a boat"; write it there as a '
            "whole word",
        ),
        (
            learned(text=LONG),
            " (fish): text: the prompt has 79 tokens, the text encoder reads 77; shorten it",
        ),
        (
            text(D_good_dir="fsh"),
            ' (fish): D_good_dir: fsh: no such folder (did you mean "fish"?); give a folder of '
            "support pairs",
        ),
        (
            text(D_good_dir="dataset.json"),
            " (fish): D_good_dir: dataset.json: is a file, not a folder; give a folder of support "
            "pairs",
        ),
        (
            text(D_good_dir="/no/such/place"),
            " (fish): D_good_dir: /no/such/place: no such folder; give a folder of support pairs",
        ),
        (
            text(D_good_dir="C:\\photos"),
            " (fish): D_good_dir: C:\\photos is a path of Windows; write it as this system does, "
            "with /",
        ),
        (
            text(D_good_dir="fish/../../other"),
            " (fish): D_good_dir: ../other leaves the dataset folder; give the absolute path of "
            "your files",
        ),
        (
            learned(path="link"),
            " (fish): path: {root}/link: is a relative link out of the dataset folder; make it "
            "absolute if the file is yours",
        ),
        (
            text(text="two fishes"),
            ' (fish): text: the category "fish" is not in the text "two fishes" (did you mean '
            '"fishes"?); write it there as a whole word',
        ),
        (
            text(text="a boat"),
            ' (fish): text: the category "fish" is not in the text "a boat"; write it there as a '
            "whole word",
        ),
        (
            text(text="a photo of a <fss-token> fish"),
            ' (fish): text: "<fss-token>" stands for what step 1 learns, and gets its place in the '
            "prompts of NM_embedding entries by itself; remove it",
        ),
        (
            learned(negative_prompt="no <fss-my-dog>_1"),
            ' (fish): negative_prompt: "<fss-my-dog>" stands for what step 1 learns, and gets its '
            "place in the prompts of NM_embedding entries by itself; remove it",
        ),
        (
            text(text=LONG),
            " (fish): text: the prompt has 78 tokens, the text encoder reads 77; shorten it",
        ),
        (
            learned(category=LONG.strip()),
            f" ({LONG.strip()}): category: the prompt has 79 tokens, the text encoder reads 77; "
            "shorten it",
        ),
    ],
)
def test_what_is_wrong_with_an_entry(
    entry: object, problem: str, make_bank: MakeBank, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = make_bank([text(), entry])
    outside = tmp_path_factory.mktemp("outside")
    (root / "link").symlink_to(os.path.relpath(outside, root))
    found = problems_of(root, token_counter=lambda _: lambda prompt: [TokenCount(78, 77)])
    assert found == [f"dataset.json: entry 2{problem.replace('{root}', str(root))}"]


def test_every_object_has_a_token_of_its_own() -> None:
    paths = ["fish", "Fish", "my fish", "my-fish", "my/fish", "金魚", "魚", "x" * 60, "x" * 61]
    tokens = [EmbeddingEntry(**learned(path=path)).token for path in paths]
    assert tokens[0] == "<fss-fish>" and tokens[3] == "<fss-my-fish>"
    assert len(set(tokens)) == len(paths)
    assert all(re.fullmatch(r"<fss-[a-z0-9-]+>", token) for token in tokens)


def test_a_negative_prompt_makes_another_entry_and_its_absence_none() -> None:
    plain = TextEntry(**text())
    assert plain.id == "fish-a6375220", "as before there were negative prompts"
    others = [TextEntry(**text(negative_prompt=words)) for words in ("blurry", "cartoon", "")]
    assert len({plain.id, *(entry.id for entry in others)}) == 4
    assert TextEntry(**text(negative_prompt=" blurry ")) == others[0]


def test_what_is_wrong_with_a_negative_prompt(make_bank: MakeBank) -> None:
    entries = [
        text(negative_prompt=LONG),
        text(negative_prompt=["a"]),
        text(negative_promt="blurry"),
        text(negative_prompt="a\0"),
    ]
    root = make_bank(entries, defaults={"negative_prompt": 1})
    found = problems_of(root, token_counter=lambda _: lambda prompt: [TokenCount(78, 77)])
    assert [problem.partition("(fish): ")[2] for problem in found[1:]] == [
        "negative_prompt: must be a text in quotes, not a list",
        f'negative_promt: unknown key (did you mean "negative_prompt"?); {KEYS}',
        r"negative_prompt: holds \x00, a control character or line break; remove it",
        "negative_prompt: the prompt has 78 tokens, the text encoder reads 77; shorten it",
    ]
    assert found[0].endswith("defaults: negative_prompt: must be a text in quotes, not a number")


def test_duplicates_and_one_folder_for_two_categories(make_bank: MakeBank) -> None:
    root = make_bank([text(), text(D_good_dir="fish/"), learned(), learned(category="carp")])
    assert problems_of(root) == [
        "dataset.json: entry 2 (fish): the same as entry 1; remove one of them",
        'dataset.json: entry 4 (carp): path: entry 3 learns fish as "fish"; use the same category, '
        "or another folder",
    ]


def test_support_problems_are_told_once_for_each_folder(make_bank: MakeBank) -> None:
    root = make_bank([text(), learned(), learned(D_good_dir="mushroom")])
    (root / "fish" / "1.png").unlink()
    (root / "mushroom" / "2.jpg").write_bytes(b"broken")
    assert problems_of(root) == [
        f"dataset.json: entry 1 (fish): D_good_dir: {root}/fish/1.jpg: has no mask beside it; add "
        "1.png or remove the file",
        f"dataset.json: entry 3 (fish): D_good_dir: {root}/mushroom/2.jpg: not a readable image "
        f"({KINDS}); replace or remove the file",
    ]


def test_all_problems_are_told_at_once(make_bank: MakeBank) -> None:
    entries = [without(text(), "text"), text(text=LONG), text(text="a boat")]
    root = make_bank(entries, defaults={"guidance_scale": "high"}, default={})
    problems = [
        'dataset.json: default: unknown key (did you mean "defaults"?); the keys are '
        "prompt_dataset, defaults",
        "dataset.json: defaults: guidance_scale: must be a number, not 'high'",
        "dataset.json: entry 1 (fish): text: missing; add the prompt",
        'dataset.json: entry 3 (fish): text: the category "fish" is not in the text "a boat"; '
        "write it there as a whole word",
    ]
    too_long = "text: the prompt has 99 tokens, the text encoder reads 77; shorten it"
    found = problems_of(root, token_counter=lambda _: lambda prompt: [TokenCount(99, 77)])
    assert found == [*problems, f"dataset.json: entry 2 (fish): {too_long}"]
    # No tokenizer, which takes seconds to load, where the command line has the slip of the pen.
    unknown = 'dataset.json: no category "fsh" (did you mean "fish"?); it has fish'
    assert problems_of(root, "fsh", token_counter=lambda _: lambda prompt: 1 // 0) == [
        *problems,
        unknown,
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (
            '{"prompt_dataset": [}',
            "{file}: not valid JSON at line 1, column 21: Expecting value; correct it",
        ),
        (
            "[]",
            'dataset.json: must be an object {{"prompt_dataset": [...]}}, not a list',
        ),
        ("{}", "dataset.json: prompt_dataset: missing; add the list of entries"),
        (
            '{"prompt_dataset": {}}',
            "dataset.json: prompt_dataset: must be a list [...], not an object",
        ),
        (
            '{"prompt_dataset": []}',
            "dataset.json: prompt_dataset: has no entries; add at least one",
        ),
        (
            None,
            "{file}: no such file; to make one: python -m scripts.prepare_dataset YOUR_PHOTOS "
            "--category NAME --dataset_dir {file.parent} (docs/YOUR_PHOTOS.md)",
        ),
    ],
)
def test_a_file_that_is_no_prompt_bank(content: str | None, problem: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "dataset.json").write_text(content)
    assert problems_of(tmp_path) == [problem.format(file=tmp_path / "dataset.json")]


def test_no_dataset_folder(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text("{}")
    assert problems_of(tmp_path / "gone") == [
        f"{tmp_path}/gone: no such folder; --dataset_dir is the folder that holds dataset.json"
    ]
    assert problems_of(tmp_path / "dataset.json") == [
        f"{tmp_path}/dataset.json: is a file; --dataset_dir is the folder that holds dataset.json"
    ]


@pytest.mark.parametrize(
    ("defaults", "problem"),
    [
        ([], "must be an object {...}, not a list"),
        (
            {"diffusion_modle": "tiny"},
            'diffusion_modle: unknown key (did you mean "diffusion_model"?); the keys are '
            "diffusion_model, fss_ckpt_path, guidance_scale, num_inference_steps, "
            "scheduler, negative_prompt, heatmap_threshold, consensus_iou_threshold",
        ),
        ({"diffusion_model": 15}, "diffusion_model: must be a text in quotes, not a number"),
        ({"fss_ckpt_path": ""}, "fss_ckpt_path: is empty; give a name or a path"),
        ({"guidance_scale": -1}, "guidance_scale: must be at least 0, not -1"),
        ({"guidance_scale": True}, "guidance_scale: must be a number, not True"),
        ({"num_inference_steps": 0}, "num_inference_steps: must be at least 1, not 0"),
        (
            {"scheduler": "euler"},
            "scheduler: must be 'default', 'dpm++' or 'pndm', not 'euler'",
        ),
        ({"num_inference_steps": 2.5}, "num_inference_steps: must be a whole number, not 2.5"),
    ],
)
def test_what_is_wrong_with_the_defaults(
    defaults: object, problem: str, make_bank: MakeBank
) -> None:
    found = problems_of(make_bank([text()], defaults=defaults))
    assert found == [f"dataset.json: defaults: {problem}"]


def test_defaults_name_weights_beside_the_dataset(make_bank: MakeBank) -> None:
    said = {"diffusion_model": "tiny", "fss_ckpt_path": "ssp.pth", "guidance_scale": 5}
    root = make_bank([text()], defaults=said)
    assert load_prompt_bank(root).defaults == Defaults(**said)
    (root / "ssp.pth").touch()
    (root / "tiny").mkdir()  # a name of ours all the same
    defaults = load_prompt_bank(root).defaults
    assert (defaults.fss_ckpt_path, defaults.diffusion_model) == (str(root / "ssp.pth"), "tiny")


def test_unknown_categories(make_bank: MakeBank) -> None:
    bank = load_prompt_bank(make_bank([text(), learned(category="carp", path="mushroom")]))
    assert bank.select([]) == bank
    with pytest.raises(InputError) as error:
        bank.select(["crap", "boat", "fish"])
    assert error.value.problems == (
        'dataset.json: no category "crap" (did you mean "carp"?); it has fish, carp',
        'dataset.json: no category "boat"; it has fish, carp',
    )


def test_tokens_are_counted_only_for_prompts_that_may_be_too_long(make_bank: MakeBank) -> None:
    asked: list[str] = []

    def count(prompt: str) -> list[TokenCount]:
        asked.append(prompt)
        return [TokenCount(77, 77), TokenCount(100, 512)]

    fits = "fish" + "." * 71
    root = make_bank([text(text=fits), text(text=fits + "."), text(text="fish " + "ö" * 36)])
    load_prompt_bank(root, token_counter=lambda _: count)
    assert asked == [fits + ".", "fish " + "ö" * 36]


def test_a_prompt_is_too_long_for_any_one_of_the_text_encoders(make_bank: MakeBank) -> None:
    root = make_bank([text(text=LONG)])
    counts = [TokenCount(78, 512), TokenCount(301, 300)]
    (problem,) = problems_of(root, token_counter=lambda _: lambda prompt: counts)
    assert problem.endswith("the prompt has 301 tokens, the text encoder reads 300; shorten it")


def test_a_missing_tokenizer_does_not_hide_other_problems(make_bank: MakeBank) -> None:
    def count(prompt: str) -> list[TokenCount]:
        raise MissingWeightsError("no weights; try tiny")

    with pytest.raises(MissingWeightsError):
        load_prompt_bank(make_bank([text(text=LONG)]), token_counter=lambda _: count)
    root = make_bank([text(text=LONG), text(text="a boat")])
    found = problems_of(root, token_counter=lambda _: count)
    assert len(found) == 2
    assert found[1] == "no weights; try tiny"


def test_entries_cannot_be_changed(make_bank: MakeBank) -> None:
    bank = load_prompt_bank(make_bank([text()]))
    with pytest.raises(ValueError, match="frozen"):
        bank.entries[0].category = "boat"
    json.dumps(bank.entries[0].model_dump(by_alias=True))
