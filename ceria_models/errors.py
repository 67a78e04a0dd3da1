"""Errors of nets, on the tree of `ceria_data.errors`.

::

    CeriaError                  2   wrong usage or input
    ├── TrainingError           2   a training that cannot start or go on
    ├── ImageError              2   an image that cannot be predicted
    ├── DomainError             2   an image outside what the net has seen
    ├── NotAModelError          2   a folder or name that holds no net this version can load
    ├── TableError              2   a table of columns that cannot be scored
    ├── ExportError             1   an exported file that does not say what the model says
    ├── EvaluationError         2   files of figures that cannot be read, or do not belong together
    ├── SubmissionError         1   a submission, or the leaderboard, that is not as it should be
    ├── FilmFolderError         2   a folder that holds no predicted film, or too little of one
    ├── FilmTableError          1   a table of a predicted film that is damaged
    ├── TrackingError           2   settings or options that do not fit a predicted film
    └── WeightsError            1   weights that are not as they should be
"""

from ceria_data.errors import CeriaError
from ceria_data.errors import ImageError as ImageError


class TrainingError(CeriaError):
    """A training cannot start, or cannot go on."""


class DomainError(CeriaError):
    """An image lies far outside what the net has seen."""


class NotAModelError(CeriaError):
    """There is no such net, or it is of another kind than this version can load."""


class TableError(CeriaError):
    """A table of columns lacks what is needed to score it."""


class ExportError(CeriaError):
    """An exported file does not say what its model says."""

    exit_code = 1


class EvaluationError(CeriaError):
    """Measured figures cannot be read, or are not of one model."""


class SubmissionError(CeriaError):
    """A submission does not pass a check, or the leaderboard is not made from the submissions."""

    exit_code = 1


class FilmFolderError(CeriaError):
    """A folder holds no predicted film, or lacks what was asked of it."""


class FilmTableError(CeriaError):
    """A table of a predicted film is damaged, or is not the one that was written."""

    exit_code = 1


class TrackingError(CeriaError):
    """Settings or options of tracking do not fit a predicted film."""


class WeightsError(CeriaError):
    """Weights are damaged or incomplete."""

    exit_code = 1
