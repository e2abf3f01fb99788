"""How likely given items are as the answer to a prompt: their ids as one tree, whose common beginnings are run once.

Shapes: B prompts, C candidates of a prompt, J tokens of the longest id with its end, D dimensions.
"""

from collections.abc import Sequence
from math import isqrt
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from models.p5.decoder import CachedDecoder, Tree
from models.p5.trie import EOS, PAD, Trie

MOST: Final = 2**26  # numbers of a mask of attention, which is square in the nodes of a tree: 256 MB


@torch.inference_mode()
def score_candidates(
    decoder: CachedDecoder,
    states_BTD: Tensor,
    mask_BT: Tensor,
    trie: Trie,
    candidates: Sequence[NDArray[np.integer]],
) -> list[NDArray[np.float32]]:
    """The log-probabilities of each prompt's candidates, item rows, in their order; as beam_search gives them.

    states_BTD, mask_BT: the encoder's; all tensors are on the decoder's device. Raises InvalidInput for a row that is
    no item's.
    """
    leaves_BC = trie.leaves(candidates, padding=trie.n_items - 1)
    if not leaves_BC.numel():
        return [np.zeros(0, np.float32) for _ in candidates]
    at_once = max(1, isqrt(MOST // (len(candidates) * decoder.heads)) // trie.depth)
    tree = decoder.read(states_BTD, mask_BT, room=1 + at_once * (trie.depth - 1))
    parts = [_scored(decoder, tree, trie.codes_NC[part_BC].long()) for part_BC in leaves_BC.split(at_once, dim=1)]
    scores_BC, sorted_BC, leaves_N = (one.cpu().numpy() for one in (torch.cat(parts, dim=1), leaves_BC, trie.leaves_N))
    return [
        scores_C[np.searchsorted(sorted_C, leaves_N[np.asarray(rows, np.int64)])]
        for rows, scores_C, sorted_C in zip(candidates, scores_BC, sorted_BC, strict=True)
    ]


def _scored(decoder: CachedDecoder, tree: Tree, codes_BCJ: Tensor) -> Tensor:
    """log_probabilities_BC of sorted ids: one node for each of their beginnings, and all nodes in one run."""
    different_BCJ = (codes_BCJ[:, 1:] != codes_BCJ[:, :-1]).cumsum(dim=2) > 0
    new_BCJ = functional.pad(different_BCJ, (0, 0, 1, 0), value=True)  # whether it is the first that begins so
    new_BCJ &= codes_BCJ > EOS
    tree.clear()
    places_BC = tree.grow(torch.full_like(codes_BCJ[:, :1, 0], PAD)).expand(codes_BCJ.shape[:2])
    places = [places_BC]  # of the node that each token follows
    for new_BC, tokens_BC in zip(new_BCJ.unbind(2)[:-1], codes_BCJ.unbind(2)[:-1], strict=True):
        width = int(new_BC.sum(dim=1).max())
        first_BW = new_BC.int().argsort(dim=1, descending=True, stable=True)[:, :width]
        parents_BW, places_BC = places_BC.gather(1, first_BW), tree.size - 1 + new_BC.cumsum(dim=1)
        tree.grow(tokens_BC.gather(1, first_BW), parents_BW)
        places.append(places_BC)
    states_BND = decoder.run(tree)
    codes_BJC = codes_BCJ.transpose(1, 2)
    steps_BX = decoder.log_probabilities_of(states_BND, torch.cat(places, dim=1), codes_BJC.flatten(1))
    return steps_BX.view(codes_BJC.shape).masked_fill(codes_BJC == PAD, 0.0).sum(dim=1)
