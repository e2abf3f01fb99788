"""The items whose ids are the likeliest answers to a prompt: a beam search that walks only along ids of unseen items.

Scores are the model's own log-probabilities over its whole vocabulary, as transformers' `generate` gives them with
`prefix_allowed_tokens_fn` and no length penalty, and so are the items where ids have one length. Where they have not,
`generate` forgets an item whose id ends while as many unfinished ones as there are beams are likelier; here it stays.
Shapes: B users, W beams, C children of a node, J tokens still to come, S seen items, K items asked for, X any number,
Y the best of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from features.errors import InvalidInput
from models.p5.decoder import CachedDecoder, Tree
from models.p5.trie import PAD, Trie


@dataclass(frozen=True, slots=True, eq=False)
class Beams:
    """rows_BK: items, likeliest first, -1 behind the last. log_probabilities_BK: of their ids with their ends."""

    rows_BK: NDArray[np.int64]
    log_probabilities_BK: NDArray[np.float32]


@torch.inference_mode()
def beam_search(
    decoder: CachedDecoder,
    states_BTD: Tensor,
    mask_BT: Tensor,
    trie: Trie,
    *,
    beams: int,
    k: int,
    seen: Sequence[NDArray[np.integer]] = (),
) -> Beams:
    """The k likeliest items that max(beams, k) beams find for each prompt; exact where no more than these are unseen.

    states_BTD, mask_BT: the encoder's. seen: item rows that must not be found, a list a prompt, or no list at all. All
    tensors are on the decoder's device. Raises InvalidInput for a row that is no item's, and for a k below 1.
    """
    if k < 1:
        raise InvalidInput("k", f"{k} items were asked for; 1 is the least")
    users, beams = len(states_BTD), max(beams, k)
    tree = decoder.read(states_BTD, mask_BT, room=1 + beams * trie.depth)
    found = _Found(trie, trie.leaves(seen or [np.zeros(0, np.int64)] * users, padding=trie.n_items), k)
    nodes_BW = torch.zeros(users, 1, dtype=torch.int64, device=decoder.device)  # one beam, at the root
    tokens_BW, parents_BW, scores_BW = nodes_BW + PAD, None, nodes_BW.float()
    for depth in range(trie.depth):
        places_BW = tree.grow(tokens_BW, parents_BW)
        children_BWC, next_BWC = trie.children(nodes_BW, depth)
        steps_BWC = decoder.log_probabilities(decoder.run(tree)).gather(2, next_BWC)
        scores_BWC = scores_BW[..., None] + steps_BWC.masked_fill(next_BWC == PAD, -torch.inf)
        nodes_BX, tokens_BX, scores_BX = children_BWC.flatten(1), next_BWC.flatten(1), scores_BWC.flatten(1)

        ends_BX = trie.ended(nodes_BX, depth + 1) & (tokens_BX != PAD)
        found.add(nodes_BX, scores_BX.masked_fill(~ends_BX, -torch.inf))
        nodes_BW, scores_BW, chosen_BW = found.best(nodes_BX, scores_BX.masked_fill(ends_BX, -torch.inf), beams)
        tokens_BW, parents_BW = tokens_BX.gather(1, chosen_BW), places_BW.gather(1, chosen_BW // next_BWC.shape[2])
        if not found.may_gain(scores_BW):
            break
        if bool((trie.decided(nodes_BW) | scores_BW.isinf()).all()):  # nothing is left to choose
            for some in (slice(k), slice(k, None)):  # the best first: they may leave the others no chance
                if found.may_gain(scores_BW[:, some]):
                    places_BW = tree.grow(tokens_BW[:, some], parents_BW[:, some])
                    rest_BW = _rest(decoder, tree, trie.tails(nodes_BW[:, some], depth + 1), places_BW)
                    found.add(nodes_BW[:, some], scores_BW[:, some] + rest_BW)
            break
    return found.beams()


def _rest(decoder: CachedDecoder, tree: Tree, tokens_BWJ: Tensor, places_BW: Tensor) -> Tensor:
    """log_probabilities_BW of all these tokens, in one run: each but the last follows in the tree on the one before."""
    for tokens_BW in tokens_BWJ.unbind(2)[:-1]:
        places_BW = tree.grow(tokens_BW, places_BW)
    states_BXD = decoder.run(tree)
    places_BX = torch.arange(states_BXD.shape[1], device=states_BXD.device).expand(len(places_BW), -1)
    tokens_BJW = tokens_BWJ.transpose(1, 2)
    steps_BX = decoder.log_probabilities_of(states_BXD, places_BX, tokens_BJW.flatten(1))
    return steps_BX.view(tokens_BJW.shape).masked_fill(tokens_BJW == PAD, 0.0).sum(dim=1)


class _Found:
    """Each user's k best items so far, as nodes; and the choice of the best among nodes, unless all below is seen."""

    def __init__(self, trie: Trie, seen_BS: Tensor, k: int) -> None:
        self._trie, self._seen_BS = trie, seen_BS
        self.nodes_BK = torch.zeros(len(seen_BS), k, dtype=torch.int64, device=seen_BS.device)
        self.scores_BK = torch.full((len(seen_BS), k), -torch.inf, device=seen_BS.device)

    def add(self, nodes_BX: Tensor, scores_BX: Tensor) -> None:
        nodes_BX, scores_BX = torch.cat([self.nodes_BK, nodes_BX], 1), torch.cat([self.scores_BK, scores_BX], 1)
        self.nodes_BK, self.scores_BK, _ = self.best(nodes_BX, scores_BX, self.nodes_BK.shape[1])

    def may_gain(self, scores_BX: Tensor) -> bool:
        """Whether what has these scores by now may yet be among the best; no token adds to a score."""
        return bool((scores_BX > self.scores_BK[:, -1:]).any())

    def best(self, nodes_BX: Tensor, scores_BX: Tensor, most: int) -> tuple[Tensor, Tensor, Tensor]:
        """(nodes_BY, scores_BY, places_BY of X): the best, at most `most`, each with an unseen item below it.

        A node without has a seen item that no other of these nodes has: of the best most + S, at most S are such.
        """
        spare = self._seen_BS.shape[1]
        scores_BY, places_BY = scores_BX.topk(min(most + spare, scores_BX.shape[1]))
        if spare:
            unseen_BY = self._unseen(nodes_BX.gather(1, places_BY))
            scores_BY, kept_BY = scores_BY.masked_fill(unseen_BY == 0, -torch.inf).topk(min(most, scores_BY.shape[1]))
            places_BY = places_BY.gather(1, kept_BY)
        return nodes_BX.gather(1, places_BY), scores_BY, places_BY

    def beams(self) -> Beams:
        rows_BK = self._trie.rows_N[self._trie.firsts_M[self.nodes_BK]].long()
        rows_BK = rows_BK.masked_fill(self.scores_BK.isinf(), -1)
        return Beams(rows_BK.cpu().numpy(), self.scores_BK.cpu().numpy())

    def _unseen(self, nodes_BY: Tensor) -> Tensor:
        """How many items below each node its user has not seen."""
        firsts_BY, lasts_BY = self._trie.firsts_M[nodes_BY].long(), self._trie.lasts_M[nodes_BY].long()
        seen_BY = torch.searchsorted(self._seen_BS, lasts_BY) - torch.searchsorted(self._seen_BS, firsts_BY)
        return lasts_BY - firsts_BY - seen_BY
