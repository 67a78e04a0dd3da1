"""Memory of a film that is predicted: the same for ten frames and for many."""

import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from ceria_data.errors import FilmError
from ceria_data.film import open_film
from ceria_models.film_frames import frames_of
from ceria_models.film_staging import FilmStaging
from ceria_models.film_writing import FrameRows, write_streamed

STATUS = Path("/proc/self/status")
needs_linux = pytest.mark.skipif(
    not STATUS.exists() or "RssAnon" not in STATUS.read_text(), reason="needs Linux"
)


def mapped_bytes():
    """Pages of files that count as memory of this process."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("RssFile"))
    return 1024 * int(line.split()[1])


@needs_linux
def test_frames_that_were_read_from_a_file_do_not_stay(tmp_path):
    file, size = tmp_path / "film.npy", 64 << 20
    np.save(file, np.ones((size >> 17, 256, 256), dtype=np.uint16))
    film = open_film(file)
    next(frames_of(film, 0, 1))
    before = mapped_bytes()
    assert sum(int(image[0, 0]) for _, image in frames_of(film)) == len(film)
    assert mapped_bytes() - before < size / 4


def test_a_file_that_became_shorter_is_an_error_and_no_crash(tmp_path):
    file = tmp_path / "film.npy"
    np.save(file, np.ones((4, 16, 16), dtype=np.uint16))
    film = open_film(file)
    file.write_bytes(file.read_bytes()[:-600])
    assert film.frames(0, 2).shape == (2, 16, 16)
    with pytest.raises(FilmError, match="is it whole"):
        film.frames(2, 4)
    assert film.frames(1, 1).shape == (0, 16, 16)


def table_of(frame, rows):
    rng = np.random.default_rng(frame)
    return pd.DataFrame(
        {
            "frame": np.full(rows, frame),
            "species": pd.array(rng.choice(["Ce", "O"], rows), dtype="str"),
            "x_A": rng.normal(size=rows),
            "p_0": rng.normal(size=rows).astype(np.float32),
        }
    )


def test_rows_of_frames_are_the_tables_joined():
    """More rows than expected, none in some frames, and a type for each column."""
    tables = [table_of(frame, rows) for frame, rows in enumerate((5, 0, 9, 40, 1))]
    rows = FrameRows(tables[0][:0], 6)
    for table in tables:
        rows.add(table)
    joined = pd.concat([t for t in tables if len(t)], ignore_index=True)
    pd.testing.assert_frame_equal(rows.table(), joined, check_exact=True)
    pd.testing.assert_frame_equal(FrameRows(tables[0][:0], 0).table(), tables[0][:0])


def test_rows_of_frames_are_kept_in_one_piece():
    """Pieces between the arrays of the net would leave what it frees in pieces."""
    rows = FrameRows(table_of(0, 0), 2000)
    rows.add(table_of(0, 40))
    tracemalloc.start()
    try:
        for frame in range(1, 50):
            rows.add(table_of(frame, 40))
        traces = tracemalloc.take_snapshot().traces
        kept = [one for one in traces if one.size > 150]
    finally:
        tracemalloc.stop()
    assert len(kept) < 49
    assert len(rows.table()) == 2000


def test_files_list_the_values_that_repeat_and_no_measured_ones(tmp_path):
    table = table_of(0, 500)
    write_streamed(tmp_path / "streamed.parquet", [table])
    staging = FilmStaging(tmp_path / "film")
    staging.begin({}, overwrite=False)
    staging.write_table("written.parquet", table)
    for file in (tmp_path / "streamed.parquet", staging.file("written.parquet")):
        group = pq.read_metadata(file).row_group(0)
        columns = [group.column(i) for i in range(group.num_columns)]
        listed = {one.path_in_schema for one in columns if one.has_dictionary_page}
        assert listed == {"frame", "species"}
        pd.testing.assert_frame_equal(pd.read_parquet(file), table, check_exact=True)


PREDICT = """
import sys
from pathlib import Path
import numpy as np
import torch
from ceria_models import DEFAULT
from ceria_models.film_source import open_source
from ceria_models.prediction_run import PredictionSettings, run_prediction
from tests.ceria_models.make_film import film_of, intensity, line

torch.set_num_threads(1)
folder, seen = Path(sys.argv[1]), []

def tell(unit, done, total, reused):
    if unit == "frames" and done in (10, 200):
        lines = Path("/proc/self/status").read_text().splitlines()
        own = next(line for line in lines if line.startswith("RssAnon"))
        seen.append(int(own.split()[1]) // 1024)

np.save(folder / "film.npy", film_of(intensity(), line(10, 1.0, 0.5)).repeat(20, axis=0))
wanted = PredictionSettings(DEFAULT, pictures=0, force=True)
source = open_source(folder / "film.npy", frame_time_s=0.1)
run_prediction(source, 0.2, folder / "out", wanted, tell=tell)
print(seen[1] - seen[0])
"""


@pytest.mark.slow
@needs_linux
def test_a_process_does_not_grow_with_the_frames_of_a_chunk(tmp_path):
    """In MiB, all of it but mapped files, with the net that comes with the program."""
    command = [sys.executable, "-c", PREDICT, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 15  # tables of frames, kept one by one, made it 40
