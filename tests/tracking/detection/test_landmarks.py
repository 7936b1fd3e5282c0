import builtins

import pytest

from partnerface.errors import UserError
from partnerface.tracking.detection.landmarks import import_mediapipe


def test_missing_extra_says_how_to_install_it(monkeypatch):
    real = builtins.__import__

    def without_mediapipe(name, *arguments, **keywords):
        if name == "mediapipe":
            raise ImportError("No module named 'mediapipe'")
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without_mediapipe)
    with pytest.raises(UserError, match=r"pip install 'partnerface\[track\]'"):
        import_mediapipe()
