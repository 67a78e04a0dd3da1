"""The report of a predicted film: a page to look at, and pictures as files."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd

from ceria_data.errors import OutputError
from ceria_data.film import Film
from ceria_data.schema import SPECIES
from ceria_data.store import write_text
from ceria_models.errors import FilmFolderError
from ceria_models.overlay import draw_overlay
from ceria_models.report_animation import FRAMES_PER_S, animation_gif, animation_pictures
from ceria_models.report_frames import ShownFrames, choose_frames, film_of_tables, show_frames
from ceria_models.report_page import Picture, page_of
from ceria_models.report_pictures import kymograph_png, timeline_png
from ceria_models.report_rows import columns_between, longest_row, outer_columns
from ceria_models.report_tables import PredictedFilm, read_predicted_film
from ceria_models.report_traces import MISSING, Traces, read_traces
from ceria_models.report_video import load_av, write_mp4
from ceria_models.report_words import decimals

PAGE, PICTURES, MAP = "report.html", "pictures", "occupancy_map.png"
ANIMATION, VIDEO = "film.gif", "film.mp4"
_FEWEST = 4
"""Columns of an outline worth a picture; with fewer in sight the longest row is drawn."""


@dataclass(frozen=True)
class Wishes:
    """What a report holds beside the page.

    Attributes
    ----------
    frames : tuple of int
        Frames to draw with their counts; none: four, evenly over the film.
    rows : tuple of (int, int)
        Rows of columns to draw over time, by their first and last column.
    animation : bool
        The film as a GIF.
    video : bool
        The film as an mp4.
    """

    frames: tuple[int, ...] = ()
    rows: tuple[tuple[int, int], ...] = ()
    animation: bool = True
    video: bool = False


def run_report(
    folder: Path,
    wishes: Wishes | None = None,
    *,
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Write `report.html` and `pictures/` into the folder of a predicted film.

    Parameters
    ----------
    folder : Path
        As `predict` made it; what `track` added is shown where it is there.
    wishes : Wishes, optional
    overwrite : bool
        Replace an earlier report.
    on_progress : callable
        Told frames done and in all.

    Returns
    -------
    dict
        What was written, and what a reader of it has to know.

    Raises
    ------
    OutputError
        If there is a report already.
    MissingExtraError
        If a video is asked for and PyAV is not installed.
    FilmFolderError
        If the folder holds no predicted film, or has no such frame or column.
    FilmTableError, FilmError
        If a table, or the film, is damaged.
    """
    wishes = wishes or Wishes()
    if wishes.video:
        load_av()
    tables = read_predicted_film(folder)
    if (folder / PAGE).exists() and not overwrite:
        raise OutputError(f"{folder / PAGE} exists already; --overwrite replaces it")
    n = len(tables.frames)
    for frame in wishes.frames:
        if not 0 <= frame < n:
            raise FilmFolderError(f"there is no frame {frame}; expected 0 to {n - 1}")
    rows = {f"row_{a}_{b}": columns_between(tables.sites, a, b) for a, b in wishes.rows}
    film, note = film_of_tables(tables)
    drawn = np.array(wishes.frames or np.linspace(0, n - 1, min(4, n)).astype(int), dtype=np.int64)
    shown = None
    if film is not None:
        shown = show_frames(
            film, tables.drift, tables.sampling, tables.events, on_progress=on_progress
        )
    at = choose_frames(n, tables.events)[0] if shown is None else shown.frames
    traces = read_traces(tables, np.union1d(at, drawn))
    staging = folder / f".report.{uuid4().hex}.staging"
    try:
        (staging / PICTURES).mkdir(parents=True)
        pictures = _row_pictures(tables, traces, rows)
        if tables.tracked:
            pictures.append(Picture("timeline", "Every event at its time.", timeline_png(tables)))
        for picture in pictures:
            (staging / PICTURES / f"{picture.name}.png").write_bytes(picture.png)
        _draw_map(tables, traces, staging / PICTURES / MAP)
        if film is not None:
            _draw_frames(tables, traces, film, drawn, staging / PICTURES)
        if shown is not None:
            _write_animations(tables, traces, shown, wishes, staging / PICTURES)
        notes = _notes(tables, film, note)
        write_text(staging / PAGE, page_of(tables, traces, shown, notes, pictures))
        _move(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return _facts(folder, tables, shown, notes)


def _notes(tables: PredictedFilm, film: Film | None, note: str) -> list[str]:
    """Tell what a reader has to know."""
    notes = [] if film is not None else [f"No frames are shown: {note}."]
    own = tables.facts.get("notes")
    notes += list(film.notes) if own is None and film is not None else list(own or ())
    if not tables.timed and len(tables.frames) > 1:
        notes.append("The film does not say its frame time: 30 frames/s are assumed.")
    if not tables.tracked:
        notes.append("Counts are those of single frames: ceria-models track has not run.")
    return notes


def _row_pictures(tables: PredictedFilm, traces: Traces, rows: dict[str, Any]) -> list[Picture]:
    """Draw rows of columns over time: those asked for, and the outline or the longest row."""
    named = {name: (sites, "the row from {} to {}") for name, sites in rows.items()}
    for species in SPECIES:
        outline = outer_columns(tables.sites, species, tables.field)
        if len(outline) >= _FEWEST:
            named[f"outline_{species}"] = (outline, "the outline of the particle, {} to {}")
        else:
            row = longest_row(tables.sites, species)
            named[f"row_{species}"] = (row, "the longest row, {} to {}")
    return [
        Picture(
            name,
            f"Counts of {tables.sites['species'][sites[0]]} columns over time along "
            f"{words.format(sites[0], sites[-1])}.",
            kymograph_png(tables, traces, sites),
        )
        for name, (sites, words) in named.items()
        if len(sites)
    ]


def _draw_map(tables: PredictedFilm, traces: Traces, file: Path) -> None:
    """Draw the mean count of every column, hollow where it is unsure."""
    known = traces.occupancy != MISSING
    number = np.maximum(known.sum(axis=1), 1)
    mean = np.where(known, traces.occupancy, 0).sum(axis=1) / number
    sure = np.where(known, traces.confidence, 0).sum(axis=1) / number / 255
    columns = tables.sites.assign(occupancy=mean.round(1), confidence=sure)
    columns = columns[known.any(axis=1)]
    title = f"{tables.name}: mean count of each column over {len(traces.frames):,} frames"
    draw_overlay(
        tables.reference, columns, tables.sampling, title, file, heading="mean of the film"
    )


def _draw_frames(
    tables: PredictedFilm, traces: Traces, film: Film, frames: Sequence[int] | Any, folder: Path
) -> None:
    for frame in (int(number) for number in frames):
        columns = columns_at(tables, traces, frame)
        seconds = float(tables.frames["time_s"][frame])
        title = f"{tables.name}, frame {frame}, {seconds:.{decimals(tables.frame_time_s)}f} s"
        dose = float(tables.frames["dose_e_per_A2"][frame])
        title += f", about {dose:.0f} e⁻/Å²" if np.isfinite(dose) else ""
        image = film.frames(frame, frame + 1)[0]
        draw_overlay(image, columns, tables.sampling, title, folder / f"frame_{frame:05d}.png")


def _write_animations(
    tables: PredictedFilm, traces: Traces, shown: ShownFrames, wishes: Wishes, folder: Path
) -> None:
    # Drawn for each: the pictures of a film together take 80 MB.
    if wishes.animation:
        (folder / ANIMATION).write_bytes(animation_gif(animation_pictures(tables, traces, shown)))
    if wishes.video:
        write_mp4(animation_pictures(tables, traces, shown), folder / VIDEO, FRAMES_PER_S)


def columns_at(tables: PredictedFilm, traces: Traces, frame: int) -> pd.DataFrame:
    """List the columns that are there in a frame, at their places in it.

    Parameters
    ----------
    tables : PredictedFilm
    traces : Traces
        With this frame.
    frame : int

    Returns
    -------
    DataFrame
        site, species, x_A, y_A, occupancy, confidence.
    """
    at = int(np.searchsorted(traces.frames, frame))
    count = traces.occupancy[:, at]
    table = tables.sites[["site", "species", "x_A", "y_A"]].assign(
        occupancy=count.astype(int), confidence=traces.confidence[:, at] / 255
    )
    table[["x_A", "y_A"]] += tables.drift[frame]
    return pd.DataFrame(table[(count != MISSING) & (count > 0)])


def _move(staging: Path, folder: Path) -> None:
    """Replace an earlier report; the page comes last."""
    (folder / PAGE).unlink(missing_ok=True)
    if (folder / PICTURES).is_dir():
        shutil.rmtree(folder / PICTURES)
    (staging / PICTURES).rename(folder / PICTURES)
    (staging / PAGE).rename(folder / PAGE)


def _facts(
    folder: Path, tables: PredictedFilm, shown: ShownFrames | None, notes: list[str]
) -> dict[str, Any]:
    return {
        "report": str(folder / PAGE),
        "bytes": (folder / PAGE).stat().st_size,
        "frames": len(tables.frames),
        "frames_shown": 0 if shown is None else len(shown.frames),
        "columns": len(tables.sites),
        "events": len(tables.events),
        "tracked": tables.tracked,
        "notes": notes,
        "pictures": sorted(str(file) for file in (folder / PICTURES).iterdir()),
    }
