"""Sentence embeddings: texts in, vectors of length one out; near each other where the texts mean the like.

Sentence-BERT (Reimers and Gurevych, 2019): the mean of a BERT's last states over the tokens, scaled to length one.
Shapes: N texts, B texts of a batch, L tokens, D dimensions.
"""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional
from transformers import BertConfig, BertModel

from features.errors import WeightsRefused
from models.device import Device, best_device

LENGTH: Final = 256  # tokens that are read of a text, as the weights were trained
BATCH: Final = 64

_REMEDY: Final = "remove the folder and pull the weights again"


class Embedder:
    """Reads weights from a folder and nothing from the network; to be used from one thread at a time.

    digest: sha256 of the weights. What was learned from vectors of one digest does not fit those of another.
    """

    def __init__(self, folder: Path, device: Device | None = None) -> None:
        """Raises WeightsRefused when the folder does not hold a BERT in safetensors and its tokenizer."""
        self._device = device or best_device()
        try:
            content = (folder / "model.safetensors").read_bytes()
            weights = load(content)
            config = BertConfig.from_json_file(folder / "config.json")
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            model: torch.nn.Module = BertModel(config, add_pooling_layer=False)
            missing = model.load_state_dict(weights, strict=False).missing_keys
        except Exception as error:  # noqa: BLE001 - tokenizers raises Exception itself
            raise WeightsRefused(f"{folder}: {error}; {_REMEDY}") from None
        if missing:
            raise WeightsRefused(f"{folder}: model.safetensors lacks {missing[0]}; {_REMEDY}")
        self.digest = sha256(content).hexdigest()
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(LENGTH)
        self._model = model.to(self._device.name).eval()
        self.dimensions = int(config.hidden_size)

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """vectors_ND of length one, in the texts' order."""
        vectors_ND = np.zeros((len(texts), self.dimensions), np.float32)
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        by_length = sorted(range(len(texts)), key=lambda place: len(tokens[place]))  # batches with little padding
        for first in range(0, len(texts), BATCH):
            places = by_length[first : first + BATCH]
            vectors_ND[places] = self._batch([tokens[place] for place in places])
        return vectors_ND

    def _batch(self, tokens: Sequence[list[int]]) -> NDArray[np.float32]:
        width = max(map(len, tokens))
        tokens_BL = np.zeros((len(tokens), width), np.int64)
        is_token_BL = np.zeros((len(tokens), width), np.int64)
        for row, ids in enumerate(tokens):
            tokens_BL[row, : len(ids)] = ids
            is_token_BL[row, : len(ids)] = 1
        given, mask = (torch.from_numpy(array).to(self._device.name) for array in (tokens_BL, is_token_BL))
        with torch.inference_mode(), self._device.autocast():
            states_BLD: Tensor = self._model(input_ids=given, attention_mask=mask).last_hidden_state
        mask_BL1 = mask[:, :, None].float()
        means_BD = (states_BLD.float() * mask_BL1).sum(dim=1) / mask_BL1.sum(dim=1)
        return np.asarray(functional.normalize(means_BD, dim=-1).cpu().numpy(), np.float32)
