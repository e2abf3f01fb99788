"""A server of OpenAI's chat completions to test against: it repeats what it is told, a word for a token, unless a
scripted reply is next; and it counts how many questions are under way.
"""

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Any

PATH = "/v1/chat/completions"


@dataclass(frozen=True)
class Reply:
    """What is answered in place of the echo. body: None for the echo all the same.

    beside: how many questions must once have been open together before it starts. delay: seconds before it starts.
    drip: seconds between two bytes, from the first of the headers on. hang_up: whether the connection ends halfway.
    """

    status: int = 200
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    beside: int = 0
    delay: float = 0.0
    drip: float = 0.0
    hang_up: bool = False


@dataclass(frozen=True)
class Asked:
    headers: Mapping[str, str]
    body: Mapping[str, Any]


def completion(text: str | None, *, finish: str | None = "stop", usage: object = None, **message: object) -> bytes:
    """An answer as the protocol has it, without `usage` when that is None."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": finish}
    answer = {"id": "1", "object": "chat.completion", "model": "toy", "choices": [choice]}
    return json.dumps(answer if usage is None else {**answer, "usage": usage}).encode()


class ChatServer:
    """replies: the next ones, in the order in which questions come. always: what is answered when there are none, None
    for the echo. reads: the most words of a question, None for any number. asked: every question, as it came.
    most_under_way: the most questions that were open at a time.
    """

    def __init__(self) -> None:
        self.replies: deque[Reply] = deque()
        self.always: Reply | None = None
        self.reads: int | None = None
        self.asked: list[Asked] = []
        self.most_under_way = 0
        self._under_way = 0
        self._lock = Lock()
        self._closing = Event()
        self._server = _Server(self)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> "ChatServer":
        Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    def take(self, asked: Asked) -> Reply:
        with self._lock:
            self.asked.append(asked)
            self._under_way += 1
            self.most_under_way = max(self.most_under_way, self._under_way)
            if self.reads is not None and words(asked.body) > self.reads:
                return Reply(400, b'{"error": {"code": "context_length_exceeded"}}')
            return self.replies.popleft() if self.replies else self.always or Reply()

    def done(self) -> None:
        with self._lock:
            self._under_way -= 1

    def pause(self, seconds: float) -> None:
        self._closing.wait(seconds)

    def await_others(self, count: int) -> None:
        while self.most_under_way < count and not self.is_closing:
            self.pause(0.001)

    @property
    def is_closing(self) -> bool:
        return self._closing.is_set()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, chat: ChatServer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.chat = chat

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that has gone is no error of the server's."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        reply = self.server.chat.take(Asked(dict(self.headers.items()), body))
        try:
            self.server.chat.await_others(reply.beside)
            self.server.chat.pause(reply.delay)
            content = echo(body) if reply.body is None else reply.body
        finally:
            self.server.chat.done()  # before the last byte: a client that has it may ask the next at once
        self._answer(reply, content if self.path == PATH else b"no such route")

    def _answer(self, reply: Reply, content: bytes) -> None:
        headers = {"Content-Length": str(len(content)), **reply.headers}
        lines = [f"HTTP/1.1 {reply.status} So", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        answer = "\r\n".join(lines).encode() + content
        if reply.hang_up:
            self.close_connection = True
            answer = answer[: len(answer) - len(content) // 2]
        if not reply.drip:
            self.wfile.write(answer)
            return
        for byte in answer:
            if self.server.chat.is_closing:
                break
            self.wfile.write(bytes([byte]))
            self.server.chat.pause(reply.drip)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class has it so
        """Nothing on stderr."""


def words(body: Mapping[str, Any]) -> int:
    """Of all messages."""
    return sum(len(message["content"].split(" ")) for message in body["messages"])


def echo(body: Mapping[str, Any]) -> bytes:
    """The last message's words, as many as may be written."""
    said = body["messages"][-1]["content"].split(" ")
    kept = said[: body["max_tokens"]]
    usage = {"prompt_tokens": words(body), "completion_tokens": len(kept), "total_tokens": words(body) + len(kept)}
    return completion(" ".join(kept), finish="stop" if len(kept) == len(said) else "length", usage=usage)
