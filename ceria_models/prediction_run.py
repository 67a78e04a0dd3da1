"""A prediction from images to a folder of tables and pictures."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pandas as pd

from ceria_data import __version__
from ceria_data.errors import ConfigError, OutputError
from ceria_data.store import refuse_inside_dataset, write_text
from ceria_models.contrast import apparent_dose
from ceria_models.domain import departures
from ceria_models.errors import DomainError
from ceria_models.images import Images
from ceria_models.machine import device_of
from ceria_models.model import Model
from ceria_models.overlay import draw_overlay
from ceria_models.prediction import Prediction, checked_images, predict
from ceria_models.runtime import BFLOAT16, FLOAT32
from ceria_models.weights import from_pretrained

COLUMNS = "columns.parquet"
FACTS = "prediction.json"


def run_prediction(
    images: Images,
    sampling: float,
    model_name: str,
    out: Path,
    *,
    source: str,
    pictures: int,
    force: bool,
    runtime: str = "float32",
    device: str = "cpu",
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[dict[str, Any], list[str]]:
    """Predict images and write `columns.parquet`, `prediction.json` and overlays.

    Parameters
    ----------
    images : Images
    sampling : float
        Å/pixel.
    model_name : str
        As for `from_pretrained`.
    out : Path
        New folder; it appears whole or not at all.
    source : str
        Where the images come from, for the record.
    pictures : int
        Frames to draw, evenly over them.
    force : bool
        Go on where the images lie far outside of what the net has seen; the output says so.
    runtime : str
        What runs the net, see `runtime.open_runtime`.
    device : str
        ``cpu`` or ``gpu``; exported files run on the processor only.
    overwrite : bool
        Replace an earlier prediction in `out`.
    on_progress : callable
        Told frames done and in all.

    Returns
    -------
    dict
        What was found, and the first rows of the table.
    list of str
        Warnings.

    Raises
    ------
    OutputError
        If the folder is taken, or holds something else than a prediction.
    DomainError
        If an image lies far outside, without `force`.
    ConfigError, DeviceError
        If there is no such device, or the runtime does not run there.
    """
    _refuse_taken(out, overwrite=overwrite)
    refuse_inside_dataset(out)
    model = _on_device(from_pretrained(model_name), device, runtime)
    if not force:
        _refuse_at_first(images, sampling, model, source)
    prediction = predict(model, images.frames, sampling, runtime=runtime, on_progress=on_progress)
    if not force:
        _refuse_far_out(source, prediction.warnings, prediction.far_out)
    table = prediction.columns
    if images.samples is not None:
        table.insert(0, "sample", pd.Series(images.samples)[table["frame"]].to_numpy())
    facts = _facts(prediction, model) | {
        "source": source,
        "runtime": runtime,
        "device": device,
        "sampling_A": sampling,
        "forced": prediction.far_out,
    }
    _write(out, images, prediction, facts, pictures)
    pictures_there = sorted(str(file) for file in out.glob("overlay_*.png"))
    shown = {"prediction": str(out), "model": model.config.name} | {
        key: facts[key] for key in ("frames", "columns", "atoms", "in_domain", "forced")
    }
    return shown | {"table": str(out / COLUMNS), "pictures": pictures_there}, prediction.warnings


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
    table = pd.read_parquet(file)
    first = "sample" if "sample" in table else "frame"
    shown = [first, "species", "x_A", "y_A", "occupancy", "confidence", "z_mean_A"]
    own = table[table["frame"] == table["frame"].min()].groupby("species").head(rows)
    places = {"x_A": "{:.2f}", "y_A": "{:.2f}", "confidence": "{:.3f}", "z_mean_A": "{:.2f}"}
    formats = {name: text.format for name, text in places.items()}
    return str(own[shown].to_string(index=False, formatters=formats))


def _refuse_taken(out: Path, *, overwrite: bool) -> None:
    """Refuse a folder that is there, or that holds something else than a prediction."""
    if not out.exists():
        return
    if not overwrite:
        raise OutputError(
            f"{out} exists already; choose another --out, or replace it with --overwrite"
        )
    if not out.is_dir() or (any(out.iterdir()) and not (out / FACTS).is_file()):
        raise OutputError(f"{out} holds something else than a prediction; choose another --out")


def _refuse_at_first(images: Images, sampling: float, model: Model, source: str) -> None:
    """Look at the first frame: a wrong pixel size shows there, before hours of work on all."""
    first = checked_images(images.frames, sampling)[0]
    found = departures(first, sampling, apparent_dose(first, sampling), model.config.domain)
    _refuse_far_out(source, [one.text for one in found], any(one.far for one in found))


def _refuse_far_out(source: str, reasons: list[str], far: bool) -> None:
    if far:
        shown = "; ".join(reasons[:3])
        raise DomainError(f"{source}: {shown}. --force predicts all the same, and says so")


def _on_device(model: Model, device: str, runtime: str) -> Model:
    """Bring the net of a model to a device, if what runs it can use that."""
    where = device_of(device)
    if where.type != "cpu" and runtime not in (FLOAT32, BFLOAT16):
        raise ConfigError(
            f"--device {device} with --runtime {runtime}: exported files run on the processor; "
            f"leave one of them out, or use --runtime {BFLOAT16}"
        )
    return Model(model.config, model.net.to(where))


def _write(
    out: Path, images: Images, prediction: Prediction, facts: dict[str, Any], pictures: int
) -> None:
    """Write the folder of a prediction, whole or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = out.with_name(f".{out.name}.{uuid4().hex}.staging")
    staging.mkdir()
    try:
        prediction.columns.to_parquet(staging / COLUMNS, index=False)
        _draw(images, prediction, facts["sampling_A"], staging, pictures)
        write_text(staging / FACTS, json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
        if out.exists():
            shutil.rmtree(out)
        staging.rename(out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _facts(prediction: Prediction, model: Model) -> dict[str, Any]:
    table = prediction.columns
    per_species = table.groupby("species").size()
    return {
        "frames": len(prediction.label),
        "columns": {str(name): int(n) for name, n in per_species.items()},
        "atoms": {
            str(name): int(n) for name, n in table.groupby("species")["occupancy"].sum().items()
        },
        "dose_e_per_A2": [float(dose) for dose in prediction.dose_e_per_A2],
        "in_domain": prediction.in_domain,
        "warnings": prediction.warnings,
        "model": model.config.name,
        "model_version": model.config.version,
        "dataset": model.config.training.dataset,
        "content_digest": model.config.training.content_digest,
        "software": __version__,
    }


def _draw(
    images: Images, prediction: Prediction, sampling: float, folder: Path, pictures: int
) -> None:
    """Draw overlays of some frames, evenly over them."""
    number = len(images.frames)
    chosen = sorted({round(i * (number - 1) / max(pictures - 1, 1)) for i in range(pictures)})
    for frame in chosen:
        own = prediction.columns[prediction.columns["frame"] == frame]
        what = f"frame {frame}" if images.samples is None else f"sample {images.samples[frame]}"
        title = f"{what}, about {prediction.dose_e_per_A2[frame]:.0f} e⁻/Å²"
        if not prediction.in_domain:
            title += " · outside of what the net has seen, see prediction.json"
        file = folder / f"overlay_{frame:05d}.png"
        draw_overlay(images.frames[frame], own, sampling, title, file)
