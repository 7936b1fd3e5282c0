"""What the command line prints as a single line: bad input, and software that is not installed."""

from __future__ import annotations

import importlib
import re
from types import ModuleType


class UserError(ValueError):
    """Bad input that the user can mend: its message names the file or flag and says what to do.

    The command line prints the message without a traceback and exits with code 2.
    """


_REQUIREMENTS = {
    "pytorch3d": "'partnerface[pytorch3d]'",
    "mediapipe": "'partnerface[track]'",
    "viser": "'partnerface[viewer]'",
    "anny": "'partnerface[bake]'",
    "PIL": "pillow",
    "warp": "warp-lang",
    "jsonargparse": "'jsonargparse[signatures]'",
    "yaml": "pyyaml",
    **{name: name for name in ("torch", "lightning", "torchmetrics", "wandb", "tensorboard", "kornia")},
    **{name: name for name in ("numpy", "scipy", "filelock", "av", "rich", "matplotlib", "jaxtyping")},
    **{name: name for name in ("safetensors", "jinja2")},
}
"""What pip installs for an imported module."""

_DEBIAN_PACKAGES = {"libEGL.so.1": "libegl1", "libGLESv2.so.2": "libgles2", "libGL.so.1": "libgl1"}
_NATIVE_LIBRARY = re.compile(r"(lib[\w.+-]+\.so[\d.]*): cannot open shared object file")


def missing_software(error: BaseException) -> str | None:
    """One line on how to install the package or native library whose absence raised ``error``.

    None for every other error, such as a missing module that no requirement of this package brings.
    """
    if isinstance(error, ImportError | OSError) and (found := _NATIVE_LIBRARY.search(str(error))):
        package = _DEBIAN_PACKAGES.get(found[1])
        advice = f"apt install {package}" if package else "install the system package that holds it"
        return f"the native library {found[1]} is missing: {advice}"
    if not isinstance(error, ModuleNotFoundError):
        return None
    name = (error.name or "").partition(".")[0]
    if not name and (found := re.search("wandb|tensorboard", str(error))):
        name = found[0]  # Lightning says so of its loggers in the text alone
    if name not in _REQUIREMENTS:
        return None
    return f"the package {name} is not installed: pip install {_REQUIREMENTS[name]}"


def import_extra(name: str) -> ModuleType:
    """Import a package that one of the extras brings.

    Raises:
        UserError: it, or a native library that it needs, is not installed.
    """
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as error:
        raise UserError(missing_software(error) or f"{name} cannot be imported ({error})") from error
