"""How an error ends the program: what a user can mend is told in a paragraph, a mistake of our own leaves its traceback in a file."""

from __future__ import annotations

import platform
import sys
import tempfile
import traceback
from pathlib import Path

from plan.exits import Exit
from plan.faults import PlanFaults
from plan.house import StrangerInTheHouse

MENDED_BY_THE_USER = ("LedgerFault", "Held", "DataError", "NoPlan", "NoDevice", "NoSession")
"""Errors whose text says all, by name, since importing them would cost what was not needed so far."""


def tell(error: Exception) -> Exit:
    """Print what went wrong the way its kind asks for; the exit code."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, PlanFaults):
        told, code = str(error), Exit.FAULTS
    elif isinstance(error, StrangerInTheHouse) or type(error).__name__ in MENDED_BY_THE_USER:
        told, code = f"error: {error}", Exit.ENVIRONMENT
    elif isinstance(error, OSError):
        told = f"error: {error.strerror or error}: {error.filename or ''}\n  every finished measurement is in the ledger"
        code = Exit.ENVIRONMENT
    else:
        told, code = write_crash(error), Exit.INTERNAL
    print(told, file=sys.stderr)
    return code


def write_crash(error: Exception) -> str:
    """Write the traceback to a new file; the line to tell the user."""
    with tempfile.NamedTemporaryFile("w", prefix="orchestrate-crash-", suffix=".txt", delete=False, encoding="utf-8") as file:
        file.write(f"{' '.join(sys.argv)}\npython {platform.python_version()} on {platform.platform()}\n\n")
        traceback.print_exception(error, file=file)
    return (
        f"internal error: {type(error).__name__}: {error}\n"
        f"  the ledger keeps every finished measurement; the same command goes on\n"
        f"  traceback: {Path(file.name)}   (ORCHESTRATE_DEBUG=1 shows it; please report it with this file)"
    )
