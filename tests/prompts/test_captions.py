"""Captions of every kind of file, by words and by meaning, and the index behind the latter."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from aligndiff.core.errors import InputError
from aligndiff.prompts.candidate import Subject
from aligndiff.prompts.meaning import MEANING_PACKAGE, LetterGrams, Vectors, choose_embedder
from aligndiff.prompts.sources import caption_files
from aligndiff.prompts.sources.caption_files import check_captions, read_captions
from aligndiff.prompts.sources.captions import SOURCE, CaptionOptions
from aligndiff.prompts.sources.index import CaptionIndex
from aligndiff.prompts.sources.source import Request

DOG, BUS = Subject("dog", "", ("bus",)), Subject("bus", "", ("dog",))
CAPTIONS = ['a "red" dog, on a bed', "a bus at dusk\u2019s end", "dogs"]


def request(folder: Path, **needs: int) -> Request:
    subjects = {"dog": DOG, "bus": BUS}
    return Request(
        folder,
        {subjects[name]: count for name, count in needs.items()},
        lambda *_: True,
        0,
        LetterGrams(),
        lambda *_, **__: None,
    )


def write(path: Path) -> Path:
    """The captions in the form that the suffix says."""
    coco = {"images": [{"id": 1}], "annotations": [{"id": 1, "caption": c} for c in CAPTIONS]}
    forms = {
        ".txt": "\n".join(CAPTIONS),
        ".tsv": "id\tcaption\n" + "".join(f"1\t{c}\n" for c in CAPTIONS),
        ".csv": "caption,id\n" + "".join('"{}",1\n'.format(c.replace('"', '""')) for c in CAPTIONS),
        ".jsonl": "\n".join(
            [json.dumps({"text": CAPTIONS[0]}), "", json.dumps({"captions": CAPTIONS[1:]})]
        ),
        ".json": json.dumps(coco),
    }
    path.write_text(forms[path.suffix], encoding="utf-8")
    return path


@pytest.mark.parametrize("suffix", [".txt", ".tsv", ".csv", ".jsonl", ".json"])
def test_each_kind_of_file_gives_its_captions(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"captions{suffix}")
    check_captions(path)
    assert list(read_captions(path)) == CAPTIONS


def test_parquet_and_a_table_without_heading(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "captions.parquet"
    parquet.write_table(pyarrow.table({"url": CAPTIONS, "TEXT": [CAPTIONS[0], None, "x y"]}), path)
    assert list(read_captions(path)) == [CAPTIONS[0], "x y"]
    table = tmp_path / "sbu.tsv"
    table.write_text("http://a\ta dog\nhttp://b\ta bus\n")
    assert list(read_captions(table)) == ["a dog", "a bus"]


def test_a_caption_with_stray_bytes_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"a caf\xe9 dog\na dog\n")
    assert list(read_captions(tmp_path / "a.txt")) == ["a dog"]


def test_a_coco_file_is_read_in_pieces(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(caption_files, "_CHUNK", 7)
    assert list(read_captions(write(tmp_path / "captions.json"))) == CAPTIONS


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("none.txt", None, "no such file"),
        ("captions.docx", "a dog", "must be one of .txt, .tsv, .csv, .jsonl, .json, .parquet"),
        ("empty.txt", " \n", "holds no caption"),
        ("bad.jsonl", '{"caption": "a dog"\n', "line 1 is not valid JSON"),
        ("bad.parquet", "PAR1 a dog", "not a parquet file"),
        ("latin.txt", b"a dog\na caf\xe9 dog", 'not UTF-8 text (in "a caf\ufffd dog")'),
        ("utf16.txt", "a dog\na cat".encode("utf-16"), "not UTF-8 text"),
        ("utf16le.csv", "id,caption\n1,a dog".encode("utf-16-le"), "not UTF-8 text"),
    ],
)
def test_a_file_that_is_none_is_one_line(
    tmp_path: Path, name: str, content: str | bytes | None, problem: str
) -> None:
    if content is not None:
        data = content.encode() if isinstance(content, str) else content
        (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError) as error:
        SOURCE.check(CaptionOptions(captions=(tmp_path / name,)))
    assert len(error.value.problems) == 1 and problem in error.value.problems[0]


def test_captions_with_the_word_are_sampled_whatever_their_order(tmp_path: Path) -> None:
    lines = [f"a {'dog' if n % 2 else 'bus'} number {n}" for n in range(9000)] + ["two dogs"]
    first, second = tmp_path / "a.txt", tmp_path / "b.txt"
    first.write_text("\n".join(lines))
    second.write_text("\n".join(reversed(lines + lines[:100])))
    texts = []
    for path in (first, second):
        offered = SOURCE.propose(CaptionOptions(captions=(path,)), request(tmp_path, dog=3))
        texts.append([candidate.text for candidate in offered[DOG]])
    assert texts[0] == texts[1]
    assert len(set(texts[0])) == 2000 and all(" dog " in text for text in texts[0])


def test_captions_near_in_meaning_are_put_behind_the_category(tmp_path: Path) -> None:
    pytest.importorskip(MEANING_PACKAGE)
    path = tmp_path / "captions.txt"
    near = ["two terriers chase a ball across the lawn", "the hound sniffs at a tree"]
    far = ["a kitten on a windowsill", "a wolf in the snow", "three dogs run", "a dog at sea"]
    path.write_text("\n".join([*near, *far]))
    options = CaptionOptions(captions=(path,), by_meaning=True)
    offered = SOURCE.propose(options, request(tmp_path / "prompts", dog=2))
    texts = [candidate.text for candidate in offered[DOG]]
    assert texts == ["a dog at sea", *(f"a dog: {caption}" for caption in near)]


class Counting(LetterGrams):
    """Letters, and how many texts were embedded; after `most` it is killed."""

    def __init__(self, most: int = 10**9) -> None:
        self.done, self.most = 0, most

    def embed(self, texts: Sequence[str]) -> Vectors:
        if self.done + len(texts) > self.most:
            raise KeyboardInterrupt
        self.done += len(texts)
        return super().embed(texts)


def test_an_index_that_was_interrupted_goes_on_where_it_was(tmp_path: Path) -> None:
    index = CaptionIndex(tmp_path / "index", piece=10)
    texts = [f"caption number {n}" for n in range(95)]
    with pytest.raises(KeyboardInterrupt):
        index.build(texts, Counting(most=45), lambda _: None)
    embedder = Counting()
    assert index.build(texts, embedder, lambda _: None) == 95
    assert embedder.done == 55
    assert index.build(texts, embedder, lambda _: None) == 95 and embedder.done == 55
    vectors = LetterGrams().embed(texts)
    hits = index.search(vectors[[3, 94]], 4)
    assert hits.rows[:, 0].tolist() == [3, 94]
    expected = np.sort(vectors[[3, 94]] @ vectors.T, axis=1)[:, ::-1][:, :4]
    assert np.allclose(hits.likeness, expected, atol=2e-3)  # float16 on the disk


def test_faiss_finds_what_numpy_finds(tmp_path: Path) -> None:
    pytest.importorskip("faiss")
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(3000, 32)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)

    class Known(LetterGrams):
        def embed(self, texts: Sequence[str]) -> Vectors:
            return vectors[[int(text) for text in texts]]

    index = CaptionIndex(tmp_path / "index", piece=1000)
    index.build(map(str, range(3000)), Known(), lambda _: None)
    exact = index.search(vectors[:50], 1)
    near = CaptionIndex(index.folder, index.piece, faiss_from=1).search(vectors[:50], 1)
    assert (index.folder / "faiss.index").exists()
    assert exact.rows[:, 0].tolist() == list(range(50)) == near.rows[:, 0].tolist()
    assert np.allclose(exact.likeness, near.likeness, atol=0.02)


def test_meaning_without_its_package_is_one_line(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("aligndiff.prompts.meaning.MEANING_PACKAGE", "no_such_package")
    path = write(tmp_path / "captions.txt")
    with pytest.raises(InputError, match="^--by_meaning: needs a package: pip install"):
        SOURCE.check(CaptionOptions(captions=(path,), by_meaning=True))
    assert choose_embedder("auto").name == "letters"
