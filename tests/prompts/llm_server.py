"""A real chat server on the loopback, with a tiny real language model of random weights behind it.

As llama.cpp with a grammar does, it lets the model choose among the words that a form allows, so
that random weights write sentences; without the form they write what random weights write.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from scripts.tiny_families.tokenizers import qwen_tokenizer

MODEL = "tiny-random-llama"
FORM = (
    ("A", "One", "This"),
    ("old", "small", "wet", "young", "huge", "pale", "muddy", "quiet"),
    ("{category}",),
    ("beside", "under", "behind", "near", "inside"),
    ("a wooden boat", "the tall tower", "some ferns", "an open gate", "a stone arch", "my tent"),
    ("at noon", "in heavy rain", "by moonlight", "during a storm", "on a hot day", "at dawn"),
)


@cache
def tiny_model() -> tuple[LlamaForCausalLM, PreTrainedTokenizerBase]:
    """Some 40,000 random parameters, and a byte tokenizer with a chat template."""
    tokenizer = qwen_tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=4096,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config).eval(), tokenizer


def save_tiny_model(folder: Path) -> Path:
    model, tokenizer = tiny_model()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def written_by_form(category: str, count: int, seed: int) -> list[str]:
    """Sentences whose words the model chooses among those of FORM, sampled by its logits."""
    model, tokenizer = tiny_model()
    generator = torch.Generator().manual_seed(seed)
    sentences = []
    for _ in range(count):
        words: list[str] = []
        for options in FORM:
            ids = tokenizer(" ".join(["Write", *words]), return_tensors="pt").input_ids
            with torch.inference_mode():
                logits = model(ids).logits[0, -1]
            firsts = [tokenizer(f" {option}").input_ids[0] for option in options]
            weights = torch.softmax(logits[firsts], 0)
            words.append(options[int(torch.multinomial(weights, 1, generator=generator))])
        sentences.append(" ".join(words).format(category=category) + ".")
    return sentences


def written_freely(seed: int) -> str:
    """Forty tokens of random weights."""
    model, tokenizer = tiny_model()
    torch.manual_seed(seed)
    ids = tokenizer("Write", return_tensors="pt").input_ids
    with torch.inference_mode():
        made = model.generate(ids, do_sample=True, max_new_tokens=40)
    return str(tokenizer.decode(made[0, ids.shape[1] :]))


class ChatLoopback:
    """What the server was asked, and what it does to the next requests.

    `faults` holds a word for each of the next requests: "429", "500", "401", "cut", "slow", "html",
    "empty", "free" (text without the form), "prose" (a numbered list), "echo" (repeats the key), or
    "" for a proper answer; afterwards all are proper.
    """

    def __init__(self, faults: tuple[str, ...] = ()) -> None:
        self.faults = list(faults)
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.url = ""


class _Handler(BaseHTTPRequestHandler):
    loopback: ChatLoopback

    def do_GET(self) -> None:
        self._json({"data": [{"id": MODEL}]} if self.path == "/v1/models" else {}, 200)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        loopback = self.loopback
        loopback.requests.append(body)
        loopback.keys.append(self.headers.get("Authorization", ""))
        assert self.path == "/v1/chat/completions"
        fault = loopback.faults.pop(0) if loopback.faults else ""
        if fault == "cut":
            self.send_response(200)
            self.send_header("Content-Length", "5000")
            self.end_headers()
            self.wfile.write(b'{"choices": [')
            self.close_connection = True
        elif fault == "html":
            self._send(b"<html>busy</html>", 200)
        elif fault == "empty":
            self._json({"choices": []}, 200)
        elif fault.isdecimal():
            self._json({"error": f"no, {loopback.keys[-1]}"}, int(fault))
        else:
            if fault == "slow":
                time.sleep(1.0)
            self._answer(self._content(body, fault))

    def _content(self, body: dict[str, Any], fault: str) -> str:
        asked = re.search(r"exactly one (.+?)\.", body["messages"][-1]["content"])
        assert asked is not None
        if fault == "free":
            return written_freely(body["seed"])
        texts = written_by_form(asked[1], 12, body["seed"])
        if fault == "prose":
            return "Sure! Here they are:\n" + "\n".join(f"{n}. {t}" for n, t in enumerate(texts, 1))
        if fault == "echo":
            texts.append(f"A {asked[1]} with {self.loopback.keys[-1]}")
        return "```json\n" + json.dumps(texts) + "\n```"

    def _answer(self, content: str) -> None:
        choice = {"index": 0, "finish_reason": "stop"}
        message = {"role": "assistant", "content": content}
        self._json(
            {
                "id": "1",
                "object": "chat.completion",
                "created": 0,
                "model": MODEL,
                "choices": [{**choice, "message": message}],
            },
            200,
        )

    def _json(self, value: Any, status: int) -> None:
        self._send(json.dumps(value).encode(), status)

    def _send(self, body: bytes, status: int) -> None:
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except ConnectionError:
            return  # it was too slow, and nobody waits any more

    def log_message(self, format: str, *args: object) -> None:
        return


@contextmanager
def serving(*faults: str) -> Iterator[ChatLoopback]:
    """The server on a free port, for as long as the block is open."""
    loopback = ChatLoopback(faults)
    handler = type("Handler", (_Handler,), {"loopback": loopback})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    loopback.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield loopback
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
