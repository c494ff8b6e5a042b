"""The names of the language as attributes of one module, for `tilec` to export. They shadow Python's own, so nothing else lives here."""

from tilec.frontend.builtins import LANGUAGE

globals().update(LANGUAGE)
__all__ = [*LANGUAGE]
