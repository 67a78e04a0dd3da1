"""Tables of a predicted film: rows of a chunk of frames, and all chunks in one file."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ceria_data.schema import SPECIES
from ceria_models.film_tables import LEVEL
from ceria_models.frame_reading import FrameReading

_SPECIES = "species"


def reading_rows(
    frame: int,
    reading: FrameReading,
    numbers: dict[str, NDArray[np.int64]],
    level: NDArray[np.float32] | None = None,
) -> dict[str, NDArray[Any]]:
    """Make the rows of one frame of `readings.parquet`.

    Parameters
    ----------
    frame : int
    reading : FrameReading
        Read at the places of the sites.
    numbers : dict of str to array of int64, shape (place,)
        Sites of these places, by species.
    level : array of float32, shape (site,), optional
        Levels of all sites of the film [atoms]; without, there are none.

    Returns
    -------
    dict of str to array, shape (site,)
        frame, site, p_0 to p_K, z_mean_A, z_spread_A, level; by site.
    """
    site = np.concatenate([numbers[species] for species in SPECIES])
    order = np.argsort(site, kind="stable")
    p = np.concatenate([reading.p[species] for species in SPECIES])[order]
    values: dict[str, NDArray[Any]] = {
        "frame": np.full(len(site), frame, dtype=np.int64),
        "site": site[order],
    }
    values |= {f"p_{n}": own for n, own in enumerate(np.ascontiguousarray(p.T, np.float32))}
    for name, own in (("z_mean_A", reading.z), ("z_spread_A", reading.z_spread)):
        together = np.concatenate([own[species] for species in SPECIES])[order]
        values[name] = together.astype(np.float32)
    none = np.full(len(site), np.nan, dtype=np.float32)
    values[LEVEL] = none if level is None else level[values["site"]]
    return values


def rows_of_columns(frame: int, columns: pd.DataFrame) -> pd.DataFrame:
    """Make the readings of the only frame of a film: its columns are the sites.

    Parameters
    ----------
    frame : int
    columns : DataFrame
        As from `decoding.column_rows`.

    Returns
    -------
    DataFrame
        Columns as from `reading_rows`.
    """
    classes = [name for name in columns if str(name).startswith("p_")]
    rows = columns[[*classes, "z_mean_A", "z_spread_A"]].astype(np.float32)
    rows.insert(0, "frame", np.full(len(rows), frame, dtype=np.int64))
    rows.insert(1, "site", np.arange(len(rows), dtype=np.int64))
    rows[LEVEL] = np.full(len(rows), np.nan, dtype=np.float32)
    return rows


def counts_of(values: "pd.Series[Any]") -> dict[str, int]:
    """Count how often each word occurs."""
    return {str(word): int(n) for word, n in values.value_counts().items()}


def numbered(frame: int, columns: pd.DataFrame, sample: int | None) -> pd.DataFrame:
    """Put the number of its frame, and of its sample, before every column."""
    columns.insert(0, "frame", frame)
    if sample is not None:
        columns.insert(0, "sample", sample)
    return columns


class FrameRows:
    """Rows of many frames, in one block of numbers that grows.

    Tables of frames that are kept one by one lie between the arrays of the net, and what those
    leave free is in pieces, too small for the next: the memory of the process grows.

    Parameters
    ----------
    like : DataFrame
        Its columns and types are those of the table; ``species`` is the only text.
    expected : int
        Rows that are expected.

    Examples
    --------
    >>> one = pd.DataFrame({"frame": [4], "species": ["O"], "x_A": [1.5]})
    >>> rows = FrameRows(one[:0], 1)
    >>> rows.add(one)
    >>> rows.add(one)
    >>> rows.table()["species"].tolist(), len(rows.table())
    (['O', 'O'], 2)
    """

    def __init__(self, like: pd.DataFrame, expected: int) -> None:
        self._types = like.dtypes
        self._block = np.empty((len(self._types), max(expected, 1)))
        self._number = 0

    def add(self, table: pd.DataFrame | Mapping[str, NDArray[Any]]) -> None:
        """Append the rows of a frame; columns are taken by their names."""
        begin = self._number
        end = begin + len(table[str(self._types.index[0])])
        if end > self._block.shape[1]:
            more = np.empty((len(self._types), max(end, 2 * self._block.shape[1])))
            more[:, :begin] = self._block[:, :begin]
            self._block = more
        for values, name in zip(self._block, self._types.index, strict=True):
            own = table[name]
            values[begin:end] = _codes_of(own) if name == _SPECIES else own
        self._number = end

    def table(self) -> pd.DataFrame:
        """Make the table of all rows."""
        values: dict[str, Any] = {}
        for own, (name, dtype) in zip(self._block, self._types.items(), strict=True):
            known = own[: self._number]
            if name == _SPECIES:
                words = pd.array(list(SPECIES), dtype="str")
                values[str(name)] = words.take(known.astype(np.int64))
            else:
                values[str(name)] = known.astype(dtype)
        return pd.DataFrame(values)


def _codes_of(species: "pd.Series[Any] | NDArray[Any]") -> NDArray[np.int64]:
    codes: NDArray[np.int64] = pd.Index(SPECIES).get_indexer(pd.Index(species))
    return codes


def joined(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Join tables of frames; an empty one has no say in the types."""
    parts = list(tables)
    filled = [part for part in parts if len(part)]
    return pd.concat(filled, ignore_index=True) if filled else parts[0]


def repeated(table: pd.DataFrame) -> list[str]:
    """Name the columns whose values repeat: a file lists them once, and their numbers.

    Of measured values it would list all, and be larger; writing takes four times as long.

    Parameters
    ----------
    table : DataFrame

    Returns
    -------
    list of str
        Those that are no fractional numbers.

    Examples
    --------
    >>> repeated(pd.DataFrame({"species": ["O"], "site": [3], "x_A": [1.5]}))
    ['species', 'site']
    """
    return [str(name) for name, dtype in table.dtypes.items() if dtype.kind != "f"]


def write_streamed(file: Path, tables: Iterable[pd.DataFrame]) -> None:
    """Write a table part by part, each a row group.

    Parameters
    ----------
    file : Path
    tables : iterable of DataFrame
        All with the columns of the first.
    """
    writer: pq.ParquetWriter | None = None
    try:
        for table in tables:
            if writer is None:
                schema = pa.Schema.from_pandas(table, preserve_index=False)
                writer = pq.ParquetWriter(file, schema, use_dictionary=repeated(table))
            writer.write_table(
                pa.Table.from_pandas(table, schema=writer.schema, preserve_index=False)
            )
            # Arrow keeps what it freed, some ten MiB, which the next part has no use for.
            pa.default_memory_pool().release_unused()
    finally:
        if writer is not None:
            writer.close()


def row_groups(file: Path) -> Iterator[pd.DataFrame]:
    """Read a table a row group at a time.

    Parameters
    ----------
    file : Path

    Yields
    ------
    DataFrame
    """
    with pq.ParquetFile(file) as table:
        for group in range(table.num_row_groups):
            yield table.read_row_group(group).to_pandas()
