"""Figures of an evaluation in words, for pages and cards."""

from collections.abc import Sequence

from ceria_data.schema import SPECIES
from ceria_models.evaluation_record import Evaluation, Figure

MISSING = "–"
_WORDS = {
    "recall": "columns found (recall)",
    "precision": "reported columns that are there (precision)",
    "f1": "detection F1",
    "exact": "exact count",
    "within_one": "count within ±1",
    "prior_exact": "exact count from the neighbours alone",
    "macro_f1": "macro-F1 over counts",
    "position_rms": "position, rms per axis",
    "depth_rms": "mean depth, rms",
    "calibration_error": "calibration error",
    "vacancy_auc": "columns with a vacancy told from others (AUC)",
    "stability": "spread of a count over noise draws",
    "volume_iou": "3D volume (IoU)",
    "volume_iou_of_truth": "3D volume from true counts and depths (IoU)",
}


def in_words(figure: Figure | None) -> str:
    """Write a figure with its 95 % interval.

    Parameters
    ----------
    figure : Figure or None

    Returns
    -------
    str
        A dash where nothing was measured.

    Examples
    --------
    >>> in_words(None)
    '–'
    """
    if figure is None or figure.value is None:
        return MISSING
    places = 1 if figure.unit == "pm" else 3
    text = f"{figure.value:.{places}f}"
    if figure.low is not None and figure.high is not None:
        text += f" ({figure.low:.{places}f} to {figure.high:.{places}f})"
    return text


def rows_by_dose(
    evaluation: Evaluation, doses: Sequence[float | None]
) -> list[tuple[str, str, list[str]]]:
    """Put figures of the whole test set in words.

    Parameters
    ----------
    evaluation : Evaluation
    doses : sequence of float or None
        e-/Å²; None for stored counts.

    Returns
    -------
    list of (str, str, list of str)
        Species, name of the figure with its unit, a cell for each dose. Figures that were
        measured at no dose are left out.
    """
    rows = []
    for species in (*SPECIES, "both"):
        for metric, words in _WORDS.items():
            found = [evaluation.figure(metric, species, dose) for dose in doses]
            if not any(found):
                continue
            unit = next(one.unit for one in found if one is not None)
            name = f"{words} [{unit}]" if unit else words
            rows.append((species, name, [in_words(one) for one in found]))
    return rows
