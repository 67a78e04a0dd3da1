"""The tables of a predicted film as CSV."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv

from ceria_models.film_tables import open_long_table
from ceria_models.report_tables import PredictedFilm


def write_csv(
    tables: PredictedFilm,
    folder: Path,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> list[Path]:
    """Write every table as a CSV file, with the unit in the names of its columns.

    Parameters
    ----------
    tables : PredictedFilm
    folder : Path
        Of the new files.
    tell : callable
        Told tables written and in all.

    Returns
    -------
    list of Path

    Raises
    ------
    FilmTableError
        If a table is damaged.
    """
    written = []
    files = sorted(tables.folder.glob("*.parquet"))
    for file in files:
        table = open_long_table(file, ())
        path = folder / f"{file.stem}.csv"
        # As text; an index of categories means nothing in another program.
        names = table.schema_arrow.names
        schema = pa.schema(
            pa.field(field.name, field.type.value_type)
            if pa.types.is_dictionary(field.type)
            else field
            for field in table.schema_arrow
        )
        with pa_csv.CSVWriter(path, schema) as writer:
            for part in table.iter_batches(columns=names):
                writer.write_batch(part.cast(schema))
        written.append(path)
        tell(len(written), len(files))
    return written
