"""Files of the usual programs, written by their own writers, load with the right units."""

import json
import sys
import tracemalloc

import h5py
import mrcfile
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image
from rsciio.emd import file_writer as write_emd
from rsciio.hspy import file_writer as write_hspy

from ceria_data.errors import FilmError, MissingExtraError
from ceria_data.film import open_film
from tests.ceria_data.dm_file import write_dm

FRAMES = np.arange(5 * 6 * 8, dtype=np.uint16).reshape(5, 6, 8)


def signal(step=0.02, unit="nm", time=40.0, time_unit="ms", frames=FRAMES):
    facts = [("time", time, time_unit), ("y", step, unit), ("x", step, unit)]
    axes = [
        {"name": name, "scale": scale, "units": units, "offset": 0.0, "size": size,
         "navigate": name == "time", "index_in_array": i}
        for i, ((name, scale, units), size) in enumerate(
            zip(facts[-frames.ndim :], frames.shape, strict=True)
        )
    ]  # fmt: skip
    metadata = {
        "General": {"title": "film"},
        "Signal": {"signal_type": ""},
        "Acquisition_instrument": {"TEM": {"beam_energy": 300.0}},
    }
    return {
        "data": frames,
        "axes": axes,
        "metadata": metadata,
        "original_metadata": {},
        "attributes": {"_lazy": False},
        "package_info": {"package": "test", "package_version": "0"},
        "learning_results": {},
        "tmp_parameters": {},
        "models": {},
    }


def save_hspy(path):
    write_hspy(str(path), signal())


def save_zspy(path):
    """As HyperSpy lays it out; its own writer does not work with this zarr."""
    root = zarr.open_group(path, mode="w", zarr_format=2)
    group = root.create_group("Experiments/film")
    group.create_array("data", data=FRAMES, chunks=(2, 6, 8))
    steps = [("time", 0.04, "s"), ("y", 0.02, "nm"), ("x", 0.02, "nm")]
    for i, (name, scale, units) in enumerate(steps):
        axis = group.create_group(f"axis-{i}")
        axis.attrs.update({"name": name, "scale": scale, "units": units, "navigate": i == 0})
    group.create_group("metadata/Acquisition_instrument/TEM").attrs["beam_energy"] = 300.0


def save_emd(path):
    write_emd(str(path), signal(time=0.04, time_unit="s"))


def save_velox(path):
    """As Velox lays it out: frames last, metadata as JSON in columns of bytes."""
    facts = {
        "Core": {"MetadataDefinitionVersion": "7.9"},
        "Instrument": {"ControlSoftwareVersion": "1.15.2"},
        "Acquisition": {"AcquisitionStartDatetime": {"DateTime": "1700000000"}},
        "Optics": {"AccelerationVoltage": "300000"},
        "Detectors": {"Detector-0": {"DetectorName": "Ceta", "ExposureTime": "0.04"}},
        "BinaryResult": {
            "PixelSize": {"width": "2e-11", "height": "2e-11"},
            "Offset": {"x": "0", "y": "0"},
            "PixelUnitX": "m",
            "PixelUnitY": "m",
            "DetectorIndex": "0",
        },
        "Scan": {},
    }
    text = np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8)
    with h5py.File(path, "w") as file:
        file["Version"] = np.array([json.dumps({"format": "Velox", "version": "1.7"})], dtype="S")
        group = file.create_group("Data/Image/0123456789abcdef")
        frames = FRAMES.transpose(1, 2, 0)
        group.create_dataset("Data", data=frames, chunks=(6, 8, 1))
        group["Metadata"] = np.repeat(np.pad(text, (0, 20))[:, None], 5, axis=1)


def save_imagej(path):
    tifffile.imwrite(
        path,
        FRAMES,
        imagej=True,
        resolution=(50.0, 50.0),
        metadata={"axes": "TYX", "unit": "nm", "finterval": 0.04},
    )


def save_imagej_um(path):
    tifffile.imwrite(
        path,
        FRAMES,
        imagej=True,
        resolution=(50e3, 50e3),
        metadata={"axes": "ZYX", "unit": "\\u00B5m", "finterval": 40.0, "tunit": "ms"},
    )


def save_ome(path):
    metadata = {
        "axes": "TYX",
        "PhysicalSizeX": 20.0,
        "PhysicalSizeXUnit": "pm",
        "PhysicalSizeY": 20.0,
        "PhysicalSizeYUnit": "pm",
        "TimeIncrement": 40.0,
        "TimeIncrementUnit": "ms",
    }
    tifffile.imwrite(path, FRAMES, ome=True, metadata=metadata, compression="zlib")


def save_mrc(path):
    with mrcfile.new(path, FRAMES) as file:
        file.voxel_size = 0.2


def save_dm3(path):
    write_dm(path, FRAMES, version=3, step=0.02, unit="nm", time=0.04)


def save_dm4(path):
    write_dm(path, FRAMES, version=4, step=20.0, unit="pm", time=0.04)


def save_zarr(path):
    array = zarr.create_array(path, data=FRAMES, chunks=(2, 6, 8))
    array.attrs.update({"sampling_A": 0.2, "frame_time_s": 0.04, "dose_e_per_A2": 100.0})


def save_ome_zarr(path):
    axes = [("t", "time", "millisecond"), ("c", "channel", None), ("y", "space", "nanometer"),
            ("x", "space", "nanometer")]  # fmt: skip
    root = zarr.create_group(path)
    root.create_array("0", data=FRAMES[:, None], chunks=(2, 1, 6, 8))
    scale = {"type": "scale", "scale": [40.0, 1.0, 0.02, 0.02]}
    root.attrs["ome"] = {
        "version": "0.5",
        "multiscales": [
            {
                "axes": [{"name": n, "type": t} | ({"unit": u} if u else {}) for n, t, u in axes],
                "datasets": [{"path": "0", "coordinateTransformations": [scale]}],
            }
        ],
    }


@pytest.mark.parametrize(
    ("suffix", "save", "time", "energy"),
    [
        (".hspy", save_hspy, 0.04, 300),
        (".zspy", save_zspy, 0.04, 300),
        (".emd", save_emd, 0.04, None),
        (".emd", save_velox, 0.04, 300),
        (".tif", save_imagej, 0.04, None),
        (".tif", save_imagej_um, 0.04, None),
        (".ome.tif", save_ome, 0.04, None),
        (".mrc", save_mrc, None, None),
        (".dm3", save_dm3, 0.04, 300),
        (".dm4", save_dm4, 0.04, 300),
        (".zarr", save_zarr, 0.04, None),
        (".ome.zarr", save_ome_zarr, 0.04, None),
    ],
)
def test_frames_and_units(tmp_path, suffix, save, time, energy):
    path = tmp_path / f"film{suffix}"
    save(path)
    film = open_film(path)
    assert (film.source, film.shape, len(film)) == (str(path), (6, 8), 5)
    np.testing.assert_array_equal(film.frames(1, 4), FRAMES[1:4])
    np.testing.assert_array_equal(film.frames(4, 5), FRAMES[4:])
    assert film.sampling == pytest.approx(0.2, rel=1e-6)
    assert (film.frame_time_s, film.energy_keV, film.notes) == (time, energy, ())


def test_berkeley_in_the_order_of_the_axes(tmp_path):
    """Other programs than RosettaSciIO store frame, y, x as they name them."""
    with h5py.File(tmp_path / "film.emd", "w") as file:
        group = file.create_group("data/film")
        group.attrs["emd_group_type"] = 1
        group["data"] = FRAMES
        for i, (step, unit) in enumerate([(0.04, "[s]"), (0.02, "[n_m]"), (0.02, "[n_m]")]):
            group[f"dim{i + 1}"] = step * np.arange(FRAMES.shape[i])
            group[f"dim{i + 1}"].attrs["units"] = unit
    film = open_film(tmp_path / "film.emd")
    np.testing.assert_array_equal(film.frames(0, 5), FRAMES)
    assert (film.sampling, film.frame_time_s) == (0.2, 0.04)


@pytest.mark.parametrize(
    ("unit", "factor"),
    [("pixel", None), ("", None), ("furlong", None), ("nm", 10), ("micron", 1e4), ("Å", 1)],
)
def test_units_of_imagej(tmp_path, unit, factor):
    written = "\\u00C5" if unit == "Å" else unit
    tifffile.imwrite(
        tmp_path / "image.tif",
        FRAMES[0],
        imagej=True,
        resolution=(50, 50),
        metadata={"unit": written},
    )
    film = open_film(tmp_path / "image.tif")
    assert film.sampling == (None if factor is None else pytest.approx(0.02 * factor))
    assert len(film.notes) == (unit == "furlong")


def test_a_printers_resolution_is_no_pixel_size(tmp_path):
    tifffile.imwrite(tmp_path / "image.tif", FRAMES[0], resolution=(72, 72), resolutionunit="INCH")
    assert open_film(tmp_path / "image.tif").sampling is None


def test_pixels_that_are_not_square_give_no_sampling(tmp_path):
    tifffile.imwrite(
        tmp_path / "i.tif", FRAMES[0], imagej=True, resolution=(50, 60), metadata={"unit": "nm"}
    )
    film = open_film(tmp_path / "i.tif")
    assert film.sampling is None
    assert "squares" in film.notes[0]


@pytest.mark.parametrize(
    ("unit", "seconds"),
    [("microseconds", 2e-6), ("nanosecond", 2e-9), ("hours", 7200.0), ("hr", 7200.0),
     ("day", 172800.0), ("seconds", 2.0), ("", None), ("furlong", None)],
)  # fmt: skip
def test_units_of_time(tmp_path, unit, seconds):
    write_hspy(str(tmp_path / "film.hspy"), signal(time=2.0, time_unit=unit))
    film = open_film(tmp_path / "film.hspy")
    assert film.frame_time_s == (None if seconds is None else pytest.approx(seconds))
    assert len(film.notes) == (unit == "furlong")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("stamp", "flags", "brightest"),
    [(1146047817, 0, 200), (1146047817, 1, -56), (0, 0, -56)],
)
def test_bytes_of_imod_are_unsigned_unless_it_says_so(tmp_path, order, stamp, flags, brightest):
    """SerialEM and IMOD write mode 0 so; the standard means signed bytes."""
    path = tmp_path / "film.mrc"
    with mrcfile.new(path) as file:
        file.set_data(np.full((2, 4, 4), 200, np.uint8).view(np.int8))
        if order == ">":
            file.header.machst = [0x11, 0x11, 0, 0]
            file._header = file.header.byteswap().view(file.header.dtype.newbyteorder())
    content = bytearray(path.read_bytes())
    content[152:160] = np.array([stamp, flags], f"{order}i4").tobytes()
    path.write_bytes(content)
    assert open_film(path).frames(0, 1).max() == brightest


def write_one_by_one(path, frames, **how):
    with tifffile.TiffWriter(path) as file:
        for frame in frames:
            file.write(frame, **how)


@pytest.mark.parametrize("how", [{}, {"compression": "zlib"}, {"metadata": None}])
def test_frames_appended_one_by_one_are_one_film(tmp_path, how):
    path = tmp_path / "film.tif"
    write_one_by_one(path, FRAMES, **how)
    film = open_film(path)
    assert (len(film), film.notes) == (5, ())
    np.testing.assert_array_equal(film.frames(0, 5), FRAMES)
    with tifffile.TiffFile(path) as tif:
        end = tif.pages[3].dataoffsets[0] + 2
    path.write_bytes(path.read_bytes()[:end])
    film = open_film(path)
    np.testing.assert_array_equal(film.frames(0, len(film)), FRAMES[:3])
    assert film.notes


def test_several_films_in_a_tif_are_refused_and_previews_told(tmp_path):
    write_one_by_one(tmp_path / "two.tif", (FRAMES[0], FRAMES[0, :3]))
    write_one_by_one(tmp_path / "films.tif", (FRAMES[:2], FRAMES))
    for name in ("two", "films"):
        with pytest.raises(FilmError, match="holds 2 films or images"):
            open_film(tmp_path / f"{name}.tif")
    write_one_by_one(tmp_path / "preview.tif", (FRAMES, FRAMES[0, :3, :4]))
    film = open_film(tmp_path / "preview.tif")
    np.testing.assert_array_equal(film.frames(0, 5), FRAMES)
    assert film.notes == ("the file holds a smaller image too, not read here",)


@pytest.mark.parametrize("unit", ["1/nm", "nm^-1", "mrad"])
def test_diffraction_patterns_are_refused(tmp_path, unit):
    write_hspy(str(tmp_path / "film.hspy"), signal(unit=unit))
    with pytest.raises(FilmError, match="diffraction pattern"):
        open_film(tmp_path / "film.hspy")


@pytest.mark.parametrize(
    ("suffix", "save"),
    [
        (".npy", lambda path: np.save(path, FRAMES)),
        (".mrc", save_mrc),
        (".tif", save_imagej),
        (".tif", lambda path: tifffile.imwrite(path, FRAMES)),
        (".tif", lambda path: tifffile.imwrite(path, FRAMES, compression="zlib")),
        (".tif", lambda path: tifffile.imwrite(path, FRAMES, metadata=None, compression="zlib")),
    ],
)
def test_a_file_that_was_cut_off_has_its_whole_frames(tmp_path, suffix, save):
    path = tmp_path / f"film{suffix}"
    save(path)
    content = path.read_bytes()
    end = content.find(FRAMES[3].tobytes()) + 20
    if end == 19:  # compressed
        with tifffile.TiffFile(path) as tif:
            end = tif.pages[3].dataoffsets[0] + 2
    path.write_bytes(content[:end])
    film = open_film(path)
    assert len(film) == 3
    np.testing.assert_array_equal(film.frames(0, 3), FRAMES[:3])
    assert "3 are there" in film.notes[0]
    path.write_bytes(content[: content.find(FRAMES[0].tobytes()) + 20 if end else 100])
    with pytest.raises(FilmError, match=r"holds not one|cannot be read"):
        open_film(path)


@pytest.mark.parametrize("suffix", [".dm4", ".emd", ".hspy"])
def test_other_files_that_were_cut_off_are_refused(tmp_path, suffix):
    path = tmp_path / f"film{suffix}"
    {".dm4": save_dm4, ".emd": save_velox, ".hspy": save_hspy}[suffix](path)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(FilmError, match="cannot be read"):
        open_film(path)


def test_a_header_asks_for_no_memory(tmp_path):
    with (tmp_path / "film.npy").open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (10**9, 10**6, 10**6)}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(bytes(1000))
    with pytest.raises(FilmError, match="holds not one of them"):
        open_film(tmp_path / "film.npy")
    with mrcfile.new(tmp_path / "film.mrc", FRAMES) as file:
        file.header.nx = file.header.ny = 2**30
    with pytest.raises(FilmError, match="holds not one of them"):
        open_film(tmp_path / "film.mrc")


@pytest.mark.parametrize(
    ("name", "save", "found"),
    [
        ("a.tif", lambda p: tifffile.imwrite(p, np.zeros((6, 8, 3), np.uint8)), "in colour"),
        ("a.tif", lambda p: tifffile.imwrite(p, np.zeros((2, 5, 6, 8), np.uint8)), "4 axes"),
        ("a.tif", lambda p: p.write_bytes(b""), "cannot be read"),
        ("a.npy", lambda p: p.write_bytes(b""), "cannot be read"),
        ("a.mrc", lambda p: p.write_bytes(b""), "cannot be read"),
        ("a.dm4", lambda p: p.write_bytes(b""), "cannot be read"),
        ("a.emd", lambda p: p.write_bytes(b""), "cannot be read"),
        ("a.mrc", lambda p: mrcfile.write(p, np.ones((4, 4), np.complex64)), "complex64"),
        ("a.zarr", lambda p: zarr.create_array(p, data=np.ones((2, 2, 4, 4))), "4 axes"),
        ("a.zarr", lambda p: zarr.create_group(p), "0 arrays"),
        ("a.hspy", lambda p: write_hspy(str(p), signal(frames=FRAMES[0] * 1j)), "complex128"),
        ("a.png", lambda p: Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(p), "in colour"),
        ("a.jpg", lambda p: p.write_bytes(b"x"), "expected .dm3"),
    ],
)
def test_files_that_hold_no_film_are_refused(tmp_path, name, save, found):
    save(tmp_path / name)
    with pytest.raises(FilmError, match=found):
        open_film(tmp_path / name)


def test_a_picture_is_a_film_of_one_frame(tmp_path):
    Image.fromarray(FRAMES[2]).save(tmp_path / "image.png")
    np.testing.assert_array_equal(open_film(tmp_path / "image.png").frames(0, 1), FRAMES[2:3])


def test_chunks_that_are_not_there_are_told(tmp_path):
    array = zarr.create_array(tmp_path / "a.zarr", shape=(6, 4, 4), chunks=(2, 4, 4), dtype="u2")
    array[:2] = 1
    film = open_film(tmp_path / "a.zarr")
    assert "2 of its 3 chunks are not there" in film.notes[0]


@pytest.mark.parametrize("suffix", [".npy", ".mrc", ".tif", ".hspy", ".emd", ".dm4"])
def test_a_film_is_not_loaded_whole(tmp_path, suffix):
    frames = np.ones((400, 200, 200), dtype=np.uint16)  # 32 MB
    path = tmp_path / f"film{suffix}"
    {
        ".npy": lambda: np.save(path, frames),
        ".mrc": lambda: mrcfile.write(path, frames),
        ".tif": lambda: tifffile.imwrite(path, frames, imagej=True),
        ".hspy": lambda: write_hspy(str(path), signal(frames=frames), chunks=(4, 200, 200)),
        ".emd": lambda: write_emd(str(path), signal(frames=frames), chunks=(4, 200, 200)),
        ".dm4": lambda: write_dm(path, frames, version=4, step=0.02, unit="nm", time=0.04),
    }[suffix]()
    open_film(path).frames(0, 1)  # libraries are loaded
    tracemalloc.start()
    film = open_film(path)
    film.frames(200, 204)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4e6


@pytest.mark.parametrize(
    ("module", "suffix"),
    [("rsciio", ".dm4"), ("mrcfile", ".mrc"), ("h5py", ".hspy"), ("h5py", ".emd")],
)
def test_a_missing_extra_is_named(tmp_path, monkeypatch, module, suffix):
    path = tmp_path / f"film{suffix}"
    path.write_bytes(b"anything")
    for name in [name for name in sys.modules if name.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'ceria\[em\]'") as caught:
        open_film(path)
    assert caught.value.exit_code == 2
