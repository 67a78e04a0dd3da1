"""A prediction from images or a film to a folder of tables and pictures."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ceria_data import __version__
from ceria_data.errors import ConfigError, OutputError
from ceria_data.film import Film
from ceria_data.store import write_text
from ceria_models.domain import pixel_size_departures
from ceria_models.film_frames import digest_of, frames_of
from ceria_models.film_job import FilmJob, Found, Tell, prepare
from ceria_models.film_prediction import (
    part,
    predict_frames,
)
from ceria_models.film_source import Source
from ceria_models.film_staging import FilmStaging, check_place, staging_of
from ceria_models.film_survey import refuse_far
from ceria_models.film_tables import COLUMNS, FACTS, FRAMES, MADE_OF, READINGS, REFERENCE, SITES
from ceria_models.film_writing import (
    counts_of,
    joined,
    row_groups,
    write_streamed,
)
from ceria_models.frame_reading import Reader, check_size
from ceria_models.machine import device_of
from ceria_models.model import Model
from ceria_models.overlay import draw_overlay
from ceria_models.prediction import check_sampling
from ceria_models.runtime import BFLOAT16, FLOAT32, open_runtime
from ceria_models.weights import from_pretrained, weights_sha256


@dataclass(frozen=True)
class PredictionSettings:
    """How a film is predicted, and what is written.

    Attributes
    ----------
    model : str
        As for `from_pretrained`.
    pictures : int
        Frames to draw, evenly over the film.
    force : bool
        Go on where the images lie far outside of what the net has seen; the output says so.
    runtime : str
        What runs the net, see `runtime.open_runtime`.
    orientations : bool
        Average over the eight orientations of every image.
    device : str
        ``cpu`` or ``gpu``; exported files run on the processor only.
    resume : bool
        Go on with an interrupted prediction.
    overwrite : bool
        Replace an earlier prediction.
    """

    model: str
    pictures: int = 8
    force: bool = False
    runtime: str = FLOAT32
    orientations: bool = False
    device: str = "cpu"
    resume: bool = False
    overwrite: bool = False


def run_prediction(
    source: Source,
    sampling: float,
    out: Path,
    settings: PredictionSettings,
    *,
    tell: Tell = lambda unit, done, total, reused: None,
) -> tuple[dict[str, Any], list[str]]:
    """Predict a film, or images, and write tables, overlays and `prediction.json`.

    Parameters
    ----------
    source : Source
    sampling : float
        Å/pixel.
    out : Path
        New folder; it appears whole or not at all.
    settings : PredictionSettings
    tell : callable
        Told what is counted, how many are done, of how many, and how many were there before.

    Returns
    -------
    dict
        What was found.
    list of str
        Warnings.

    Raises
    ------
    OutputError
        If the folder is taken, holds something else than a prediction, or one that another
        command made and that cannot be resumed.
    ImageError
        If no frame can be read.
    DomainError
        If the images lie far outside, without `force`.
    ConfigError, DeviceError
        If there is no such device, or the runtime does not run there.
    DiskSpaceError
        If the disk is full.
    """
    check_place(out, resume=settings.resume, overwrite=settings.overwrite)
    loaded = from_pretrained(settings.model)
    weights = weights_sha256(loaded.net)
    model = _on_device(loaded, settings.device, settings.runtime)
    check_sampling(sampling)
    if not settings.force:
        _refuse_pixel_size(source.film, sampling, model)
    film = source.film
    check_size(film.shape, sampling, model)
    run = open_runtime(model, settings.runtime, orientations=settings.orientations)
    reader = Reader(model, run)
    job = FilmJob(source, sampling, reader, settings.force, tell)
    begun = _fingerprint(job, settings, weights)
    with staging_of(out, begun, resume=settings.resume, overwrite=settings.overwrite) as staging:
        if staging is None:
            facts = json.loads((out / FACTS).read_text(encoding="utf-8"))
            _refuse_another(out, facts, begun)
        else:
            found = prepare(job, staging)
            predict_frames(job, staging, found)
            facts = _joined(job, staging, found, settings, begun)
            staging.publish()
    return _shown(out, facts), facts["warnings"] + facts["notes"]


def table_head(file: Path, rows: int = 6) -> str:
    """Write the first rows of a table of columns for a terminal.

    Parameters
    ----------
    file : Path
        `columns.parquet`.
    rows : int
        Of each species in the first image.

    Returns
    -------
    str
        Lines of equal width, with the unit in the heads.
    """
    table = next(row_groups(file))
    first = "sample" if "sample" in table else "frame"
    shown = [first, "species", "x_A", "y_A", "occupancy", "confidence", "z_mean_A"]
    own = table[table["frame"] == table["frame"].min()].groupby("species").head(rows)
    places = {"x_A": "{:.2f}", "y_A": "{:.2f}", "confidence": "{:.3f}", "z_mean_A": "{:.2f}"}
    formats = {name: text.format for name, text in places.items()}
    return str(own[shown].to_string(index=False, formatters=formats))


def _refuse_pixel_size(film: Film, sampling: float, model: Model) -> None:
    """Look at the pixel size first: a wrong one shows before the whole film is read."""
    reasons = [one.text for one in pixel_size_departures(sampling, model.config.domain) if one.far]
    if reasons:
        refuse_far(film.source, reasons)


def _on_device(model: Model, device: str, runtime: str) -> Model:
    """Bring the net of a model to a device, if what runs it can use that."""
    where = device_of(device)
    if where.type != "cpu" and runtime not in (FLOAT32, BFLOAT16):
        raise ConfigError(
            f"--device {device} with --runtime {runtime}: exported files run on the processor; "
            f"leave one of them out, or use --runtime {BFLOAT16}"
        )
    return Model(model.config, model.net.to(where))


def _fingerprint(job: FilmJob, settings: PredictionSettings, weights: str) -> dict[str, Any]:
    """Describe all that must be equal for an interrupted prediction to go on."""
    film = job.film
    model = job.reader.model
    return {
        "film": [film.source, len(film), list(film.shape), digest_of(film, len(film))],
        "pixel size": job.sampling,
        "frame time": film.frame_time_s,
        "preparation": {k: v for k, v in job.source.record.items() if k != "references"},
        "camera references": _references_of(job.source.record),
        "model": [model.config.name, model.config.version, weights],
        "runtime": [settings.runtime, settings.orientations, settings.device],
        "--force": settings.force,
        "software": __version__,
    }


def _references_of(record: dict[str, Any]) -> dict[str, Any]:
    """Say what the references of a record hold, wherever their files lie."""
    found = record.get("references") or {}
    return {
        name: value["sha256"] if isinstance(value, dict) else value for name, value in found.items()
    }


def _refuse_another(out: Path, facts: dict[str, Any], begun: dict[str, Any]) -> None:
    """Do not show a prediction that is there as that of another film, model or setting."""
    there = facts.get(MADE_OF) or {}
    # An older version has made what it has made: nothing of it is mixed with this one's.
    differing = sorted(k for k in begun if begun[k] != there.get(k) and k != "software")
    if differing:
        raise OutputError(
            f"the prediction in {out} was made with another {' and '.join(differing)}; repeat the "
            "command that made it, choose another --out, or --overwrite"
        )


def _joined(
    job: FilmJob,
    staging: FilmStaging,
    found: Found,
    settings: PredictionSettings,
    begun: dict[str, Any],
) -> dict[str, Any]:
    """Write the whole prediction from its chunks."""
    whole, chunks = staging.whole, job.chunks()
    whole.mkdir()
    counted: Counter[str] = Counter()
    atoms: Counter[str] = Counter()

    def columns() -> Iterator[pd.DataFrame]:
        for chunk in chunks:
            table = pd.read_parquet(staging.file(part(COLUMNS, chunk)))
            counted.update(counts_of(table["species"]))
            for species, own in table.groupby("species"):
                atoms[str(species)] += int(own["occupancy"].sum())
            yield table

    def readings() -> Iterator[pd.DataFrame]:
        return (pd.read_parquet(staging.file(part(READINGS, chunk))) for chunk in chunks)

    write_streamed(whole / COLUMNS, columns())
    frames = joined(pd.read_parquet(staging.file(part(FRAMES, chunk))) for chunk in chunks)
    frames.to_parquet(whole / FRAMES, index=False)
    sites = None
    if job.is_film:
        write_streamed(whole / READINGS, readings())
        sites = pd.read_parquet(staging.file(SITES))
        sites.to_parquet(whole / SITES, index=False)
        np.save(whole / REFERENCE, np.load(staging.file(REFERENCE)))
    facts = _facts(job, found, settings, sites, (counted, atoms)) | {MADE_OF: begun}
    _draw(job, staging, found, facts, settings.pictures)
    write_text(whole / FACTS, json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
    return facts


def _facts(
    job: FilmJob,
    found: Found,
    settings: PredictionSettings,
    sites: pd.DataFrame | None,
    counts: tuple[Counter[str], Counter[str]],
) -> dict[str, Any]:
    config, film, origins = job.reader.model.config, job.film, job.source.origins
    facts = {
        "frames": len(film),
        "columns": {name: int(n) for name, n in sorted(counts[0].items())},
        "atoms": {name: int(n) for name, n in sorted(counts[1].items())},
        "dose_e_per_A2": found.survey.dose,
        "dose_source": "estimated",
        "in_domain": found.in_domain,
        "warnings": found.warnings,
        "notes": list(film.notes),
        "model": config.name,
        "model_version": config.version,
        "dataset": config.training.dataset,
        "content_digest": config.training.content_digest,
        "software": __version__,
        "source": film.source,
        "runtime": settings.runtime,
        "orientations": 8 if settings.orientations else 1,
        "device": settings.device,
        "sampling_A": job.sampling,
        "sampling_source": origins.sampling,
        "sampling_uncertainty_A": origins.sampling_uncertainty,
        "frame_time_s": film.frame_time_s,
        "frame_time_source": origins.frame_time,
        "shape": list(film.shape),
        "preparation": job.source.record,
        "skipped": list(found.skipped),
        "forced": found.far_out,
        "film": film.source if job.is_film else None,
    }
    if sites is not None:
        drift = found.drift
        facts |= {
            "sites": counts_of(sites["source"]),
            "drift": {
                "found": drift.found,
                "range_x_A": float(np.ptp(drift.x)),
                "range_y_A": float(np.ptp(drift.y)),
                "error_A": float(np.sqrt(np.mean(drift.error**2))),
            },
        }
    return facts


def _shown(out: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """Choose what a person wants to see at once."""
    shown: dict[str, Any] = {"prediction": str(out), "model": facts["model"]}
    names = ["frames", "columns", "atoms", "in_domain", "forced"]
    if facts["frames"] > 1 and facts["film"] is not None:
        names += ["sites", "drift"]
    shown |= {name: facts[name] for name in names}
    if facts["skipped"]:
        shown["skipped"] = len(facts["skipped"])
    pictures = sorted(str(file) for file in out.glob("overlay_*.png"))
    return shown | {"table": str(out / COLUMNS), "pictures": pictures}


def _draw(
    job: FilmJob, staging: FilmStaging, found: Found, facts: dict[str, Any], pictures: int
) -> None:
    """Draw overlays of some frames, evenly over those that were predicted."""
    usable = [n for n in range(len(job.film)) if n not in found.skipped]
    last = len(usable) - 1
    chosen = sorted({usable[round(i * last / max(pictures - 1, 1))] for i in range(pictures)})
    for chunk in job.chunks():
        for frame in (n for n in chosen if n in chunk):
            columns = pd.read_parquet(staging.file(part(COLUMNS, chunk)))
            own = columns[columns["frame"] == frame]
            samples = job.film.samples
            what = f"frame {frame}" if samples is None else f"sample {samples[frame]}"
            title = f"{what}, about {found.survey.dose[frame]:.0f} e⁻/Å²"
            if not facts["in_domain"]:
                title += " · outside of what the net has seen, see prediction.json"
            _, image = next(frames_of(job.film, frame, frame + 1))
            file = staging.whole / f"overlay_{frame:05d}.png"
            draw_overlay(image, own, job.sampling, title, file)
