"""The one exception that is written for the user to read."""


class UserError(ValueError):
    """Something the user gave cannot be used.

    The message names the place (file, row or config key), what was found and what is accepted. It may hold several
    lines, one problem each. Commands print it without a traceback and exit with status 2.
    """
