"""Figures of an evaluation in words, for pages and cards."""

from collections.abc import Sequence

from ceria_data.schema import SPECIES
from ceria_models.evaluation_record import Evaluation, Figure

MISSING = "–"
_CHOSEN = "chosen, d′ 1 to 2"
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


def dose_words(dose: float | None) -> str:
    """Write a dose, as the head of a column.

    Parameters
    ----------
    dose : float or None
        e-/Å².

    Returns
    -------
    str

    Examples
    --------
    >>> dose_words(300.0), dose_words(None)
    ('300 e⁻/Å²', 'stored counts')
    """
    return "stored counts" if dose is None else f"{dose:g} e⁻/Å²"


def place_words(evaluation: Evaluation) -> str:
    """Name what was measured on: dataset, version and `images_words`."""
    return f"{evaluation.dataset} {evaluation.version}, {images_words(evaluation)}"


def images_words(evaluation: Evaluation) -> str:
    """Name the split, and pixel size and camera where they are not the dataset's.

    Parameters
    ----------
    evaluation : Evaluation

    Returns
    -------
    str
    """
    words = [evaluation.split]
    otherwise = evaluation.recorded_otherwise()
    if "pixel_size_A" in otherwise:
        words.append(f"pixels of {otherwise['pixel_size_A']:g} Å")
    if "camera" in otherwise:
        words.append(f"{otherwise['camera']['kind']} camera")
    return ", ".join(words)


def in_words(figure: Figure | None, places: int = 3) -> str:
    """Write a figure with its 95 % interval.

    Parameters
    ----------
    figure : Figure or None
    places : int
        Behind the point; of pm there is always one.

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
    places = 1 if figure.unit == "pm" else places
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


def efficiency_rows(evaluation: Evaluation) -> list[list[str]]:
    """Put the results of the paired test in words.

    Parameters
    ----------
    evaluation : Evaluation

    Returns
    -------
    list of list of str
        Species, atom, dose, efficiency with its interval, share named rightly by the program
        and by the best possible observer, pairs. By species and atom; the doses ascend, and the
        pairs whose dose was chosen come first.
    """
    ordered = sorted(
        evaluation.efficiencies, key=lambda one: (one.species, one.case, one.dose_e_per_A2 or 0.0)
    )
    return [
        [
            one.species,
            one.case.replace("_", ", "),
            _CHOSEN if one.dose_e_per_A2 is None else dose_words(one.dose_e_per_A2),
            one.in_words(),
            f"{one.right:.3f}",
            f"{one.best:.3f}",
            str(one.pairs),
        ]
        for one in ordered
    ]
