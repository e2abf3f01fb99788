"""A trained P5, ready to be asked: by the words, the items and the network that it was trained with.

Shapes: B prompts, T tokens of the longest, D dimensions, R items found, N items.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save
from tokenizers import Tokenizer
from torch import Tensor

from features.errors import BundleRefused
from models.device import Device, best_device
from models.p5 import item_index
from models.p5.beam import Beams, beam_search
from models.p5.config import P5Config, configured
from models.p5.corpus import Corpus
from models.p5.decoder import CachedDecoder
from models.p5.model import P5Model, from_shape, shape_of
from models.p5.past import Past, Person
from models.p5.questions import Asker, ItemStars, worded
from models.p5.templates import Family, Task, Template, templates_of
from models.p5.tokens import UNKNOWN, P5Tokenizer
from models.p5.trie import Trie
from models.p5.vocabulary import words_of_prompts
from models.p5.words import Words

if TYPE_CHECKING:
    from models.p5.answering import Answerer

FORMAT: Final = 1
BEAMS: Final = 20  # as in the original
FOUND: Final = 50  # items that a generator adds to a pipeline's candidates
AT_ONCE: Final = 128  # prompts
LOGITS_MOST: Final = 2**26  # of a search in memory together: 256 MB
_SAID: Final = "p5.json"
_TOKENIZER: Final = "p5-tokenizer.json"
_WEIGHTS: Final = "p5.safetensors"
_STARS: Final = "p5-stars.safetensors"
PARTS: Final = (_SAID, _TOKENIZER, _WEIGHTS, _STARS, *item_index.PARTS)


@dataclass(frozen=True, slots=True, eq=False)
class P5:
    """families: those that it was trained on; left_out: why not on the others. from_facts: whether explanations were
    made from facts, there being no reviews. said: how it was trained, JSON values. Immutable, and safe to use from
    several threads.
    """

    config: P5Config
    tokenizer: P5Tokenizer
    model: P5Model
    asker: Asker
    families: tuple[Family, ...]
    left_out: tuple[str, ...]
    from_facts: bool
    said: Mapping[str, Any]
    device: Device
    decoder: CachedDecoder
    trie: Trie
    text_tokens: frozenset[int]

    @classmethod
    def of(
        cls,
        config: P5Config,
        tokenizer: P5Tokenizer,
        model: P5Model,
        corpus: Corpus,
        said: Mapping[str, Any] | None = None,
        device: Device | None = None,
    ) -> "P5":
        """As training leaves it, or has come so far."""
        known = tuple(corpus.families), tuple(corpus.left_out), corpus.explains_by == "facts"
        return cls._ready(config, tokenizer, model, corpus.asker, *known, said or {}, device)

    @classmethod
    def _ready(
        cls,
        config: P5Config,
        tokenizer: P5Tokenizer,
        model: P5Model,
        asker: Asker,
        families: tuple[Family, ...],
        left_out: tuple[str, ...],
        from_facts: bool,
        said: Mapping[str, Any],
        device: Device | None,
    ) -> "P5":
        device = device or best_device()
        tokenizer = tokenizer.without_memory()
        tokenizer.remember(words_of_prompts(asker))
        model = model.to(device.name).eval()
        trie = Trie.of(tokenizer.item_tokens_NC, ends=False).to(torch.device(device.name))
        text_tokens = frozenset(range(UNKNOWN + 1, tokenizer.text.get_vocab_size()))
        decoder = CachedDecoder(model.t5, device.dtype)
        known = config, tokenizer, model, asker, families, left_out, from_facts, said
        return cls(*known, device, decoder, trie, text_tokens)

    @property
    def n_items(self) -> int:
        return self.tokenizer.index.n_items

    def at_once(self, beams: int) -> int:
        """How many prompts a search of so many beams takes at a time; where ids have one token it has one beam."""
        width = 1 if self.trie.depth == 1 else beams
        return max(1, min(AT_ONCE, LOGITS_MOST // (width * self.tokenizer.size)))

    @torch.inference_mode()
    def read(self, prompts: Sequence[Words], *, cut: bool = False) -> tuple[Tensor, Tensor]:
        """(states_BTD, mask_BT) of prompts. One that is too long raises InvalidInput, or with `cut` loses its end."""
        arrays = self.tokenizer.prompts(prompts, self.config.length, cut=cut)
        with self.device.autocast():
            return self.model.encode(*(torch.from_numpy(one).to(self.device.name) for one in arrays))

    def next_items(
        self,
        pasts: Sequence[Past],
        *,
        k: int,
        beams: int = BEAMS,
        seen: Sequence[NDArray[np.int64]],
        template: Template | None = None,
    ) -> Beams:
        """The k likeliest next items of each user, seen ones left out, in this wording of the question."""
        template = template or templates_of(Task.NEXT)[0]
        found = []
        at_once = self.at_once(max(beams, k))
        for first in range(0, len(pasts), at_once):
            some = slice(first, first + at_once)
            states_BTD, mask_BT = self.read([worded(self.asker.next(past), template) for past in pasts[some]])
            found.append(beam_search(self.decoder, states_BTD, mask_BT, self.trie, beams=beams, k=k, seen=seen[some]))
        rows = [one.rows_BK for one in found] or [np.zeros((0, k), np.int64)]
        scores = [one.log_probabilities_BK for one in found] or [np.zeros((0, k), np.float32)]
        return Beams(np.concatenate(rows), np.concatenate(scores))

    def generate(
        self,
        histories: Sequence[NDArray[np.int64] | list[int]],
        stars: Sequence[NDArray[np.float32] | None] | None = None,
        seen: Sequence[NDArray[np.int64] | list[int]] | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """(rows_BR, values_BR): the likeliest next items, -1 where there are no more, and how far each log-probability
        is above the last one's. histories: item rows, oldest first; stars: of their events, which a question for the
        next item does not tell; seen: rows that must not be found, besides those of the history.
        """
        persons = [Person([int(row) for row in history]) for history in histories]
        masked = [np.asarray(history, np.int64) for history in histories]
        if seen is not None:
            masked = [np.append(own, np.asarray(more, np.int64)) for own, more in zip(masked, seen, strict=True)]
        most = min(FOUND, self.n_items)
        found = self.next_items(persons, k=most, beams=most, seen=masked)
        scores_BR = np.where(found.rows_BK >= 0, found.log_probabilities_BK, np.inf)
        lowest_B1 = np.min(scores_BR, axis=1, keepdims=True, initial=np.inf)
        values_BR = np.where(found.rows_BK >= 0, found.log_probabilities_BK - np.nan_to_num(lowest_B1, posinf=0.0), 0.0)
        return found.rows_BK, values_BR.astype(np.float32)

    @property
    def answerer(self) -> "Answerer":
        """What answers questions by this model."""
        from models.p5.answering import Answerer

        return Answerer(self)

    def described(self) -> dict[str, Any]:
        """How it was trained; JSON values."""
        return dict(self.said)

    def parts(self, vocabulary: str) -> dict[str, bytes]:
        """Its files; vocabulary: the digest of the items whose rows it knows. `p5.json` has the others' digests."""
        others = self.asker.others
        parts = {
            _TOKENIZER: self.tokenizer.text.to_str().encode(),
            _WEIGHTS: save(_untied(self.model)),
            _STARS: save({"sums": others.sums_N, "counts": others.counts_N}),
            **item_index.to_parts(self.tokenizer.index),
        }
        said = {
            "format": FORMAT,
            "vocabulary": vocabulary,
            "config": asdict(self.config),
            "shape": shape_of(self.model),
            "n_text": self.tokenizer.n_text,
            "titles": self.asker.titles,
            "categories": self.asker.categories,
            "families": self.families,
            "left_out": self.left_out,
            "from_facts": self.from_facts,
            "trained": dict(self.said),
            "parts": {name: sha256(content).hexdigest() for name, content in parts.items()},
        }
        return {_SAID: json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode(), **parts}

    @classmethod
    def from_parts(
        cls, parts: Mapping[str, bytes], vocabulary: str, n_items: int, device: Device | None = None
    ) -> "P5":
        """What `parts` wrote. Raises BundleRefused when a part is missing, damaged, or of other items."""
        try:
            said = json.loads(parts[_SAID])
            if said["format"] != FORMAT or said["vocabulary"] != vocabulary or len(said["titles"]) != n_items:
                raise BundleRefused("P5: of another format or of other items; train again")
            for name, digest in said["parts"].items():
                if sha256(parts[name]).hexdigest() != digest:
                    raise BundleRefused(f"{name}: is not the one that P5 was saved with; train again")
            config = configured(said["config"])
            index = item_index.from_parts(parts)
            tokenizer = P5Tokenizer(Tokenizer.from_str(parts[_TOKENIZER].decode()), index, said["n_text"])
            model = _loaded(from_shape(said["shape"], whole_words=config.whole_words), load(parts[_WEIGHTS]))
            stars = load(parts[_STARS])
            others = ItemStars(stars["sums"], stars["counts"])
            if not len(others.sums_N) == len(others.counts_N) == index.n_items == n_items:
                raise BundleRefused("P5: its items are not as many as the vocabulary's; train again")
            asker = Asker(said["titles"], said["categories"], others, config.history)
            families = tuple(Family(one) for one in said["families"])
            known = families, tuple(said["left_out"]), bool(said["from_facts"]), said["trained"]
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, SafetensorError) as error:
            if isinstance(error, BundleRefused):
                raise
            raise BundleRefused(f"P5: incomplete or damaged: {error!r}; train again") from None
        return cls._ready(config, tokenizer, model, asker, *known, device)


def _untied(model: P5Model) -> dict[str, NDArray[np.float32]]:
    """The weights, each that T5 uses in several places once."""
    weights, known = {}, set()
    for name, tensor in model.state_dict().items():
        if tensor.data_ptr() not in known:
            known.add(tensor.data_ptr())
            weights[name] = np.ascontiguousarray(tensor.detach().cpu().numpy())
    return weights


def _loaded(model: P5Model, weights: Mapping[str, NDArray[np.float32]]) -> P5Model:
    if not all(np.isfinite(array).all() for array in weights.values()):
        raise BundleRefused("P5: a weight is not finite; train again")
    tied = {tensor.data_ptr(): name for name, tensor in reversed(model.state_dict().items())}
    expected = set(tied.values())
    if set(weights) != expected:
        raise BundleRefused(f"P5: its weights are not of its shape: {sorted(expected ^ set(weights))[:3]}; train again")
    model.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in weights.items()}, strict=False)
    return model
