"""Text from a server that speaks OpenAI's chat completions: vLLM, llama.cpp, Ollama, or a hosted one.

What may pass by itself (no connection, a hang-up, 408, 429, 5xx, no answer in time) is tried again, after a wait drawn
evenly from zero to a bound that doubles (full jitter: Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog,
2015), on top of what the server asks for in Retry-After. Anything else would fail again in the same way.

Neither the key nor a prompt nor anything that the server has said stands in an error or a log line: servers repeat both
in their complaints. Redirects are not followed, answers not unpacked, and no proxy is taken from the environment: what
is known about a user goes where the settings say.
"""

import logging
import math
import random
import re
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from socket import SHUT_RDWR, socket
from ssl import SSLContext
from threading import Event as Signal
from threading import Timer
from typing import Any, Final

import httpx
import orjson

from features.errors import GeneratorUnavailable, InvalidInput, TasteprintError
from models.language.counting import most_tokens
from models.language.generator import Completion, IsWanted, Message, always, prompt_bounds

CONNECT_SECONDS: Final = 5.0
WAIT_MOST: Final = 30.0  # seconds between two tries; a server that asks for more is not there for now
ANSWER_BYTES: Final = 65_536  # of an answer, besides its text
LOOK_SECONDS: Final = 0.1  # between two looks at what is still wanted
TOKEN_BYTES: Final = 64  # of a token of text, escaped for JSON: far above what models write

_PASSING: Final = frozenset({408, 429})
_UNACCEPTABLE: Final = frozenset({400, 413, 422})
_REMEDIES: Final = {
    401: "set generator_key",
    403: "the key may not use this model",
    404: "check the URL, which ends in /v1 as a rule, and generator_model",
}
_TOO_LONG: Final = re.compile(rb"context.?(length|size|window)", re.IGNORECASE)  # OpenAI, vLLM, llama.cpp

logger = logging.getLogger(__name__)
for chatty in ("httpx", "httpcore"):  # they tell of every request, and of the headers that answer it
    logging.getLogger(chatty).setLevel(logging.WARNING)


class ChatGenerator:
    """Asks for each prompt by itself, on a connection of its own, `concurrency` of them at once.

    url: where the routes begin, as in http://localhost:8000/v1. timeout: seconds for an answer, to its last byte.
    retries: further tries of each prompt. first_wait: seconds, the bound of the wait before the first of them. within:
    seconds for a whole call of `generate`, all tries together.
    """

    def __init__(
        self,
        url: str,
        model: str,
        key: str | None = None,
        *,
        timeout: float = 60.0,
        concurrency: int = 8,
        retries: int = 3,
        first_wait: float = 0.5,
        within: float = math.inf,
    ) -> None:
        """Raises InvalidInput for a URL that cannot be one. Connects to nothing."""
        try:
            self._route = httpx.URL(f"{url.rstrip('/')}/chat/completions")
        except httpx.InvalidURL as error:
            raise InvalidInput("generator", f"is no URL: {error}") from None
        self._url = url
        self._model = model
        self._headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if key is not None:
            self._headers["Authorization"] = f"Bearer {key}"
        self._timeout = httpx.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS))
        self._seconds = timeout
        self._concurrency = concurrency
        self._retries = retries
        self._first_wait = first_wait
        self._within = within
        self._verify: SSLContext | bool = False  # over plain HTTP there is nothing to verify
        if self._route.scheme == "https":  # not else, for authorities take a tenth of a second to read
            self._verify = httpx.create_ssl_context(trust_env=False)
            self._verify.load_default_certs()  # a server of the house may be vouched for by the house's own authority

    @property
    def name(self) -> str:
        return f"openai:{self._model}"

    def generate(
        self, prompts: Sequence[Sequence[Message]], most: int, is_wanted: IsWanted = always
    ) -> list[Completion]:
        """As `StoppableGenerator` has it. What a server will not answer, for what a prompt says, is an empty completion
        that is not finished: one user's titles are no reason to do without the texts of the others."""
        if not prompts:
            return []
        until = time.monotonic() + self._within
        questions = [
            _Question(place, self._body(place, prompt, most), bound, most, until)
            for place, (prompt, bound) in enumerate(zip(prompts, prompt_bounds(self, prompts), strict=True))
        ]
        stop = Signal()
        with self._client() as client, ThreadPoolExecutor(min(self._concurrency, len(prompts))) as pool:
            answers = {pool.submit(self._ask, client, question, stop): question for question in questions}
            try:
                waiting = set(answers)
                while waiting:
                    done, waiting = wait(waiting, LOOK_SECONDS, return_when=FIRST_EXCEPTION)
                    if any(answer.exception() for answer in done):
                        break
                    for answer in [answer for answer in waiting if not is_wanted(answers[answer].place)]:
                        answers[answer].leave()
                        waiting.remove(answer)
            finally:
                stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
        said = [None if answer.cancelled() else answer.result() for answer in answers]  # raises what has failed
        nothing = [Completion("", question.bound, 0, is_finished=False) for question in questions]
        return [completion or none for completion, none in zip(said, nothing, strict=True)]

    def count(self, texts: Sequence[str]) -> list[int]:
        """An upper bound, for any model's tokens."""
        return most_tokens(texts)

    def _client(self) -> httpx.Client:
        return httpx.Client(
            headers=self._headers,
            timeout=self._timeout,
            limits=httpx.Limits(max_connections=self._concurrency, max_keepalive_connections=0),
            verify=self._verify,
            trust_env=False,
            follow_redirects=False,
        )

    def _body(self, place: int, prompt: Sequence[Message], most: int) -> bytes:
        messages = [{"role": message.role.value, "content": message.content} for message in prompt]
        try:
            # max_tokens, and not its successor max_completion_tokens: every server knows it
            return orjson.dumps({"model": self._model, "messages": messages, "max_tokens": most, "temperature": 0})
        except orjson.JSONEncodeError:
            raise InvalidInput(f"prompts.{place}", "has a lone surrogate, which UTF-8 cannot carry") from None

    def _ask(self, client: httpx.Client, question: "_Question", stop: Signal) -> Completion | None:
        """The completion of one prompt, after as many tries as it takes; None when it is left, and once `stop` is set,
        as a failure does."""
        tries, seconds = 0, 0.0
        while not stop.wait(seconds) and not question.is_left:
            tries += 1
            try:
                return self._completion(*self._post(client, question), question)
            except _Passing as failure:
                if question.is_left:
                    break
                problem = f"{self._url} {failure}"
                longest = min(WAIT_MOST, self._first_wait * 2.0 ** (tries - 1))
                seconds = failure.after + random.uniform(0.0, longest)  # noqa: S311 - no secret
                is_late = time.monotonic() + seconds > question.until
                if tries > self._retries or failure.after > WAIT_MOST or is_late:
                    stop.set()
                    raise GeneratorUnavailable(f"{problem} (tries: {tries}); see to it, or ask later") from None
                logger.info("%s; trying again in %.1f s", problem, seconds)
            except TasteprintError:
                if question.is_left:  # half an answer is none
                    break
                stop.set()
                raise
        return None

    def _post(self, client: httpx.Client, question: "_Question") -> tuple[int, bytes]:
        """One try: the status and the body of the answer."""
        content, longest = bytearray(), ANSWER_BYTES + TOKEN_BYTES * question.most
        seconds = min(self._seconds, max(0.0, question.until - time.monotonic()))
        call = question.called()
        alarm = Timer(seconds, call.hang_up)
        alarm.start()
        try:
            with client.stream(
                "POST", self._route, content=question.body, extensions={"trace": call.trace}
            ) as response:
                if response.status_code in _PASSING or response.status_code >= 500:
                    raise _Passing(f"answers {response.status_code}", _retry_after(response.headers))
                for chunk in response.iter_raw():
                    content += chunk
                    if len(content) > longest:
                        raise self._refused(f"answers with more than {longest} bytes")
                return response.status_code, bytes(content)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise _Passing(f"cannot be reached ({error})") from None
        except httpx.HTTPError as error:  # its text may quote headers
            if call.is_late or isinstance(error, httpx.TimeoutException):
                raise _Passing(f"did not answer within {round(seconds, 1):g} s") from None
            raise _Passing(f"broke off ({type(error).__name__})") from None
        finally:
            alarm.cancel()

    def _completion(self, status: int, content: bytes, question: "_Question") -> Completion:
        """What an answer says; raises GeneratorUnavailable when it is no completion."""
        bound, most = question.bound, question.most
        if status != 200:
            if status in _UNACCEPTABLE and _TOO_LONG.search(content):
                raise InvalidInput(f"prompts.{question.place}", f"a prompt that is longer than {self._model} reads")
            if status in _UNACCEPTABLE and b"content_filter" in content:  # Azure
                return Completion("", bound, 0, is_finished=False)
            if 300 <= status < 400:
                raise self._refused(f"redirects ({status}), which is not followed; set the URL that it leads to")
            raise self._refused(f"answers {status}; {_REMEDIES.get(status, 'its log will say why')}")
        try:
            answer = orjson.loads(content)
            choice = answer["choices"][0]
            text = choice["message"]["content"]
            reason = choice.get("finish_reason")
            if text is None and (reason in ("length", "content_filter") or choice["message"].get("refusal")):
                text, reason = "", "nothing written"
            usage = answer.get("usage")
        except (ValueError, LookupError, TypeError, AttributeError):
            text = None
        if not isinstance(text, str):
            raise self._refused("answers what is no chat completion")
        [written_bound] = self.count([text])
        written = _tokens(usage, "completion_tokens", min(most, written_bound))
        if written > most:
            raise self._refused(f"wrote {written} tokens where {most} were allowed: it must heed max_tokens")
        return Completion(text, _tokens(usage, "prompt_tokens", bound), written, reason == "stop")

    def _refused(self, problem: str) -> GeneratorUnavailable:
        return GeneratorUnavailable(f"{self._url} {problem}")


class _Call:
    """The connection of one try, which another thread can hang up: httpx bounds the wait for each byte, and a server
    that drips makes many of them."""

    def __init__(self) -> None:
        self.is_late = False
        self._socket: socket | None = None

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Told by httpx of all that it does."""
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._socket = info["return_value"].get_extra_info("socket")
            if self.is_late:
                self.hang_up()

    def hang_up(self) -> None:
        self.is_late = True
        if self._socket is not None:
            with suppress(OSError):  # it is closed
                socket.shutdown(self._socket, SHUT_RDWR)  # an SSLSocket's own would break what is being read


@dataclass(slots=True, eq=False)
class _Question:
    """A prompt under way. bound: of its tokens. most: tokens of its answer. until: when its last try ends, by
    time.monotonic(). is_left: whether nobody wants it any more."""

    place: int
    body: bytes
    bound: int
    most: int
    until: float
    is_left: bool = False
    _call: _Call | None = None

    def called(self) -> _Call:
        """The call of a new try, hung up already if the question was left meanwhile."""
        self._call = call = _Call()
        if self.is_left:
            call.hang_up()
        return call

    def leave(self) -> None:
        self.is_left = True
        if self._call is not None:
            self._call.hang_up()


class _Passing(Exception):
    """A failure that may pass. after: seconds that the server asks to be left alone."""

    def __init__(self, problem: str, after: float = 0.0) -> None:
        super().__init__(problem)
        self.after = after


def _retry_after(headers: httpx.Headers) -> float:
    """Seconds, which the header gives as such or as a date; 0 where it gives neither."""
    text = headers.get("Retry-After", "")
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0


def _tokens(usage: Any, name: str, otherwise: int) -> int:
    """What the server has counted, where it did."""
    counted = usage.get(name) if isinstance(usage, dict) else None
    return counted if type(counted) is int and counted >= 0 else otherwise
