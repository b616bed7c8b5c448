"""`headrace …` and `python -m headrace …`."""

from __future__ import annotations

import sys

import click

from contracts.errors import HeadraceError, LedgerMismatch, Retryable
from headrace.app import log
from headrace.cli import cli

EXIT_DIFFERENCE = 1
EXIT_USAGE = 2
EXIT_FATAL = 3
EXIT_RETRYABLE = 4


def main() -> None:
    """Exit codes: 0 done, 1 the proof found a difference, 2 wrong usage, 3 a person must act, 4 try again later."""
    try:
        sys.exit(cli.main(standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        sys.exit(EXIT_USAGE)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except LedgerMismatch as error:
        _fail(error, EXIT_DIFFERENCE)
    except Retryable as error:
        _fail(error, EXIT_RETRYABLE)
    except HeadraceError as error:
        _fail(error, EXIT_FATAL)
    except Exception as error:
        # Python's own exit code for a traceback is 1, which here means that the proof found a difference.
        log.debug("unexpected", exc_info=error)
        said = " ".join(str(error).split()) or "no message"
        _fail(f"unexpected {type(error).__name__}: {said} (`headrace --verbose …` shows the trace)", EXIT_FATAL)


def _fail(error: HeadraceError | str, code: int) -> None:
    click.secho(f"headrace: {error}", fg="red", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
