"""A predicted film in the formats of other programs."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from ceria_data.errors import OutputError
from ceria_models.export_csv import write_csv
from ceria_models.export_hyperspy import write_hyperspy
from ceria_models.export_imagej import write_imagej
from ceria_models.export_ome_zarr import write_ome_zarr
from ceria_models.export_stack import Stack, stack_of
from ceria_models.report_tables import PredictedFilm, read_predicted_film

Tell = Callable[[int, int], None]
Writer = Callable[[PredictedFilm, int, Path, Tell], list[Path]]


def _of_stack(write: Callable[[Stack, Path], list[Path]]) -> Writer:
    return lambda tables, every, folder, tell: write(stack_of(tables, every, tell), folder)


def _tables_only(tables: PredictedFilm, every: int, folder: Path, tell: Tell) -> list[Path]:
    return write_csv(tables, folder, tell)


@dataclass(frozen=True)
class Format:
    """A format of another program.

    Attributes
    ----------
    name : str
        Of its folder, or how that name ends.
    write : callable
        Given tables, every how many frames, the folder, and whom to tell how far it is.
    made : tuple of str
        What a conversion leaves in the folder; only that is ever replaced.
    """

    name: str
    write: Writer
    made: tuple[str, ...]


FORMATS = {
    "csv": Format("csv", _tables_only, ("*.csv",)),
    "ome-zarr": Format(".ome.zarr", _of_stack(write_ome_zarr), ("zarr.json", "0", "labels")),
    "imagej": Format("imagej", _of_stack(write_imagej), ("film.tif",)),
    "hyperspy": Format("hyperspy", _of_stack(write_hyperspy), ("*.hspy",)),
}


def run_conversion(
    folder: Path,
    to: str,
    out: Path | None,
    *,
    every: int = 1,
    overwrite: bool = False,
    on_progress: Tell = lambda done, total: None,
) -> dict[str, Any]:
    """Write a predicted film for another program.

    Parameters
    ----------
    folder : Path
        As `predict` and perhaps `track` made it.
    to : str
        One of `FORMATS`.
    out : Path or None
        New folder; by default one in that of the film, named after the format.
    every : int
        Every how many frames, for images.
    overwrite : bool
        Replace what an earlier conversion made.
    on_progress : callable
        Told images or tables made, and in all.

    Returns
    -------
    dict
        What was written.

    Raises
    ------
    OutputError
        If there is something already.
    FilmFolderError
        If the folder holds no predicted film, or images need the film and it is gone.
    FilmTableError, FilmError
        If a table, or the film, is damaged.
    """
    form = FORMATS[to]
    tables = read_predicted_film(folder)
    stem = Path(tables.name).stem or "film"
    out = out or folder / (stem + form.name if form.name.startswith(".") else form.name)
    _refuse_taken(out, form, overwrite=overwrite)
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = out.with_name(f".{out.name}.{uuid4().hex}.staging")
    staging.mkdir()
    try:
        written = form.write(tables, every, staging, on_progress)
        if out.exists():
            shutil.rmtree(out)
        staging.rename(out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    files = [out / file.relative_to(staging) for file in written]
    return {"converted": str(out), "format": to, "files": [str(file) for file in files]}


def _refuse_taken(out: Path, form: Format, *, overwrite: bool) -> None:
    if not out.exists():
        return
    if not overwrite:
        raise OutputError(f"{out} exists already; choose another --out, or replace it: --overwrite")
    if not out.is_dir() or any(
        not any(entry.match(pattern) for pattern in form.made) for entry in out.iterdir()
    ):
        raise OutputError(
            f"{out} holds something else than {', '.join(form.made)}, and is not replaced; "
            "choose another --out"
        )
