"""Trained P5 models on disk, each under what it was trained for: the data, the cut, the configuration, the seed.

An evaluation takes one that was trained for exactly what it measures, and no other.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import polars as pl

from features.errors import UnknownName
from features.frames import at_least, hold_out_last, sequences
from models.counts.fitting import Texts
from models.encoders.cold import Embeds
from models.encoders.store import Cut
from models.kept import folder_name, load_parts, save_parts
from models.p5.config import P5Config
from models.p5.contents import embedded
from models.p5.corpus import Corpus
from models.p5.data import P5Data
from models.p5.model import checkpoint_digest
from models.p5.reading import p5_data, reviews_of
from models.p5.train import Progress, train
from models.p5.trained import P5
from models.vocabulary import Vocabulary

FORMAT: Final = 1


class P5Store:
    """A folder of trained models. may_train: whether one that is missing is trained, or asked for.

    trained: called with the manifest of each that was trained.
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

    def get(
        self,
        history: pl.DataFrame,
        vocabulary: Vocabulary,
        texts: Texts,
        cut: Cut,
        config: P5Config,
        seed: int,
        *,
        embedder: Embeds | None = None,
    ) -> P5:
        """The model of a history (as `ordered` gives it), trained without each user's last event of it, by which
        training stops; loaded, or trained where it is missing and may be.

        embedder: of titles and categories, for a semantic index. Raises UnknownName when the model is missing and may
        not be trained, BundleRefused when it is damaged, InvalidInput when there is too little to learn from,
        WeightsRefused when those of the configuration's checkpoint cannot be used.
        """
        embedder = embedder if config.indexing.startswith("semantic") else None
        identity = {
            "format": FORMAT,
            "cut": asdict(cut),
            "config": asdict(config),
            "seed": seed,
            "vocabulary": vocabulary.digest,
            "embedder": None if embedder is None else embedder.digest,
        }
        if config.checkpoint:  # a folder that has other files since is another checkpoint
            identity["checkpoint"] = checkpoint_digest(Path(config.checkpoint))
        folder = self.folder / folder_name("p5", identity)
        if folder.is_dir():
            return P5.from_parts(load_parts(folder, identity)[0], vocabulary.digest, len(vocabulary))
        if not self._may_train:
            raise UnknownName(
                f"no P5 was trained for this data with this configuration, {cut.split}, order of ties {cut.tie_seed}, "
                f"seed {seed}; `tasteprint train p5 --fit train` trains it, and so does `evaluate p5 --train`"
            )
        data = training_data(history, vocabulary, texts)
        checkpoint = self.folder / "unfinished" / f"{folder.name}.safetensors"
        embeddings_ND = None if embedder is None else embedded(data.titles, data.categories, embedder)
        trained = train(
            data, config, seed=seed, embeddings_ND=embeddings_ND, checkpoint=checkpoint, progress=self._progress
        )
        corpus = Corpus(data, config.mix)
        manifest = identity | {
            "epoch": trained.epoch,
            "curves": {name: list(values) for name, values in trained.curves.items()},
            "seconds": round(trained.seconds, 1),
            "families": [*corpus.families],
            "left_out": corpus.left_out,
        }
        p5 = P5.of(config, trained.tokenizer, trained.model, corpus, manifest)
        save_parts(folder, p5.parts(vocabulary.digest), manifest)
        checkpoint.unlink(missing_ok=True)
        if self._trained is not None:
            self._trained(manifest)
        return p5


def training_data(history: pl.DataFrame, vocabulary: Vocabulary, texts: Texts) -> P5Data:
    """All but each user's last event of a history, and those as what training is validated on."""
    held_out = hold_out_last(at_least(history, 2))
    return p5_data(
        sequences(held_out.history, vocabulary.items),
        texts,
        sequences(held_out.targets, vocabulary.items),
        reviews=reviews_of(held_out.history, vocabulary.items),
        target_reviews=reviews_of(held_out.targets, vocabulary.items),
    )
