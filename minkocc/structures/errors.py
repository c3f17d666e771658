"""What a user can put right."""

import reprlib
from typing import Any

_LONGEST_TOLD = 400
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 200


class UserError(Exception):
    """A mistake in input, config or environment; its text names the thing and the remedy.

    Tools print it as one line. Everything else keeps its traceback.
    """


def short(value: Any) -> str:
    """A value that someone else wrote, for a message: a few words, however much or deep it is."""
    try:
        text = _SHORT.repr(value)
    except (RecursionError, ValueError):  # an integer may have more digits than Python writes
        return f"a {type(value).__name__}"
    return text if len(text) <= _LONGEST_TOLD else f"{text[:_LONGEST_TOLD]}..."
