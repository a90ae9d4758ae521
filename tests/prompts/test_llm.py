"""A language model asked for texts: a real server, a tiny real model, and all that goes wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aligndiff.core.errors import InputError
from aligndiff.prompts.candidate import Subject
from aligndiff.prompts.sources import server
from aligndiff.prompts.sources.answers import ask, texts_in
from aligndiff.prompts.sources.llm import LLMOptions
from scripts import augment_prompts
from tests.prompts.llm_server import ChatLoopback, save_tiny_model, serving

KEY = "sk-very-secret-1234"


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between tries, which are noted and not waited."""
    waits: list[float] = []
    monkeypatch.setattr(server, "sleep", waits.append)
    return waits


def run(root: Path, loopback: ChatLoopback, monkeypatch: pytest.MonkeyPatch, *options: str) -> int:
    monkeypatch.setenv("OPENAI_BASE_URL", loopback.url)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    words = ["--dataset_dir", str(root), "--compare_by", "letters", "--diffusion_model", "tiny"]
    return augment_prompts.main([*words, "--categories", "fish", "--llm", *options])


def texts(root: Path) -> list[str]:
    bank = json.loads((root / "dataset.json").read_text())["prompt_dataset"]
    return [entry["text"] for entry in bank if entry.get("source") == "llm"]


def answers(root: Path) -> list[str]:
    path = root / "prompts" / "answers.jsonl"
    return path.read_text().splitlines() if path.exists() else []


def test_a_server_writes_texts(dataset_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as loopback:
        assert run(dataset_dir, loopback, monkeypatch, "--count", "5") == 0
        new = texts(dataset_dir)
        assert len(new) == 5 and all(" fish " in text for text in new)
        assert {request["model"] for request in loopback.requests} == {"tiny-random-llama"}
        assert set(loopback.keys) == {f"Bearer {KEY}"}
        asked = loopback.requests[0]["messages"][-1]["content"]
        assert 'contain the word "fish"' in asked and "Do not mention: albatross" in asked
        calls = len(loopback.requests)
        # More of them: the answers that are there are read before the server is asked.
        assert run(dataset_dir, loopback, monkeypatch, "--count", "6") == 0
        assert len(loopback.requests) == calls and len(texts(dataset_dir)) == 6


def test_what_goes_wrong_for_a_while_is_survived(
    dataset_dir: Path, monkeypatch: pytest.MonkeyPatch, no_long_waits: list[float]
) -> None:
    faults = ("429", "cut", "slow", "500", "html", "empty", "free", "prose")
    with serving(*faults) as loopback:
        options = ("--count", "5", "--llm_timeout", "0.5")
        # Three answers without a text in them are as many as are tried; the next run asks again.
        assert run(dataset_dir, loopback, monkeypatch, *options) == 0
        assert (len(answers(dataset_dir)), texts(dataset_dir)) == (3, [])
        assert run(dataset_dir, loopback, monkeypatch, *options) == 0
    assert no_long_waits[:4] == [1, 2, 4, 8]
    assert len(texts(dataset_dir)) == 5


def test_a_server_that_is_gone_leaves_what_it_gave(
    dataset_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    with serving("", *("500",) * 5) as loopback:
        assert run(dataset_dir, loopback, monkeypatch, "--count", "10") == 1
        told = capsys.readouterr().err
        assert "no answer after 5 tries: 500" in told and "run the same command again" in told
        first = texts(dataset_dir)
        assert 0 < len(first) <= 10 and len(answers(dataset_dir)) == 1
        assert run(dataset_dir, loopback, monkeypatch, "--count", "10") == 0
        assert texts(dataset_dir)[: len(first)] == first and len(texts(dataset_dir)) == 10
    # Nobody listens any more.
    assert run(dataset_dir, loopback, monkeypatch, "--count", "60") == 1
    assert len(texts(dataset_dir)) >= 10


@pytest.mark.parametrize(
    ("status", "remedy"), [("401", "set OPENAI_API_KEY to its key"), ("404", "it ends in /v1")]
)
def test_a_refusal_is_one_line_without_the_key(
    dataset_dir: Path, monkeypatch: pytest.MonkeyPatch, status: str, remedy: str
) -> None:
    before = (dataset_dir / "dataset.json").read_bytes()
    with serving(status) as loopback, pytest.raises(InputError) as error:
        run(dataset_dir, loopback, monkeypatch)
    (line,) = error.value.problems
    assert remedy in line and status in line and KEY not in line
    assert (dataset_dir / "dataset.json").read_bytes() == before


def test_the_key_is_written_nowhere(
    dataset_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    with serving("echo", "429", *("500",) * 5) as loopback:
        run(dataset_dir, loopback, monkeypatch, "--count", "20")
    captured = capsys.readouterr()
    assert KEY not in captured.out + captured.err
    assert "[the key]" in answers(dataset_dir)[0]
    for path in dataset_dir.rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes(), path


def test_a_line_that_was_cut_off_costs_only_itself(
    dataset_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving() as loopback:
        run(dataset_dir, loopback, monkeypatch, "--count", "5")
        path = dataset_dir / "prompts" / "answers.jsonl"
        path.write_bytes(path.read_bytes() + b'{"key": "0123", "answ')
        before = answers(dataset_dir)[:-1]
        run(dataset_dir, loopback, monkeypatch, "--count", "30")
    now = answers(dataset_dir)
    assert now[: len(before)] == before and len(now) > len(before) + 1
    assert all(json.loads(line) for line in now[len(before) + 1 :])


def test_a_model_of_a_folder_is_asked_in_this_process(dataset_dir: Path, tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path / "llm")
    words = ["--dataset_dir", str(dataset_dir), "--compare_by", "letters", "--count", "1"]
    options = ["--categories", "fish", "--llm_local", str(folder), "--llm_tokens", "30"]
    assert augment_prompts.main([*words, *options]) == 0
    made = [json.loads(line)["answer"] for line in answers(dataset_dir)]
    # Random weights do not write "fish": the answers are kept, and no text is taken.
    assert len(made) == 3 and len(set(made)) == 3
    assert texts(dataset_dir) == []


@pytest.mark.parametrize(
    ("address", "options", "problem"),
    [
        ("", ("--llm",), "--llm: set OPENAI_BASE_URL to the server's address"),
        ("localhost:8080", ("--llm",), "--llm: set OPENAI_BASE_URL to the server's address"),
        ("", ("--llm_local", "/no/such"), "--llm_local /no/such: holds no config.json"),
        ("", ("--llm", "--llm_local", "x"), "not allowed with argument --llm"),
    ],
)
def test_a_mistake_is_one_line_before_anything_loads(
    dataset_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    address: str,
    options: tuple[str, ...],
    problem: str,
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    with pytest.raises(InputError) as error:
        augment_prompts.main(["--dataset_dir", str(dataset_dir), *options])
    (line,) = error.value.problems
    assert problem in line


@pytest.mark.parametrize(
    "answer",
    [
        '["a dog at sea", "a dog, asleep"]',
        'Here:\n```json\n["a dog at sea",\n "a dog, asleep"]\n```\nEnjoy!',
        '{"prompts": [{"text": "a dog at sea"}, {"text": "a dog, asleep"}]}',
        '["a dog at sea", "a dog, asleep", "a dog in the',
        "1. a dog at sea\n2) a dog, asleep",
        "Here you are:\n- a dog at sea\n* a dog, asleep\n",
        '<think>a dog? ["no dog here"]</think>["a dog at sea", "a dog, asleep"]',
        '"a dog at sea",\n"a dog, asleep",',
    ],
)
def test_texts_of_answers_in_any_form(answer: str) -> None:
    assert texts_in(answer) == ["a dog at sea", "a dog, asleep"]


@pytest.mark.parametrize("answer", ["", "[]", "null", "[[[[", "x" * 5000, "<think>hm", '{"a": 1}'])
def test_answers_without_texts_give_none(answer: str) -> None:
    assert texts_in(answer) == []


def test_the_question_tells_what_is_meant_and_what_is_there() -> None:
    *before, request = ask(Subject("crane", "a tall bird", ("dog",)), ["a crane at dawn"])
    assert [message["role"] for message in before] == ["system", "user", "assistant"]
    assert all("bench" in text for text in texts_in(before[-1]["content"]))
    for part in ('By "crane" is meant: a tall bird.', "Do not mention: dog", "- a crane at dawn"):
        assert part in request["content"]
    assert LLMOptions().llm is False


def test_a_server_that_does_not_sample_is_asked_another_question_each_time() -> None:
    asked = [ask(Subject("crane"), (), number)[-1]["content"] for number in range(9)]
    assert len(set(asked)) == 9 and "photos indoors" in asked[1]
