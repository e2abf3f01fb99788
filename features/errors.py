"""Every error Tasteprint raises on purpose.

TasteprintError
├── InvalidInput (ValueError)            a field of something a caller sent
├── InvalidFile (ValueError)             a line of a data set's file
├── UnknownName (LookupError)            a name that stands for nothing here
├── ChecksumMismatch (ValueError)        fetched bytes are not the ones expected
├── FetchFailed (OSError)                the package index did not give what was asked
├── BundleRefused (ValueError)           a trained model that must not be used
├── WeightsRefused (ValueError)          pretrained weights that must not be used
├── PromotionRefused (RuntimeError)      traffic stays with the bundle that has it
├── ModelMissing (LookupError)           a kind of model that is needed, and not in use
├── Overloaded (RuntimeError)            more waits to be answered than can be in time
├── GeneratorUnavailable (ConnectionError)  the text generator does not answer
├── BudgetSpent (RuntimeError)           the tokens that may be spent are
├── RegistryUnavailable (ConnectionError)  the MLflow store does not answer
├── ServerMissing (FileNotFoundError)    no Redis server to start or to attach to
├── StoreUnavailable (ConnectionError)   the profile store does not answer
├── LogUnavailable (ConnectionError)     the event log does not answer
├── CannotListen (OSError)               the server's address is not to be had
└── DemoFailed (RuntimeError)            a step of the demo did not do what it shows

Each is also the standard library's error it refines, says what was given and what would do, and survives
pickling (its positional arguments are its constructor's).
"""

from pathlib import Path


class TasteprintError(Exception):
    """The root of the tree; never raised itself."""


class InvalidInput(TasteprintError, ValueError):
    """A field of an event, an item or a request is not acceptable.

    field: its name on the wire, with the place in a list before it ("3.user_id"); "" for the whole body.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(field, problem)
        self.field = field
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.field}: {self.problem}" if self.field else self.problem


class InvalidFile(TasteprintError, ValueError):
    """A data set's file cannot be read; line counts from 1 and is 0 for the file as a whole."""

    def __init__(self, path: Path, line: int, problem: str) -> None:
        super().__init__(path, line, problem)
        self.path = path
        self.line = line
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.path}, line {self.line}: {self.problem}" if self.line else f"{self.path}: {self.problem}"


class UnknownName(TasteprintError, LookupError):
    """A data set, model or user that is named but does not exist."""


class ChecksumMismatch(TasteprintError, ValueError):
    """A fetched file is not the one expected; it was not used."""


class FetchFailed(TasteprintError, OSError):
    """The package index did not give what was asked for."""


class BundleRefused(TasteprintError, ValueError):
    """A bundle is corrupt, incomplete, or made for something else; the one in use stays in use."""


class WeightsRefused(TasteprintError, ValueError):
    """Pretrained weights are missing, damaged, or not those that something was learned with."""


class PromotionRefused(TasteprintError, RuntimeError):
    """A bundle is not put into traffic, because it ranks worse, cannot be compared, or is not there to go back to."""


class ModelMissing(TasteprintError, LookupError):
    """No model that is in use can do what is asked."""


class Overloaded(TasteprintError, RuntimeError):
    """Too much waits already; the same can be asked again later."""


class GeneratorUnavailable(TasteprintError, ConnectionError):
    """The text generator does not answer, in time or at all, or answers what is no completion."""


class BudgetSpent(TasteprintError, RuntimeError):
    """Writing on would spend more tokens than were set aside."""


class RegistryUnavailable(TasteprintError, ConnectionError):
    """The MLflow store of runs and registered models does not answer, or refuses what it is sent."""


class ServerMissing(TasteprintError, FileNotFoundError):
    """No Redis server was configured and none can be started here."""


class StoreUnavailable(TasteprintError, ConnectionError):
    """The profile store does not answer."""


class LogUnavailable(TasteprintError, ConnectionError):
    """The event log does not answer."""


class CannotListen(TasteprintError, OSError):
    """The server's address is taken, or not one of this machine."""


class DemoFailed(TasteprintError, RuntimeError):
    """A step of the demo did not do what it shows."""
