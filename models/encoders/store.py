"""Trained encoders on disk, each under what it was trained for: the data, the cut, the configuration, the seed.

An evaluation takes one that was trained for exactly what it measures, and no other: an encoder that saw the events it
is measured on, or another order of equal times, would shine.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from features.errors import UnknownName
from features.frames import at_least, hold_out_last, sequences
from models.counts.fitting import Texts
from models.encoders.cold import Embeds
from models.encoders.config import EncoderConfig
from models.encoders.frozen import FrozenEncoder
from models.encoders.reading import encoder_data
from models.encoders.retriever import EncoderRetriever
from models.encoders.sides import SideVectors
from models.encoders.train import Progress, train
from models.kept import folder_name, load_parts, save_parts
from models.vocabulary import Vocabulary

FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Cut:
    """Which events an encoder may see: those of a data set that an evaluation, or serving, does not hold out.

    split: "leave-one-out", "leave-N-out", "global" or "serve". tie_seed: the order of equal times. part:
    "train" on all but each user's last event of these, which training stops by; "refit" on all of them, for as many
    epochs.
    """

    fingerprint: str
    split: str
    tie_seed: int = 0
    part: str = "train"


@dataclass(frozen=True, slots=True, eq=False)
class TrainedEncoder:
    """manifest: cut, configuration, seed, epoch, curves, seconds; JSON values."""

    retriever: EncoderRetriever
    manifest: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class EncoderPair:
    """tuned: trained without each user's last event, on which weights are chosen. kept: the one that is used."""

    tuned: TrainedEncoder
    kept: TrainedEncoder

    def with_cold(self, history: pl.DataFrame, vocabulary: Vocabulary, texts: Texts, embedder: Embeds) -> "EncoderPair":
        """The same, the kept one with a map for items that come later; history: what it was trained on."""
        counts_N = np.bincount(sequences(history, vocabulary.items).items_E, minlength=len(vocabulary))
        retriever = self.kept.retriever.with_cold(texts, counts_N, embedder)
        return replace(self, kept=replace(self.kept, retriever=retriever))


class EncoderStore:
    """A folder of trained encoders. may_train: whether one that is missing is trained, or asked for.

    trained: called with the manifest of each encoder that was trained.
    """

    def __init__(
        self,
        folder: Path,
        *,
        may_train: bool = False,
        progress: Progress | None = None,
        trained: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> None:
        self.folder = folder
        self._may_train = may_train
        self._progress = progress
        self._trained = trained

    def pair(
        self,
        history: pl.DataFrame,
        vocabulary: Vocabulary,
        texts: Texts,
        cut: Cut,
        config: EncoderConfig,
        seed: int,
        *,
        fit: str,
    ) -> EncoderPair:
        """The encoders of a history (as `ordered` gives it), loaded, or trained where they are missing and may be.

        fit: with "train" the kept one is the tuned one. Raises UnknownName when one is missing and may not be trained,
        BundleRefused when one is damaged, InvalidInput when there is too little to learn from.
        """
        tuned = self._one(history, vocabulary, texts, replace(cut, part="train"), config, seed, None)
        if fit == "train":
            return EncoderPair(tuned, tuned)
        epochs = tuned.manifest["epoch"]
        return EncoderPair(
            tuned, self._one(history, vocabulary, texts, replace(cut, part="refit"), config, seed, epochs)
        )

    def _one(
        self,
        history: pl.DataFrame,
        vocabulary: Vocabulary,
        texts: Texts,
        cut: Cut,
        config: EncoderConfig,
        seed: int,
        epochs: int | None,
    ) -> TrainedEncoder:
        identity = {
            "format": FORMAT,
            "cut": asdict(cut),
            "config": asdict(config),
            "seed": seed,
            "epochs": epochs,
            "vocabulary": vocabulary.digest,
        }
        folder = self.folder / folder_name(config.kind, identity)
        if folder.is_dir():
            content, manifest = load_parts(folder, identity)
            return TrainedEncoder(EncoderRetriever.from_parts(content, vocabulary.digest, len(vocabulary)), manifest)
        if not self._may_train:
            raise UnknownName(
                f"no {config.kind} was trained for this data with this configuration, {cut.split}, order of ties "
                f"{cut.tie_seed}, seed {seed}, {cut.part}; `tasteprint train encoder` trains it, and so does "
                "`evaluate ranking --train`, or for questions `evaluate questions --train`"
            )
        targets = None
        known = history
        if cut.part == "train":
            held_out = hold_out_last(at_least(history, 2))
            known, targets = held_out.history, sequences(held_out.targets, vocabulary.items)
        data = encoder_data(sequences(known, vocabulary.items), texts, targets)
        checkpoint = self.folder / "unfinished" / f"{folder.name}.safetensors"
        trained = train(data, config, seed=seed, epochs=epochs, checkpoint=checkpoint, progress=self._progress)
        frozen = FrozenEncoder.of(trained, data)
        queries_QD = frozen.vectors(
            sequences(known, vocabulary.items).histories(config.length)[:: max(1, data.n_users // 512)]
        )
        learned = {name: weights.numpy() for name, weights in trained.weights.items()}
        sides = SideVectors.of(learned, texts, config.dimensions)
        retriever = EncoderRetriever.of(frozen, queries_QD, sides=sides)
        manifest = identity | {
            "epoch": trained.epoch,
            "curves": {name: list(values) for name, values in trained.curves.items()},
            "seconds": round(trained.seconds, 1),
        }
        save_parts(folder, retriever.parts(vocabulary.digest), manifest)
        checkpoint.unlink(missing_ok=True)
        if self._trained is not None:
            self._trained(manifest)
        return TrainedEncoder(retriever, manifest)
