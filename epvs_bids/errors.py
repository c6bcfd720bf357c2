"""Errors that a user can do something about, each with the exit code of the run it ends.

Codes follow sysexits.h where one fits, and the BIDS Apps' habit (16, 17, 18) elsewhere. The text of an error
names the file and the remedy; the command line prints it without a traceback.
"""

from __future__ import annotations


class EPVSError(Exception):
    """Base of every error that is reported to the user as one message; the run ends with `exit_code`."""

    exit_code = 1


class InvalidBIDSError(EPVSError):
    """The input is no valid BIDS data set."""

    exit_code = 16


class UnknownLevelError(EPVSError):
    """The analysis level is neither `participant` nor `group`."""

    exit_code = 17


class EmptySelectionError(EPVSError):
    """The labels and filters given select no scan."""

    exit_code = 18


class UsageError(EPVSError):
    """The command line is wrong."""

    exit_code = 64


class BadDataError(EPVSError):
    """A file is there, but its content can't be used (truncated, NaN, wrong shape, wrong column …)."""

    exit_code = 65


class MissingInputError(EPVSError):
    """A file, program or licence that is needed is not there."""

    exit_code = 66


class CannotCreateError(EPVSError):
    """An output can't be created (no permission, disk full, output inside input …)."""

    exit_code = 73


class InputOutputError(EPVSError):
    """Reading or writing failed."""

    exit_code = 74


class TryAgainError(EPVSError):
    """Something is under way or overloaded; the same command may succeed later."""

    exit_code = 75


class CannotRun(Exception):  # noqa: N818  (no error: the data do not allow this analysis, and the text says why)
    """The data do not allow an analysis; the text is the reason that the user reads."""
