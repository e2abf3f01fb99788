"""A bundle: the fitted models, their vocabulary and their weights, published together or not at all.

On disk it is a folder: `manifest.json`, `vocabulary.json`, and a safetensors file a counting model; an encoder has
three: its items' vectors, its layers, its index; and up to two for items that come later: what it has learned of words
and categories, and a map from embeddings of titles; a P5 has its own. The manifest names the data, the fit, the
configuration and the seed, and the sha256 of every other file.
"""

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from features.errors import BundleRefused, InvalidInput
from features.events import ItemId
from features.frames import at_least, held_out_users, hold_out_last, ordered, sequences
from models.counts.content import fit_content
from models.counts.fitting import CountsConfig, Texts, fit_counts, fit_table, texts_of
from models.counts.neighbours import HISTORY_LENGTH, Neighbours
from models.counts.popularity import Popularity
from models.fusion import Fusion, Generator, choose_weights, terms_of
from models.vocabulary import Vocabulary

# Encoders and P5 need torch, which a server whose bundle only counts does not wait for.
if TYPE_CHECKING:
    from models.encoders.cold import Embeds
    from models.encoders.config import EncoderConfig
    from models.encoders.retriever import EncoderRetriever
    from models.encoders.store import EncoderPair, EncoderStore
    from models.p5.config import P5Config
    from models.p5.store import P5Store
    from models.p5.trained import P5

FITS: Final = ("serve", "refit", "train")
FORMAT: Final = 1
KINDS: Final = ("counts", "encoder", "p5")
_MANIFEST: Final = "manifest.json"
_VOCABULARY: Final = "vocabulary.json"

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """name: the model version, derived from the content. manifest: JSON values, not to be changed."""

    name: str
    manifest: Mapping[str, Any] = field(repr=False)
    vocabulary: Vocabulary = field(repr=False)
    popularity: Popularity = field(repr=False)
    tables: Mapping[str, Neighbours] = field(repr=False)
    fusion: Fusion = field(repr=False)
    retriever: "EncoderRetriever | None" = field(default=None, repr=False)
    p5: "P5 | None" = field(default=None, repr=False)


def train_counts(
    events: pl.DataFrame,
    items: pl.DataFrame,
    *,
    fingerprint: str,
    data_name: str = "",
    fit: str = "serve",
    config: CountsConfig | None = None,
    seed: int = 0,
    encoders: "EncoderStore | None" = None,
    encoder_config: "EncoderConfig | None" = None,
    embedder: "Embeds | None" = None,
    p5s: "P5Store | None" = None,
    p5_config: "P5Config | None" = None,
    progress: Progress | None = None,
) -> Bundle:
    """A bundle fitted on a data set's frames; with an encoder or a P5 when a store is given to take it from.

    fit: "serve", every event but the last of the `held_out_users`, who compare one served model with the next; "refit",
    without each user's last event; "train", without the last two. The weights are chosen on each user's last event of
    what is left ("serve", "refit") or the last but one ("train") by models that were fitted without it. data_name: a
    name or a path by which the data is found again. embedder: with an encoder, of what is said of items, so that those
    that come later have a place among its vectors; with a P5, for ids by what is said of items. progress: called with
    (done, total, what). Raises InvalidInput.
    """
    if fit not in FITS:
        raise InvalidInput("fit", f"{fit!r} was given; it is one of {', '.join(FITS)}")
    history = ordered(events)
    if fit == "serve":
        history = hold_out_last(history, held_out_users(history)).history
    else:
        history = hold_out_last(at_least(history, 3)).history
    if history.is_empty():
        raise InvalidInput("events", "no user has enough events to learn from")
    vocabulary = Vocabulary.of([*items["item"], *history["item"]])
    texts = texts_of(items, vocabulary)
    encoder, p5 = None, None
    if encoders is not None or p5s is not None:
        from models.encoders.store import Cut

        cut = Cut(fingerprint, "serve" if fit == "serve" else "leave-one-out")
    if encoders is not None:
        from models.encoders.config import preset

        encoder = encoders.pair(history, vocabulary, texts, cut, encoder_config or preset(), seed, fit=fit)
        if embedder is not None:
            encoder = encoder.with_cold(history, vocabulary, texts, embedder)
    if p5s is not None:
        from models.p5.config import preset as p5_preset

        p5 = p5s.get(history, vocabulary, texts, cut, p5_config or p5_preset(), seed, embedder=embedder)
    return fit_bundle(
        history,
        vocabulary,
        texts,
        fingerprint=fingerprint,
        data_name=data_name,
        fit=fit,
        config=config or CountsConfig(),
        seed=seed,
        encoder=encoder,
        p5=p5,
        progress=progress,
    )


def fit_bundle(
    history: pl.DataFrame,
    vocabulary: Vocabulary,
    texts: Texts,
    *,
    fingerprint: str,
    data_name: str = "",
    fit: str,
    config: CountsConfig,
    seed: int,
    encoder: "EncoderPair | None" = None,
    p5: "P5 | None" = None,
    progress: Progress | None = None,
) -> Bundle:
    """The same from a history (as `ordered` gives it) whose events may all be used: each user's last one to choose
    the weights, and, unless fit is "train", to fit the models that are kept. p5: trained without these last ones."""
    names = config.fused(len(vocabulary))
    steps = (2 if fit != "train" else 1) * len(names) + 1
    done = 0

    def fitted(events: pl.DataFrame) -> tuple[Popularity, dict[str, Neighbours]]:
        nonlocal done
        known = sequences(events, vocabulary.items)
        tables = dict(tables_of_texts)
        for name in names:
            if progress is not None:
                progress(done, steps, f"fitting {name}")
            if name not in tables_of_texts:
                tables[name] = fit_table(name, known, texts, config)
            done += 1
        return fit_counts(known, texts, config), {name: tables[name] for name in names}

    tables_of_texts = (
        {"content": fit_content(texts.titles, texts.categories, config.content)} if "content" in names else {}
    )
    held_out = hold_out_last(at_least(history, 2))
    popularity, tables = fitted(held_out.history)
    tuned = encoder.tuned.retriever if encoder else None

    def weighed(generator: "P5 | None") -> dict[str, float]:
        parts = held_out.history, held_out.targets, vocabulary, popularity, tables, seed, tuned, generator
        terms = terms_of(names, encoder=tuned is not None, p5=generator is not None)
        return dict(zip(terms, _weights(*parts).tolist(), strict=True))

    weights = {"weights": weighed(p5)} | ({"weights_without_p5": weighed(None)} if p5 else {})
    if fit != "train":
        popularity, tables = fitted(history)
    manifest = {
        "format": FORMAT,
        "kind": "p5" if p5 else "encoder" if encoder else "counts",
        "data": {
            "name": data_name,
            "fingerprint": fingerprint,
            "users": history["user"].n_unique(),
            "items": len(vocabulary),
            "events": history.height,
        },
        "fit": fit,
        "config": asdict(config),
        "seed": seed,
        **weights,
        "decays": {name: table.decay for name, table in tables.items()},
        "vocabulary": vocabulary.digest,
    }
    if encoder:
        trained = encoder.kept.manifest
        cold = encoder.kept.retriever.cold
        manifest["encoder"] = {
            **{name: trained[name] for name in ("cut", "config", "seed", "epoch", "curves") if name in trained},
            "cold": None if cold is None else cold.described(),
        }
    if p5:
        manifest["p5"] = p5.described()
    if progress is not None:
        progress(steps, steps, "done")
    return _bundle(manifest, vocabulary, popularity, tables, encoder.kept.retriever if encoder else None, p5)


def save_bundle(bundle: Bundle, folder: Path) -> None:
    """Writes the bundle, whole or not at all. Raises FileExistsError when the folder is there already."""
    if folder.exists():
        raise FileExistsError(f"{folder} exists; a bundle is never written over another")
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(mkdtemp(prefix=".bundle-", dir=folder.parent))
    try:
        parts = _parts(bundle.vocabulary, bundle.popularity, bundle.tables, bundle.retriever, bundle.p5)
        for name, content in parts.items():
            _write(unfinished / name, content)
        _write(unfinished / _MANIFEST, json.dumps(bundle.manifest, indent=1).encode())
        os.rename(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def load_bundle(folder: Path) -> Bundle:
    """The bundle that `save_bundle` wrote. Raises BundleRefused: a file is missing or altered, a value is not finite,
    a shape or an item row does not fit the vocabulary."""
    manifest = _manifest(folder)
    parts = {name: _read(folder, name, digest) for name, digest in manifest["parts"].items()}
    try:
        vocabulary = Vocabulary(tuple(ItemId(item) for item in orjson.loads(parts[_VOCABULARY])))
        if vocabulary.digest != manifest["vocabulary"]:
            raise BundleRefused(f"{folder}: the vocabulary is not the one that the models were fitted with")
        counts = _arrays(folder, "popularity.safetensors", parts)
        popularity = Popularity(counts["counts"], counts["trending"])
        tables = {}
        for name, decay in manifest["decays"].items():
            arrays = _arrays(folder, f"{name}.safetensors", parts)
            tables[name] = Neighbours(arrays["neighbours"], arrays["weights"], decay, arrays.get("bias"))
        retriever, p5 = None, None
        if manifest["kind"] == "encoder" or "encoder" in manifest:
            from models.encoders.retriever import EncoderRetriever

            retriever = EncoderRetriever.from_parts(parts, vocabulary.digest, len(vocabulary))
        if manifest["kind"] == "p5":
            from models.p5.trained import P5

            p5 = P5.from_parts(parts, vocabulary.digest, len(vocabulary))
        bundle = _bundle(manifest, vocabulary, popularity, tables, retriever, p5)
    except (KeyError, TypeError, AttributeError, orjson.JSONDecodeError) as error:
        raise BundleRefused(f"{folder}: incomplete or not a bundle: {error!r}; train again") from None
    if bundle.name != manifest["name"]:
        raise BundleRefused(f"{folder}: the manifest was altered; train again")
    return bundle


def _weights(
    history: pl.DataFrame,
    targets: pl.DataFrame,
    vocabulary: Vocabulary,
    popularity: Popularity,
    tables: Mapping[str, Neighbours],
    seed: int,
    retriever: "EncoderRetriever | None",
    generator: Generator | None,
) -> NDArray[np.float64]:
    fed = sequences(history, vocabulary.items)
    chosen = sequences(targets, vocabulary.items)
    recent = fed.histories(HISTORY_LENGTH)
    times, stars = fed.told(HISTORY_LENGTH) if retriever or generator else (None, None)
    vectors_UD = retriever.vectors(recent, times, stars) if retriever else None
    return choose_weights(
        list(tables.values()),
        popularity,
        recent,
        fed.histories(),
        chosen.items_E.tolist(),
        seed,
        retriever,
        vectors_UD,
        generator,
        stars,
    )


def _bundle(
    manifest: Mapping[str, Any],
    vocabulary: Vocabulary,
    popularity: Popularity,
    tables: Mapping[str, Neighbours],
    retriever: "EncoderRetriever | None",
    p5: "P5 | None",
) -> Bundle:
    """Checks that the parts fit together, and names the whole by its content. Raises BundleRefused."""
    n_items = len(vocabulary)
    for counts_N in (popularity.counts_N, popularity.trending_N):
        _check("popularity", counts_N, np.float32, (n_items,))
    for name, table in tables.items():
        shape = (n_items, table.neighbours_NK.shape[-1])
        _check(name, table.neighbours_NK, np.int32, shape)
        _check(name, table.weights_NK, np.float32, shape)
        if table.bias_N is not None:
            _check(name, table.bias_N, np.float32, (n_items,))
        if table.neighbours_NK.min(initial=0) < 0 or table.neighbours_NK.max(initial=0) >= n_items:
            raise BundleRefused(f"{name}: a neighbour is no row of the vocabulary; train again")
        if not 0 < table.decay <= 1:
            raise BundleRefused(f"{name}: its decay is {table.decay}, not in (0, 1]; train again")
    terms = terms_of(tuple(tables), encoder=retriever is not None)
    without_F = _chosen(manifest["weights_without_p5"], terms) if p5 else None
    terms = terms_of(tuple(tables), encoder=retriever is not None, p5=p5 is not None)
    weights_F = _chosen(manifest["weights"], terms)
    parts = _parts(vocabulary, popularity, tables, retriever, p5)
    digests = {name: sha256(content).hexdigest() for name, content in parts.items()}
    whole = {**{key: value for key, value in manifest.items() if key != "name"}, "parts": digests}
    name = f"{manifest['kind']}-{sha256(orjson.dumps(whole, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]}"
    fusion = Fusion(list(tables.values()), popularity, weights_F, retriever, p5, without_F)
    return Bundle(name, {"name": name, **whole}, vocabulary, popularity, dict(tables), fusion, retriever, p5)


def _chosen(weights: Mapping[str, float], terms: Sequence[str]) -> NDArray[np.float64]:
    weights_F = np.array([weights[name] for name in terms], np.float64)
    if not np.isfinite(weights_F).all():
        raise BundleRefused("the fusion's weights are not finite; train again")
    return weights_F


def _parts(
    vocabulary: Vocabulary,
    popularity: Popularity,
    tables: Mapping[str, Neighbours],
    retriever: "EncoderRetriever | None",
    p5: "P5 | None",
) -> dict[str, bytes]:
    """The content of every file but the manifest."""
    parts = {
        _VOCABULARY: orjson.dumps(vocabulary.items),
        "popularity.safetensors": save({"counts": popularity.counts_N, "trending": popularity.trending_N}),
    }
    for name, table in tables.items():
        arrays: dict[str, NDArray[Any]] = {"neighbours": table.neighbours_NK, "weights": table.weights_NK}
        if table.bias_N is not None:
            arrays["bias"] = table.bias_N
        parts[f"{name}.safetensors"] = save({key: np.ascontiguousarray(array) for key, array in arrays.items()})
    if retriever is not None:
        parts |= retriever.parts(vocabulary.digest)
    if p5 is not None:
        parts |= p5.parts(vocabulary.digest)
    return parts


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = orjson.loads((folder / _MANIFEST).read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise BundleRefused(f"{folder}: its manifest cannot be read: {error}; train again") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT or manifest.get("kind") not in KINDS:
        raise BundleRefused(f"{folder}: not a bundle of format {FORMAT}, of {' or '.join(KINDS)}; train again")
    if not isinstance(manifest.get("parts"), dict):
        raise BundleRefused(f"{folder}: its manifest names no parts; train again")
    return manifest


def _read(folder: Path, name: str, digest: str) -> bytes:
    if Path(name).name != name:
        raise BundleRefused(f"{folder}: the manifest names a file elsewhere: {name}")
    try:
        content = (folder / name).read_bytes()
    except OSError as error:
        raise BundleRefused(f"{folder / name}: cannot be read: {error.strerror}; train again") from None
    if sha256(content).hexdigest() != digest:
        raise BundleRefused(f"{folder / name}: its sha256 is not the manifest's; train again")
    return content


def _arrays(folder: Path, name: str, parts: Mapping[str, bytes]) -> dict[str, NDArray[Any]]:
    try:
        return load(parts[name])
    except SafetensorError as error:
        raise BundleRefused(f"{folder / name}: {error}; train again") from None


def _check(name: str, array: NDArray[Any], dtype: type[Any], shape: tuple[int, ...]) -> None:
    if array.dtype != dtype or array.shape != shape:
        raise BundleRefused(
            f"{name}: an array is {array.dtype}{list(array.shape)}, not {np.dtype(dtype)}{list(shape)}; train again"
        )
    if not np.isfinite(array).all():
        raise BundleRefused(f"{name}: an array has values that are not finite; train again")


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
