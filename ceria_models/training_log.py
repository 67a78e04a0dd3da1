"""The log of a training: two tables, their curve, and TensorBoard for those who have it."""

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ceria_data.errors import MissingExtraError
from ceria_models.training import Progress

LOG = "log.csv"
VALIDATION = "validation.csv"
CURVE = "curve.png"
TENSORBOARD = "tensorboard"


class TrainingLog:
    """Appends what happens in a training to tables in its folder.

    Parameters
    ----------
    folder : Path
    start : int
        Steps done; rows after it belong to work that is done again, and go.
    tensorboard : bool
        Write for TensorBoard too.

    Raises
    ------
    MissingExtraError
        If TensorBoard is wanted and not installed.
    """

    def __init__(self, folder: Path, start: int, *, tensorboard: bool = False) -> None:
        self.folder = folder
        self._writer: Any = None
        for name in (LOG, VALIDATION):
            file = folder / name
            if file.is_file():
                table = pd.read_csv(file)
                table[table["step"] <= start].to_csv(file, index=False)
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError as error:
                raise MissingExtraError("--tensorboard", "train", "tensorboard") from error
            self._writer = SummaryWriter(str(folder / TENSORBOARD), purge_step=start + 1)

    def last_validation(self) -> dict[str, float]:
        """Give the figures of the last validation; none before the first."""
        file = self.folder / VALIDATION
        table = pd.read_csv(file) if file.is_file() else pd.DataFrame()
        if not len(table):
            return {}
        return {str(k): float(v) for k, v in table.iloc[-1].items() if k != "step"}

    def add_progress(self, progress: Progress) -> None:
        """Add a row to the log."""
        losses = {f"loss/{name}": value for name, value in progress.loss.items()}
        figures = {
            "learning_rate": progress.learning_rate,
            "crops_per_s": progress.crops_per_s,
            "waiting": progress.waiting,
        }
        self._add(LOG, progress.step, losses | figures)

    def add_validation(self, step: int, figures: dict[str, float]) -> None:
        """Add a row to the validation table, and draw the curve again."""
        self._add(VALIDATION, step, figures)
        draw_curve(self.folder)

    def close(self) -> None:
        """Finish writing."""
        if self._writer is not None:
            self._writer.close()

    def _add(self, name: str, step: int, figures: dict[str, float]) -> None:
        file = self.folder / name
        row = pd.DataFrame([{"step": step, **figures}])
        row.to_csv(file, mode="a", header=not file.is_file(), index=False, float_format="%.6g")
        if self._writer is not None:
            for key, value in figures.items():
                self._writer.add_scalar(key, value, step)


def draw_curve(folder: Path) -> None:
    """Draw loss and validation figures against the steps.

    Parameters
    ----------
    folder : Path
        Of a training.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    if (folder / LOG).is_file():
        log = pd.read_csv(folder / LOG)
        for name in [name for name in log if str(name).startswith("loss/")]:
            smooth = log[name].rolling(max(len(log) // 50, 1), min_periods=1).mean()
            left.plot(log["step"], smooth, label=str(name).removeprefix("loss/"))
        left.set(xlabel="step", ylabel="loss term", title="training, crops with fresh noise")
        left.legend(frameon=False)
    if (folder / VALIDATION).is_file():
        table = pd.read_csv(folder / VALIDATION)
        names = [str(name).split("/") for name in table if str(name).startswith("accuracy/")]
        for _, species, dose in sorted(names, key=lambda name: (name[1], float(name[2]))):
            style = "-" if species == "Ce" else "--"
            values = table[f"accuracy/{species}/{dose}"]
            right.plot(table["step"], values, style, label=f"{species}, {dose} e⁻/Å²")
        right.set(xlabel="step", ylabel="exact counts at known columns", title="validation")
        right.set_ylim(0, 1)
        right.legend(frameon=False, ncols=2)
    FigureCanvasAgg(figure)
    figure.savefig(folder / CURVE, dpi=110)
