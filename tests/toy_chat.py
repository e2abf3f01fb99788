"""A folder with a tiny chat model of random weights, and a tokenizer that was trained on a few words."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from models.language.generator import Message, Role
from models.language.tuning import Pair

_END = "<|im_end|>"
_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def toy_chat(folder: Path, *, seed: int = 0, texts: tuple[str, ...] = ()) -> Path:
    """Writes the model there. texts: what its tokenizer learns words from."""
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>", "<|im_start|>", _END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    text = Tokenizer(models.BPE())
    text.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    text.decoder = decoders.ByteLevel()
    text.train_from_iterator(texts or ("system user assistant likes dislikes",), trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=text, eos_token=_END)
    tokenizer.chat_template = _TEMPLATE
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=text.get_vocab_size(),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=0,
        bos_token_id=0,
        initializer_range=0.3,  # so that frozen embeddings tell tokens apart
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def said(question: str, answer: str) -> Pair:
    return Pair((Message(Role.SYSTEM, "Say it."), Message(Role.USER, question)), answer)


PAIRS = [said(genre, f"likes {genre}") for genre in ("war", "crime", "drama", "horror")]
