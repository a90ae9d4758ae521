"""A chat server of OpenAI's convention, asked through huggingface_hub, with patience."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from time import sleep
from typing import Any
from urllib.parse import urlsplit

from aligndiff.core.errors import AlignDiffError, InputError, one_line

BASE_URL, API_KEY = "OPENAI_BASE_URL", "OPENAI_API_KEY"
NO_KEY = "none"  # without one, huggingface_hub would send the user's own token for its hub
HIDDEN = "[the key]"
_TRIES = 5
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0  # seconds; each wait is twice the one before
_PASSING = {408, 409, 425, 429}  # and all from 500 on: the same request may do later


class NoAnswerError(AlignDiffError):
    """The server did not answer, however often it was asked."""


@dataclass(frozen=True)
class ChatServer:
    """A server, by its address with /v1.

    Attributes:
        url: the address.
        key: sent to this address and kept out of every message and answer.
        model: the server's name of the model; None: the first that it lists.
        timeout: seconds that an answer may take.
    """

    url: str
    key: str
    model: str | None
    timeout: float

    def chat(
        self, messages: list[dict[str, str]], seed: int, temperature: float, tokens: int
    ) -> str:
        """The answer to messages; empty when the server sent none that can be read.

        Raises InputError when the server refuses the request for good (a wrong key or model), and
        NoAnswerError when it does not answer or is too busy, after five tries.
        """

        model = self._model

        def once() -> str:
            answer = self._client.chat_completion(
                messages=messages,
                model=model,
                seed=seed,
                temperature=temperature,
                max_tokens=tokens,
            )
            return self._hidden(str(answer.choices[0].message.content or ""))

        try:
            return self._patiently(once)
        except (ValueError, TypeError, LookupError, AttributeError):
            return ""  # an answer of another form

    def _patiently(self, request: Callable[[], str]) -> str:
        reason, pause = "", _FIRST_WAIT
        for attempt in range(_TRIES):
            if attempt:
                sleep(min(pause, _LONGEST_WAIT))
                pause *= 2
            with _open_session():
                try:
                    return request()
                except Exception as error:
                    reason, least = self._passing_fault(error)
                    pause = max(pause, least)
        raise NoAnswerError(f"{self._place}: no answer after {_TRIES} tries: {reason}")

    def _passing_fault(self, error: Exception) -> tuple[str, float]:
        """What is wrong for a while, and the seconds that the server asks to wait.

        Raises InputError for what will not pass, and the error itself when it is none of the
        connection's.
        """
        import httpx2
        from huggingface_hub.errors import HfHubHTTPError, InferenceTimeoutError

        if isinstance(error, HfHubHTTPError) and error.response is not None:
            status = error.response.status_code
            reason = f"{status} {error.response.reason_phrase}".strip()
            if status in _PASSING or status >= 500:
                return reason, _seconds(error.response.headers.get("Retry-After", ""))
            raise InputError(self._refusal(status, reason, error.response)) from None
        if isinstance(error, InferenceTimeoutError | httpx2.TimeoutException):
            return f"it took longer than --llm_timeout {self.timeout:g} s", 0.0
        if isinstance(error, httpx2.TransportError):
            return one_line(self._hidden(str(error) or type(error).__name__)), 0.0
        raise error

    def _refusal(self, status: int, reason: str, response: Any) -> str:
        try:
            text = response.text[:200]
        except Exception:  # a stream that was not read to its end
            text = ""
        detail = one_line(self._hidden(text))
        remedy = {
            401: f"set {API_KEY} to its key",
            403: f"set {API_KEY} to its key",
            404: f"check {BASE_URL} (it ends in /v1) and --llm_model",
        }.get(status, "check --llm_model")
        return f"{self._place} refuses: {reason}{f': {detail}' if detail else ''}; {remedy}"

    @property
    def _place(self) -> str:
        """The address without a user and password."""
        parts = urlsplit(self.url)
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"

    def _hidden(self, text: str) -> str:
        return text.replace(self.key, HIDDEN) if self.key else text

    @cached_property
    def _client(self) -> Any:
        from huggingface_hub import InferenceClient

        return InferenceClient(
            base_url=self.url.rstrip("/"), api_key=self.key or NO_KEY, timeout=self.timeout
        )

    @cached_property
    def _model(self) -> str:
        return self.model or self._patiently(self._first_model)

    def _first_model(self) -> str:
        """The first model that the server lists; "default" where it lists none."""
        from huggingface_hub.utils import get_session, hf_raise_for_status

        headers = {"Authorization": f"Bearer {self.key or NO_KEY}"}
        address = f"{self.url.rstrip('/')}/models"
        response = get_session().get(address, headers=headers, timeout=self.timeout)
        if response.status_code == 404:
            return "default"
        hf_raise_for_status(response)
        try:
            return str(response.json()["data"][0]["id"])
        except (ValueError, TypeError, LookupError):
            return "default"


@contextmanager
def _open_session() -> Iterator[None]:
    """While open, huggingface_hub's session serves addresses other than the hub's too.

    HF_HUB_OFFLINE closes it for all, also for a server on this machine.
    """
    import httpx2
    from huggingface_hub import set_client_factory
    from huggingface_hub.utils import _http

    before = _http._GLOBAL_CLIENT_FACTORY
    set_client_factory(lambda: httpx2.Client(timeout=None))
    try:
        yield
    finally:
        set_client_factory(before)


def _seconds(text: str) -> float:
    """The seconds of a Retry-After header; 0 for a date, or none."""
    return float(text) if text.isdecimal() else 0.0
