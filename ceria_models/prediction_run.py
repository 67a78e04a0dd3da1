"""A prediction from images to a folder of tables and pictures."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pandas as pd

from ceria_data import __version__
from ceria_data.errors import OutputError
from ceria_data.store import refuse_inside_dataset, write_text
from ceria_models.errors import DomainError
from ceria_models.images import Images
from ceria_models.overlay import draw_overlay
from ceria_models.prediction import Prediction, predict
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
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[dict[str, Any], list[str]]:
    """Predict images and write `columns.parquet`, `prediction.json` and overlays.

    The folder appears whole or not at all.

    Parameters
    ----------
    images : Images
    sampling : float
        Å/pixel.
    model_name : str
        As for `from_pretrained`.
    out : Path
        New folder.
    source : str
        Where the images come from, for the record.
    pictures : int
        Frames to draw, evenly over them.
    force : bool
        Go on where the images lie far outside of what the net has seen; the output says so.
    runtime : str
        What runs the net, see `runtime.open_runtime`.
    on_progress : callable
        Told frames done and in all.

    Returns
    -------
    dict
        What was found.
    list of str
        Warnings.

    Raises
    ------
    OutputError
        If the folder is taken.
    DomainError
        If an image lies far outside, without `force`.
    """
    if out.exists():
        raise OutputError(f"{out} exists already; choose another --out")
    refuse_inside_dataset(out)
    model = from_pretrained(model_name)
    prediction = predict(model, images.frames, sampling, runtime=runtime, on_progress=on_progress)
    if prediction.far_out and not force:
        reasons = "; ".join(prediction.warnings[:3])
        raise DomainError(f"{source}: {reasons}. --force predicts all the same, and says so")
    table = prediction.columns
    if images.samples is not None:
        table.insert(0, "sample", pd.Series(images.samples)[table["frame"]].to_numpy())
    facts = _facts(prediction, table) | {
        "source": source,
        "model": model.config.name,
        "model_version": model.config.version,
        "dataset": model.config.training.dataset,
        "content_digest": model.config.training.content_digest,
        "software": __version__,
        "runtime": runtime,
        "sampling_A": sampling,
        "forced": prediction.far_out,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = out.with_name(f".{out.name}.{uuid4().hex}.staging")
    staging.mkdir()
    try:
        table.to_parquet(staging / COLUMNS, index=False)
        _draw(images, prediction, sampling, staging, pictures)
        write_text(staging / FACTS, json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
        staging.rename(out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    shown = {"prediction": str(out), "model": model.config.name} | {
        key: facts[key] for key in ("frames", "columns", "in_domain", "forced")
    }
    return shown, prediction.warnings


def _facts(prediction: Prediction, table: pd.DataFrame) -> dict[str, Any]:
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
