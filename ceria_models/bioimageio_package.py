"""Models as packages of the BioImage Model Zoo, for Fiji and napari: written, and checked."""

import shutil
from pathlib import Path
from typing import Any
from uuid import uuid4
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np
from numpy.typing import NDArray

from ceria_data.dataset import open_dataset
from ceria_data.errors import OutputError
from ceria_data.store import write_text
from ceria_models.bioimageio_check import (
    careless,
    check_package,
    compare_with_predict,
    refuse_invalid,
    zoo_module,
)
from ceria_models.bioimageio_description import (
    COVER,
    DATE,
    GRAPH,
    INPUT,
    PAGE,
    description,
    output_file,
)
from ceria_models.bioimageio_page import page
from ceria_models.image_reader import OUTPUTS, ImageReader
from ceria_models.model import Model
from ceria_models.onnx_file import file_stem, metadata
from ceria_models.onnx_graph import describe, onnx_module, record
from ceria_models.overlay import draw_overlay
from ceria_models.prediction import Prediction, predict

DESCRIPTION = "rdf.yaml"
"""The name that programs of before format 0.5 look for too."""
_DATASET, _SPLIT, _SHOWN = "ceria-columns-mini", "test", 4
"""The image of test and cover: 1000 e-/Å², atoms bright."""
_TEST_SHAPE = (128, 91)
"""Odd, and three panels of it are twice as wide as high, as covers should be."""
_TEXT = (
    "Counts the atoms of CeO2 columns in HRTEM images. image: (image, 1, y, x), any y and x from "
    "16, pixels of sampling_A, any linear scale with 0 = no electrons. atoms: (image, species, y, "
    "x), most probable number, 0 = no column. confidence: its calibrated probability."
)


def export_bioimageio(model: Model, out: Path) -> dict[str, Any]:
    """Write a model as a package of the BioImage Model Zoo, and check it.

    The package takes images as they are, see `image_reader.ImageReader`. The same model gives
    the same bytes, with the same software on the same kind of processor.

    Parameters
    ----------
    model : Model
    out : Path
        File that ends in ``.zip``, or a folder.

    Returns
    -------
    dict
        The file, its size, what it was made of, and how far its confidence is from that of
        `predict`.

    Raises
    ------
    MissingExtraError
        If bioimageio.spec, onnx, onnxscript or onnxruntime is not installed.
    OutputError
        If the file exists already.
    ExportError
        If the zoo's validator refuses the package, or it says something else than `predict`;
        it is not kept.
    """
    zoo_module(), onnx_module("onnx"), onnx_module("onnxscript"), onnx_module("onnxruntime")
    file = out if out.suffix == ".zip" else out / f"{file_stem(model)}.zip"
    if file.exists():
        raise OutputError(f"{file} exists already; choose another --out")
    file.parent.mkdir(parents=True, exist_ok=True)
    staging = file.with_name(f".{file.stem}.{uuid4().hex}.staging")
    staging.mkdir()
    try:
        content = staging / "content"
        content.mkdir()
        _write_files(model, content)
        difference = compare_with_predict(content / GRAPH, model, _shown_image()[0])
        _zip(_described(content, staging / "package", model), staging / file.name)
        check_package(staging / file.name)
        (staging / file.name).rename(file)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return {
        "file": str(file),
        "bytes": file.stat().st_size,
        **metadata(model),
        "largest_difference": difference,
    }


def _write_files(model: Model, folder: Path) -> None:
    """Write all that the description names: graph, test case, cover and page."""
    graph = record(ImageReader(model), 1, OUTPUTS)
    describe(graph, _TEXT, metadata(model))
    onnx_module("onnx").save_model(graph, folder / GRAPH)
    image, shown = _shown_image()
    said = predict(model, image, model.config.sampling_A)
    np.save(folder / INPUT, image[None, None])
    for name, values in zip(OUTPUTS, _pixels(said), strict=True):
        np.save(folder / output_file(name), values)
    title = f"{model.config.name} {model.config.version}: {shown}"
    draw_overlay(image, said.columns, model.config.sampling_A, title, folder / COVER)
    write_text(folder / PAGE, page(model, shown))


def _pixels(said: Prediction) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return said.label.astype(np.float32), said.confidence


def _shown_image() -> tuple[NDArray[np.float32], str]:
    """Take a crop of a bundled image, and say which."""
    sample = open_dataset(_DATASET, _SPLIT)[_SHOWN]
    crop = sample.counts[: _TEST_SHAPE[0], : _TEST_SHAPE[1]].astype(np.float32)
    dose = sample.parameters["dose_e_per_A2"]
    return crop, f"{_DATASET}, sample {sample.parameters['sample']}, {dose:.0f} e⁻/Å²"


def _described(content: Path, package: Path, model: Model) -> Path:
    """Let the zoo's own writer make the folder of a package, with a sha256 of every file."""
    zoo = zoo_module()
    context = zoo.ValidationContext(
        root=content, file_name=DESCRIPTION, log_warnings=False, progressbar=False
    )
    with careless(), context:
        found = zoo.build_description(description(model), context=context)
        refuse_invalid(found, content)
        zoo.save_bioimageio_package_as_folder(found, output_path=package)
    return package


def _zip(folder: Path, file: Path) -> None:
    """Pack a folder so that equal files give equal bytes."""
    with ZipFile(file, "w") as archive:
        for path in sorted(folder.iterdir()):
            entry = ZipInfo(path.name, DATE)
            entry.compress_type, entry.create_system = ZIP_DEFLATED, 3
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, path.read_bytes())
