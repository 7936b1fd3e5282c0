"""What a distributed run says when a process is gone or was never there; torch is not imported for it."""

from __future__ import annotations

_LOST = (
    "Connection closed by peer",
    "Connection reset by peer",
    "Broken pipe",
    "Failed to recv",
    "ncclRemoteError",
    "remote process exited",
)
"""Parts of the messages of gloo, NCCL and the rendezvous store about a lost connection."""
_MEETING_ERRORS = {"DistNetworkError", "DistStoreError"}
"""Classes of `torch.distributed` whose other messages are about processes that did not connect."""


def process_error_message(error: BaseException) -> str | None:
    """One line about an error of the communication between processes; None for all others."""
    if not isinstance(error, RuntimeError):
        return None
    if any(sign in str(error) for sign in _LOST):
        return (
            "another process of this run has ended; its own output says why, unless it was killed; "
            "continue fit with --ckpt_path last"
        )
    if type(error).__name__ in _MEETING_ERRORS:
        reason = str(error).partition("\n")[0]
        return (
            f"the processes of this run did not meet ({reason}); start all of them, "
            "with one MASTER_ADDR and a MASTER_PORT that is free"
        )
    return None
