"""A token of the Hub in a file that is about to be shared."""

from collections.abc import Iterable
from pathlib import Path

from huggingface_hub import get_token

from ceria_data.errors import HubError

_BLOCK = 1 << 20


def refuse_token(folder: Path, names: Iterable[str]) -> None:
    """Refuse to share files that hold the user's token.

    Parameters
    ----------
    folder : Path
    names : iterable of str
        Files in it.

    Raises
    ------
    HubError
        With the name of the file.

    Examples
    --------
    >>> from ceria_data.bundled import dataset_folder
    >>> refuse_token(dataset_folder("ceria-columns-mini"), ["README.md"])
    """
    token = get_token()
    if not token:
        return
    secret = token.encode()
    for name in names:
        with (folder / name).open("rb") as file:
            tail = b""
            while block := file.read(_BLOCK):
                if secret in tail + block:
                    raise HubError(
                        f"{folder / name} holds your token for the Hub, so nothing was uploaded; "
                        "revoke the token, and make the folder again without it"
                    )
                tail = block[-len(secret) :]
