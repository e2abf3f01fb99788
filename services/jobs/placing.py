"""The evaluation of items that nobody has chosen yet, as a table for people or JSON for machines."""

from rich.table import Table

from features.datasets import fingerprint
from features.errors import UnknownName
from models.cold_evaluation import evaluate_cold
from models.encoders.config import EncoderConfig
from models.language.weights import MINILM
from services.console import out, print_json, progress
from services.jobs.loading import load_or_pull
from services.jobs.recording import recorded
from services.settings import Settings
from services.wiring import open_embedder


def evaluate_new_items(
    settings: Settings, data: str, config: EncoderConfig, shares: int, seed: int, bootstrap: int, *, json: bool
) -> None:
    """Evaluates with encoders trained for it, of the configuration's epochs, records it as a run, and prints.

    Raises InvalidInput, UnknownName for a data set or when the weights are not there, WeightsRefused.
    """
    embedder = open_embedder(settings)
    if embedder is None:
        raise UnknownName(f"titles are embedded by {MINILM}, which is not here: `tasteprint weights pull {MINILM}`")
    dataset = load_or_pull(data, settings)
    asked = {"shares": shares, "seed": seed, "encoder": config.kind, "epochs": config.epochs}
    with recorded(settings, "evaluate cold", config.kind, dataset, fingerprint(dataset), asked) as run:
        with progress("evaluating") as advance:
            report = evaluate_cold(
                dataset.events,
                dataset.items,
                embedder=embedder,
                config=config,
                epochs=config.epochs,
                shares=shares,
                seed=seed,
                bootstrap=bootstrap,
                progress=advance,
            )
        report = {"evaluate": "cold", **report}
        run.metrics(
            {f"{arm}/{name}": figure["value"] for arm, by in report["arms"].items() for name, figure in by.items()}
        )
        run.report("report", report)
    if json:
        print_json(report)
        return
    table = Table("arm", "NDCG@10", "MRR", title=f"{dataset.name}: held-out items, ranked among themselves")
    for arm, by in report["arms"].items():
        table.add_row(arm, *(f"{one['value']:.4f} [{one['low']:.4f}, {one['high']:.4f}]" for one in by.values()))
    out.print(table)
    for pair, by in report["comparisons"].items():
        one = by["ndcg@10"]
        out.print(
            f"{pair}: NDCG@10 {one['value']:+.4f} [{one['low']:+.4f}, {one['high']:+.4f}] (paired bootstrap, 95 %)"
        )
