"""load_avatar: a trained avatar from a file; only trusted classes of what the file names are imported."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentParser, Namespace
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from partnerface.avatar.method import AvatarMethod
from partnerface.avatar_files.avatar_file import (
    SUFFIX,
    AvatarFile,
    head_model_reference,
    read_avatar_file,
    write_avatar_file,
)
from partnerface.avatar_files.checkpoint_file import read_checkpoint
from partnerface.avatar_files.class_paths import (
    check_classes,
    class_path,
    denied_path,
    extension_error,
    imports_only,
    innermost,
    refusal,
)
from partnerface.compute.network_types import spare_emulation
from partnerface.errors import UserError
from partnerface.files.plain_values import read_json_table
from partnerface.files.whole_files import require_writable
from partnerface.head_models.dataset_head import DatasetHead
from partnerface.head_models.head_model_asset import HeadModelAsset
from partnerface.head_models.open_head_model import packaged_head
from partnerface.runs.run import LAST_CHECKPOINT, SCORES_FILE, run_of_checkpoint

PREFIX = "avatar."
"""Begins the names of the avatar's tensors in a checkpoint."""
SPARE_NUMBERS = 50_000_000
"""Numbers that building an avatar may take beside its own: temporaries, and what follows from others."""
LARGEST_SIDE = 16_384
"""Pixels of the default view's picture."""


def load_avatar(
    path: Path | str, device: torch.device | str = "cpu", trust: Iterable[str] = ()
) -> AvatarMethod:
    """Load a trained avatar, ready to render; its dataset is not needed.

    The file's tensors are read without running code. Of the classes that its avatar is made of, those of
    Partnerface are imported, and those of the packages in ``trust``; a file that names any other is refused
    before anything of it is imported. What a checkpoint holds for training alone is not looked at.

    >>> avatar = load_avatar("runs/me", trust=["mypackage"])  # doctest: +SKIP

    Args:
        path: the folder of a run or of ``partnerface create``, a checkpoint, such as
            ``runs/me/checkpoints/last.ckpt``, or an avatar file, ``me.avatar``.
        device: where its tensors go.
        trust: names of other packages whose classes the file may name, as a list or with commas between.

    Returns:
        The avatar in evaluation mode.

    Raises:
        UserError: there is no such file, it holds no avatar, or it names a class that is not trusted.
    """
    avatar = _loaded(avatar_path(Path(path)), trust).avatar
    spare_emulation(avatar, torch.device(device))
    return avatar.to(device).eval()


def export_avatar_file(path: Path | str, out: Path, trust: Iterable[str] = ()) -> list[Path]:
    """Write a trained avatar as one file that can be given away, see `AvatarFile`.

    Files of its head model, such as FLAME's, are not in it: they have licences of their own.

    Args:
        path: as for `load_avatar`.
        out: the file, which ends in ``.avatar``.
        trust: as for `load_avatar`.

    Returns:
        The files that have to lie beside the avatar file, under their own names.

    Raises:
        UserError: as by `load_avatar`, or ``out`` ends otherwise or cannot be written.
    """
    if out.suffix != SUFFIX:
        raise UserError(f"--out {out}: the name of an avatar file ends in {SUFFIX}")
    path = avatar_path(Path(path))
    loaded = _loaded(path, trust)
    avatar, scores = loaded.avatar, loaded.scores
    run = run_of_checkpoint(path)
    if path.suffix != SUFFIX and run is not None and (run / SCORES_FILE).is_file():
        tested = read_json_table(run / SCORES_FILE, "test the run again, or remove it")
        scores = tested if tested.get("protocol", {}).get("trained_steps") == loaded.step else None
    head_model = head_model_reference(avatar.head_model)
    require_writable(out.absolute().parent)
    write_avatar_file(out, AvatarFile(loaded.configuration, head_model, avatar.state_dict(), scores))
    return loaded.files


@dataclass(frozen=True)
class _Loaded:
    """An avatar from a file.

    Attributes:
        avatar: on the CPU.
        configuration: its ``class_path`` and ``init_args``, with bare names for paths.
        files: what these names stand for here.
        scores: those of an avatar file.
        step: the training step of a checkpoint.
    """

    avatar: AvatarMethod
    configuration: dict[str, Any]
    files: list[Path]
    scores: dict[str, Any] | None
    step: int | None


def _loaded(path: Path, trust: Iterable[str]) -> _Loaded:
    checksum = scores = step = None
    if path.suffix == SUFFIX:
        source, file = f"avatar file {path}", read_avatar_file(path)
        values, state, scores = file.avatar, file.tensors, file.scores
        checksum = file.head_model.get("checksum")
    else:
        source, content = f"checkpoint {path}", read_checkpoint(path)
        values, step = content.get("hyper_parameters", {}).get("avatar"), content.get("global_step")
        state = {k[len(PREFIX) :]: v for k, v in content["state_dict"].items() if k.startswith(PREFIX)}
    with imports_only(trust), refusals(source):
        parser, configuration = _parsed(values)
        if path.suffix == SUFFIX:
            _change_paths(configuration, lambda named: _beside(path, named))
        else:
            find_files_of_run(configuration, path)
        _name_packaged_head(configuration["avatar"], checksum)
        with _AsLargeAs(state):
            avatar = parser.instantiate(configuration).avatar
        found = avatar.head_model.asset.checksum()
        if path.suffix == SUFFIX and checksum != found:
            raise UserError(f"made with another head model: checksum {str(checksum)[:16]}, here {found}")
        _load_state(avatar, state)
        files: list[Path] = []

        def bare(named: Path) -> Path:
            files.append(named)
            return Path(named.name)

        _change_paths(configuration, bare)
        values = json.loads(parser.dump(configuration, format="json"))["avatar"]
        return _Loaded(avatar, values, files, scores, step)


def avatar_path(path: Path) -> Path:
    """The file of an avatar: the path itself, or the last checkpoint where it is the folder of a run.

    Raises:
        UserError: the folder holds no checkpoint.
    """
    if not path.is_dir():
        return path
    if not (path / LAST_CHECKPOINT).is_file():
        raise UserError(f"{path}: holds no {LAST_CHECKPOINT}; give the folder of a run, or a checkpoint")
    return path / LAST_CHECKPOINT


def _parsed(values: Any) -> tuple[ArgumentParser, Namespace]:
    """A parser and what it makes of an avatar's ``class_path`` and ``init_args``, under the key ``avatar``.

    All classes have been imported and checked; to be called within `imports_only`.
    """
    if values is None:
        raise UserError("names no class of an avatar")
    parser = ArgumentParser(exit_on_error=False)
    # Not `add_subclass_arguments`, for which a text in the place of a table is the name of a file to read.
    parser.add_argument("--avatar", type=AvatarMethod, required=True)
    configuration = parser.parse_object({"avatar": values})
    check_classes(configuration)
    return parser, configuration


def find_files_of_run(configuration: Any, checkpoint: Path, named_first: bool = False) -> None:
    """Replace paths of a checkpoint's configuration by files of these names in the folder of its run.

    Training leaves the head model of a dataset there, and the folder may have been moved since.

    Args:
        configuration: holds the paths.
        checkpoint: path of the checkpoint. Of one that lies in no run, files beside it take the place of
            those that are gone alone.
        named_first: a path that leads to a file stays, since the user may have chosen it.
    """
    run = run_of_checkpoint(checkpoint)
    folder, named_first = run or checkpoint.absolute().parent, named_first or run is None

    def found(named: Path) -> Path:
        here = folder / named.name
        return here if here.is_file() and not (named_first and named.is_file()) else named

    _change_paths(configuration, found)


def _name_packaged_head(avatar: Namespace, checksum: str | None) -> None:
    """Put a head model of the package in the place of a dataset's that is the same.

    Args:
        avatar: configuration of an avatar.
        checksum: that of its head model where it is known; otherwise that of the file which is named.
    """
    head_model = avatar.get("init_args.head_model")
    if not isinstance(head_model, Namespace) or head_model.get("class_path") != class_path(DatasetHead):
        return
    path = head_model.get("init_args.path")
    if checksum is None and path is not None and path.is_file():
        checksum = HeadModelAsset.load(path).checksum()
    if checksum is not None and (packaged := packaged_head(checksum)) is not None:
        head_model["class_path"], head_model["init_args"] = class_path(type(packaged)), Namespace()


def _change_paths(node: Any, change: Callable[[Path], Path]) -> None:
    """Replace every path below a configuration."""
    pairs: Iterable[tuple[Any, Any]] = ()
    if isinstance(node, dict | Namespace):
        node = node if isinstance(node, dict) else vars(node)
        pairs = list(node.items())
    elif isinstance(node, list):
        pairs = list(enumerate(node))
    for key, value in pairs:
        if isinstance(value, Path):
            node[key] = change(value)
        else:
            _change_paths(value, change)


def _beside(path: Path, named: Path) -> Path:
    """The file that an avatar file names, in its own folder: it may come from a stranger."""
    if named.name != str(named):
        raise UserError(f"names the file {named}; only the name of a file that lies beside it may be there")
    return path.parent / named


class _AsLargeAs(TorchDispatchMode):
    """Refuse to make more numbers than a file's tensors hold, several times over, and a head model needs.

    A configuration may ask for any amount of memory, in a file of a few bytes.
    """

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.left = SPARE_NUMBERS + 4 * sum(value.numel() for value in state.values())

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Nothing is compiled here, and to skip the compiler torch would import it, for a second.
        return False

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        shape = arguments[0] if arguments else ()
        if isinstance(shape, list | tuple) and shape and all(isinstance(length, int) for length in shape):
            self.left -= math.prod(shape)
            if self.left < 0:
                raise UserError("its configuration needs far more memory than its tensors fill")
        return function(*arguments, **(named or {}))


def _load_state(avatar: AvatarMethod, state: Mapping[str, Tensor]) -> None:
    """Fill an avatar with tensors, which have to be its own by name, shape and type.

    Raises:
        UserError: one is missing, one is too many, or one differs.
    """
    for name, value in avatar.state_dict().items():
        if name in state and state[name].dtype != value.dtype:
            raise UserError(f"{name} is of {state[name].dtype}, not {value.dtype}")
    try:
        avatar.load_state_dict(state)
    except RuntimeError as error:
        # Torch's first line says only that there is an error. Without a cause, for `refusals` looks for it.
        lines = str(error).strip().splitlines()
        raise UserError(lines[min(1, len(lines) - 1)].strip()) from None
    width, height = avatar.view_defaults.width_and_height.tolist()
    if not (1 <= width <= LARGEST_SIDE and 1 <= height <= LARGEST_SIDE):
        raise UserError(f"its default picture is of {width} x {height} pixels")


@contextmanager
def refusals(source: str) -> Iterator[None]:
    """Turn whatever a file's contents raise, in torch, the parser or a constructor, into one line.

    Args:
        source: the file, as the line names it.
    """
    try:
        yield
    # A module may end the process while it is imported.
    except (Exception, SystemExit) as error:
        if denied := denied_path(error):
            raise UserError(f"{source}: {refusal(denied)}") from error
        first = innermost(error)
        reason = str(first) if isinstance(first, UserError) else extension_error(error)
        reason = reason or f"{type(first).__name__}: {first}"
        # Torch and the parser explain at length.
        reason = next(iter(reason.strip().splitlines()), "")[:300]
        raise UserError(f"{source}: no avatar can be made of it ({reason})") from error
