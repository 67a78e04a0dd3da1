"""The unfinished prediction of a film beside its place: each part there whole or not at all."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ceria_data.errors import CeriaError, DiskSpaceError, OutputError
from ceria_data.staging import Staging, locked
from ceria_data.store import refuse_inside_dataset, write_text
from ceria_models.film_tables import COLUMNS, FACTS
from ceria_models.film_writing import repeated

_RUN = "run.json"
_REPLACES = "replaces-what-is-there"
_WHOLE = "whole"
_NO_SPACE = 28


class FilmStaging:
    """The folder of an unfinished prediction.

    Parameters
    ----------
    out : Path
        Where the prediction goes.
    """

    def __init__(self, out: Path) -> None:
        self.place = Staging(out)
        self.folder = self.place.folder
        self.whole = self.folder / _WHOLE

    def file(self, name: str) -> Path:
        """Name a file of the folder."""
        return self.folder / name

    @property
    def replaces(self) -> bool:
        """Whether it was begun to replace an earlier prediction."""
        return self.file(_REPLACES).is_file()

    def begin(self, fingerprint: dict[str, Any], *, overwrite: bool) -> None:
        """Start, or go on with what has the same fingerprint.

        Parameters
        ----------
        fingerprint : dict
            All that must be equal for chunks to fit together.
        overwrite : bool
            Remember that an earlier prediction is to be replaced.

        Raises
        ------
        OutputError
            If the folder belongs to another film, model or setting.
        """
        record = self.folder / _RUN
        if record.is_file():
            found = json.loads(record.read_text(encoding="utf-8"))
            differing = sorted(key for key in fingerprint if fingerprint[key] != found.get(key))
            if differing:
                raise OutputError(
                    f"the unfinished prediction in {self.folder} was started with another "
                    f"{' and '.join(differing)}; repeat the command that started it, or begin "
                    "again with --overwrite"
                )
        else:
            self.clear()
            self.folder.mkdir()
            if overwrite:
                self.file(_REPLACES).touch()
            write_text(record, json.dumps(fingerprint, ensure_ascii=False))
        # Both are made from the chunks, and quickly.
        shutil.rmtree(self.whole, ignore_errors=True)
        for file in self.folder.glob("*.partial"):
            file.unlink()

    def write_table(self, name: str, table: pd.DataFrame) -> None:
        """Write a table, there whole or not at all."""
        partial = self.file(f"{name}.partial")
        table.to_parquet(partial, index=False, use_dictionary=repeated(table))
        partial.replace(self.file(name))

    def write_array(self, name: str, values: NDArray[Any]) -> None:
        """Write an array, there whole or not at all."""
        partial = self.file(f"{name}.partial")
        with partial.open("wb") as stream:
            np.save(stream, values, allow_pickle=False)
        partial.replace(self.file(name))

    def write_text(self, name: str, text: str) -> None:
        """Write a text, there whole or not at all."""
        write_text(self.file(name), text)

    def publish(self) -> None:
        """Put the whole prediction in its place; an earlier one goes first."""
        out = self.place.out
        if out.exists():
            shutil.rmtree(self.place.replaced, ignore_errors=True)
            out.rename(self.place.replaced)
        self.whole.rename(out)
        self.clear()
        shutil.rmtree(self.place.replaced, ignore_errors=True)

    def clear(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def staging_of(
    out: Path, fingerprint: dict[str, Any], *, resume: bool, overwrite: bool
) -> Iterator[FilmStaging | None]:
    """Hold the place of a prediction while it is made.

    What was interrupted can go on; what was refused leaves nothing behind.

    Parameters
    ----------
    out : Path
    fingerprint : dict
    resume : bool
        Go on with what is unfinished.
    overwrite : bool
        Begin again, and replace what is there.

    Yields
    ------
    FilmStaging or None
        None if the prediction is there already, and `resume` is set.

    Raises
    ------
    OutputError
        If the place is taken.
    DiskSpaceError
        If the disk is full.
    """
    check_place(out, resume=resume, overwrite=overwrite)
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = FilmStaging(out)
    with locked(staging.place):
        check_place(out, resume=resume, overwrite=overwrite)
        if overwrite:
            staging.clear()
        elif out.exists() and not staging.replaces:
            yield None
            return
        elif staging.folder.exists() and not resume:
            raise OutputError(
                f"an unfinished prediction for {out} is in {staging.folder}; --resume goes on "
                "with it, --overwrite begins again"
            )
        staging.begin(fingerprint, overwrite=overwrite)
        try:
            yield staging
        except OSError as error:
            if error.errno != _NO_SPACE:
                raise
            free = shutil.disk_usage(out.parent).free
            raise DiskSpaceError(
                f"the disk of {out.parent} is full, {free / 1e6:.1f} MB are free; free some room "
                "and go on with --resume"
            ) from error
        except CeriaError:
            # Refused before the net ran; what the net has read is kept.
            if not any(staging.folder.glob(f"*-{COLUMNS}")):
                staging.clear()
            raise


def check_place(out: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuse a folder that is there, or that holds something else than a prediction.

    Parameters
    ----------
    out : Path
    resume, overwrite : bool

    Raises
    ------
    OutputError
    """
    if resume and overwrite:
        raise OutputError("--resume and --overwrite exclude each other; give one of them")
    refuse_inside_dataset(out)
    if not out.exists():
        return
    if not (resume or overwrite):
        raise OutputError(
            f"{out} exists already; choose another --out, or replace it with --overwrite"
        )
    if not out.is_dir() or (any(out.iterdir()) and not (out / FACTS).is_file()):
        raise OutputError(f"{out} holds something else than a prediction; choose another --out")
    if resume and not (out / FACTS).is_file():
        raise OutputError(f"{out} is an empty folder; choose another --out, or --overwrite")
