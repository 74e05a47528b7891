"""The two errors a user may meet. The command line prints either as one line and exits with a non-zero status."""


class InputError(ValueError):
    """Something given from outside is wrong: the message states the value, the rule and the choices."""


class RunError(RuntimeError):
    """A run could not finish (a loss that is not finite, a teacher signal that does not match its teacher)."""
