"""Answers that quote what users and shops wrote: JSON in which no character means anything to HTML.

A title may well be `<script>`. In such an answer it reads `\\u003cscript\\u003e`: the same text to whoever reads JSON,
and no markup to whoever takes the answer for a page or puts it into one; browsers are told not to guess. The text
itself stays what it is: a page shows it as text, as `textContent` does.
"""

from typing import Any

import orjson
from fastapi import Response


def quoting(answer: Any, status: int = 200) -> Response:
    """The answer as JSON that is safe to stand in a page."""
    body = orjson.dumps(answer)
    for character, escape in ((b"<", b"\\u003c"), (b">", b"\\u003e"), (b"&", b"\\u0026")):
        body = body.replace(character, escape)  # in JSON they occur in strings alone
    return Response(body, status, {"X-Content-Type-Options": "nosniff"}, "application/json")
