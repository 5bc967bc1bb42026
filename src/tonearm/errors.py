"""What goes wrong, as one small tree.

TonearmError
├── DataError     the input files: what, where, how many, what to do
├── ConfigError   a setting: unknown, of the wrong type or out of range
├── OutputError   the place that results go to: exists, no space, no permission
├── MissingExtra  an optional package is not installed
├── Refused       a run does not pass the gate before it is served
└── InternalError what must hold of a result does not: a defect of Tonearm
"""


class TonearmError(Exception):
    """Base of everything that Tonearm raises for its users; the command line prints it and exits with 2."""


class DataError(TonearmError):
    """The input is missing, malformed or leaves nothing to work on."""


class ConfigError(TonearmError):
    """A setting does not exist, has the wrong type, or is out of range."""


class OutputError(TonearmError):
    """The result cannot be written where it was asked to go."""


class MissingExtra(TonearmError):
    """A feature needs an optional package; the message names the install command."""


class Refused(TonearmError):
    """A run does not pass the gate; the message has the figures."""


class InternalError(TonearmError):
    """What must hold of a result does not; nothing is written, as this is a defect of Tonearm."""
