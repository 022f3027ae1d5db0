"""Metadata in YAML and CSV, which may be damaged."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from timbrel.errors import DataError

# the C parser where there is one: ten times faster
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(path: Path) -> dict[Any, Any]:
    """A mapping.

    Raises:
        DataError: it may not be read, is not YAML, or not a mapping.
    """
    try:
        found = yaml.load(path.read_bytes(), _Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DataError(f"{path.name} is not YAML") from error
    except PermissionError as error:
        raise DataError(f"{path.name} may not be read") from error
    if not isinstance(found, dict):
        raise DataError(f"{path.name} is not a mapping")
    return found


def text(value: Any, otherwise: str) -> str:
    """A value that must be text (a nested one may be huge when written out)."""
    return value if isinstance(value, str) and value else otherwise


def read_rows(path: Path) -> Iterator[dict[str, str]]:
    """Rows of a CSV file by column name; columns that a row lacks are "".

    Raises:
        DataError: it may not be read, is not text, not CSV, or has no header.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restkey="", restval="")
            if not reader.fieldnames:
                raise DataError(f"{path.name} is empty")
            for row in reader:
                yield {key: value for key, value in row.items() if isinstance(value, str)}
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path.name} is not a table of text (CSV)") from error
    except PermissionError as error:
        raise DataError(f"{path.name} may not be read") from error
