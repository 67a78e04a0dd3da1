"""A film through the net: sites of its mean, readings of all frames, sites of frames alone."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ceria_data.schema import SPECIES
from ceria_models.contrast import apparent_dose
from ceria_models.decoding import Peaks, column_rows
from ceria_models.film_job import FilmJob, Found, usable
from ceria_models.film_sites import (
    SUM,
    Strays,
    in_reference,
    matched,
    places_in_frame,
    sites_of_reference,
    sites_of_strays,
)
from ceria_models.film_staging import FilmStaging
from ceria_models.film_tables import COLUMNS, FRAMES, READINGS, REFERENCE, SITES
from ceria_models.film_writing import (
    counts_of,
    in_order,
    joined,
    numbered,
    reading_rows,
    rows_of_columns,
)
from ceria_models.frame_reading import NOWHERE, read_frame

_AGAIN = "again.parquet"


def predict_frames(job: FilmJob, staging: FilmStaging, found: Found) -> None:
    """Run the net on all frames, chunk by chunk, and read it at all sites.

    Parameters
    ----------
    job : FilmJob
    staging : FilmStaging
        Gets the tables of every chunk, and `sites.parquet`.
    found : Found
    """
    if job.is_film and len(job.film) > 1 and not staging.file(SITES).is_file():
        sites = _sites_of_mean(job, staging)
        staging.write_table(SITES, sites)
    sites = _sites(job, staging)
    done = 0
    total = len(job.film)
    for chunk in job.chunks():
        if not staging.file(part(FRAMES, chunk)).is_file():
            _predict_chunk(job, staging, found, sites, chunk, done)
        else:
            done += len(chunk)
            job.tell("frames", chunk.stop, total, done)
    if job.is_film and len(job.film) > 1:
        _read_strays(job, staging, found)


def part(table: str, chunk: range) -> str:
    """Name the file of a chunk."""
    return f"{chunk.start:07d}-{table}"


def readings_of(staging: FilmStaging, chunk: range) -> pd.DataFrame:
    """Read the readings of a chunk, from both passes."""
    again = staging.file(part(_AGAIN, chunk))
    return in_order(
        pd.read_parquet(staging.file(part(READINGS, chunk))),
        pd.read_parquet(again) if again.is_file() else None,
    )


def _sites_of_mean(job: FilmJob, staging: FilmStaging) -> pd.DataFrame:
    mean = np.load(staging.file(REFERENCE))
    # Many frames make a dose that no net has seen; the contrast is what counts.
    highest = job.reader.model.config.domain.dose_e_per_A2[1]
    dose = min(apparent_dose(mean, job.sampling), highest)
    return sites_of_reference(read_frame(job.reader, mean, job.sampling, dose, NOWHERE).columns)


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
    chunk: range,
    reused: int,
) -> None:
    """Read the frames of a chunk, and write its tables; that of the frames comes last."""
    film, samples = job.film, job.film.samples
    columns, readings = [], []
    counted: dict[int, dict[str, int]] = {}
    for number, image in usable(job, found.skipped, chunk):
        dose = found.survey.dose[number]
        assert dose is not None
        shift = (float(found.drift.y[number]), float(found.drift.x[number]))
        places, numbers = places_in_frame(sites, shift, film.shape, job.sampling)
        reading = read_frame(job.reader, image, job.sampling, dose, places)
        if len(film) > 1:
            readings.append(reading_rows(number, reading, numbers))
        else:
            readings.append(rows_of_columns(number, reading.columns))
            own = sites_of_reference(reading.columns)
            own.insert(4, "n_frames_seen", np.ones(len(own), dtype=np.int64))
            staging.write_table(SITES, own)
        counted[number] = counts_of(reading.columns["species"])
        sample = None if samples is None else samples[number]
        columns.append(numbered(number, reading.columns, sample))
        job.tell("frames", number + 1, len(film), reused)
    empty = _empty_tables(job)
    staging.write_table(part(COLUMNS, chunk), joined([empty[0], *columns]))
    if job.is_film:
        staging.write_table(part(READINGS, chunk), joined([empty[1], *readings]))
    staging.write_table(part(FRAMES, chunk), _frame_rows(job, found, chunk, counted))


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


def _frame_rows(
    job: FilmJob, found: Found, chunk: range, counted: dict[int, dict[str, int]]
) -> pd.DataFrame:
    numbers = np.array(chunk, dtype=np.int64)
    values = {
        "frame": numbers,
        "time_s": job.source.times[numbers],
        "dose_e_per_A2": _known([found.survey.dose[n] for n in chunk]),
        "drift_x_A": found.drift.x[numbers],
        "drift_y_A": found.drift.y[numbers],
    }
    for species in SPECIES:
        own = [counted.get(n, {}).get(species, 0) for n in chunk]
        values[f"n_{species}"] = np.array(own, dtype=np.int64)
    values["mean"] = _known([found.survey.mean[n] for n in chunk])
    table = pd.DataFrame(values)
    if job.film.samples is not None:
        table.insert(0, "sample", np.array([job.film.samples[n] for n in chunk], dtype=np.int64))
    return table


def _known(values: list[float | None]) -> NDArray[np.float64]:
    return np.array([np.nan if value is None else value for value in values])


def _read_strays(job: FilmJob, staging: FilmStaging, found: Found) -> None:
    """Add the sites that only frames show, and read all frames there in a second pass."""
    chunks = job.chunks()
    sites = pd.read_parquet(staging.file(SITES))
    if "n_frames_seen" not in sites:
        more = sites_of_strays(
            _strays(staging, chunks, found, sites),
            sites,
            len(job.film) - len(found.skipped),
            job.film.shape,
            job.sampling,
        )
        sites = joined([sites, more])
        seen = _frames_seen(staging, chunks, found, sites)
        sites.insert(4, "n_frames_seen", seen)
        staging.write_table(SITES, sites)
    more = sites[sites["source"] != SUM]
    done = 0
    for chunk in chunks if len(more) else ():
        if staging.file(part(_AGAIN, chunk)).is_file():
            done += len(chunk)
            continue
        rows = [_empty_tables(job)[1]]
        for number, image in usable(job, found.skipped, chunk):
            dose = found.survey.dose[number]
            assert dose is not None
            shift = (float(found.drift.y[number]), float(found.drift.x[number]))
            places, numbers = places_in_frame(more, shift, job.film.shape, job.sampling)
            reading = read_frame(job.reader, image, job.sampling, dose, places)
            rows.append(reading_rows(number, reading, numbers))
            job.tell("frames read again", number + 1, len(job.film), done)
        staging.write_table(part(_AGAIN, chunk), joined(rows))


def _strays(staging: FilmStaging, chunks: list[range], found: Found, sites: pd.DataFrame) -> Strays:
    """Collect the columns of frames that belong to no site."""

    def parts() -> Iterator[tuple[pd.DataFrame, NDArray[np.float64]]]:
        for chunk in chunks:
            columns = pd.read_parquet(staging.file(part(COLUMNS, chunk)))
            own = columns[matched(columns, found.shifts, sites) < 0]
            yield own, in_reference(own, found.shifts)

    return Strays.of(parts())


def _frames_seen(
    staging: FilmStaging, chunks: list[range], found: Found, sites: pd.DataFrame
) -> NDArray[np.int64]:
    """Count the frames in which each site has a column."""
    seen = np.zeros(len(sites), dtype=np.int64)
    for chunk in chunks:
        columns = pd.read_parquet(staging.file(part(COLUMNS, chunk)))
        pairs = np.stack([matched(columns, found.shifts, sites), columns["frame"].to_numpy()])
        own = np.unique(pairs[:, pairs[0] >= 0], axis=1)
        np.add.at(seen, own[0], 1)
    return seen
