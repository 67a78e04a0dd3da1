"""The Hugging Face Hub: one repository, its versions and its files."""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants
from huggingface_hub import errors as hub_errors
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import disable_progress_bars, get_session, httpx  # type: ignore[attr-defined]
from huggingface_hub.utils import logging as hub_logging

from ceria_data import __version__
from ceria_data.address import Kind, newest, tag_of, version_of
from ceria_data.errors import CeriaError, NotOnHubError, PublishedError
from ceria_data.hub_failure import our_error, redacted
from ceria_data.shared_files import SharedFile

_LONG = 600.0
"""Seconds to wait for an answer to a commit, which the Hub may take minutes to make."""


class Hub:
    """One repository on the Hub; every call may raise a `HubError`.

    Attributes
    ----------
    repo_id : str
        ``user/name``.
    kind : Kind
    """

    def __init__(self, repo_id: str, kind: Kind) -> None:
        self.repo_id, self.kind = repo_id, kind
        _redact_log()
        self._api = HfApi(library_name="ceria", library_version=__version__)
        self._names: dict[str, Any] = {"repo_id": repo_id, "repo_type": kind.value}

    def __str__(self) -> str:
        return f"{self.kind.value} {self.repo_id}"

    def privacy(self) -> bool | None:
        """Say whether the repository is private; None if there is none that we may see."""
        try:
            with self._errors():
                return bool(self._api.repo_info(**self._names, timeout=_patience()).private)
        except NotOnHubError:
            return None

    def versions(self) -> list[str]:
        """List the versions that have a tag."""
        with self._errors(_patience()):
            tags = self._api.list_repo_refs(**self._names).tags
        return [version for tag in tags if (version := version_of(tag.name))]

    def version(self, wanted: str | None) -> str:
        """Choose a version that is there: the wanted one, or the newest.

        Raises
        ------
        NotOnHubError
            If there is no such version, or none at all.
        """
        versions = self.versions()
        if not versions:
            raise NotOnHubError(
                f"the {self} has no version; expected a tag such as v1.0.0, as `push` makes it"
            )
        if wanted is not None and wanted not in versions:
            raise NotOnHubError(
                f"the {self} has no version {wanted}; it has {', '.join(sorted(versions))}"
            )
        return wanted or newest(versions)

    def commit(self, revision: str) -> str:
        """Name the commit of a branch or tag."""
        with self._errors():
            found = self._api.repo_info(**self._names, revision=revision, timeout=_patience())
            return str(found.sha)

    def files(self, commit: str) -> dict[str, SharedFile]:
        """List the files of a commit with what the Hub says of them."""
        with self._errors():
            tree = self._api.list_repo_tree(**self._names, revision=commit, recursive=True)
            entries = [entry for entry in tree if isinstance(entry, RepoFile)]
            return {
                str(entry.path): SharedFile(int(entry.size), entry.lfs.sha256)
                if entry.lfs
                else SharedFile(int(entry.size), git_oid=entry.blob_id)
                for entry in entries
            }

    def fetch(self, name: str, commit: str, folder: Path, on_bytes: Callable[[int], None]) -> Path:
        """Download one file of a commit into a folder, whatever is there.

        Parameters
        ----------
        name : str
            Passed by `check_names`.
        commit : str
        folder : Path
            Scratch folder of this download.
        on_bytes : callable
            Told the number of bytes as they arrive.

        Returns
        -------
        Path
            The file, not yet checked.
        """
        with self._errors():
            found = self._api.hf_hub_download(
                **self._names,
                filename=name,
                revision=commit,
                local_dir=folder,
                tqdm_class=_counting(on_bytes),
            )
        return Path(found)

    def create(self, *, private: bool) -> None:
        """Create the repository, unless it is there."""
        with self._errors():
            self._api.create_repo(**self._names, private=private, exist_ok=True)

    def upload(self, folder: Path, message: str) -> str:
        """Make the head of `main` hold the files of a folder and no others.

        Files that are there already are not sent again, so that repeating an interrupted
        upload goes on with it. Large folders take several commits.

        Returns
        -------
        str
            The last commit.
        """
        with self._errors():
            done = self._api.upload_folder(
                **self._names, folder_path=folder, commit_message=message, delete_patterns="*"
            )
            return str(done.oid)

    def tag(self, version: str, commit: str) -> None:
        """Fix a version on a commit.

        Raises
        ------
        PublishedError
            If the version is fixed already; a tag never moves.
        """
        with self._errors():
            try:
                self._api.create_tag(**self._names, tag=tag_of(version), revision=commit)
            except hub_errors.HfHubHTTPError as error:
                if error.response.status_code != 409:
                    raise
                raise PublishedError(f"the {self} has version {version} already") from None

    @contextmanager
    def _errors(self, patience: float = _LONG) -> Iterator[None]:
        """Turn what the client raises into our errors, without the token."""
        get_session().timeout = httpx.Timeout(_patience(), read=patience, write=patience)
        try:
            yield
        except CeriaError:
            raise
        except Exception as error:
            # The client's own traceback is left out: a server may have put the token into it.
            raise our_error(error, str(self)) from None


def offline() -> bool:
    """Say whether the user forbids connections to the Hub (``HF_HUB_OFFLINE``)."""
    return bool(constants.is_offline_mode())


def _patience() -> float:
    """Seconds to wait for answers that take no work; the client's own setting."""
    return float(constants.HF_HUB_ETAG_TIMEOUT)


def quiet_client(*, bars: bool) -> None:
    """Let the client print what people need: errors, and bars where they are wanted."""
    if not (bars and sys.stderr.isatty()):
        disable_progress_bars()
    hub_logging.set_verbosity_error()  # type: ignore[no-untyped-call]


def _redact_log() -> None:
    """Keep the token out of the client's log, into which servers may write."""
    for handler in logging.getLogger("huggingface_hub").handlers:
        handler.addFilter(_without_token)


def _without_token(record: logging.LogRecord) -> bool:
    record.msg, record.args = redacted(record.getMessage()), ()
    return True


def _counting(on_bytes: Callable[[int], None]) -> type:
    """Make what the client takes for a class of progress bars: it draws nothing and counts."""

    class Counter:
        total = 0

        def __init__(self, *args: Any, **kwargs: Any) -> None: ...

        def __enter__(self) -> "Counter":
            return self

        def __exit__(self, *args: object) -> None: ...

        def update(self, n: float | None = 1) -> None:
            on_bytes(int(n or 0))

        def _ignore(self, *args: Any, **kwargs: Any) -> None: ...

        # Its presence tells the client to count what is written apart from what is on the wire.
        update_transfer = set_postfix_str = set_transfer_postfix_str = refresh = close = _ignore

    return Counter
