"""Dead letters from the command line."""

from typing import Any

from rich.table import Table

from features.errors import UnknownName
from services.console import out, print_json
from services.settings import Settings
from services.wiring import open_log
from streaming.dead_letters import DeadLetter, DeadLetters


def list_letters(settings: Settings, most: int, *, json: bool) -> None:
    """Prints up to `most` letters, oldest first."""
    letters = DeadLetters(settings.home / "dead_letters.sqlite")
    try:
        found, total = letters.list(most), letters.count()
    finally:
        letters.close()
    if json:
        print_json({"total": total, "dead_letters": [_described(letter) for letter in found]})
        return
    table = Table("id", "stream", "key", "reason", "record", title=f"{total} dead letters")
    for letter in found:
        record = letter.value.decode(errors="replace")
        table.add_row(str(letter.id), letter.stream.value, letter.key, letter.reason, record[:200])
    out.print(table)


def send_letters(settings: Settings, ids: list[int], now: float) -> dict[str, Any]:
    """Appends the named letters, or all, to the log again. Raises UnknownName for an id that is not there."""
    letters = DeadLetters(settings.home / "dead_letters.sqlite")
    log = open_log(settings)
    try:
        chosen = _chosen(letters, ids)
        letters.send(chosen, log, now)
    finally:
        log.close()
        letters.close()
    return {"sent": len(chosen)}


def drop_letters(settings: Settings, ids: list[int]) -> dict[str, Any]:
    """Takes the named letters off the list. Raises UnknownName for an id that is not there."""
    letters = DeadLetters(settings.home / "dead_letters.sqlite")
    try:
        chosen = _chosen(letters, ids)
        letters.drop(chosen)
    finally:
        letters.close()
    return {"dropped": len(chosen)}


def _chosen(letters: DeadLetters, ids: list[int]) -> list[DeadLetter]:
    waiting = {letter.id: letter for letter in letters.list(most=letters.count())}
    for number in ids:
        if number not in waiting:
            raise UnknownName(f"there is no dead letter {number}; `tasteprint dead-letters list` shows them")
    return [waiting[number] for number in ids] if ids else list(waiting.values())


def _described(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "stream": letter.stream,
        "position": str(letter.position),
        "key": letter.key,
        "reason": letter.reason,
        "record": letter.value.decode(errors="replace"),
        "at": letter.at,
    }
