"""A model's tokens of plain text: what a text says is never more than text to the model."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import AutoTokenizer

from features.errors import WeightsRefused


class PlainTokens:
    """The tokenizer of a folder, without its special tokens' names. special: the tokens that no text is encoded as."""

    def __init__(self, folder: Path) -> None:
        """Raises WeightsRefused when there is no tokenizer.json."""
        try:
            self._whole: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            known = json.loads((folder / "tokenizer.json").read_bytes())
            self._plain = Tokenizer.from_str(json.dumps(known | {"added_tokens": []}))
        except Exception as error:  # noqa: BLE001 - tokenizers raises Exception itself
            raise WeightsRefused(f"{folder}: its tokenizer cannot be read: {error}") from None
        self.special = frozenset(self._whole.added_tokens_decoder)

    @property
    def end(self) -> int | None:
        """The token that ends what the model says."""
        end: int | None = self._whole.eos_token_id
        return end

    def plain(self, text: str) -> list[int]:
        """The tokens of a text in which nothing is special."""
        return [token for token in self._plain.encode(text, add_special_tokens=False).ids if token not in self.special]

    def text(self, tokens: Sequence[int]) -> str:
        """What ordinary tokens say."""
        return str(self._whole.decode(tokens, skip_special_tokens=True)).strip()
