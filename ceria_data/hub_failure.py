"""What the client of the Hub raises, as errors of ours: one line, and never the token."""

import errno

from huggingface_hub import constants, get_token
from huggingface_hub import errors as hub_errors
from huggingface_hub.utils import httpx  # type: ignore[attr-defined]

from ceria_data.errors import CeriaError, DiskSpaceError, HubError, NotOnHubError, TransferError

_AGAIN = "repeat the command: what was transferred is kept"
_LOG_IN = "log in with `hf auth login` or set HF_TOKEN"


def redacted(text: str) -> str:
    """Take the token out of a text, wherever it came from.

    Examples
    --------
    >>> redacted("a text without a token")
    'a text without a token'
    """
    token = get_token()
    return text.replace(token, "<token>") if token else text


def our_error(error: Exception, repository: str) -> CeriaError:
    """Translate an error of the client, or of what it wraps.

    Parameters
    ----------
    error : Exception
    repository : str
        What was asked for, as in "dataset user/name".

    Returns
    -------
    CeriaError
        To be raised without the cause, into which a server may have put the token.

    Examples
    --------
    >>> our_error(OSError(28, "No space left on device"), "dataset user/name")
    DiskSpaceError('the disk is full ([Errno 28] No space left on device); free some room...
    """
    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) and cause not in chain:
        chain.append(cause)
    for each in chain:
        if isinstance(each, OSError) and each.errno in (errno.ENOSPC, errno.EDQUOT):
            return DiskSpaceError(f"the disk is full ({each}); free some room, then {_AGAIN}")
        if isinstance(each, hub_errors.OfflineModeIsEnabled):
            return HubError(
                f"HF_HUB_OFFLINE is set, so the {repository} was not asked; unset it, or name "
                "what was pulled before"
            )
        if isinstance(each, hub_errors.LocalTokenNotFoundError):
            return HubError(f"there is no token for the Hub; {_LOG_IN}")
        if isinstance(each, hub_errors.HfHubHTTPError):
            return _answered(each, repository)
        if isinstance(each, httpx.HTTPError | httpx.InvalidURL | httpx.StreamError):
            return HubError(
                f"{constants.ENDPOINT} cannot be reached ({type(each).__name__}: "
                f"{redacted(str(each))}); check the network and HF_ENDPOINT, then {_AGAIN}"
            )
    first = chain[-1] if isinstance(error, RuntimeError) else error
    text = redacted(f"{type(first).__name__}: {first}").splitlines()[0]
    if isinstance(error, OSError) and "Consistency check failed" in str(error):
        return TransferError(f"a file of the {repository} arrived incomplete ({text}); {_AGAIN}")
    return HubError(
        f"the exchange with {constants.ENDPOINT} failed ({text}); if HF_ENDPOINT is set, check "
        f"that it leads to a Hub; else {_AGAIN}"
    )


def _answered(error: hub_errors.HfHubHTTPError, repository: str) -> CeriaError:
    """Translate an answer that is an error."""
    code = error.response.status_code
    said = redacted(" ".join((error.server_message or "").split())[:300])
    answer = f"{constants.ENDPOINT} answered {code}" + (f": {said}" if said else "")
    if isinstance(error, hub_errors.RevisionNotFoundError):
        return NotOnHubError(f"the {repository} has no such version ({answer})")
    if isinstance(error, hub_errors.RemoteEntryNotFoundError):
        return TransferError(
            f"a file of the {repository} is listed but not there ({answer}); tell its owner"
        )
    if isinstance(error, hub_errors.RepositoryNotFoundError):
        return NotOnHubError(
            f"there is no {repository} that can be read ({answer}); check the name; if it is "
            f"private or gated, {_LOG_IN}"
        )
    if code in (401, 403):
        return HubError(
            f"the token does not allow this for the {repository} ({answer}); {_LOG_IN}, with a "
            "token that may write if you push"
        )
    if code == 412:
        return HubError(f"somebody else changed the {repository} meanwhile; {_AGAIN}")
    if code == 429:
        return HubError(f"too many requests for now ({answer}); wait some minutes, then {_AGAIN}")
    return HubError(f"{answer}, for the {repository}; later, {_AGAIN}")
