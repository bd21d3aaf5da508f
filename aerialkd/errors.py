"""The package's exceptions: one small tree, so that tools can catch user mistakes."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from urllib.error import HTTPError, URLError


class AerialKDError(Exception):
    """Base of every error that a user can cause and fix.

    The message says what is wrong, where (file:line or config key), what was
    found against what was expected, and how to fix it. Command-line tools
    print it as it is and exit with status 2.
    """


class ConfigError(AerialKDError, ValueError):
    """A configuration names something that does not exist or does not fit."""


class MetricConfigError(ConfigError, KeyError):
    """A metric that the evaluation does not have."""

    __str__ = Exception.__str__  # KeyError quotes its message


class ShapeError(AerialKDError, ValueError):
    """Tensors whose shapes do not fit together."""


class BoxTypeError(AerialKDError, TypeError):
    """A component was given a box type that it cannot serve."""


class RecordError(AerialKDError, RuntimeError):
    """A record of a forward pass is missing or was altered after recording."""


class TeacherError(AerialKDError, RuntimeError):
    """A teacher that is not what the configuration says it is."""


class CheckpointError(AerialKDError, RuntimeError):
    """A checkpoint file that cannot be read, trusted or matched to a model."""


class CheckpointFileError(CheckpointError, OSError):
    """A file that the operating system does not let us read or write."""

    @staticmethod
    def of(message: str, error: OSError) -> CheckpointFileError:
        """The error of this message that the handlers of another one catch too.

        Args:
            message: what, where, and how to fix it.
            error: what the operating system said.
        """
        kinds = (CheckpointNotFound, CheckpointNotPermitted)
        bases = (FileNotFoundError, PermissionError)
        both = zip(kinds, bases, strict=True)
        kind = next((k for k, b in both if isinstance(error, b)), CheckpointFileError)
        made = kind(message)
        made.errno, made.filename = error.errno, error.filename
        return made

    __str__ = Exception.__str__  # OSError leaves the message out where errno is set


class CheckpointNotFound(CheckpointFileError, FileNotFoundError):
    """A checkpoint file that does not exist."""


class CheckpointNotPermitted(CheckpointFileError, PermissionError):
    """A checkpoint file that this user may not read or write."""


class CheckpointDamaged(CheckpointError, UnpicklingError, EOFError):
    """A file that is cut off, or no checkpoint at all."""


class CheckpointRefused(CheckpointError, UnpicklingError):
    """A checkpoint that asks for more than weights and plain data."""


class UnknownWeights(CheckpointError, KeyError):
    """A name, ``torchvision://NAME``, that the table of a model zoo does not have."""

    __str__ = Exception.__str__  # KeyError quotes its message


class DownloadError(CheckpointFileError, URLError):
    """A checkpoint that cannot be fetched from the network."""

    def __init__(self, message: str) -> None:
        URLError.__init__(self, message)

    __str__ = Exception.__str__


class DownloadRefused(DownloadError, HTTPError):
    """A checkpoint that its server does not hand out; ``code`` is the HTTP status."""

    def __init__(self, message: str, answer: HTTPError) -> None:
        HTTPError.__init__(
            self, answer.filename, answer.code, answer.msg, answer.hdrs, None
        )
        self.args = (message,)


class NonFiniteError(AerialKDError, ArithmeticError):
    """Losses or parameters of a training that are infinite or no numbers."""


class AnnotationError(AerialKDError, ValueError):
    """A data set's annotation or image that cannot be used.

    Attributes:
        kind: what is wrong in words that do not depend on the place, such as
            ``'empty box'``, by which defects are counted.
    """

    def __init__(self, message: str = '', kind: str = 'other') -> None:
        super().__init__(message)
        self.kind = kind

    @classmethod
    def at(cls, place: str | Path, kind: str, detail: str) -> AnnotationError:
        """The error of a defect, ``place: kind: detail``.

        Args:
            place: ``file``, ``file:line``, or that and a field.
            kind: what is wrong, in a few words.
            detail: 'got X, expected Y; how to fix.'
        """
        return cls(f'{place}: {kind}: {detail}', kind)


class NothingUsable(AnnotationError):
    """An annotation file of which every annotation is bad, even where some may be."""


class EnvironmentProblem(AerialKDError, ImportError):
    """A needed package is missing or has a version that cannot work."""
