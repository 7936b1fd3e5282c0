import lightning
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from partnerface.data.batches.datasets import rays_of_frame
from partnerface.data.datamodule import HeadVideoDataModule
from partnerface.data.drivers.driver import OwnFrames
from partnerface.data.formats.partnerface import PartnerfaceReader
from partnerface.errors import UserError
from tests.views import random_view

SPLITS = {"train": [0, 1, 2, 5], "val": [3], "blocks": [6], "temporal": [8, 9], "unseen_expression": [9]}


class Recorder(lightning.LightningModule):
    """Keeps what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.train_batches, self.validated, self.tested = [], [], []

    def training_step(self, batch, _):
        self.train_batches.append((batch.frame_index.tolist(), batch.pixels.clone()))
        return (self.weight * batch.target().mean()).sum()

    def validation_step(self, frame, _):
        self.validated.append(frame.frame_index)

    def test_step(self, frame, batch_idx):
        self.tested.append(frame.frame_index)

    def predict_step(self, view, _):
        return view

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def trainer(**options) -> lightning.Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return lightning.Trainer(
        accelerator="cpu",
        use_distributed_sampler=False,
        **{"enable_checkpointing": False, **quiet, **options},
    )


@pytest.fixture
def make(tmp_path, tiny_video):
    def make(splits=SPLITS, frames=10, size=32, **options):
        tiny_video(frames=frames, splits=splits).write(tmp_path / "set")
        return HeadVideoDataModule(PartnerfaceReader(tmp_path / "set"), size, rays_per_frame=8, **options)

    return make


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("num_workers", [0, 1])
def test_each_stage_serves_its_frames_and_no_other(make, num_workers):
    data, module = make(num_workers=num_workers), Recorder()
    run = trainer(max_epochs=2, num_sanity_val_steps=0)
    run.fit(module, datamodule=data)
    run.test(module, datamodule=data, verbose=False)
    seen = sorted(frame for frames, _ in module.train_batches for frame in frames)
    assert seen == sorted(SPLITS["train"] * 8)
    assert module.validated == [3, 3]
    assert module.tested == [6, 8, 9]
    shown = run.predict(module, datamodule=data)
    assert torch.equal(
        torch.cat([view.torso_motion for view in shown]), data.views.torso_motion[[3, 6, 8, 9]]
    )


def test_a_clip_without_a_test_split(make):
    with pytest.raises(UserError, match="set: has no test split; nothing to test on"):
        make(splits={"train": [0, 1, 2, 5]}).test_dataloader()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("stop", [3, 11, 16])
def test_resuming_from_a_checkpoint_equals_the_uninterrupted_run(make, tmp_path, stop):
    """An epoch has 8 batches: the run stops within the first, within the second, and at its end."""
    whole = Recorder()
    keep = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=stop, save_top_k=-1)
    trainer(max_steps=20, enable_checkpointing=True, callbacks=[keep]).fit(whole, datamodule=make())
    resumed = Recorder()
    checkpoint = tmp_path / f"step={stop}.ckpt"
    trainer(max_steps=20).fit(resumed, datamodule=make(), ckpt_path=checkpoint, weights_only=True)
    rest = whole.train_batches[stop:]
    assert [frames for frames, _ in resumed.train_batches] == [frames for frames, _ in rest]
    assert all(torch.equal(a[1], b[1]) for a, b in zip(resumed.train_batches, rest, strict=True))


@pytest.mark.filterwarnings("ignore")
def test_a_clip_without_val_still_trains(make):
    module = Recorder()
    trainer(max_epochs=1).fit(module, datamodule=make({"train": [0]}, frames=1))
    assert len(module.train_batches) == 2
    assert module.validated == []


def test_frames_with_less_than_full_weight_are_not_trained_on(tmp_path, tiny_video):
    weights = torch.tensor([1, 0.5, 1, 1, 1, 1])
    tiny_video().write(tmp_path / "set", frame_weights=weights)
    data = HeadVideoDataModule(PartnerfaceReader(tmp_path / "set"))
    assert data.train_frames == [0, 2]


def test_the_camera_follows_the_image_size(make):
    data = make(size=16)
    assert (data.camera.width, data.camera.height) == (16, 12)
    assert data.camera.intrinsics[0].tolist() == [50, 50, 8, 6]
    assert data.evaluation_frame(4).image.shape == (3, 12, 16)
    assert data.num_frames == 10
    assert data.sequence.camera.width == 32


def test_views_are_the_frames_at_the_image_size(make):
    data = make(size=16)
    assert len(data.views) == 10
    assert data.views.camera.intrinsics[0].tolist() == [50, 50, 8, 6]
    frame, batch = data.evaluation_frame(4), next(iter(data.train_dataloader()))
    for view, frames in ((frame.view, [4]), (batch.view, batch.frame_index)):
        assert (view.camera.width, view.camera.height) == (16, 12)
        assert torch.equal(view.head.rotation, data.sequence.head.rotation[frames])
        assert torch.equal(view.torso_motion, data.sequence.torso_motion[frames])


def test_files_are_never_enlarged(make):
    data = make(size=500)
    assert (data.camera.width, data.camera.height) == (32, 24)


@pytest.mark.parametrize(
    ("choice", "frames"),
    [("held_out", [3, 6, 8, 9]), ("all", list(range(10))), ("temporal", [8, 9]), ("train", [0, 1, 2, 5])],
)
def test_frames_to_predict(make, choice, frames):
    data = make(predict_frames=choice)
    driver = data.prediction_driver
    assert driver.fps == pytest.approx(29.97)
    shown = [view.head.translation for view in data.predict_dataloader()]
    assert torch.equal(torch.cat(shown), data.sequence.head.translation[frames])


def test_another_driver_is_shown_instead_of_the_videos_frames(make):
    performance = OwnFrames(random_view(3), [2, 0], fps=12)
    data = make(driver=performance, predict_frames="nothing")
    assert data.prediction_driver is performance
    shown = torch.cat([view.torso_motion for view in data.predict_dataloader()])
    assert torch.equal(shown, performance.views.torso_motion[[2, 0]])


def test_a_patch_leaves_rays_for_the_rest_of_the_picture(make):
    """8 rays: with fewer than the preset's, as for slow methods, there are no patches and training runs."""
    assert [make(patch_side=side).patch_side for side in (2, 3, 24)] == [2, 0, 0]


@pytest.mark.parametrize("workers", [0, 1])
def test_patches_that_begin_by_the_clock_begin_with_a_whole_batch_and_soon(make, workers):
    """Without a number of steps; what is loaded ahead has none, and no batch has them in one frame alone."""
    data = make(patch_side=2, frames_per_batch=2, batches_per_epoch=40, num_workers=workers)
    sides = []
    for step, batch in enumerate(data.train_dataloader()):
        assert batch.rgb.shape == (2, 8, 3)
        sides.append(batch.patch_side)
        if step >= 9:  # again with every step, as a budget does
            data.begin_patches(step + 1)
    assert sides[:10] == [0] * 10
    first = sides.index(2)
    assert 10 < first <= 14
    assert sides[first:] == [2] * (40 - first)


def test_the_seed_of_the_data_is_that_of_everything_else(make, monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "7")
    assert (make().seed, make(seed=0).seed) == (7, 0)
    monkeypatch.delenv("PL_GLOBAL_SEED")
    assert make().seed == 0


def test_bad_input_is_one_line(make):
    with pytest.raises(UserError, match=r"predict_frames.*choose from held_out, all, train"):
        make(predict_frames="nothing").predict_dataloader()
    with pytest.raises(UserError, match="has no test split"):
        make({"train": [0]}).test_dataloader()
    with pytest.raises(UserError, match="no frames in 'train'"):
        make({"temporal": [0]}).train_dataloader()
    for name in ("frames_per_batch", "batches_per_epoch"):
        with pytest.raises(UserError, match=f"--data.{name}: 0"):
            make(**{name: 0})
    for name in ("num_workers", "seed"):
        with pytest.raises(UserError, match=f"--data.{name}: -1"):
            make(**{name: -1})
    with pytest.raises(UserError, match=r"--data\.image_size: 0"):
        make(size=0)


def test_rays_of_a_frame_are_its_own_and_depend_on_seed_and_frame_only(make):
    data = make()

    def rays(number):
        return list(rays_of_frame(data.evaluation_frame(number), data.pixel_sampler, 20, 3))

    first = rays(8)
    rays(9)
    for batch, again in zip(first, rays(8), strict=True):
        assert torch.equal(batch.pixels, again.pixels)
        assert torch.equal(batch.background, again.background)
        assert batch.frame_index.tolist() == [8]
        assert torch.equal(batch.view.head.expression, data.sequence.head.expression[[8]])
        assert batch.view.camera.width == data.camera.width
        x, y = batch.pixels[0].long().unbind(1)
        assert torch.equal(batch.rgb[0], data.evaluation_frame(8).image[:, y, x].T)
    assert not torch.equal(first[0].pixels, first[1].pixels)
    assert not torch.equal(first[0].background, rays(9)[0].background)
