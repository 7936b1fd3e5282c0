"""One flag for a dataset of any system: files that train on it, its reader's short name, its head model."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from jsonargparse import Namespace
from lightning.pytorch.utilities import rank_zero_only

from partnerface.avatar_files.class_paths import class_path
from partnerface.avatar_files.loading import find_files_of_run
from partnerface.configuration.config_files import CONFIG_FLAGS, config_arguments
from partnerface.data.formats.auto import AutoReader
from partnerface.data.formats.foreign import HEAD_MODEL, DatasetFolder
from partnerface.errors import UserError
from partnerface.files.whole_files import one_after_another, require_writable
from partnerface.head_models.dataset_head import DatasetHead
from partnerface.head_models.head_model_asset import HeadModelAsset
from partnerface.head_models.open_head_model import packaged_head

AUTO_READER = {"--data.reader=auto": f"--data.reader={class_path(AutoReader)}"}
"""A word of the command line and what it stands for."""


STACK = ("base", "method/part_deformation", "data/auto", "scale/quick")
"""Files of ``configs`` that train on a dataset where none is named."""


def with_default_stack(arguments: Sequence[str]) -> list[str]:
    """The arguments of a command; of a ``fit`` that names a dataset but no file, with `STACK` before them."""
    flags = {word.partition("=")[0] for word in arguments}
    if arguments[:1] != ["fit"] or "--data.reader.root" not in flags or flags & {*CONFIG_FLAGS}:
        return list(arguments)
    names = ", ".join(f"configs/{name}.yaml" for name in STACK)
    print(f"partnerface: no --config is given; taking {names}", file=sys.stderr)
    return ["fit", *config_arguments(*STACK), *arguments[1:]]


def name_head_of_dataset(chosen: Namespace, command: str) -> None:
    """Say which head model a `DatasetHead` is: without a file that of the dataset.

    One of the package is named as such. Any other is copied into the folder of a new run by ``fit``, since
    the dataset may be moved or removed; with a checkpoint comes that of its run where the named file is gone.
    Other commands take the one that the reader leaves beside the dataset.
    The parser builds an avatar before the data, so the dataset is read here; what the reader keeps makes
    the second time short.

    Args:
        chosen: the configuration of a command.
        command: its name.

    Raises:
        UserError: the dataset cannot be read, or the copy cannot be written.
    """
    head_model, reader = chosen.get("model.avatar.init_args.head_model"), chosen.get("data.reader")
    if not (_is(head_model, DatasetHead) and _is(reader, AutoReader)):
        return
    path, continued = head_model.get("init_args.path"), chosen.get("ckpt_path")
    if path is not None and continued is not None:
        find_files_of_run(head_model, Path(continued), named_first=True)
        return
    own = Path(chosen["run_dir"]) / HEAD_MODEL
    if continued is not None and command == "fit" and own.is_file():
        head_model["init_args"] = Namespace(path=own)
        return
    root = Path(reader["init_args"]["root"])
    with one_after_another(root):
        asset = _asset_of_dataset(root, reader) if path is None else HeadModelAsset.load(path)
        if (packaged := packaged_head(asset.checksum())) is not None:
            head_model["class_path"] = class_path(type(packaged))
            head_model["init_args"] = Namespace()
            return
        if command == "fit" and rank_zero_only.rank == 0:
            path = own
        elif path is not None:
            return
        else:
            path = DatasetFolder(root).cache / HEAD_MODEL
        require_writable(path.parent)
        asset.save(path)
    head_model["init_args"] = Namespace(path=path)


def _asset_of_dataset(root: Path, reader: Namespace) -> HeadModelAsset:
    found = AutoReader(**vars(reader["init_args"])).read().head_model
    if found is None:
        raise UserError(
            f"dataset {root}: names a head model that is not beside it; give it as "
            "--data.reader.head_model FILE"
        )
    return replace(found.asset, surface=found.surface)


def _is(value: object, kind: type) -> bool:
    return isinstance(value, Namespace) and value.get("class_path") == class_path(kind)
