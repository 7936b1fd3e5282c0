"""AvatarCLI: the commands fit, validate, test and predict, as a LightningCLI.

No values stand here: defaults are in the signatures of the classes, choices in ``configs/``.
"""

from __future__ import annotations

import logging
import os
import sys
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.plugins.environments import ClusterEnvironment, LightningEnvironment
from lightning.pytorch.plugins.io import CheckpointIO
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console
from rich.progress import track

from partnerface.avatar_files.checkpoint_file import read_checkpoint
from partnerface.avatar_files.class_paths import check_classes, extension_error, guard_parser
from partnerface.compute.cuda_support import chosen_accelerator
from partnerface.configuration.argument_errors import short_message
from partnerface.configuration.checkpoint_model import with_model_of_checkpoint
from partnerface.configuration.config_files import (
    files_first,
    lost_losses,
    paths_as_text,
    resolve_config_paths,
)
from partnerface.configuration.dataset_head import AUTO_READER, name_head_of_dataset, with_default_stack
from partnerface.configuration.precision import with_network_types
from partnerface.configuration.protocol_arguments import settle_protocol, with_whole_key
from partnerface.configuration.run_errors import (
    named_checkpoint,
    named_trainer_values,
    require_budget,
    require_data_only,
)
from partnerface.configuration.trainer_help import help_topic, trainer_help
from partnerface.configuration.value_ranges import check_ranges
from partnerface.data.datamodule import HeadVideoDataModule
from partnerface.data.view import View
from partnerface.errors import UserError
from partnerface.files.whole_files import require_writable
from partnerface.runs.stop_signals import termination_as_exit
from partnerface.training.callbacks.budgets import TimeBudget, spent_time
from partnerface.training.callbacks.evaluation_report import EvaluationReport
from partnerface.training.callbacks.refresh_occupancy import RefreshOccupancy
from partnerface.training.callbacks.save_run_config import SaveRunConfig, continue_wandb_run
from partnerface.training.callbacks.write_video import WriteVideo
from partnerface.training.distributed import is_alone_under_slurm, outlast_collectives, set_ddp_options
from partnerface.training.module import AvatarModule
from partnerface.training.resume.atomic_checkpoint import AtomicCheckpointIO
from partnerface.training.resume.csv_appender import CsvAppender
from partnerface.training.resume.run_checkpoint import RunCheckpoint, last_checkpoint
from partnerface.training.resume.step_seeds import StepSeeds
from partnerface.training.start_from import read_statics

_COMMANDS = ("fit", "validate", "test", "predict")

REQUIRED_CALLBACKS = (RunCheckpoint, StepSeeds, TimeBudget, RefreshOccupancy, EvaluationReport)
"""Without them a run cannot be resumed or tested, does not end in time, or renders empty space."""


class AvatarCLI(LightningCLI):
    """Builds trainer, model and datamodule from YAML files and flags, and runs the command.

    Args:
        arguments: the command line after ``partnerface``, beginning with ``fit``, ``validate``, ``test``
            or ``predict``.
        execute: false builds `trainer`, `model` and `datamodule` without running the command.

    Raises:
        UserError: a file, key, value, class or checkpoint is wrong; one line that names it.
    """

    def __init__(self, arguments: Sequence[str], execute: bool = True) -> None:
        # With abbreviations a misspelt key could silently set another one that begins with it.
        parsing = {"exit_on_error": False, "allow_abbrev": False}
        self._execute = execute
        guard_parser()
        words = files_first(with_default_stack(with_whole_key(_joined(arguments))))
        super().__init__(
            AvatarModule,
            HeadVideoDataModule,
            save_config_callback=SaveRunConfig,
            auto_configure_optimizers=False,
            seed_everything_default=0,
            parser_kwargs={**parsing, **{command: dict(parsing) for command in _COMMANDS}},
            args=[AUTO_READER.get(word, word) for word in resolve_config_paths(paths_as_text(words))],
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument(
            "--run_dir",
            type=str,
            default=_default_run_dir(),
            help="folder of this run: config.yaml, checkpoints, metrics, pictures",
        )
        parser.add_argument(
            "--result_page",
            type=bool,
            default=True,
            help="test: write report.html, the results and a player in one file",
        )
        parser.add_argument(
            "--trust",
            action="append",
            type=str,
            help="package whose classes a checkpoint may name; needed where no configuration names the "
            "avatar, so that --ckpt_path decides it",
        )
        parser.link_arguments("run_dir", "trainer.default_root_dir")
        parser.link_arguments("data.num_frames", "model.num_frames", apply_on="instantiate")

    def parse_arguments(self, parser: LightningArgumentParser, args: list[str]) -> None:
        if (topic := help_topic(args)) is not None:
            print(trainer_help(args[0], self._subcommand_parsers[args[0]], topic))
            raise SystemExit(0)
        try:
            args = with_model_of_checkpoint(args)
            self.config = parser.parse_args(args)
        except UserError:
            raise
        # A module may exit while it is imported.
        except (Exception, SystemExit) as error:
            if (message := short_message(error, args, self._valid_keys())) is None:
                raise
            raise UserError(message) from error
        chosen = self.config[self.config["subcommand"]]
        settle_protocol(chosen, args)
        if self.config["subcommand"] == "fit":
            require_budget(chosen["trainer"])
        if lost := lost_losses(args, chosen["model"]["losses"]):
            _say(lost)
        check_ranges(chosen.as_dict())
        check_classes(chosen)
        with_network_types(chosen)
        # Before the data are read: rendering or loading them takes longer than a look at the devices.
        self._accelerator(chosen["trainer"]["accelerator"])

    def _valid_keys(self) -> set[str]:
        parsers = self._subcommand_parsers.values()
        return {
            action.dest.removesuffix(".help")
            for parser in parsers
            for action in parser._actions
            if action.dest not in ("help", "print_config")
        }

    def _parse_ckpt_path(self) -> None:
        """Resolve ``--ckpt_path``, by default the run's last in all commands but ``fit``.

        Lightning's own version takes hyperparameters from the file, which silently override explicit flags.
        Here the command line and the YAML decide.
        """
        command = self.config["subcommand"]
        config = self.config[command]
        checkpoint = config.get("ckpt_path")
        require_data_only(config.get("weights_only"))
        config["weights_only"] = True
        if command == "predict":
            # The callback writes each picture; Lightning would keep them all as well.
            config["return_predictions"] = False
        run_dir, last = Path(config["run_dir"]), last_checkpoint(Path(config["run_dir"]))
        if command == "fit":
            config["ckpt_path"] = self._start_of_fit(run_dir, checkpoint, config["trainer"])
            if config["ckpt_path"] is None and config["model"].get("start_from") is not None:
                # Before the data are read, which may take minutes.
                read_statics(config["model"]["start_from"])
            return
        if checkpoint is None and not last.is_file():
            if not self._execute:
                return
            # Without weights the scores would be those of an untrained network.
            raise UserError(
                f"{command}: no checkpoint; name one with --ckpt_path, or a --run_dir that holds an avatar"
            )
        path = last if checkpoint in (None, "last") else Path(checkpoint)
        if not path.is_file():
            raise UserError(f"--ckpt_path {checkpoint}: no such checkpoint ({path})")
        config["ckpt_path"] = str(path)

    @staticmethod
    def _start_of_fit(run_dir: Path, checkpoint: str | None, trainer: Mapping[str, Any]) -> str | None:
        """Path of the checkpoint that training continues from, None for a new run.

        Raises:
            UserError: it does not exist or has done more than the budget of ``trainer``; a new run would
                overwrite one.
        """
        last = last_checkpoint(run_dir)
        if checkpoint is None:
            if last.exists():
                raise UserError(
                    f"--run_dir {run_dir}: holds a trained avatar; continue it with --ckpt_path last "
                    "or choose another folder"
                )
            return None
        path = last if checkpoint == "last" else Path(checkpoint)
        if checkpoint == "last" and not path.is_file():
            # The same command starts a run and continues it, also after a kill before the first save.
            _say(f"{run_dir} holds no checkpoint; training starts anew")
            return None
        if not path.is_file():
            raise UserError(f"--ckpt_path {checkpoint}: no such checkpoint ({path})")
        begun, max_steps = read_checkpoint(path), trainer["max_steps"]
        done = begun["global_step"]
        if max_steps is not None and -1 < max_steps < done:
            raise UserError(
                f"--trainer.max_steps {max_steps}: {path} has done {done} steps already; choose more, "
                "or train anew in another --run_dir"
            )
        if max_steps == done:
            _say(
                f"--trainer.max_steps {max_steps}: {path} has done {done} steps already, so that nothing is "
                "left to train; a larger --trainer.max_steps trains on"
            )
        with named_trainer_values(constructing=True):
            spent = spent_time(path, begun, trainer["max_time"])
        if spent:
            _say(spent)
        return str(path)

    def instantiate_classes(self) -> None:
        """Build datamodule, model and trainer.

        Raises:
            UserError: the constructor of a class that is not ours raises.
        """
        command = self.config["subcommand"]
        name_head_of_dataset(self.config[command], command)
        try:
            super().instantiate_classes()
        except (Exception, SystemExit) as error:
            if (message := extension_error(error)) is None:
                raise
            raise UserError(message) from error

    def _run_subcommand(self, subcommand: str) -> None:
        if self._execute:
            if rank_zero_only.rank == 0:
                require_writable(Path(self._get(self.config, "run_dir")))
            with named_checkpoint(self._get(self.config, "ckpt_path", default=None)):
                super()._run_subcommand(subcommand)

    def after_fit(self) -> None:
        """Run the validation that a stop interrupted, if training itself was complete."""
        checkpoint = next((c for c in self.trainer.callbacks if isinstance(c, RunCheckpoint)), None)
        if checkpoint is not None and checkpoint.validation_pending:
            checkpoint.cut_log(self.trainer)
            self.trainer.validate(self.model, datamodule=self.datamodule, verbose=False)

    def after_test(self) -> None:
        """Write the page of the results, in the first process."""
        if not self.trainer.is_global_zero or not self._get(self.config, "result_page"):
            return
        # Imported here: matplotlib takes a second.
        from partnerface.result_page.page import write_result_page

        # The trainer has moved it to the CPU.
        avatar = self.model.avatar.to(self.trainer.strategy.root_device).eval()
        ending = "_refined" if self.model.test_parameters == "refined" else ""
        run, data = Path(self._get(self.config, "run_dir")), self.datamodule
        # As the test was.
        with torch.inference_mode():
            write_result_page(run, avatar, data.sequence, data.reader.root, ending, _tracked)

    @staticmethod
    def _accelerator(asked: Any) -> Any:
        """The one that can be used, of those that have a name."""
        return chosen_accelerator(asked) if isinstance(asked, str) else asked

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Make the trainer with the CSV log, and the loggers of ``trainer.logger`` beside it."""
        run_dir, chosen = self._get(self.config, "run_dir"), self._get(self.config_init, "trainer")
        asked = chosen["logger"]
        if not asked or asked is True:
            loggers = []
        else:
            loggers = list(asked) if isinstance(asked, list | tuple) else [asked]
        if self.subcommand == "fit" and self._get(self.config, "ckpt_path", default=None):
            for logger in loggers:
                if isinstance(logger, WandbLogger):
                    continue_wandb_run(logger, Path(run_dir))
        self._complete_lists()
        environments = [plugin for plugin in chosen["plugins"] if isinstance(plugin, ClusterEnvironment)]
        if not environments and is_alone_under_slurm(chosen["devices"], chosen["num_nodes"]):
            chosen["plugins"].append(LightningEnvironment())
        accelerator = self._accelerator(chosen["accelerator"])
        options = {"logger": [CsvAppender(run_dir), *loggers], "accelerator": accelerator}
        with named_trainer_values(constructing=True):
            trainer = super().instantiate_trainer(**options, **kwargs)
        set_ddp_options(trainer)
        outlast_collectives()
        return trainer

    def _complete_lists(self) -> None:
        """Add what no run can do without to lists of callbacks and plugins of the user's own that lack it."""
        trainer = self._get(self.config_init, "trainer")
        videos = (WriteVideo,) if self.subcommand == "predict" else ()
        required: dict[str, dict[type, type]] = {
            "callbacks": {kind: kind for kind in (*REQUIRED_CALLBACKS, *videos)},
            # The trainer takes one plugin that writes checkpoints: one of somebody's own stays.
            "plugins": {AtomicCheckpointIO: CheckpointIO},
        }
        for name, kinds in required.items():
            listed = trainer[name] or []
            listed = listed if isinstance(listed, list) else [listed]
            missing = [kind for kind, one in kinds.items() if not any(isinstance(x, one) for x in listed)]
            trainer[name] = [*listed, *(kind() for kind in missing)]
            if missing:
                names = ", ".join(kind.__name__ for kind in missing)
                _say(f"trainer.{name} lacks {names}: added; write {name}+: to add to a list")


def run_trainer_command(arguments: Sequence[str]) -> AvatarCLI:
    """Run ``fit``, ``validate``, ``test`` or ``predict``.

    Args:
        arguments: the command line after ``partnerface``.

    Raises:
        UserError: a value of the configuration is wrong.
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    # Lightning announces devices, limits and products; what a user needs to know is printed here.
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    # Lightning only notes a SIGTERM, and looks at the note in training alone.
    with warnings.catch_warnings(), termination_as_exit(), named_trainer_values():
        _silence_expected_warnings()
        try:
            return AvatarCLI(arguments)
        except SystemExit as ended:
            # Lightning turns an interrupt into the exit code of an error.
            if isinstance(ended.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from ended
            raise


@rank_zero_only
def _say(line: str) -> None:
    """In the first process."""
    print(f"partnerface: {line}", file=sys.stderr)


def _joined(arguments: Sequence[str]) -> list[str]:
    """The arguments, with ``--data.reader auto`` as one word."""
    words = list(arguments)
    for place in range(len(words) - 1, 0, -1):
        if words[place - 1] == "--data.reader":
            words[place - 1 : place + 1] = [f"--data.reader={words[place]}"]
    return words


def _tracked(views: Sequence[View]) -> Iterable[View]:
    """The views, while a bar on a terminal shows how far they are."""
    console = Console(stderr=True)
    return track(
        views, "rendering the player", console=console, transient=True, disable=not console.is_terminal
    )


def _default_run_dir() -> str:
    """A new folder for every run, named after the W&B run if an agent has started it."""
    return f"runs/{os.environ.get('WANDB_RUN_ID') or time.strftime('%Y%m%d-%H%M%S')}"


def _silence_expected_warnings() -> None:
    """Silence Lightning's warnings about intended choices: loaders without workers, a CPU, short epochs."""
    for message in (
        ".*does not have many workers.*",
        ".*GPU available but not used.*",
        ".*number of training batches.*smaller than the logging interval.*",
        ".*Checkpoint directory .* exists.*",
        # A dataset without validation frames, such as one divided by a protocol of the literature.
        ".*Total length of `list` across ranks is zero.*",
        # Metric objects have added up over processes already.
        ".*It is recommended to use .*sync_dist=True.*",
        ".*`isinstance\\(treespec, LeafSpec\\)` is deprecated.*",
    ):
        warnings.filterwarnings("ignore", message)
