"""Rows of memory, with the processes replaced."""

from partnerface.avatar.method import AvatarMethod
from partnerface.avatar.picture import Picture
from partnerface.benchmarks.speed import memory as memory_use
from partnerface.benchmarks.speed.memory import memory_rows, render_large, train_long
from partnerface.benchmarks.speed.peak_memory import PeakMemory
from partnerface.data.view import View


def test_each_row_is_of_its_own_work_and_target(monkeypatch):
    peaks = {(train_long, "large"): PeakMemory(3.2, 1.1), (render_large, "small"): PeakMemory(1.9, 0.5)}
    monkeypatch.setattr(memory_use, "in_new_process", lambda work, build: peaks[work, build])
    training, rendering = memory_rows("small", "large")
    assert (training.value, training.holds) == (3.2, False)
    assert training.details == {"anonymous_gb_at_end": 1.1}
    assert (rendering.value, rendering.holds) == (1.9, True)


def test_the_work_is_what_it_says(build_tiny, monkeypatch):
    """Small stand-ins for the sizes: every training frame is visited, and the frame is as large as said."""
    monkeypatch.setattr(memory_use, "LONG_FRAMES", 30)
    monkeypatch.setattr(memory_use, "LONG_SIZE", 32)
    monkeypatch.setattr(memory_use, "LARGE_FRAME_SIZE", 24)
    built = []

    def build(method: str, *flags: str):
        root = build_tiny("part_deformation").data.reader.root
        built.append(build_tiny(method, *flags, f"--data.reader.init_args.root={root}"))
        return built[-1]

    train_long(build)
    assert len(built[0].data.sequence) == 30
    assert built[0].module.trainer.global_step * 2 >= len(built[0].data.train_frames)
    rendered = []
    render = AvatarMethod.render_image

    def watched(avatar: AvatarMethod, view: View, **options: object) -> Picture:
        picture = render(avatar, view, **options)
        rendered.append(picture.rgb.shape)
        return picture

    monkeypatch.setattr(AvatarMethod, "render_image", watched)
    render_large(build)
    assert rendered == [(3, 24, 24)]
