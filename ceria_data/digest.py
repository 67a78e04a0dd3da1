"""Identity of a dataset: digests of decoded values, and checksums of files."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ceria_data.schema import COORDINATE_STEP, TableSpec

_NAN = np.iinfo(np.int64).min
_BLOCK = 1 << 20


def file_sha256(path: Path) -> str:
    """Compute the sha256 of a file's bytes.

    Parameters
    ----------
    path : Path

    Returns
    -------
    str
        64 lowercase hexadecimal digits.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def canonical_json(value: Mapping[str, Any]) -> bytes:
    """Write a mapping as JSON bytes that depend on its content only.

    Examples
    --------
    >>> canonical_json({"b": 1, "a": [0.5]})
    b'{"a":[0.5],"b":1}'
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def table_bytes(table: pd.DataFrame, spec: TableSpec) -> bytes:
    """Write a table as canonical bytes: equal on every machine for equal content.

    Coordinates of tables of atoms and columns count in steps of 1e-4 Å; drawn
    parameters, times and weights count at nine significant digits.

    Parameters
    ----------
    table : DataFrame
        Columns as in `spec`.
    spec : TableSpec

    Returns
    -------
    bytes

    Raises
    ------
    KeyError
        If a column of `spec` is missing.
    """
    parts = [f"{spec.name} {len(table)}\n".encode()]
    drawn = spec.name in ("samples", "structures", "events", "exposures")
    for column in spec.columns:
        values = table[column.name].to_numpy()
        parts.append(f"{column.name} {column.dtype}\n".encode())
        if column.dtype == "str":
            parts.append(json.dumps([str(v) for v in values]).encode())
        elif column.dtype == "float64" and drawn:
            parts.append(" ".join(f"{v:.9g}" for v in values).encode())
        elif column.dtype == "float64":
            parts.append(_steps(values).tobytes())
        else:
            parts.append(np.ascontiguousarray(values, dtype="<i8").tobytes())
    return b"\0".join(parts)


def labels_leaf(tables: Iterable[tuple[pd.DataFrame, TableSpec]], *masks: NDArray[Any]) -> str:
    """Digest the labels of one structure: its rows of every table and its masks."""
    digest = hashlib.sha256()
    for table, spec in tables:
        _update(digest, table_bytes(table, spec))
    for mask in masks:
        _update(digest, array_bytes(mask))
    return digest.hexdigest()


def content_leaf(labels: str, *pixels: NDArray[Any]) -> str:
    """Digest one structure: its labels and the pixels of all its images."""
    digest = hashlib.sha256(labels.encode())
    for array in pixels:
        _update(digest, array_bytes(array))
    return digest.hexdigest()


def missing_leaf(number: int) -> str:
    """Stand for a structure that could not be simulated."""
    return hashlib.sha256(f"missing {number}".encode()).hexdigest()


def root_digest(leaves: Iterable[str]) -> str:
    """Join the digests of all structures, in the order of their rows.

    Examples
    --------
    >>> root_digest(["aa", "bb"]) == root_digest(["bb", "aa"])
    False
    """
    return hashlib.sha256("\n".join(leaves).encode()).hexdigest()


def array_bytes(array: NDArray[Any]) -> bytes:
    """Write shape, type and little-endian C-order values of an array."""
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return f"{little.dtype.str} {little.shape}\n".encode() + little.tobytes()


def _steps(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Coordinates in whole steps; NaN becomes a number of its own."""
    finite = np.isfinite(values)
    steps = np.full(values.shape, _NAN, dtype="<i8")
    steps[finite] = np.rint(values[finite] / COORDINATE_STEP).astype("<i8")
    return steps


def _update(digest: "hashlib._Hash", content: bytes) -> None:
    """Add bytes with their length, so that parts cannot slide into each other."""
    digest.update(len(content).to_bytes(8, "little"))
    digest.update(content)
