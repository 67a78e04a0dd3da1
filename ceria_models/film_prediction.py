"""A film through the net: sites of its means, readings of all frames there."""

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from ceria_data.schema import SPECIES
from ceria_models.contrast import apparent_dose
from ceria_models.decoding import Peaks, column_rows
from ceria_models.film_job import FilmJob, Found, mean_of_part, usable
from ceria_models.film_levels import FEWEST_FRAMES, FilmLevels, film_levels
from ceria_models.film_sites import (
    SitesOfFilm,
    matched,
    places_in_frame,
    sites_of_reference,
    with_sites_of_part,
)
from ceria_models.film_staging import FilmStaging
from ceria_models.film_tables import COLUMNS, FRAMES, READINGS, REFERENCE, SITES
from ceria_models.film_writing import (
    FrameRows,
    numbered,
    reading_rows,
    rows_of_columns,
)
from ceria_models.frame_reading import NOWHERE, FrameReading, Places, read_view, view_of

_SEEN = "n_frames_seen"


def predict_frames(job: FilmJob, staging: FilmStaging, found: Found) -> None:
    """Run the net on all frames, chunk by chunk, and read it at all sites.

    Parameters
    ----------
    job : FilmJob
    staging : FilmStaging
        Gets the tables of every chunk, and `sites.parquet`.
    found : Found
    """
    several = job.is_film and len(job.film) > 1
    if several and not staging.file(SITES).is_file():
        staging.write_table(SITES, _sites_of_means(job, staging))
    sites = _sites(job, staging)
    levels = _levels(job, staging, found, sites) if several else None
    done = 0
    total = len(job.film)
    for chunk in job.chunks():
        if not staging.file(part(FRAMES, chunk)).is_file():
            _predict_chunk(job, staging, found, sites, levels, chunk, done)
        else:
            done += len(chunk)
            job.tell("frames", chunk.stop, total, done)
    if several and _SEEN not in sites:
        sites.insert(4, _SEEN, _frames_seen(staging, job.chunks(), found, sites))
        staging.write_table(SITES, sites if levels is None else levels.told(sites))


def part(table: str, chunk: range) -> str:
    """Name the file of a chunk."""
    return f"{chunk.start:07d}-{table}"


def _sites_of_means(job: FilmJob, staging: FilmStaging) -> pd.DataFrame:
    """Find the columns of the mean of the film, and those that only the mean of a part shows."""
    sites = sites_of_reference(_columns_of(job, staging, REFERENCE))
    parts = job.parts()
    for number in range(len(parts)) if len(parts) > 1 else ():
        sites = with_sites_of_part(sites, _columns_of(job, staging, mean_of_part(number)))
        job.tell("parts", number + 1, len(parts), 0)
    return sites


def _columns_of(job: FilmJob, staging: FilmStaging, name: str) -> pd.DataFrame:
    mean = np.load(staging.file(name))
    if mean.min() == mean.max():
        return pd.DataFrame({"species": [], "x_A": [], "y_A": []})
    return _reading_of_mean(job, mean, NOWHERE).columns


def _reading_of_mean(job: FilmJob, mean: NDArray[np.floating], places: Places) -> FrameReading:
    # Many frames make a dose that no net has seen; the contrast is what counts.
    highest = job.reader.model.config.domain.dose_e_per_A2[1]
    dose = min(apparent_dose(mean, job.sampling), highest)
    view = view_of(mean, job.sampling, job.reader.model)
    return read_view(job.reader, view, float(mean.mean(dtype=np.float64)), dose, places)


def _levels(
    job: FilmJob, staging: FilmStaging, found: Found, sites: pd.DataFrame
) -> FilmLevels | None:
    """Learn from the mean of the film how its atoms look, if that can be learned."""
    mean = np.load(staging.file(REFERENCE))
    enough = len(job.film) - len(found.skipped) >= FEWEST_FRAMES
    if not enough or not len(sites) or mean.min() == mean.max():
        return None
    places, numbers = places_in_frame(sites, (0.0, 0.0), job.film.shape, job.sampling)
    inside = sites[np.isin(sites["site"], np.concatenate(list(numbers.values())))]
    reading = _reading_of_mean(job, mean, places)
    view = view_of(mean, job.sampling, job.reader.model)
    return film_levels(view, inside, reading, len(sites))


def _sites(job: FilmJob, staging: FilmStaging) -> pd.DataFrame:
    """Read the sites of the first pass."""
    file = staging.file(SITES)
    if file.is_file():
        return pd.read_parquet(file)
    return sites_of_reference(pd.DataFrame({"species": [], "x_A": [], "y_A": []}))


def _predict_chunk(
    job: FilmJob,
    staging: FilmStaging,
    found: Found,
    sites: pd.DataFrame,
    levels: FilmLevels | None,
    chunk: range,
    reused: int,
) -> None:
    """Read the frames of a chunk, and write its tables; that of the frames comes last."""
    film, samples = job.film, job.film.samples
    like = _empty_tables(job)
    columns = FrameRows(like[0], len(chunk) * (len(sites) + len(sites) // 4))
    readings = FrameRows(like[1], len(chunk) * len(sites))
    places_of = SitesOfFilm.of_table(sites)
    for number, image in usable(job, found.skipped, chunk):
        dose = found.survey.dose[number]
        assert dose is not None
        shift = (float(found.drift.y[number]), float(found.drift.x[number]))
        places, numbers = places_of.in_frame(shift, film.shape, job.sampling)
        view = view_of(image, job.sampling, job.reader.model)
        mean = float(image.mean(dtype=np.float64))
        reading = read_view(job.reader, view, mean, dose, places)
        if len(film) > 1:
            level = None if levels is None else levels.of_frame(view, shift)
            readings.add(reading_rows(number, reading, numbers, level))
        else:
            readings.add(rows_of_columns(number, reading.columns))
            own = sites_of_reference(reading.columns)
            own.insert(4, _SEEN, np.ones(len(own), dtype=np.int64))
            staging.write_table(SITES, own)
        sample = None if samples is None else samples[number]
        columns.add(numbered(number, reading.columns, sample))
        job.tell("frames", number + 1, len(film), reused)
    table = columns.table()
    staging.write_table(part(COLUMNS, chunk), table)
    if job.is_film:
        staging.write_table(part(READINGS, chunk), readings.table())
    staging.write_table(part(FRAMES, chunk), _frame_rows(job, found, chunk, table))


def _empty_tables(job: FilmJob) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Make the tables of a chunk in which nothing was read."""
    config = job.reader.model.config
    classes = config.net.max_count + 1
    none = np.empty(0)
    peaks = {s: Peaks(none, none, np.empty((0, classes)), none, none) for s in SPECIES}
    columns = column_rows(peaks, config.column_calibration, 300.0)
    readings = rows_of_columns(0, columns)
    numbers = numbered(0, columns, None if job.film.samples is None else 0)
    first = [name for name in ("sample", "frame") if name in numbers]
    return numbers.astype(dict.fromkeys(first, "int64")), readings


def _frame_rows(job: FilmJob, found: Found, chunk: range, columns: pd.DataFrame) -> pd.DataFrame:
    numbers = np.array(chunk, dtype=np.int64)
    values = {
        "frame": numbers,
        "time_s": job.source.times[numbers],
        "dose_e_per_A2": _known([found.survey.dose[n] for n in chunk]),
        "drift_x_A": found.drift.x[numbers],
        "drift_y_A": found.drift.y[numbers],
    }
    of_chunk = columns["frame"].to_numpy() - chunk.start
    for species in SPECIES:
        own = of_chunk[(columns["species"] == species).to_numpy(bool)]
        values[f"n_{species}"] = np.bincount(own, minlength=len(chunk))
    values["mean"] = _known([found.survey.mean[n] for n in chunk])
    table = pd.DataFrame(values)
    if job.film.samples is not None:
        table.insert(0, "sample", np.array([job.film.samples[n] for n in chunk], dtype=np.int64))
    return table


def _known(values: list[float | None]) -> NDArray[np.float64]:
    return np.array([np.nan if value is None else value for value in values])


def _frames_seen(
    staging: FilmStaging, chunks: list[range], found: Found, sites: pd.DataFrame
) -> NDArray[np.int64]:
    """Count the frames in which each site has a column."""
    seen = np.zeros(len(sites), dtype=np.int64)
    for chunk in chunks:
        file = staging.file(part(COLUMNS, chunk))
        columns = pd.read_parquet(file, columns=["frame", "species", "x_A", "y_A"])
        site, frame = matched(columns, found.shifts, sites), columns["frame"].to_numpy()
        # A number for each pair of site and frame: several columns of a frame can have one site.
        pairs = np.unique((site * len(chunk) + frame - chunk.start)[site >= 0])
        seen += np.bincount(pairs // len(chunk), minlength=len(sites))
        # Arrow keeps what it freed, which the next chunk has no use for.
        pa.default_memory_pool().release_unused()
    return seen
