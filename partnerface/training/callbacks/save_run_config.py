"""SaveRunConfig: writes the complete configuration of `fit` into the run's folder."""

from __future__ import annotations

from pathlib import Path

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import WandbLogger

from partnerface.files.whole_files import whole_file


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
