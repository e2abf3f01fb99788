"""Free text as the answer to a prompt: at every step the likeliest token.

Shapes: B prompts, T tokens of a prompt, D dimensions, V tokens of the vocabulary.
"""

from collections.abc import Collection

import torch
from torch import Tensor

from features.errors import InvalidInput
from models.p5.decoder import CachedDecoder
from models.p5.trie import EOS, PAD


@torch.inference_mode()
def generate_text(
    decoder: CachedDecoder, states_BTD: Tensor, mask_BT: Tensor, *, most: int, allowed: Collection[int] | None = None
) -> list[list[int]]:
    """Each prompt's tokens up to the end, which is left out; no more than `most`.

    states_BTD, mask_BT: the encoder's, on the decoder's device. allowed: the tokens to choose from, beside the end's;
    without them, all. Raises InvalidInput for less than one token.
    """
    if most < 1:
        raise InvalidInput("most", f"{most} tokens were asked for; 1 is the least")
    barred_V = torch.full((decoder.n_tokens,), allowed is not None, device=decoder.device)
    barred_V[[*(allowed or ()), EOS]] = False
    barred_V[PAD] = True
    tree = decoder.read(states_BTD, mask_BT, room=most)
    tokens_B1, places_B1 = torch.full((len(states_BTD), 1), PAD, device=decoder.device), None
    text: list[Tensor] = []
    ended_B1 = tokens_B1 == EOS
    while len(text) < most and not bool(ended_B1.all()):
        places_B1 = tree.grow(tokens_B1, places_B1)
        steps_B1V = decoder.log_probabilities(decoder.run(tree))
        tokens_B1 = steps_B1V.masked_fill(barred_V, -torch.inf).argmax(dim=2)
        ended_B1 |= tokens_B1 == EOS
        text.append(tokens_B1)
    rows = torch.cat(text, dim=1).tolist()
    return [row[: row.index(EOS)] if EOS in row else row for row in rows]
