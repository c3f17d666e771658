"""Standard-library-only set-up of a minkocc environment: ``python3 -m installer``."""
