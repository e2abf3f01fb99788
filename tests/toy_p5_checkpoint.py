"""A T5 checkpoint's folder as users bring it: random weights, and a tokenizer of a few pieces."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import T5Config, T5ForConditionalGeneration

from models.p5.tokens import trained_on


def t5_folder(
    folder: Path, *, own_output: bool = False, dtype: torch.dtype = torch.float32, seed: int = 1, vocabulary: int = 210
) -> Path:
    """own_output: with an output layer apart from the embeddings, as T5 v1.1 has. vocabulary: ids of the embeddings."""
    torch.manual_seed(seed)
    shape = {"vocab_size": vocabulary, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    kept = T5ForConditionalGeneration(T5Config(**shape, tie_word_embeddings=not own_output)).to(dtype)
    kept.save_pretrained(folder)
    if own_output:
        weights = load_file(folder / "model.safetensors")
        weights["lm_head.weight"] = torch.randn(vocabulary, 16).to(dtype)
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
        said = (folder / "config.json").read_text()  # transformers writes that they are tied, whatever it was given
        (folder / "config.json").write_text(said.replace('"tie_word_embeddings": true', '"tie_word_embeddings": false'))
    words = ["the user likes comedies, dramas and wars; yes no stars 3.6"] * 9
    trained_on(words, 200).save(str(folder / "tokenizer.json"))
    return folder
