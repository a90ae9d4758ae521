"""Is the model hub there? Asked once, briefly, before a library asks it patiently."""

from __future__ import annotations

PROBE_SECONDS = 5.0  # the hub client itself would try again and again, for minutes


def unreachable_hub() -> str | None:
    """Why the hub cannot be asked, in a few words; None when it answers."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        get_session().head(constants.ENDPOINT, timeout=PROBE_SECONDS)
    except Exception as error:  # the client's errors have no common family
        return f"{constants.ENDPOINT} cannot be reached: {error}"
    return None
