"""The one exception that stands for bad input: the command line prints it as a single line."""


class UserError(ValueError):
    """Bad input that the user can mend: its message names the file or flag and says what to do.

    The command line prints the message without a traceback and exits with code 2.
    """
