from math import erf, exp, log, pi, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ceria_data.distributions import (
    Choice,
    Fixed,
    Integers,
    LogUniform,
    Mixture,
    Normal,
    Uniform,
    draw,
    parse,
    round_to_9_digits,
)

N = 20_000


def draws(form, n=N):
    rng = np.random.Generator(np.random.Philox(11))
    distribution = parse(form)
    return np.array([draw(distribution, rng) for _ in range(n)])


@pytest.mark.parametrize(
    ("form", "mean", "variance"),
    [
        ({"uniform": [-100, -10]}, -55.0, 90**2 / 12),
        ({"integers": [3, 10]}, 6.5, (8**2 - 1) / 12),
        ({"choice": [10, 20]}, 15.0, 25.0),
        ({"choice": {10: 3, 20: 1}}, 12.5, 75 / 4),
        ({"mixture": [{"uniform": [0, 1]}, 5]}, 2.75, None),
    ],
)
def test_draws_have_the_mean_and_variance_of_their_distribution(form, mean, variance):
    values = draws(form)
    assert abs(values.mean() - mean) < 4 * values.std() / sqrt(N)
    if variance is not None:
        assert values.var() == pytest.approx(variance, rel=0.03)


def test_log_uniform_puts_as_much_in_every_decade():
    values = np.log10(draws({"log_uniform": [30, 3000]}))
    share = (values < log(300, 10)).mean()
    assert share == pytest.approx(0.5, abs=4 * 0.5 / sqrt(N))
    assert values.std() == pytest.approx(2 / sqrt(12), rel=0.03)


def test_normal_is_cut_at_three_deviations_with_the_variance_of_a_cut_normal():
    values = draws({"normal": [-9, 2]})
    assert values.min() >= -15
    assert values.max() <= -3
    density = exp(-4.5) / sqrt(2 * pi)
    kept = erf(3 / sqrt(2))
    assert values.std() == pytest.approx(2 * sqrt(1 - 2 * 3 * density / kept), rel=0.03)
    assert parse({"normal": [-9, 2]}).support == (-15.0, -3.0)


def test_weights_of_a_choice_of_words_are_kept():
    values = draws({"choice": {"slab_flat": 2, "cube": 1, "rod": 1}})
    names, counts = np.unique(values, return_counts=True)
    assert dict(zip(names, counts / N, strict=True)) == pytest.approx(
        {"slab_flat": 0.5, "cube": 0.25, "rod": 0.25}, abs=0.02
    )


ranges = st.lists(
    st.floats(-1e4, 1e4, allow_subnormal=False).map(lambda x: round(x, 3)),
    min_size=2,
    max_size=2,
    unique=True,
).map(sorted)
simple = st.one_of(
    st.floats(-1e4, 1e4),
    ranges.map(lambda r: {"uniform": r}),
    ranges.map(lambda r: {"log_uniform": [abs(r[0]) + 1, abs(r[0]) + 1 + r[1] - r[0]]}),
    st.tuples(st.floats(-1e3, 1e3), st.floats(0.001, 1e3)).map(lambda t: {"normal": list(t)}),
    st.tuples(st.integers(-50, 50), st.integers(0, 50)).map(
        lambda t: {"integers": [t[0], t[0] + t[1]]}
    ),
    st.lists(st.integers(-9, 9), min_size=1, unique=True).map(lambda v: {"choice": v}),
    st.dictionaries(st.integers(-9, 9), st.floats(0.01, 9), min_size=1).map(
        lambda v: {"choice": v}
    ),
)
forms = st.one_of(
    simple, st.lists(simple, min_size=1, max_size=3).map(lambda parts: {"mixture": parts})
)


@given(forms, st.floats(0, 1, exclude_max=True))
def test_every_value_lies_in_the_support_and_has_nine_digits(form, u):
    distribution = parse(form)
    value = round_to_9_digits(distribution.at(u))
    assert distribution.support[0] <= value <= distribution.support[-1]
    assert value == float(f"{value:.9g}")


@given(forms)
def test_the_plain_form_reads_back_to_the_same_distribution(form):
    distribution = parse(form)
    assert parse(distribution.plain()) == distribution


@given(forms)
def test_a_draw_uses_exactly_one_uniform_number(form):
    used, counted = (np.random.Generator(np.random.Philox(5)) for _ in range(2))
    draw(parse(form), used)
    counted.random()
    assert used.random() == counted.random()


@given(st.sampled_from([Uniform(-3.0, 8.0), LogUniform(0.1, 9.0), Normal(1.0, 2.0)]))
def test_quantiles_of_a_range_rise_from_end_to_end(distribution):
    values = [distribution.at(u) for u in np.linspace(0, 1, 50)]
    assert values == sorted(values)
    assert (values[0], values[-1]) == pytest.approx(distribution.support, abs=1e-9)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"uniform": [5, 3]}, "reversed"),
        ({"uniform": [5, 5]}, "empty"),
        ({"uniform": [0, float("inf")]}, "not finite"),
        ({"uniform": [1]}, "pair"),
        ({"uniform": 3}, "pair"),
        ({"uniform": [True, 2]}, "not a number"),
        ({"uniform": ["1e3", 2]}, "write 1.0e\\+3"),
        ({"log_uniform": [0, 3]}, "above 0"),
        ({"log_uniform": [9, 3]}, "reversed"),
        ({"normal": [1, 0]}, "above 0"),
        ({"integers": [5, 3]}, "reversed"),
        ({"integers": [1, 2.5]}, "whole"),
        ({"choice": []}, "empty"),
        ({"choice": [1, 1]}, "twice"),
        ({"choice": {"a": 0}}, "above 0"),
        ({"choice": "ab"}, "list of values"),
        ({"mixture": []}, "empty"),
        ({"mixture": 3}, "list of distributions"),
        ({"gaussian": [1, 2]}, "expected one of uniform"),
        ({"uniform": [1, 2], "choice": [1]}, "one key"),
        ({}, "one key"),
        (True, "not a number"),
        (None, "not a number"),
        ([1, 2], "not a number"),
        (float("nan"), "nan"),
        (10**400, "too large"),
    ],
)
def test_forms_without_meaning_are_refused(form, message):
    with pytest.raises(ValueError, match=message):
        parse(form)


def test_one_value_ranges_and_single_values_are_fixed():
    assert parse(3) == Fixed(3)
    assert parse({"integers": [4, 4]}) == Integers(4, 4)
    assert parse({"choice": ["cube"]}) == Choice(("cube",), (1.0,))
    assert Mixture((Fixed(2), Fixed(1))).support == (1, 2)
