"""SaveRunConfig: writes the configuration of `fit`, and the id of its W&B run, into the run's folder."""

from __future__ import annotations

import os
import re
from pathlib import Path

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import WandbLogger

from partnerface.files.whole_files import replace_text, whole_file

WANDB_RUN_FILE = "wandb_run.txt"


class SaveRunConfig(SaveConfigCallback):
    """Writes ``config.yaml`` into ``--run_dir``; ``fit --config RUN/config.yaml`` repeats the run.

    Lightning's own callback writes into the logger's folder, which all W&B runs share, so that the second
    run of a sweep fails; and it writes the configuration of ``test`` too, with keys that ``fit`` refuses.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit" or self.already_saved or not trainer.is_global_zero or trainer.fast_dev_run:
            return
        path = Path(trainer.default_root_dir) / self.config_filename
        with whole_file(path, "choose another --run_dir") as partial:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Without the checkpoint that a run was continued from: a new run of this file starts anew.
            begun = self.config.clone()
            begun["ckpt_path"] = None
            partial.write_text(self.parser.dump(begun, skip_none=False, skip_link_targets=True))
        self.already_saved = True
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.experiment.config.update(self.config.as_dict(), allow_val_change=True)
                logger.experiment.save(str(path), base_path=str(path.parent), policy="now")
                replace_text(path.parent / WANDB_RUN_FILE, f"{logger.version or ''}\n")


def continue_wandb_run(logger: WandbLogger, run_dir: Path) -> None:
    """Let a logger continue the W&B run of the training in a folder, if there is one.

    An id that was chosen for it, in the configuration or the environment, stays.
    """
    path = run_dir / WANDB_RUN_FILE
    if logger.version or os.environ.get("WANDB_RUN_ID") or not path.is_file():
        return
    found = re.fullmatch(r"[\w-]{1,128}", path.read_text(errors="replace").strip())
    # Not in the configuration, which is saved: a new run of it would log to the same run.
    logger._id = logger._wandb_init["id"] = found and found[0]
