"""The model card of a bundle, in Markdown: what it is, fitted on what, how it was measured, and what it cannot do.

After Mitchell et al., Model Cards for Model Reporting (2019), as far as counting and sequence models have such facts.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from models.promotion import Figures

_FITS: Final = {
    "serve": "every event but the last of the users held out for comparing bundles",
    "refit": "every event but each user's last",
    "train": "every event but each user's last two",
}
_LIMITS: Final = """\
- Offline figures measure what users did under what they were shown; only traffic shows what a list does.
- An item that came after the fit is ranked by its title and categories alone, in the share of the list that explores.
- What it has counted of a user who was erased since stays counted until it is fitted anew."""


def card(manifest: Mapping[str, Any], sizes: Mapping[str, int], reached: Figures | None) -> str:
    """sizes: bytes of each file. reached: on the held-out users, None when no event could be held out."""
    data = manifest["data"]
    lines = [
        f"# {manifest['name']}",
        "",
        f"Ranks the items of a catalogue for a user's history. Kind: {manifest['kind']}. Seed: {manifest['seed']}.",
        "",
        "## Data and fit",
        f"- Data: {data['name'] or 'not named'}, fingerprint `{data['fingerprint']}`",
        f"- {data['events']:,} events of {data['users']:,} users, {data['items']:,} items",
        f"- Fit `{manifest['fit']}`: {_FITS.get(manifest['fit'], 'unknown')}",
        "",
        *_questions(manifest.get("p5")),
        "## Figures",
        *_figures(reached),
        "",
        "## Parts",
        "| file | bytes |",
        "|---|---|",
        *(f"| {name} | {size:,} |" for name, size in sorted(sizes.items())),
        "",
        "Weights: " + ", ".join(f"{name} {weight:.3g}" for name, weight in manifest["weights"].items()),
        "",
        "## Limits",
        _LIMITS,
    ]
    return "\n".join(lines) + "\n"


def sizes_of(folder: Path) -> dict[str, int]:
    """The bytes of each file of a bundle."""
    return {path.name: path.stat().st_size for path in folder.iterdir()}


def _questions(p5: Mapping[str, Any] | None) -> list[str]:
    """What a P5 answers, and what it does not."""
    if p5 is None:
        return []
    return [
        "## Questions",
        f"- P5 (T5 with {p5['config']['indexing']} ids of items) answers {', '.join(p5['families'])}, best epoch "
        f"{p5['epoch']}, trained without the last event of each user that the fit has",
        *(f"- {message}" for message in p5["left_out"]),
        "",
    ]


def _figures(reached: Figures | None) -> list[str]:
    if reached is None:
        return ["None: no user has three events, so none could be held out."]
    return [
        f"- NDCG@10 {reached.ndcg:.4f}, HR@10 {reached.hit_rate:.4f}, means over {reached.users:,} users",
        "- Protocol: the last event of each held-out user among the whole catalogue without what the user has seen,",
        "  the events before fed in; the list of ten that the serving pipeline answers with, filters and diversity",
        "  included",
    ]
