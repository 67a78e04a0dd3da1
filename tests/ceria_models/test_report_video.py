"""The film as an mp4: what any player shows is what the GIF shows."""

import json
import sys
from itertools import islice

import av
import numpy as np
import pytest
from PIL import Image

from ceria_data.errors import OutputError
from ceria_models import report_run, report_video
from ceria_models.report_run import Wishes, run_report
from ceria_models.report_video import write_mp4
from tests.ceria_models.command import run
from tests.ceria_models.film_folder import Script, make_folder


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    """Pictures of matplotlib take most of the time of a small report."""
    for name in ("kymograph_png", "timeline_png"):
        monkeypatch.setattr(report_run, name, lambda *_: b"")
    monkeypatch.setattr(report_run, "draw_overlay", lambda *a, **k: a[4].write_bytes(b""))


def decoded(file):
    """Facts of a film, and its pictures, (picture, y, x, colour)."""
    with av.open(file) as container:
        (stream,) = container.streams
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        context = stream.codec_context
        facts = {
            "codec": context.name, "pixels": context.pix_fmt, "size": (stream.width, stream.height),
            "rate": stream.average_rate, "frames": stream.frames, "colours": context.colorspace,
            "seconds": float(stream.duration * stream.time_base),
        }  # fmt: skip
    return facts, np.stack(frames).astype(int)


def ramps(shape, n, step=30):
    """Pictures of smooth colours that differ from each other."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    for k in range(n):
        colours = 255 * y / shape[0], 255 * x / shape[1], np.full(shape, step * k)
        yield Image.fromarray(np.stack(colours, -1).astype(np.uint8))


def test_the_video_shows_what_the_gif_shows(tmp_path):
    made = make_folder(tmp_path)
    run_report(made, Wishes(video=True))
    facts, pictures = decoded(made / "pictures" / "film.mp4")
    assert facts == {
        "codec": "h264", "pixels": "yuv420p", "size": (480, 480), "rate": 10, "frames": 24,
        "colours": 1, "seconds": 2.4,
    }  # fmt: skip
    gif = []
    with Image.open(made / "pictures" / "film.gif") as film:
        for k in range(film.n_frames):
            film.seek(k)
            gif.append(np.asarray(film.convert("RGB")).astype(int))
    assert pictures.shape == np.shape(gif)
    apart = np.abs(pictures - gif).mean((1, 2, 3))
    assert apart.max() < 4
    # And not of the picture before or after: the particle drifts, and the time is written.
    assert (np.abs(pictures[1:] - gif[:-1]).mean((1, 2, 3)) > apart[1:] + 1).all()


@pytest.mark.parametrize("shape", [(241, 321), (240, 321), (33, 64), (65, 63)])
def test_odd_sizes_get_one_more_row_or_column(tmp_path, shape):
    write_mp4(ramps(shape, 3), tmp_path / "film.mp4", 25)
    facts, pictures = decoded(tmp_path / "film.mp4")
    height, width = (n + n % 2 for n in shape)
    assert facts["size"] == (width, height)
    assert (facts["rate"], facts["frames"]) == (25, 3)
    for picture, wanted in zip(pictures, ramps(shape, 3), strict=True):
        own = picture[: shape[0], : shape[1]]
        assert np.abs(own - np.asarray(wanted)).mean() < 4
        assert np.abs(picture[-1] - picture[shape[0] - 1]).max() < 8
        assert np.abs(picture[:, -1] - picture[:, shape[1] - 1]).max() < 8


def test_a_film_of_one_frame(tmp_path):
    made = make_folder(tmp_path, Script(frames=1, events=()))
    run_report(made, Wishes(animation=False, video=True))
    facts, pictures = decoded(made / "pictures" / "film.mp4")
    assert (facts["frames"], len(pictures)) == (1, 1)
    assert not (made / "pictures" / "film.gif").exists()


def test_the_command_writes_a_video_when_asked(monkeypatch, capsys, tmp_path):
    made = make_folder(tmp_path, Script(frames=3, events=()))
    code, out, _ = run(monkeypatch, capsys, "report", made, "--mp4", "--json")
    assert code == 0
    assert str(made / "pictures" / "film.mp4") in json.loads(out)["pictures"]
    code, *_ = run(monkeypatch, capsys, "report", made, "--overwrite", "--quiet")
    assert code == 0
    assert not (made / "pictures" / "film.mp4").exists()


def stopped(pictures, after):
    """The first pictures, then Ctrl-C."""
    yield from islice(pictures, after)
    raise KeyboardInterrupt


def test_nothing_is_left_of_a_video_that_was_stopped(tmp_path):
    # The encoder writes after it has seen some 50 pictures.
    parts = []
    with pytest.raises(KeyboardInterrupt):
        write_mp4(watched(stopped(ramps((64, 64), 99, 1), 90), tmp_path, parts),
                  tmp_path / "film.mp4", 10)  # fmt: skip
    assert parts[-1]
    assert not list(tmp_path.iterdir())
    (tmp_path / "film.mp4").write_bytes(b"earlier")
    with pytest.raises(KeyboardInterrupt):
        write_mp4(stopped(ramps((64, 64), 99, 1), 90), tmp_path / "film.mp4", 10)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"earlier"]


def watched(pictures, folder, seen):
    """The same pictures; what the folder holds before each is added to `seen`."""
    for picture in pictures:
        seen.append([file.name for file in folder.iterdir()])
        yield picture


def test_a_stopped_report_leaves_the_earlier_one(monkeypatch, tmp_path):
    made = make_folder(tmp_path, Script(frames=4, events=()))
    run_report(made, Wishes(video=True))
    before = {file: file.read_bytes() for file in made.rglob("*") if file.is_file()}
    whole = report_run.write_mp4
    monkeypatch.setattr(report_run, "write_mp4", lambda own, *rest: whole(stopped(own, 2), *rest))
    with pytest.raises(KeyboardInterrupt):
        run_report(made, Wishes(video=True), overwrite=True)
    assert {file: file.read_bytes() for file in made.rglob("*") if file.is_file()} == before


def test_without_its_extra_no_frame_is_drawn(monkeypatch, capsys, tmp_path):
    made = make_folder(tmp_path, Script(frames=2, events=()))
    before = sorted(made.rglob("*"))
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.setattr(report_run, "show_frames", lambda *_, **__: pytest.fail("drawn"))
    code, _, err = run(monkeypatch, capsys, "report", made, "--mp4")
    assert code == 2
    assert "pip install 'ceria[video]'" in " ".join(err.split())
    assert sorted(made.rglob("*")) == before


def test_a_build_without_the_encoder_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(report_video, "_ENCODER", "no_such_encoder")
    with pytest.raises(OutputError, match=r"built without no_such_encoder.*--only-binary av av"):
        write_mp4(ramps((8, 8), 1), tmp_path / "film.mp4", 10)
    assert not list(tmp_path.iterdir())
