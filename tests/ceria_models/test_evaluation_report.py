"""The report is one page that needs nothing else, and says what was measured."""

import re

import pandas as pd
import pytest

from ceria_data.dataset import open_dataset
from ceria_models import evaluation_plots
from ceria_models.efficiency import Efficiency
from ceria_models.evaluation import evaluate
from ceria_models.evaluation_plots import accuracy_png, confusion_png
from ceria_models.evaluation_record import Bound, Figure, VacancyCurve, read_evaluation
from ceria_models.evaluation_report import write_report
from ceria_models.evaluation_rows import in_words
from ceria_models.example import example_of, example_png
from ceria_models.strata import WINDOW, choose_rows
from tests.ceria_models.fake_program import FakeProgram


@pytest.fixture(scope="module")
def test_split():
    return open_dataset("ceria-columns-mini", "test")


@pytest.fixture(scope="module")
def fake(test_split):
    return FakeProgram(test_split, choose_rows(test_split, 6), (300.0,), wrong=0.2, missed=0.1)


@pytest.fixture(scope="module")
def result(test_split, fake):
    found = evaluate(fake, test_split, program="<fake>", doses=(300.0,), images=6)
    curves = [
        VacancyCurve(dose_e_per_A2=dose, species="O", n_vacancies=123, n_others=456,
                     false_rate=[0.0, 0.2, 1.0], true_rate=[0.0, rate, 1.0])
        for dose, rate in ((300.0, 0.4), (1000.0, 0.5), (3000.0, 0.6))
    ]  # fmt: skip
    found = found.model_copy(update={"vacancy_curves": curves})
    return found.with_efficiencies(
        [
            Efficiency("O", "inner", 0.55, 0.4, None, 90, 0.9, 0.94, 3000.0),
            Efficiency("O", "inner", 0.41, 0.2, 0.6, 100, 0.7, 0.8),
        ]
    )


def test_the_page_is_self_contained_and_complete(result, test_split, fake, tmp_path):
    example = example_of(fake, test_split[int(choose_rows(test_split, 6)[0])], 300.0)
    bound = Bound(
        axis="all", label="all", dose_e_per_A2=300.0, species="Ce", n=50, ceiling=0.96,
        ceiling_error=0.01, flat=0.91, prior=0.75, program=0.72, program_low=0.68,
        program_high=0.77, share=0.75, share_low=0.7, share_high=0.8, position_pm=2.34,
        program_position_pm=3.45,
    )  # fmt: skip
    result = result.model_copy(update={"bounds": [bound]})
    page = write_report(result, tmp_path / "new", examples=[example], beside=[result])
    text = page.read_text(encoding="utf-8")
    sources = re.findall(r'src="([^"]{0,30})', text)
    assert len(sources) == 6
    assert all(source.startswith("data:image/png;base64") for source in sources)
    assert "<fake>" not in text
    assert "&lt;fake&gt;" in text
    assert "0.41 (0.20 to 0.60)" in text
    free, fixed = (" ".join(row.split()) for row in re.findall("<tr><td>O</td><td>inner.*", text))
    assert "<td>chosen, d′ 1 to 2</td><td>0.41 (0.20 to 0.60)</td><td>0.700</td>" in free
    assert "<td>3000 e⁻/Å²</td><td>0.55 (0.40 and more)</td><td>0.900</td><td>0.940</td>" in fixed
    whole = result.figure("exact", "Ce", 300.0).value / 0.96
    for cell in ("0.720 (0.680 to 0.770)", "0.960 ± 0.010", "0.75 (0.70 to 0.80)", "0.910",
                 "3.5</td><td>2.3", f"{whole:.2f}"):  # fmt: skip
        assert f"<td>{cell}</td>" in text
    window = result.figure("exact", "Ce", 300.0, axis="defocus_A", label=WINDOW)
    for words in ("0.41 (0.20 to 0.60)", "not measured", in_words(window)):
        assert f"</th><td>{words}</td>" in text  # the primary figures
    exact = result.figure("exact", "Ce", 300.0)
    assert f"{exact.value:.3f} ({exact.low:.3f} to {exact.high:.3f})" in text
    assert read_evaluation(tmp_path / "new" / "evaluation.json") == result


def test_what_does_not_belong_together_is_refused(result, tmp_path):
    other = result.model_copy(update={"split": "validation"})
    with pytest.raises(ValueError, match=r"expected ceria-columns-mini 1\.0\.0, test"):
        write_report(result, tmp_path, beside=[other])
    with pytest.raises(ValueError, match=r"not measured at 30\.0"):
        confusion_png(result, 30.0)


def test_examples_show_true_and_false_columns_at_their_places(test_split, fake):
    sample = test_split[int(choose_rows(test_split, 6)[0])]

    def with_a_false_one(counts, sampling):
        found = fake(counts, sampling)
        false = found.iloc[:1].assign(x_A=1.0, y_A=24.0, species="Ce")
        return pd.concat([found, false], ignore_index=True)

    example = example_of(with_a_false_one, sample, 300.0)
    false = example.matches[example.matches["true_count"] == 0]
    assert ((false["x_A"] == 1.0) & (false["y_A"] == 24.0)).any()
    assert example.matches[["x_A", "y_A"]].notna().all().all()
    assert example_png(example).startswith(b"\x89PNG")


def test_pictures_are_the_same_every_time(result):
    assert accuracy_png(result) == accuracy_png(result)


def drawn(monkeypatch, result, beside=()):
    """Draw the curves of vacancies; the figure itself."""
    figures = []
    monkeypatch.setattr(evaluation_plots, "png_of", figures.append)
    evaluation_plots.vacancies_png(result, beside)
    return figures[0]


def test_curves_of_vacancies_are_drawn_at_high_doses(monkeypatch, result):
    area = Figure(
        axis="all", label="all", dose_e_per_A2=3000.0, species="O", metric="vacancy_auc",
        unit="", value=0.777, low=0.71, high=0.82, n=579,
    )  # fmt: skip
    result = result.model_copy(update={"figures": [*result.figures, area]})
    cerium, oxygen = drawn(monkeypatch, result, [result]).axes
    assert cerium.get_title() == "Ce: not measured"
    assert oxygen.get_title() == "O: 123 columns with a vacancy, 456 without"
    guess, *curves = oxygen.get_lines()
    assert [line.get_ydata()[1] for line in curves] == [0.5, 0.6, 0.5, 0.6]
    assert [line.get_linestyle() for line in curves] == ["-", "-", "--", "--"]
    assert list(guess.get_xdata()) == list(guess.get_ydata())
    labels = [text.get_text() for text in oxygen.get_legend().get_texts()]
    assert labels[0] == "<fake>, 1000 e⁻/Å²: AUC –"
    assert labels[1] == "<fake>, 3000 e⁻/Å²: AUC 0.78 (0.71 to 0.82)"


def test_without_high_doses_the_highest_is_drawn(monkeypatch, result):
    for dose, words in ((300.0, "300 e⁻/Å²"), (None, "stored counts")):
        curves = [result.vacancy_curves[0].model_copy(update={"dose_e_per_A2": dose})]
        one = result.model_copy(update={"vacancy_curves": curves})
        labels = drawn(monkeypatch, one).axes[1].get_legend().get_texts()
        assert [text.get_text() for text in labels] == [f"<fake>, {words}: AUC –"]


def test_other_pixels_and_cameras_are_named_and_not_mixed(result, tmp_path):
    settings = {"pixel_size_A": 0.1, "dataset_pixel_size_A": 0.2,
                "camera": {"kind": "integrating", "gain": 10.0}}  # fmt: skip
    fine = result.model_copy(update={"settings": settings})
    text = write_report(fine, tmp_path).read_text("utf-8")
    assert "ceria-columns-mini 1.0.0, test, pixels of 0.1 Å, integrating camera:" in text
    with pytest.raises(ValueError, match=r"test; expected .*, test, pixels of 0.1 Å, integrating"):
        write_report(fine, tmp_path, beside=[result])
