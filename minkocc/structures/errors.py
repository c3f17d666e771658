"""What a user can put right."""


class UserError(Exception):
    """A mistake in input, config or environment; its text names the thing and the remedy.

    Tools print it as one line. Everything else keeps its traceback.
    """
