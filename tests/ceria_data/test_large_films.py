"""Files beyond 2 and 4 GiB: frames past each limit are right, and the memory stays small.

The files are holes but for a row in a few frames, so that they take no room on a disk.
"""

import json
import subprocess
import sys
from pathlib import Path

import h5py
import mrcfile
import numpy as np
import pytest
import tifffile

from tests.ceria_data import test_film_formats as small
from tests.ceria_data.dm_file import write_dm

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="needs Linux: it tells the peak of a process"
)
SHAPE = (600, 2048, 2048)
FRAME_BYTES = 2 * 2048 * 2048
MARKED = (0, 255, 256, 511, 512, 599)
"""The first frame, those around 2 and 4 GiB (frames are 8 MiB, after a header), and the last."""
ROW = 7
MOST_BYTES = 16 * FRAME_BYTES
"""Of memory, to read frames one by one; one takes 10 to 40 MB, the film 5 GB."""

READ = """
import json, sys
from ceria_data.film import open_film

def peak():
    with open("/proc/self/status") as lines:
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

small, large, *wanted = sys.argv[1:]
open_film(small).frames(0, 1)  # libraries are loaded
before = peak()
film = open_film(large)
seen = {}
for number in map(int, wanted):
    (frame,) = film.frames(number, number + 1)
    seen[number] = sorted({int(value) for value in frame[ROW]}), int(frame.sum(dtype=int))
facts = {"length": len(film), "shape": film.shape, "notes": film.notes, "seen": seen}
print(json.dumps(facts | {"bytes": peak() - before}))
""".replace("ROW", str(ROW))


def behind(first):
    """Places of frames that lie one behind the other."""
    return [first + number * FRAME_BYTES for number in range(SHAPE[0])]


def mark(path, places):
    """Make the file whole, and write a row of some frames."""
    with path.open("r+b") as file:
        file.truncate(max(path.stat().st_size, places[-1] + FRAME_BYTES))
        for number in MARKED:
            file.seek(places[number] + ROW * SHAPE[2] * 2)
            file.write(np.full(SHAPE[2], number + 1, "<u2").tobytes())


def save_npy(path):
    with path.open("wb") as file:
        header = {"descr": "<u2", "fortran_order": False, "shape": SHAPE}
        np.lib.format.write_array_header_1_0(file, header)
        return behind(file.tell())


def save_mrc(path):
    with mrcfile.new(path, np.zeros((1, 1, 1), np.uint16)) as file:
        header = file.header
        header.nz, header.ny, header.nx = header.mz, header.my, header.mx = SHAPE
    return behind(1024)


def save_bigtiff(path):
    tifffile.imwrite(path, None, shape=SHAPE, dtype="<u2", bigtiff=True)
    with tifffile.TiffFile(path) as file:
        assert file.is_bigtiff
        return behind(file.pages[0].dataoffsets[0])


def save_pages(path):
    """As cameras write: a page for each frame, whose headers lie between the frames."""
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for _ in range(SHAPE[0]):
            file.write(None, shape=SHAPE[1:], dtype="<u2", contiguous=False, metadata=None)
    with tifffile.TiffFile(path) as file:
        return [page.dataoffsets[0] for page in file.pages]


def save_imagej(path):
    """As ImageJ writes more than 4 GiB: a classic header of the first frame, all others behind."""
    told = f"ImageJ=1.54f\nimages={SHAPE[0]}\nframes={SHAPE[0]}\nloop=false\n"
    tifffile.imwrite(path, np.zeros(SHAPE[1:], "<u2"), description=told, metadata=None)
    with tifffile.TiffFile(path) as file:
        assert not file.is_bigtiff
        return behind(file.pages[0].dataoffsets[0])


def save_dm4(path):
    holes = np.broadcast_to(np.uint16(0), SHAPE)
    return behind(write_dm(path, holes, version=4, step=20.0, unit="pm", time=0.04))


def save_hspy(path):
    """As one block, which HDF5 gives its place before anything is written into it."""
    small.save_hspy(path)
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    with h5py.File(path, "r+") as file:
        group = file["Experiments/film"]
        del group["data"]
        space = h5py.h5s.create_simple(SHAPE)
        kind = h5py.h5t.py_create(np.dtype("<u2"))
        array = h5py.h5d.create(group.id, b"data", kind, space, properties)
        return behind(array.get_offset())


@pytest.mark.parametrize(
    ("suffix", "save", "save_small"),
    [
        (".npy", save_npy, lambda path: np.save(path, small.FRAMES)),
        (".mrc", save_mrc, small.save_mrc),
        (".tif", save_bigtiff, small.save_imagej),
        (".tif", save_pages, small.save_imagej),
        (".tif", save_imagej, small.save_imagej),
        (".dm4", save_dm4, small.save_dm4),
        (".hspy", save_hspy, small.save_hspy),
    ],
)
def test_frames_beyond_four_gigabytes_are_read_alone(tmp_path, suffix, save, save_small):
    files = [tmp_path / f"{name}{suffix}" for name in ("small", "large")]
    save_small(files[0])
    mark(files[1], save(files[1]))
    facts = files[1].stat()
    assert facts.st_size > 5e9
    if 512 * facts.st_blocks > 1e8:
        files[1].unlink()
        pytest.skip(f"{tmp_path} is on a file system without holes in files")
    done = subprocess.run(
        [sys.executable, "-c", READ, *map(str, files), *map(str, MARKED)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["length"], tuple(told["shape"]), told["notes"]) == (SHAPE[0], SHAPE[1:], [])
    for number in MARKED:
        # The row has the number of its frame, all else is nothing.
        assert told["seen"][str(number)] == [[number + 1], (number + 1) * SHAPE[2]]
    assert told["bytes"] < MOST_BYTES
