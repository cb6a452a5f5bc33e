"""What may be done about a red value (``critical_action/1``, field ``action``), and what ends one."""

CLOSING = frozenset({"referred", "consulted", "refused"})
"""One of these lets a person with a red value go."""
WITHDRAWN, MEASURED_AGAIN = "withdrawn", "measured_again"
"""Of findings only: it was none (an electrode, a movement, a mistake); a later ECG speaks for itself."""
ENDING = CLOSING | {WITHDRAWN, MEASURED_AGAIN}
"""After one of these a red value is open no more. A reading that was to be repeated is ended by the later reading."""
