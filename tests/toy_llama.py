"""A folder with a tiny chat model of random weights, whose tokens are bytes and a few words."""

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def toy_llama(
    folder: Path,
    *,
    reads: int = 256,
    seed: int = 0,
    special: Sequence[str] = SPECIAL,
    tied: bool = True,
    words: str = "system user assistant likes what this user",
    spread: float = 0.3,
) -> Path:
    """Writes the model there. reads: tokens of a prompt and its answer. special: its special tokens, SPECIAL among
    them. tied: whether what it writes is scored by the embeddings of what it reads. words: that its tokens are of.
    spread: of its weights, so that the likely and the unlikely differ."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=list(special), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([words] * 2, trainer)
    chat = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|im_end|>")  # noqa: S106 - no password
    chat.chat_template = TEMPLATE
    chat.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=reads,
        initializer_range=spread,
        tie_word_embeddings=tied,
        bos_token_id=None,
        eos_token_id=chat.eos_token_id,
        pad_token_id=0,  # or what stands for the end would be nought, which no training of other weights could say
    )
    torch.manual_seed(seed)
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder
