"""The film as H.264 in mp4, which browsers, slides and editors play."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ceria_data.errors import MissingExtraError, OutputError

if TYPE_CHECKING:
    from av.container import OutputContainer

_ENCODER: Final = "libx264"
_CRF = "18"
"""Quality of x264: the grain of the frames is kept, discs keep sharp rims."""
_BT709, _LIMITED_RANGE = 1, 1
"""Numbers of H.273: said in the file, since players guess differently where nothing is said."""


def load_av() -> Any:
    """Import PyAV.

    Returns
    -------
    module

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise MissingExtraError("--mp4", "video", error.name or "av") from error
    return av


def write_mp4(pictures: Iterable[Image.Image], file: Path, frames_per_s: int) -> None:
    """Write pictures as a film; the file is there whole or not at all.

    Colours are halved in both directions (yuv420p), the only form of H.264 that every player
    knows. That takes even sizes: a last row or column is repeated where one is missing.

    Parameters
    ----------
    pictures : iterable of Image
        RGB, at least one, all of one size.
    file : Path
        An earlier one is replaced.
    frames_per_s : int

    Raises
    ------
    MissingExtraError
        If PyAV is not installed.
    OutputError
        If its FFmpeg cannot write H.264.

    Examples
    --------
    >>> import tempfile
    >>> pictures = [Image.new("RGB", (33, 20), colour) for colour in ("black", "red")]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_mp4(pictures, Path(folder) / "film.mp4", 10)
    ...     [found.name for found in Path(folder).iterdir()]
    ['film.mp4']
    """
    av = load_av()
    staging = file.with_name(f".{file.name}.{uuid4().hex}.staging")
    try:
        # The index goes in front of the pictures: a page can play it before all of it is there.
        with av.open(staging, "w", format="mp4", options={"movflags": "faststart"}) as container:
            _encode(container, pictures, frames_per_s)
        staging.replace(file)
    finally:
        staging.unlink(missing_ok=True)


def _encode(
    container: "OutputContainer", pictures: Iterable[Image.Image], frames_per_s: int
) -> None:
    av = load_av()
    try:
        stream = container.add_stream(_ENCODER, rate=frames_per_s, options={"crf": _CRF})
    except av.codec.codec.UnknownCodecError as error:
        raise OutputError(
            f"PyAV {av.__version__} was built without {_ENCODER}, which writes H.264; install one "
            "that has it: pip install --force-reinstall --only-binary av av"
        ) from error
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.colorspace = context.color_primaries = context.color_trc = _BT709
    context.color_range = _LIMITED_RANGE
    for number, picture in enumerate(pictures):
        pixels = _even(np.asarray(picture.convert("RGB")))
        if not number:
            stream.height, stream.width = pixels.shape[:2]
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709")
        container.mux(stream.encode(frame))
    container.mux(stream.encode())


def _even(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width, _ = pixels.shape
    return np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
