"""What `predict` and `track` wrote about a film, read and checked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ceria_data.grid import Field
from ceria_models.errors import FilmFolderError, FilmTableError
from ceria_models.film_tables import (
    ASSUMED_S,
    CLASSES,
    EVENTS,
    FACTS,
    FRAMES,
    RATES,
    READINGS,
    REFERENCE,
    SITES,
    TRACK,
    read_facts,
    read_film_table,
)
from ceria_models.report_words import place_of

NEEDED = {
    FRAMES: ("frame", "time_s", "dose_e_per_A2", "drift_x_A", "drift_y_A"),
    SITES: ("site", "species", "x_A", "y_A"),
    EVENTS: (
        "event", "kind", "species", "time_s", "time_low_s", "time_high_s", "frame", "site_from",
        "site_to", "confidence", "x_A", "y_A",
    ),
    CLASSES: ("site", "surface", "facet"),
    RATES: (
        "kind", "surface", "facet", "n_events", "column_seconds", "rate_per_s", "rate_low",
        "rate_high",
    ),
}  # fmt: skip
"""Columns that tables must have; more are kept."""


@dataclass(frozen=True)
class PredictedFilm:
    """The small tables of a predicted film; those with a row for each site and frame stay on disk.

    Attributes
    ----------
    folder : Path
    facts : dict
        `prediction.json`.
    frames : DataFrame
        A row per frame: frame, time_s, dose_e_per_A2, drift_x_A, drift_y_A and more.
    sites : DataFrame
        A row per column of the reference: site, species, x_A, y_A and more.
    events, rates : DataFrame
        Without rows where nothing happened, or `track` has not run.
    reference : array of float, shape (y, x)
        Mean of the frames, their drift taken off.
    tracked : bool
        Whether `track` has run.
    timed : bool
        False where the film does not say its frame time: 1/30 s is assumed, as by `track`.
    places : list of str
        Surface class and facet of every site, as `track` found them; empty where it did not.
    """

    folder: Path
    facts: dict[str, Any]
    frames: pd.DataFrame
    sites: pd.DataFrame
    events: pd.DataFrame
    rates: pd.DataFrame
    reference: NDArray[np.floating]
    tracked: bool
    timed: bool
    places: list[str]

    @property
    def sampling(self) -> float:
        """Pixel size [Å/pixel]."""
        return float(self.facts["sampling_A"])

    @property
    def field(self) -> Field:
        """Pixels of the film."""
        return Field((self.reference.shape[0], self.reference.shape[1]), self.sampling)

    @property
    def drift(self) -> NDArray[np.float64]:
        """Place in a frame = place in the reference + drift; (frame, 2) as x, y [Å]."""
        return self.frames[["drift_x_A", "drift_y_A"]].fillna(0.0).to_numpy(dtype=np.float64)

    @property
    def name(self) -> str:
        """File name of the film, without its folder."""
        return Path(str(self.facts["source"])).name

    @property
    def frame_time_s(self) -> float | None:
        """From one frame to the next [s]; None where the film does not say it."""
        known = self.facts.get("frame_time_s")
        if known or not self.timed:
            return float(known) if known else None
        steps = np.diff(self.frames["time_s"].to_numpy(dtype=np.float64))
        return float(np.median(steps)) if len(steps) and np.median(steps) > 0 else None


def read_predicted_film(folder: Path) -> PredictedFilm:
    """Read what `predict` and, where it has run, `track` wrote about a film.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    PredictedFilm

    Raises
    ------
    FilmFolderError
        If the folder holds no predicted film.
    FilmTableError
        If one of its files is damaged.
    """
    if not (folder / FACTS).is_file():
        raise FilmFolderError(
            f"{folder} holds no prediction ({FACTS} is missing); make one with: "
            f"ceria-models predict FILM --out {folder}"
        )
    missing = [
        name for name in (FRAMES, SITES, READINGS, REFERENCE) if not (folder / name).is_file()
    ]
    if missing:
        raise FilmFolderError(
            f"{folder} is a prediction without {', '.join(missing)}; expected the tables of a "
            "film (single images have none): predict it again with this version"
        )
    facts, reference = _facts(folder), _reference(folder)
    frames, timed = _frames(_table(folder, FRAMES), facts)
    sites = _table(folder, SITES).sort_values("site", ignore_index=True)
    if not len(frames) or not np.array_equal(sites["site"], np.arange(len(sites))):
        raise FilmTableError(
            f"{folder}: frames.parquet has {len(frames)} rows and sites.parquet numbers its "
            f"{len(sites)} from something else than 0; predict the film again"
        )
    # Written last, and removed first: without it tables may be of two trackings.
    tracked = (folder / TRACK).is_file()
    return PredictedFilm(
        folder,
        facts,
        frames,
        sites,
        _table(folder, EVENTS) if tracked else _no_rows(EVENTS),
        _table(folder, RATES) if tracked else _no_rows(RATES),
        reference,
        tracked,
        timed,
        _places(folder, len(sites)),
    )


def _frames(frames: pd.DataFrame, facts: dict[str, Any]) -> tuple[pd.DataFrame, bool]:
    """Give every frame a row and a time, also those that `predict` has skipped."""
    n = max(int(frames["frame"].max()) + 1 if len(frames) else 0, int(facts.get("frames") or 0))
    whole = frames.drop_duplicates("frame").set_index("frame").reindex(range(n)).reset_index()
    timed = bool(whole["time_s"].notna().any())
    if not timed:
        step = float(facts.get("frame_time_s") or ASSUMED_S)
        whole["time_s"] = step * np.arange(n)
    for name in ("time_s", "drift_x_A", "drift_y_A"):
        whole[name] = whole[name].astype(float).interpolate(limit_direction="both").fillna(0.0)
    return whole, timed or bool(facts.get("frame_time_s"))


def _places(folder: Path, n: int) -> list[str]:
    """Name the surface class of every site, where `track` has written it."""
    if not (folder / CLASSES).is_file():
        return []
    table = _table(folder, CLASSES).set_index("site").reindex(range(n))
    pairs = zip(table["surface"].fillna(""), table["facet"].fillna(""), strict=True)
    return [place_of(str(surface), str(facet)) for surface, facet in pairs]


def _table(folder: Path, name: str) -> pd.DataFrame:
    return read_film_table(folder / name, NEEDED[name])


def _no_rows(name: str) -> pd.DataFrame:
    return pd.DataFrame({column: pd.Series(dtype=float) for column in NEEDED[name]})


def _facts(folder: Path) -> dict[str, Any]:
    facts = read_facts(folder)
    try:
        sampling = float(facts["sampling_A"])
        str(facts["source"])
    except (ValueError, KeyError, TypeError) as error:
        raise FilmTableError(
            f"{folder / FACTS} is damaged ({error!r}); expected JSON with source and sampling_A: "
            "predict the film again"
        ) from error
    if not 0 < sampling < np.inf:
        raise FilmTableError(
            f"{folder / FACTS}: sampling_A is {sampling}; expected Å/pixel above 0"
        )
    return facts


def _reference(folder: Path) -> NDArray[np.floating]:
    try:
        reference: NDArray[Any] = np.load(folder / REFERENCE, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise FilmTableError(f"{folder / REFERENCE} cannot be read: {error}") from error
    if reference.ndim != 2 or reference.dtype.kind != "f" or not reference.size:
        raise FilmTableError(
            f"{folder / REFERENCE} holds {reference.dtype} of shape {reference.shape}; expected "
            "an image of floats, (y, x)"
        )
    # Pixels that drift left without any frame.
    known = np.isfinite(reference)
    return np.where(known, reference, reference[known].mean() if known.any() else 0.0)
