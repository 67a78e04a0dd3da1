import numpy as np
import pytest

from ceria_data.digest import content_leaf, labels_leaf, root_digest, table_bytes
from ceria_data.schema import COLUMNS, SAMPLES, SUPPORT
from ceria_data.store import frame

ROW = {"structure": 0, "x_A": 1.23456, "y_A": 2.0, "z_A": float("nan")}


def support(**changes):
    return frame([ROW | changes], SUPPORT)


def test_a_coordinate_counts_in_steps_of_a_ten_thousandth():
    assert table_bytes(support(), SUPPORT) == table_bytes(support(x_A=1.23456 + 1e-9), SUPPORT)
    assert table_bytes(support(), SUPPORT) != table_bytes(support(x_A=1.23476), SUPPORT)


def test_nan_differs_from_every_number():
    assert table_bytes(support(), SUPPORT) != table_bytes(support(z_A=0.0), SUPPORT)


def test_a_drawn_parameter_counts_at_nine_digits():
    row = {
        c.name: 0 if c.dtype == "int64" else "a" if c.dtype == "str" else 1.0
        for c in SAMPLES.columns
    }
    one = frame([row], SAMPLES)
    close = frame([row | {"defocus_A": 1.0 + 1e-12}], SAMPLES)
    other = frame([row | {"defocus_A": 1.0 + 1e-8}], SAMPLES)
    assert table_bytes(one, SAMPLES) == table_bytes(close, SAMPLES)
    assert table_bytes(one, SAMPLES) != table_bytes(other, SAMPLES)


def test_rows_cannot_slide_between_tables():
    one, two = frame([ROW], SUPPORT), frame([], SUPPORT)
    assert labels_leaf([(one, SUPPORT), (two, SUPPORT)]) != labels_leaf(
        [(two, SUPPORT), (one, SUPPORT)]
    )


def test_a_missing_column_is_an_error():
    with pytest.raises(KeyError, match="y_A"):
        table_bytes(support().drop(columns="y_A"), SUPPORT)


@pytest.mark.parametrize("change", ["value", "shape", "dtype"])
def test_pixels_count_with_value_shape_and_type(change):
    pixels = np.arange(6, dtype="<u2").reshape(2, 3)
    other = {
        "value": pixels + np.uint16(1),
        "shape": pixels.reshape(3, 2),
        "dtype": pixels.astype("<u4"),
    }[change]
    assert content_leaf("a", pixels) != content_leaf("a", other)


def test_byte_order_does_not_count():
    pixels = np.arange(6, dtype="<u2")
    assert content_leaf("a", pixels) == content_leaf("a", pixels.astype(">u2"))


def test_the_order_of_structures_counts():
    assert root_digest(["a", "b"]) != root_digest(["b", "a"])


def test_columns_have_unique_names():
    names = [column.name for column in COLUMNS.columns]
    assert len(set(names)) == len(names)
