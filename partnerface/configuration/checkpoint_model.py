"""The model of a run whose configuration names none: the one that its checkpoint was trained with."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from partnerface.avatar_files.checkpoint_file import read_checkpoint
from partnerface.avatar_files.class_paths import check_classes, imports_only
from partnerface.avatar_files.loading import find_files_of_run, refusals
from partnerface.configuration.config_files import yaml_files
from partnerface.files.plain_values import read_yaml
from partnerface.training.module import AvatarModule
from partnerface.training.resume.run_checkpoint import last_checkpoint

_AVATAR_FLAGS = ("--model", "--model.avatar", "--model.avatar.class_path")


def with_model_of_checkpoint(arguments: Sequence[str]) -> list[str]:
    """Add the model of ``--ckpt_path`` as a configuration if neither files nor flags name an avatar.

    It stands behind the configuration files, so that flags after them still change the model.

    Args:
        arguments: a trainer command with its files and flags. ``--trust PACKAGE``, once or more, and a
            list under ``trust:`` name packages whose classes the checkpoint may name.

    Raises:
        UserError: the checkpoint is not one of an avatar, or names a class that is not trusted.
    """
    known = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for flag in ("--ckpt_path", "--run_dir"):
        known.add_argument(flag)
    known.add_argument("--trust", action="append", default=[])
    given, _ = known.parse_known_args(arguments)
    trees = [tree for path in yaml_files(arguments) if isinstance(tree := read_yaml(path), dict)]
    models = [tree["model"] for tree in trees if isinstance(tree.get("model"), dict)]
    named = any("avatar" in model for model in models) or any(
        argument.partition("=")[0] in _AVATAR_FLAGS for argument in arguments
    )
    path = last_checkpoint(Path(given.run_dir or ".")) if given.ckpt_path == "last" else given.ckpt_path
    if named or path is None or not Path(path).is_file():
        return list(arguments)
    in_files = [str(name) for tree in trees for name in tree.get("trust") or ()]
    model = _model_yaml(Path(path), [*given.trust, *in_files])
    after = max((k for k, a in enumerate(arguments) if a.endswith((".yaml", ".yml"))), default=0) + 1
    return [*arguments[:after], f"--config={model}", *arguments[after:]]


def _model_yaml(path: Path, trust: Iterable[str]) -> str:
    """The configuration that a checkpoint's model was trained with: YAML with the key ``model``.

    Its class paths have been imported and checked, so that all of them are trusted classes of the right
    interface. The number of frames is left out: it belongs to the dataset.
    """
    values = dict(read_checkpoint(path).get("hyper_parameters", {}))
    # Lightning's note of how it would build the module itself.
    values.pop("_instantiator", None)
    with imports_only(trust), refusals(f"checkpoint {path}"):
        parser = ArgumentParser(exit_on_error=False)
        parser.add_class_arguments(AvatarModule, "model", fail_untyped=False)
        configuration = parser.parse_object({"model": values})
        check_classes(configuration)
        find_files_of_run(configuration, path)
        del configuration["model.num_frames"]
        return parser.dump(configuration)
