"""The one kind of exception that is the user's to mend."""


class InputError(ValueError):
    """Bad input: the message is one line that names the key or file and the way out.

    The commands print it without a traceback and exit with 1.
    """


LOGGED = "its traceback is in the log of its job"  # a note on an exception that has been logged
