r"""What is asked of the default net, and what it reaches, as a table for docs/models.md.

    EVALUATE="ceria-models evaluate MODEL DATASET --split test"
    $EVALUATE --images 150 --ceiling CEILING --baseline --stability 2 --pairs 60 \
        --pair-dose 1000 --pair-dose 3000 --out FOLDER/test
    for A in 0.06 0.1 0.2; do
        $EVALUATE --images 60 --pairs 0 --pixel-size $A --out FOLDER/pixel-$A
    done
    python benchmarks/targets.py FOLDER

Figures come from the evaluation files only. Where nothing else is said they are of images of 50 to
90 Å overfocus.
"""

import argparse
from pathlib import Path

from ceria_models.evaluation_record import read_evaluation
from ceria_models.strata import WINDOW

INSIDE = {"axis": "defocus_A", "label": WINDOW}
FIGURES = (
    ("Ce detection F1", "f1", "Ce", (100.0, 300.0, 1000.0, 3000.0), 0.97, True),
    ("Ce calibration error", "calibration_error", "Ce", (100.0, 300.0, 1000.0), 0.03, False),
    ("Ce position, rms per axis [pm]", "position_rms", "Ce", (1000.0,), 5.0, False),
    ("O columns with a vacancy (AUC)", "vacancy_auc", "O", (1000.0, 3000.0), None, True),
)


def row(what, asked, figure, digits=3):
    """Make a row; whether it is met is decided by the value, not by its interval."""
    value, low, high = figure
    if value is None:
        return [what, asked or "", "not measured", ""]
    found = f"{value:.{digits}f}"
    if low is not None and high is not None:
        found += f" ({low:.{digits}f} to {high:.{digits}f})"
    return [what, asked or "", found, ""]


def judged(cells, value, limit, more_is_better):
    """Say whether a limit is kept."""
    if limit is not None and value is not None:
        cells[-1] = "yes" if (value >= limit) == more_is_better or value == limit else "no"
    return cells


def shares(found):
    """Compare counts with the ceiling, on the columns of the ceiling."""
    for dose, limit in ((100.0, 0.85), (300.0, 0.93)):
        for one in found.bounds:
            if (one.axis, one.label) == (INSIDE["axis"], INSIDE["label"]) and (
                one.species,
                one.dose_e_per_A2,
            ) == ("Ce", dose):
                what = f"Ce exact over the ceiling of {one.ceiling:.3f}, {dose:g} e⁻/Å²"
                cells = row(what, f"≥ {limit}", (one.share, one.share_low, one.share_high))
                yield judged(cells, one.share, limit, True)


def figures(found):
    """List figures that have a limit."""
    for what, metric, species, doses, limit, more in FIGURES:
        for dose in doses:
            one = found.figure(metric, species, dose, **INSIDE)
            if one is None:
                continue
            asked = None if limit is None else f"{'≥' if more else '≤'} {limit:g}"
            digits = 1 if one.unit == "pm" else 3
            cells = row(f"{what}, {dose:g} e⁻/Å²", asked, (one.value, one.low, one.high), digits)
            yield judged(cells, one.value, limit, more)


def positions(found):
    """Put positions beside their bound."""
    for one in found.bounds:
        if (one.label, one.species, one.dose_e_per_A2) == (WINDOW, "Ce", 1000.0):
            reached = (one.program_position_pm, None, None)
            what = f"the same, median, beside the Cramér-Rao bound of {one.position_pm:.1f} pm"
            yield row(what, None, reached, 1)


def efficiencies(found):
    """Show the paired test, all defoci."""
    for one in found.efficiencies:
        at = "" if one.dose_e_per_A2 is None else f" at {one.dose_e_per_A2:g} e⁻/Å²"
        limit = 0.5 if one.species == "Ce" and not at else None
        cells = row(
            f"η, {one.species}, {one.case.replace('_', ' ')} atom{at} ({one.pairs} pairs)",
            None if limit is None else f"≥ {limit}",
            (one.efficiency, one.low, one.high),
            2,
        )
        yield judged(cells, one.efficiency, limit, True)


def baseline(found, other):
    """Count the parts of the test set where the net counts better than the classical baseline."""
    better, parts, worst = 0, 0, ""
    for one in found.figures:
        if one.metric != "exact" or one.value is None:
            continue
        where = {"axis": one.axis, "label": one.label}
        beside = other.figure("exact", one.species, one.dose_e_per_A2, **where)
        if beside is not None and beside.value is not None:
            parts += 1
            better += one.value > beside.value
            if one.value <= beside.value:
                worst = f"; not {one.species} {one.axis} {one.label}, {one.dose_e_per_A2:g} e⁻/Å²"
    cells = ["more exact counts than the baseline", "everywhere"]
    return [
        *cells,
        f"{better} of {parts} parts, species and doses{worst}",
        ["no", "yes"][better == parts],
    ]


def pixels(folder):
    """Compare counts on other pixels with those of 0.2 Å."""
    own = read_evaluation(folder / "pixel-0.2" / "evaluation.json")
    for size in ("0.06", "0.1"):
        other = read_evaluation(folder / f"pixel-{size}" / "evaluation.json")
        for dose in (100.0, 300.0, 1000.0):
            pair = [one.figure("exact", "Ce", dose, **INSIDE) for one in (other, own)]
            if None in pair:
                continue
            points = 100 * (pair[0].value - pair[1].value)
            cells = [
                f"Ce exact at {size} Å, less that at 0.2 Å, {dose:g} e⁻/Å²",
                "within 2 points",
                f"{points:+.1f} points",
                "yes" if abs(points) <= 2 else "no",
            ]
            yield cells


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    found = read_evaluation(folder / "test" / "evaluation.json")
    rows = [*shares(found), *figures(found), *positions(found), *efficiencies(found)]
    beside = folder / "test" / "baseline.json"
    if beside.is_file():
        rows.append(baseline(found, read_evaluation(beside)))
    if (folder / "pixel-0.2").is_dir():
        rows += pixels(folder)
    print("| what | asked | reached | met |\n|---|---|---|---|")
    for cells in rows:
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
