"""Prompts of many lengths laid end to end in a sequence, instead of beside each other in a padded batch.

Prepacking (Zhao, Israel, Van den Broeck and Grover, "Prepacking: a simple method for fast prefilling and increased
throughput in large language models", 2024): a token sees those of its own prompt alone, and positions begin anew with
each prompt, so that each is read as if it were alone and no time goes into padding.
Shapes: P tokens of a pack, N prompts in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Pack:
    """positions_P: of each token in its own prompt. spans: where each prompt's tokens are, in the prompts' order."""

    tokens_P: Tensor
    positions_P: Tensor
    spans: tuple[slice, ...]

    @property
    def lasts(self) -> Tensor:
        """Where the last token of each prompt is."""
        return torch.tensor([span.stop - 1 for span in self.spans], device=self.tokens_P.device)


def packed(prompts: Sequence[Sequence[int]], begin: int = 0) -> Pack:
    """A pack of prompts of one token or more; begin: the position of their first tokens, behind a common prefix."""
    ends = torch.tensor([len(prompt) for prompt in prompts]).cumsum(0).tolist()
    spans = tuple(slice(end - len(prompt), end) for end, prompt in zip(ends, prompts, strict=True))
    return Pack(
        torch.tensor([token for prompt in prompts for token in prompt]),
        torch.cat([torch.arange(begin, begin + len(prompt)) for prompt in prompts]),
        spans,
    )


def bins(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Places of `lengths` in bins that hold `most` together; what is longer has a bin of its own.

    First fit decreasing: never more than 11/9 of the fewest bins, and one (Dosa, 2007).
    """
    found: list[list[int]] = []
    room: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        fits = next((row for row, left in enumerate(room) if lengths[place] <= left), None)
        if fits is None:
            found.append([place])
            room.append(most - lengths[place])
        else:
            found[fits].append(place)
            room[fits] -= lengths[place]
    return found
