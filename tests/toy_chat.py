"""A tokenizer that was trained on a few words, with a chat template: what a prompt's contents could be taken for."""

from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "[INST]", "[/INST]", "<s>", "</s>", "<|eot_id|>")
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' }}\n"
    "{% endfor %}{{ '<|im_start|>assistant\n' }}"
)


def toy_chat(folder: Path) -> Path:
    """Leaves the tokenizer in a folder."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(
        ["About the user and the data of this user", "Fargo Heat Clueless Drama"] * 9, trainer
    )
    whole = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=SPECIAL[2], bos_token=SPECIAL[1])
    whole.chat_template = TEMPLATE
    whole.save_pretrained(folder)
    return folder
