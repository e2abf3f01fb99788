"""From chat messages to a model's tokens, so that what a message says is never more than text to the model.

The chat template is rendered with marks in the places of the contents. Only in what stands around them do the names of
special tokens mean those tokens; what a message says is encoded by a tokenizer that knows of none. Where no content
holds such a name, the tokens are those of transformers' `apply_chat_template`.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

from jinja2 import TemplateError

from features.errors import InvalidInput, WeightsRefused
from models.language.generator import Message, Role
from models.language.plain_tokens import PlainTokens

_MARK: Final = "\ue000{}\ue001"  # of an area for private use: no template holds it
_MARKS: Final = re.compile(_MARK.format(r"(\d+)"))


class ChatTokens(PlainTokens):
    """With the chat template of the folder."""

    def __init__(self, folder: Path) -> None:
        """Raises WeightsRefused when there is no tokenizer.json, or no chat template."""
        super().__init__(folder)
        if not self._whole.chat_template:
            raise WeightsRefused(f"{folder}: its tokenizer has no chat template; take a model that was tuned to chat")
        known = self._whole.added_tokens_decoder
        self._numbers: dict[str, int] = {str(token): number for number, token in known.items()}
        self._names = re.compile("|".join(f"({re.escape(name)})" for name in sorted(self._numbers, key=len)[::-1]))
        self._runs = lru_cache(maxsize=64)(self._rendered)

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """The tokens of messages, and of what has the model answer them.

        Raises InvalidInput for messages whose roles the template does not take in this order.
        """
        contents = [message.content for message in messages]
        tokens: list[int] = []
        for run in self._runs(tuple(message.role for message in messages)):
            if isinstance(run, int):
                tokens.append(run)
            else:
                tokens += self.plain(_MARKS.sub(lambda mark: contents[int(mark[1])], run))
        return tokens

    def _rendered(self, roles: tuple[Role, ...]) -> list[int | str]:
        """The special tokens of a conversation, and the texts between them, with marks in the contents' places."""
        marks = [_MARK.format(place) for place in range(len(roles))]
        messages = [{"role": role.value, "content": mark} for role, mark in zip(roles, marks, strict=True)]
        try:
            text = str(self._whole.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
        except TemplateError as error:
            raise InvalidInput("messages", f"the model takes no messages of {', '.join(roles)}: {error}") from None
        if any(text.count(mark) != 1 for mark in marks):
            raise InvalidInput("messages", f"the model's chat template leaves out messages of {', '.join(roles)}")
        parts = [part for part in self._names.split(text) if part]
        return [self._numbers.get(part, part) for part in parts]
