"""What libraries raise about a file, as one clear error."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ceria_data.errors import FilmError, MissingExtraError


@contextmanager
def reading(path: Path, module: str) -> Iterator[None]:
    """Turn what a library raises about a file into one clear error.

    Parameters
    ----------
    path : Path
        For the message.
    module : str
        That is missing, where an import error does not name it.

    Raises
    ------
    MissingExtraError
        If a library is not installed.
    FilmError
        For everything else.

    Examples
    --------
    >>> with reading(Path("film.mrc"), "mrcfile"):
    ...     raise KeyError("nx")
    Traceback (most recent call last):
    ceria_data.errors.FilmError: film.mrc cannot be read: 'nx'; is it whole?
    """
    loud = logging.getLogger("rsciio")
    level = loud.level
    loud.setLevel(logging.ERROR)
    try:
        yield
    except ImportError as error:
        raise MissingExtraError(f"reading {path}", "em", error.name or module) from error
    except FilmError:
        raise
    except Exception as error:  # libraries raise many types for damaged files
        what = str(error) or type(error).__name__
        raise FilmError(f"{path} cannot be read: {what}; is it whole?") from error
    finally:
        loud.setLevel(level)
