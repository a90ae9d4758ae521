"""Texts that a language model writes: behind a server of OpenAI's convention, or in a folder.

Every answer is kept in prompts/answers.jsonl before it is read, so nothing that was waited or paid
for is lost: the next run reads the answers that are there before it asks for more.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from aligndiff.core.errors import InputError
from aligndiff.core.files import fingerprint
from aligndiff.core.options import Options, option
from aligndiff.prompts.candidate import Candidate, Subject
from aligndiff.prompts.filters import clean
from aligndiff.prompts.sources.answers import TEXTS_A_CALL, ask, texts_in
from aligndiff.prompts.sources.server import API_KEY, BASE_URL, ChatServer, NoAnswerError
from aligndiff.prompts.sources.source import Request, TextSource

ANSWERS = "answers.jsonl"
_CHOICE = 2  # texts to choose from, for each that is needed
_PATIENCE = 3  # calls, as a multiple of those that would do if every text were fit

Chat = Callable[[list[dict[str, str]], int], str]  # (messages, seed) -> answer


@dataclass(frozen=True)
class LLMOptions(Options):
    """The language model."""

    llm: bool = option(
        False,
        f"ask the server at {BASE_URL}, with {API_KEY} if it wants a key: llama.cpp, vLLM, Ollama, "
        "LM Studio, transformers serve, or a service",
        exclusive="llm",
    )
    llm_local: Path | None = option(
        None, "folder of a transformers language model to ask instead", exclusive="llm"
    )
    llm_model: str | None = option(
        None, "the server's name of the model", shown_default="the first that it lists"
    )
    llm_timeout: float = option(
        120.0, "an answer that takes longer is asked for again", above=0, high=3600, unit="s"
    )
    llm_temperature: float = option(1.0, "how freely the model writes", 0, 5)
    llm_tokens: int = option(1500, "most tokens of an answer of 20 texts", 1, 100_000)


@dataclass(frozen=True)
class AnswerFile:
    """The answers so far, one JSON object a line."""

    path: Path

    def read(self, key: str) -> list[str]:
        """The answers to one question, in their order; a line that was cut off is passed over."""
        if not self.path.exists():
            return []
        lines = self.path.read_text("utf-8", "replace").splitlines()
        return [item["answer"] for item in map(_object, lines) if item.get("key") == key]

    def add(self, key: str, category: str, answer: str) -> None:
        """Append an answer, on the disk when this returns."""
        line = json.dumps({"key": key, "category": category, "answer": answer}, ensure_ascii=False)
        self.path.parent.mkdir(exist_ok=True)
        with open(self.path, "ab+") as file:
            if file.tell() and not _ends_a_line(file):
                file.write(b"\n")  # the last run was killed within a line
            file.write(line.encode("utf-8", "backslashreplace") + b"\n")
            file.flush()
            os.fsync(file.fileno())


def propose(options: LLMOptions, request: Request) -> dict[Subject, list[Candidate]]:
    """What the model writes for each subject, until there are enough fit texts to choose from.

    A server that stops answering ends it: `request.trouble` says why, and what came stays.
    """
    model: Chat = _local_chat(options) if options.llm_local else _server_chat(options)
    answers = AnswerFile(request.folder / ANSWERS)
    proposed: dict[Subject, list[Candidate]] = {}
    gone = False
    for subject, count in request.needs.items():
        key = fingerprint([subject.category, subject.definition, sorted(subject.others)])
        texts: list[str] = []
        try:
            rounds = _rounds(answers, key, subject, count, request, gone, model)
            for answer in rounds:
                texts += texts_in(answer)
        except NoAnswerError as error:
            gone = True
            request.trouble.append(f"{error}; run the same command again to continue")
        proposed[subject] = [Candidate(text, SOURCE.name) for text in texts]
    return proposed


def _rounds(
    answers: AnswerFile,
    key: str,
    subject: Subject,
    count: int,
    request: Request,
    gone: bool,
    chat: Chat,
) -> Iterator[str]:
    """The answers that are kept, then new ones, until enough texts are fit or patience ends."""
    fit: dict[str, None] = {}
    kept = answers.read(key)
    for answer in kept:
        fit |= dict.fromkeys(_fit(answer, subject, request))
        yield answer
    calls = -(-_CHOICE * count // TEXTS_A_CALL) * _PATIENCE
    for number in range(len(kept), len(kept) + calls):
        if gone or len(fit) >= _CHOICE * count:
            break
        answer = chat(ask(subject, list(fit), number), request.seed + number)
        answers.add(key, subject.category, answer)
        before = len(fit)
        fit |= dict.fromkeys(_fit(answer, subject, request))
        request.advance(min(len(fit), count) - min(before, count), subject.category)
        yield answer


def _fit(answer: str, subject: Subject, request: Request) -> Iterator[str]:
    for text in map(clean, texts_in(answer)):
        if request.accepts(subject, text):
            yield text


def _server_chat(options: LLMOptions) -> Chat:
    server = ChatServer(
        os.environ[BASE_URL],
        os.environ.get(API_KEY, ""),
        options.llm_model,
        options.llm_timeout,
    )
    return lambda messages, seed: server.chat(
        messages, seed, options.llm_temperature, options.llm_tokens
    )


@dataclass(frozen=True)
class _LocalModel:
    """A language model of a folder, loaded when it is first asked."""

    options: LLMOptions

    @cached_property
    def _pipeline(self) -> Any:
        import transformers

        from aligndiff.diffusion.hub import quiet_loading

        quiet_loading()
        folder = str(self.options.llm_local)
        try:
            return transformers.pipeline("text-generation", model=folder, dtype="auto")
        except (OSError, ValueError, KeyError) as error:
            problem = str(error).splitlines()[0]
            raise InputError(f"--llm_local {folder}: cannot be loaded: {problem}") from None

    def chat(self, messages: list[dict[str, str]], seed: int) -> str:
        """The answer of the model, by its chat template where it has one."""
        import transformers

        pipe = self._pipeline
        talk: Any = messages
        if getattr(pipe.tokenizer, "chat_template", None) is None:
            talk = "\n\n".join(message["content"] for message in messages) + "\n\n"
        temperature = self.options.llm_temperature
        sampling = {"do_sample": True, "temperature": temperature} if temperature else {}
        transformers.set_seed(seed % 2**32)
        made = pipe(
            talk, return_full_text=False, max_new_tokens=self.options.llm_tokens, **sampling
        )[0]["generated_text"]
        return str(made if isinstance(made, str) else made[-1]["content"])


def _local_chat(options: LLMOptions) -> Chat:
    return _LocalModel(options).chat


def _check(options: LLMOptions) -> None:
    """Raise InputError for a folder that holds no model, or no address of a server."""
    if options.llm_local is not None:
        if not (options.llm_local / "config.json").is_file():
            raise InputError(
                f"--llm_local {options.llm_local}: holds no config.json; give the folder of a "
                "transformers language model"
            )
    elif not os.environ.get(BASE_URL, "").startswith(("http://", "https://")):
        example = "http://127.0.0.1:8080/v1 for llama.cpp, port 11434 for Ollama, 8000 for vLLM"
        raise InputError(f"--llm: set {BASE_URL} to the server's address ({example})")


def _object(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except json.JSONDecodeError:
        return {}
    fit = isinstance(value, dict) and isinstance(value.get("answer"), str)
    return value if fit else {}


def _ends_a_line(file: Any) -> bool:
    file.seek(-1, os.SEEK_END)
    return bool(file.read(1) == b"\n")


SOURCE = TextSource(
    name="llm",
    doing="asking the language model",
    options=LLMOptions,
    is_asked=lambda options: options.llm or options.llm_local is not None,
    check=_check,
    steps=lambda options, request: sum(request.needs.values()),
    propose=propose,
)
