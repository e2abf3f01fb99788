"""T5's decoder over trees of tokens: each node sees its ancestors, itself and the whole prompt, and is computed once.

The beams of a search, a list of candidates with common beginnings, and a plain text are all such trees. Nothing is kept
twice: a prompt's keys and values are made once a user, whatever the number of nodes, and a node's once; which nodes are
a node's ancestors is said by the mask of its attention, so that no cache is ever reordered.
The layers are those of transformers' T5ForConditionalGeneration in evaluation (Raffel et al., "Exploring the limits of
transfer learning", JMLR 2020), with queries, keys and values in one product.
Shapes: B users, T tokens of a prompt, N new nodes, S nodes so far, R room for nodes, D dimensions, H heads, K numbers
of a head, L layers, V tokens of the vocabulary.
"""

from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional
from transformers import T5ForConditionalGeneration

AT_ONCE: Final = 2**24  # logits that are in memory together where only some are kept: 64 MB


@dataclass(slots=True, eq=False)
class Tree:
    """Trees of tokens under B prompts, of equal sizes; `size` counts nodes, and `computed` those that were run.

    The layers' keys and values are those of the prompts (read_*) and of the nodes (own_*).
    """

    read_keys_LBHTK: Tensor
    read_values_LBHTK: Tensor
    read_bias_B11T: Tensor
    own_keys_LBHRK: Tensor
    own_values_LBHRK: Tensor
    tokens_BR: Tensor
    depths_BR: Tensor
    sees_BRR: Tensor  # whether a node sees another
    size: int = 0
    computed: int = 0

    def clear(self) -> None:
        """Fells the trees; the prompts stay read."""
        self.size = self.computed = 0

    def grow(self, tokens_BN: Tensor, parents_BN: Tensor | None = None) -> Tensor:
        """Adds a node under each parent; the places_BN of the new ones. The root has no parent, and is added first."""
        users, count = tokens_BN.shape
        new = torch.arange(self.size, self.size + count, device=tokens_BN.device)
        self.tokens_BR[:, new] = tokens_BN
        if parents_BN is not None:
            self.depths_BR[:, new] = self.depths_BR.gather(1, parents_BN) + 1
            self.sees_BRR[:, new] = self.sees_BRR[torch.arange(users, device=new.device)[:, None], parents_BN]
        self.sees_BRR[:, new, new] = True
        self.size += count
        return new.expand(users, count)


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """The weights of a layer: attention among nodes, attention to the prompt, feed-forward; a norm before each."""

    self_norm: Tensor
    self_qkv: Tensor
    self_out: Tensor
    read_norm: Tensor
    read_q: Tensor
    read_out: Tensor
    wide_norm: Tensor
    wide_in: Tensor  # the gate and what it gates, one above the other, where the layer is gated
    wide_out: Tensor


class CachedDecoder:
    """Holds the weights of `t5`, some as copies: make a new one when they have changed. Threads may share it.

    dtype: of the layers' matrix products, float32 or bfloat16 (models/device.py's Device.dtype). Sums, norms and the
    logits are float32: in bfloat16 the logits of like items would tie.
    """

    def __init__(self, t5: T5ForConditionalGeneration, dtype: torch.dtype = torch.float32) -> None:
        config, stack = t5.config, t5.decoder
        layers: list[Any] = [block.layer for block in stack.block]
        self.heads, self.dtype = config.num_heads, dtype
        self.device: torch.device = t5.shared.weight.device
        self._epsilon = config.layer_norm_epsilon
        self._activation = layers[0][2].DenseReluDense.act
        self._gated = config.is_gated_act
        with torch.no_grad():
            self._embeddings_VD = stack.embed_tokens.weight.detach().float()
            self._vocabulary_VD = t5.lm_head.weight.detach().float()
            self._blocks = [_block(layer, self._gated, dtype) for layer in layers]
            reads = [layer[1].EncDecAttention for layer in layers]
            self._read_kv = torch.cat([w.weight for read in reads for w in (read.k, read.v)]).to(dtype)
            scale = config.d_model**-0.5 if config.scale_decoder_outputs else 1.0
            self._last_norm = stack.final_layer_norm.weight.float() * scale
            furthest = config.relative_attention_max_distance  # beyond, every distance has one bias
            biases_1H1R = layers[0][0].SelfAttention.compute_bias(1, furthest + 1, past_seen_tokens=furthest)
            self._biases_RH = biases_1H1R[0, :, 0].T.flip(0).float().contiguous()  # by the distance back

    @property
    def n_tokens(self) -> int:
        return len(self._vocabulary_VD)

    def read(self, states_BTD: Tensor, mask_BT: Tensor, room: int) -> Tree:
        """A tree with room for so many nodes under each prompt; states_BTD: the encoder's; mask_BT: 0 for padding."""
        users, tokens, _ = states_BTD.shape
        layers, heads = len(self._blocks), self.heads
        both = functional.linear(states_BTD.to(self.dtype), self._read_kv)
        keys_LBHTK, values_LBHTK = both.view(users, tokens, layers, 2, heads, -1).permute(3, 2, 0, 4, 1, 5)
        own_shape = (layers, users, heads, room, keys_LBHTK.shape[-1])
        return Tree(
            read_keys_LBHTK=keys_LBHTK,
            read_values_LBHTK=values_LBHTK,
            read_bias_B11T=torch.where(mask_BT[:, None, None] == 0, torch.finfo(self.dtype).min, 0.0).to(self.dtype),
            own_keys_LBHRK=torch.empty(own_shape, dtype=self.dtype, device=self.device),
            own_values_LBHRK=torch.empty(own_shape, dtype=self.dtype, device=self.device),
            tokens_BR=torch.zeros(users, room, dtype=torch.int64, device=self.device),
            depths_BR=torch.zeros(users, room, dtype=torch.int64, device=self.device),
            sees_BRR=torch.zeros(users, room, room, dtype=torch.bool, device=self.device),
        )

    def run(self, tree: Tree) -> Tensor:
        """states_BND of the nodes that were not run before, in the order in which they were added."""
        old, size = tree.computed, tree.size
        bias_BHNS = self._bias(tree, old, size)
        x_BND = functional.embedding(tree.tokens_BR[:, old:size], self._embeddings_VD)
        users, count, _ = x_BND.shape
        for layer, block in enumerate(self._blocks):
            qkv = functional.linear(self._normed(x_BND, block.self_norm), block.self_qkv)
            q_BHNK, k_BHNK, v_BHNK = qkv.view(users, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
            keys_BHSK, values_BHSK = tree.own_keys_LBHRK[layer, :, :, :size], tree.own_values_LBHRK[layer, :, :, :size]
            keys_BHSK[:, :, old:], values_BHSK[:, :, old:] = k_BHNK, v_BHNK
            x_BND = x_BND + functional.linear(_attended(q_BHNK, keys_BHSK, values_BHSK, bias_BHNS), block.self_out)
            q = functional.linear(self._normed(x_BND, block.read_norm), block.read_q)
            q_BHNK = q.view(users, count, self.heads, -1).transpose(1, 2)
            keys_BHTK, values_BHTK = tree.read_keys_LBHTK[layer], tree.read_values_LBHTK[layer]
            read = _attended(q_BHNK, keys_BHTK, values_BHTK, tree.read_bias_B11T)
            x_BND = x_BND + functional.linear(read, block.read_out)
            x_BND = x_BND + self._widened(self._normed(x_BND, block.wide_norm), block)
        tree.computed = size
        return self._normed(x_BND, self._last_norm)

    def log_probabilities(self, states_BND: Tensor) -> Tensor:
        """log_probabilities_BNV of every token after these nodes."""
        return functional.linear(states_BND.float(), self._vocabulary_VD).log_softmax(-1)

    def log_probabilities_of(self, states_BND: Tensor, places_BX: Tensor, tokens_BX: Tensor) -> Tensor:
        """log_probabilities_BX of one token each, after the nodes at these places of N.

        The logits of the whole vocabulary are summed a few nodes at a time and not kept.
        """
        states_XD = states_BND.float().flatten(0, 1)
        parts = states_XD.split(max(1, AT_ONCE // len(self._vocabulary_VD)))
        sums_X = torch.cat([functional.linear(part, self._vocabulary_VD).logsumexp(-1) for part in parts])
        nodes_BX = places_BX + states_BND.shape[1] * torch.arange(len(places_BX), device=self.device)[:, None]
        logits_BX: Tensor = (states_XD[nodes_BX] * self._vocabulary_VD[tokens_BX]).sum(-1)
        return logits_BX - sums_X[nodes_BX]

    def _bias(self, tree: Tree, old: int, size: int) -> Tensor:
        """bias_BHNS of new nodes' attention to all: by their distance to an ancestor, and minus infinity to others."""
        distances_BNS = tree.depths_BR[:, old:size, None] - tree.depths_BR[:, None, :size]
        biases_BNSH = functional.embedding(distances_BNS.clamp(0, len(self._biases_RH) - 1), self._biases_RH)
        hidden_BNS = ~tree.sees_BRR[:, old:size, :size]
        biases_BNSH.masked_fill_(hidden_BNS[..., None], -torch.inf)
        return biases_BNSH.permute(0, 3, 1, 2).to(self.dtype).contiguous()

    def _normed(self, x: Tensor, weight: Tensor) -> Tensor:
        return functional.rms_norm(x, weight.shape, weight, self._epsilon).to(self.dtype)

    def _widened(self, x: Tensor, block: Block) -> Tensor:
        wide = functional.linear(x, block.wide_in)
        if self._gated:
            gate, wide = wide.chunk(2, dim=-1)
            return functional.linear(self._activation(gate) * wide, block.wide_out)
        return functional.linear(self._activation(wide), block.wide_out)


def _attended(q_BHNK: Tensor, keys_BHSK: Tensor, values_BHSK: Tensor, bias_BHNS: Tensor) -> Tensor:
    """mixed_BND; T5 does not divide by the square root of K."""
    mixed_BHNK = functional.scaled_dot_product_attention(q_BHNK, keys_BHSK, values_BHSK, bias_BHNS, scale=1.0)
    return mixed_BHNK.transpose(1, 2).flatten(2)


def _block(layers: Any, gated: bool, dtype: torch.dtype) -> Block:
    own, read, wide = layers[0].SelfAttention, layers[1].EncDecAttention, layers[2].DenseReluDense
    return Block(
        self_norm=layers[0].layer_norm.weight.float(),
        self_qkv=torch.cat([own.q.weight, own.k.weight, own.v.weight]).to(dtype),
        self_out=own.o.weight.to(dtype),
        read_norm=layers[1].layer_norm.weight.float(),
        read_q=read.q.weight.to(dtype),
        read_out=read.o.weight.to(dtype),
        wide_norm=layers[2].layer_norm.weight.float(),
        wide_in=(torch.cat([wide.wi_0.weight, wide.wi_1.weight]) if gated else wide.wi.weight).to(dtype),
        wide_out=wide.wo.weight.to(dtype),
    )
