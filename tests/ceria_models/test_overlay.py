"""The overlay says in words and signs what was found, and how surely."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from ceria_models.overlay import draw_overlay


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Draw, and return the figure that was saved."""
    figures = []
    real = Figure.savefig

    def watched(self, *args, **options):
        figures.append(self)
        return real(self, *args, **options)

    monkeypatch.setattr(Figure, "savefig", watched)

    def draw(columns, shape=(60, 80)):
        image = np.random.default_rng(0).poisson(8, shape)
        draw_overlay(image, columns, 0.2, "a title", tmp_path / "overlay.png")
        assert (tmp_path / "overlay.png").read_bytes().startswith(b"\x89PNG")
        return figures[-1]

    return draw


def columns(**more):
    facts = {"species": ["Ce", "Ce", "O"], "x_A": [3.0, 7.0, 5.0], "y_A": [4.0, 4.0, 6.0],
             "occupancy": [7, 12, 5]}  # fmt: skip
    return pd.DataFrame(facts | more)


def marks(axis):
    """Texts with a disc: the counts."""
    return {text.get_text(): text for text in axis.texts if text.get_bbox_patch() is not None}


def test_every_column_has_its_count_at_its_place(drawn):
    figure = drawn(columns(confidence=[0.9, 0.3, 0.8]))
    cerium, oxygen = marks(figure.axes[1]), marks(figure.axes[2])
    assert set(cerium) == {"7", "12"}
    assert cerium["12"].get_position() == (7.0, 4.0)
    assert set(oxygen) == {"5"}
    assert figure.axes[1].get_title().startswith("Ce: atoms in each of 2 columns")
    assert "mean confidence 0.60" in figure.axes[1].get_title()


def test_an_unsure_count_is_hollow_and_the_legend_says_so(drawn):
    figure = drawn(columns(confidence=[0.9, 0.3, 0.8]))
    cerium = marks(figure.axes[1])
    discs = {count: text.get_bbox_patch() for count, text in cerium.items()}
    assert discs["7"].get_facecolor() == discs["7"].get_edgecolor()
    assert discs["12"].get_facecolor() != discs["12"].get_edgecolor()
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == [
        "filled: confidence 0.5 or more", "hollow: below 0.5, the count may well be another"
    ]  # fmt: skip


def test_without_confidence_nothing_is_said_of_it(drawn):
    figure = drawn(columns())
    assert not figure.legends
    assert "confidence" not in figure.axes[1].get_title()


def test_only_the_first_panel_has_a_scale_bar_which_would_hide_columns(drawn):
    figure = drawn(columns())
    bars = [any(t.get_text().endswith(" nm") for t in axis.texts) for axis in figure.axes[:3]]
    assert bars == [True, False, False]


@pytest.mark.parametrize("shape", [(40, 400), (400, 40), (512, 512)])
def test_discs_of_neighbours_do_not_touch(drawn, shape):
    """A disc is narrower than the 1.9 Å between O columns, the nearest of one species."""
    figure = drawn(columns(occupancy=[7, 9, 5]), shape)
    figure.canvas.draw()
    per_a = figure.axes[1].transData.transform([[1.0, 0.0], [0.0, 0.0]])
    pixels = abs(per_a[0, 0] - per_a[1, 0])
    wide = [t.get_bbox_patch().get_window_extent().width for t in marks(figure.axes[2]).values()]
    assert max(wide) < max(1.9 * pixels, 12)


def test_nothing_found_is_drawn_too(drawn):
    figure = drawn(columns(confidence=0.5).iloc[:0])
    assert figure.axes[2].get_title().startswith("O: atoms in each of 0 columns")
    assert not figure.legends


def test_a_picture_has_no_more_pixels_than_dots_but_all_of_the_field(drawn):
    figure = drawn(columns(), shape=(2500, 3700))
    (shown,) = figure.axes[1].images
    assert shown.get_size() == (833, 1233)
    assert shown.get_extent() == pytest.approx([-0.1, 739.7, 499.7, -0.1])
    assert marks(figure.axes[1])["12"].get_position() == (7.0, 4.0)
