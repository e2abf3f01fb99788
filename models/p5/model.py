"""The model: T5 (Raffel et al., JMLR 2020) that also knows which word of the prompt a token belongs to.

Shapes: B examples, T tokens of a prompt, A tokens of an answer, D dimensions, V tokens of the vocabulary, R real tokens
of the answers.
"""

import json
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from transformers import T5Config, T5ForConditionalGeneration
from transformers.models.t5.modeling_t5 import T5Attention, T5DenseActDense, T5DenseGatedActDense

from features.errors import InvalidInput, WeightsRefused
from models.encoders.softmax import full_softmax_loss
from models.p5.config import P5Config
from models.p5.tokens import END, PAD

PLACES: Final = 512  # as in the original; words beyond share the last


class P5Model(nn.Module):
    """t5: transformers' own. whole: an embedding of the place of each token's word, None where those are not used.

    Whole words are added in training and in generation alike, to the prompt only.
    """

    def __init__(self, t5: T5ForConditionalGeneration, *, whole_words: bool) -> None:
        super().__init__()
        self.t5 = t5
        self.whole = nn.Embedding(PLACES, t5.config.d_model) if whole_words else None
        if self.whole is not None:
            nn.init.normal_(self.whole.weight, std=0.1)

    def encode(self, tokens_BT: Tensor, places_BT: Tensor) -> tuple[Tensor, Tensor]:
        """(states_BTD, mask_BT) of prompts padded with 0."""
        vectors_BTD = self.t5.shared(tokens_BT)
        if self.whole is not None:
            vectors_BTD = vectors_BTD + self.whole(places_BT.clamp(max=PLACES - 1))
        mask_BT = tokens_BT != PAD
        encoded = self.t5.encoder(inputs_embeds=vectors_BTD, attention_mask=mask_BT.long())
        return encoded.last_hidden_state, mask_BT

    def loss(self, tokens_BT: Tensor, places_BT: Tensor, answers_BA: Tensor, dtype: torch.dtype) -> Tensor:
        """Mean cross-entropy over the answers' tokens (padding is 0); products of the softmax in `dtype`."""
        states_BTD, mask_BT = self.encode(tokens_BT, places_BT)
        started_BA = nn.functional.pad(answers_BA[:, :-1], (1, 0), value=PAD)
        decoded = self.t5.decoder(
            input_ids=started_BA,
            encoder_hidden_states=states_BTD,
            encoder_attention_mask=mask_BT.long(),
            use_cache=False,
        )
        is_real_BA = answers_BA != PAD
        states_RD = self.scaled(decoded.last_hidden_state[is_real_BA]).float()
        return full_softmax_loss(states_RD, self.t5.lm_head.weight, answers_BA[is_real_BA], dtype)

    def scaled(self, states: Tensor) -> Tensor:
        """The decoder's states as the output layer takes them: T5 divides by sqrt(D) where its embeddings are tied."""
        return states * self.t5.config.d_model**-0.5 if self.t5.config.scale_decoder_outputs else states

    def parameter_groups(self, config: P5Config) -> list[dict[str, Any]]:
        """For AdamW. T5's embeddings are sqrt(D) times as large as the vectors that its logits are made of, and so are
        the steps that change them as fast as the rest; they, norms and biases do not decay."""
        embeddings = [self.t5.shared.weight]
        if not _is_tied(self.t5):
            embeddings.append(self.t5.lm_head.weight)
        known = {id(one) for one in embeddings}
        others = [one for one in self.parameters() if id(one) not in known]
        rate = config.learning_rate
        times = self.t5.config.d_model**0.5 if not config.checkpoint else 1.0
        return [
            {"params": embeddings, "lr": rate * times, "weight_decay": 0.0},
            {"params": [one for one in others if one.ndim > 1], "lr": rate, "weight_decay": config.weight_decay},
            {"params": [one for one in others if one.ndim <= 1], "lr": rate, "weight_decay": 0.0},
        ]


def new_model(config: P5Config, vocabulary: int) -> P5Model:
    """A model from nothing, or from the configuration's checkpoint with its vocabulary grown; weights by torch's seed.

    Raises InvalidInput for a folder that has no T5, WeightsRefused for one whose weights cannot be used.
    """
    t5 = _from_folder(Path(config.checkpoint)) if config.checkpoint else T5ForConditionalGeneration(_shape(config))
    if not _is_tied(t5):
        t5.config.tie_word_embeddings = False  # or resizing ties them
    if t5.config.vocab_size != vocabulary:
        t5.resize_token_embeddings(vocabulary, mean_resizing=False)
    _sparsely_dropping(t5)
    return P5Model(t5, whole_words=config.whole_words)


def text_vocabulary(folder: Path) -> int:
    """How many ids a checkpoint's embeddings have for text. Raises InvalidInput for a folder that has no T5."""
    return int(_said(folder)["vocab_size"])


def checkpoint_digest(folder: Path) -> str:
    """sha256 of all that a training takes from a checkpoint. Raises InvalidInput for a folder that has no T5."""
    _said(folder)
    digest = sha256()
    for path in (folder / "config.json", folder / "tokenizer.json", *sorted(folder.glob("*.safetensors"))):
        with path.open("rb") as file:
            digest.update(f"{path.name} {file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def from_shape(shape: dict[str, Any], *, whole_words: bool) -> P5Model:
    """A model of this T5 configuration, its weights still to be loaded."""
    t5 = T5ForConditionalGeneration(T5Config(**{name: value for name, value in shape.items() if name != _OWN_OUTPUT}))
    if shape.get(_OWN_OUTPUT, False):
        t5.config.tie_word_embeddings = False
        t5.lm_head.weight = nn.Parameter(t5.lm_head.weight.detach().clone())
    return P5Model(t5, whole_words=whole_words)


def shape_of(model: P5Model) -> dict[str, Any]:
    """The T5 configuration that `from_shape` takes, and whether the output layer is apart; JSON values."""
    config = model.t5.config
    # As transformers reads it, this name says whether the decoder's states are divided by sqrt(d_model).
    return (
        {name: getattr(config, name) for name in _SHAPE}
        | {"tie_word_embeddings": config.scale_decoder_outputs}
        | _SPECIAL
        | ({} if _is_tied(model.t5) else {_OWN_OUTPUT: True})
    )


_SHAPE: Final = (
    *("vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_decoder_layers", "num_heads", "feed_forward_proj"),
    *("relative_attention_num_buckets", "relative_attention_max_distance", "layer_norm_epsilon", "dropout_rate"),
)
_OWN_OUTPUT: Final = "own_output"  # said of a model whose output layer is not its embeddings
_SPECIAL: Final[dict[str, Any]] = {"pad_token_id": PAD, "eos_token_id": END, "decoder_start_token_id": PAD}


def _shape(config: P5Config) -> T5Config:
    return T5Config(
        vocab_size=END + 1,  # grown to what the tokenizer has
        d_model=config.dimensions,
        d_kv=config.dimensions // config.heads,
        d_ff=config.hidden,
        num_layers=config.layers,
        num_decoder_layers=config.layers,
        num_heads=config.heads,
        dropout_rate=config.dropout,
        feed_forward_proj="relu",
        **_SPECIAL,
    )


def _is_tied(t5: T5ForConditionalGeneration) -> bool:
    return t5.lm_head.weight is t5.shared.weight


def _sparsely_dropping(t5: T5ForConditionalGeneration) -> None:
    """Dropout where layers meet, and not inside them: there it takes a fifth of a step's time on a CPU."""
    for module in t5.modules():
        if isinstance(module, T5Attention):
            module.dropout = 0.0
        elif isinstance(module, T5DenseActDense | T5DenseGatedActDense):
            module.dropout.p = 0.0


def _said(folder: Path) -> dict[str, Any]:
    try:
        said: dict[str, Any] = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise InvalidInput(
            "checkpoint", f"{folder}: no config.json that can be read ({error}); name a T5 checkpoint's folder"
        ) from None
    if said.get("model_type") != "t5":
        raise InvalidInput(
            "checkpoint", f"{folder}: its model is {said.get('model_type')!r}, not t5; name a T5 checkpoint's folder"
        )
    if not (folder / "tokenizer.json").is_file():
        raise InvalidInput(
            "checkpoint", f"{folder}: has no tokenizer.json; save the checkpoint with its fast tokenizer"
        )
    return said


def _from_folder(folder: Path) -> T5ForConditionalGeneration:
    _said(folder)
    loaded: Any  # with `output_loading_info` a pair, which its type does not say
    try:
        loaded = T5ForConditionalGeneration.from_pretrained(
            folder,
            dtype=torch.float32,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise WeightsRefused(
            f"{folder}: its weights cannot be loaded ({error}); safetensors of a T5 are needed"
        ) from None
    t5: T5ForConditionalGeneration = loaded[0]
    if missing := sorted(loaded[1]["missing_keys"]):
        raise WeightsRefused(
            f"{folder}: {len(missing)} weights of a T5 are missing, such as {missing[0]}; name a checkpoint that has "
            "an encoder and a decoder"
        )
    return t5
