"""Checks of a package of the BioImage Model Zoo: by the zoo, and against `predict`."""

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

from ceria_data.errors import MissingExtraError
from ceria_models.bioimageio_description import TOLERANCE
from ceria_models.errors import ExportError
from ceria_models.image_reader import OUTPUTS
from ceria_models.model import Model
from ceria_models.onnx_graph import check_graph, open_session
from ceria_models.prediction import predict

_CHECKED = (((37, 61), 1.0), ((101, 30), 1.7e-3))
"""Shapes and scales of the comparison with `predict`: no multiple of any stride."""


def check_package(file: Path) -> None:
    """Ask the zoo's own validator; it opens no connection unless the package names an address.

    Parameters
    ----------
    file : Path
        A package.

    Raises
    ------
    ExportError
        If it is refused.
    MissingExtraError
        If bioimageio.spec is not installed.
    """
    zoo = zoo_module()
    with careless(), ZipFile(file) as archive, zoo.ValidationContext(log_warnings=False):
        found = zoo.load_description(archive, perform_io_checks=True, progressbar=False)
    refuse_invalid(found, file)


def compare_with_predict(graph: Path, model: Model, image: NDArray[np.float32]) -> float:
    """Compare a graph with `predict`, on images of odd sizes and of another scale.

    Parameters
    ----------
    graph : Path
        ONNX file of an `ImageReader`.
    model : Model
    image : array of float32, shape (y, x)
        Its corners are compared, at least 128 × 64 pixels.

    Returns
    -------
    float
        Largest difference of a confidence.

    Raises
    ------
    ExportError
        If the file is not valid ONNX, a confidence differs by more than `TOLERANCE`, or a count
        is less probable than the one that `predict` says by more than that.
    """
    check_graph(graph)
    session, largest = open_session(graph), 0.0
    for shape, scale in _CHECKED:
        corner = image[tuple(slice(n) for n in shape)] * np.float32(scale)
        atoms, confidence = session.run(OUTPUTS, {"image": corner[None, None]})
        said = predict(model, corner, model.config.sampling_A, probabilities=True)
        assert said.probabilities is not None
        named = np.take_along_axis(said.probabilities, atoms.astype(np.int64)[:, :, None], axis=2)
        # Two counts may be as probable as each other: what counts is how probable predict
        # thinks the one that the graph names.
        for what, found in (("confidence", confidence), ("atoms", named[:, :, 0])):
            difference = float(np.abs(found.astype(np.float32) - said.confidence).max())
            if not difference <= TOLERANCE:
                raise ExportError(
                    f"{what} of {graph.name} differs from predict by a probability of "
                    f"{difference:.2g}, expected at most {TOLERANCE}; the versions of torch and "
                    "onnxruntime that work are in constraints.txt"
                )
        largest = max(largest, float(np.abs(confidence - said.confidence).max()))
    return largest


def refuse_invalid(found: Any, file: Path) -> None:
    """Refuse what the zoo's validator found to be no model.

    Parameters
    ----------
    found : object
        As from ``bioimageio.spec.load_description``.
    file : Path
        Where it comes from.

    Raises
    ------
    ExportError
        With the validator's reason.
    """
    zoo = zoo_module()
    if isinstance(found, zoo.InvalidDescr) or not isinstance(found, zoo.ModelDescr):
        reason = found.get_reason() if isinstance(found, zoo.InvalidDescr) else f"a {found.type}"
        raise ExportError(
            f"{file.name} is no valid model of the BioImage Model Zoo: {reason}. The version of "
            "bioimageio.spec that works is in constraints.txt"
        )


@contextmanager
def careless() -> Iterator[None]:
    """Let the zoo's programs leave it to Python to close the files that they read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield


def zoo_module() -> Any:
    """Import the zoo's validator and writer.

    Returns
    -------
    module
        ``bioimageio.spec``.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    try:
        return importlib.import_module("bioimageio.spec")
    except ImportError as error:
        raise MissingExtraError(
            "The BioImage Model Zoo", "bioimageio", "bioimageio.spec"
        ) from error
