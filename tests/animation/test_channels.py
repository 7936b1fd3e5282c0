"""Channels by name."""

import pytest

from partnerface.animation.channels import parse_channels
from partnerface.errors import UserError


def test_channels_by_name() -> None:
    assert parse_channels("depth, rgb") == ("depth", "rgb")
    for wrong in ("", "rgb,", "colour", "rgb,rgb"):
        with pytest.raises(UserError, match="--channels"):
            parse_channels(wrong)
