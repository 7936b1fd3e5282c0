"""GlobalDeformation: the baseline of one network for the whole head."""

from __future__ import annotations

from partnerface.deformation.part_deformation import PartDeformation


def global_deformation(
    hidden_width: int = 128,
    num_frequencies: int = 4,
    driving_width: int = 58,
    appearance_width: int = 4,
    windowed_frequencies: bool = False,
) -> PartDeformation:
    """One network for all of canonical space: part deformation with a single part."""
    return PartDeformation(
        parts=1,
        top_k=1,
        hidden_width=hidden_width,
        num_frequencies=num_frequencies,
        driving_width=driving_width,
        appearance_width=appearance_width,
        windowed_frequencies=windowed_frequencies,
        local_driving=False,
    )
