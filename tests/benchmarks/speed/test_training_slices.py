"""Slices are real training steps: they learn, are counted, and keep what was learned."""

import pytest
import torch
from lightning.pytorch import Callback

from partnerface.benchmarks.speed.stages import StageCallback, StageClock
from partnerface.benchmarks.speed.training_slices import (
    ScoresDuringTraining,
    SecondsBudget,
    StepTimer,
    continue_from,
    set_up,
    timed_steps,
    train_steps,
)


def test_steps_are_timed_after_the_warm_up_and_the_method_learns(tiny_method):
    timer = StepTimer(warm_up=2)
    set_up(tiny_method)
    before = {k: v.clone() for k, v in tiny_method.module.avatar.named_parameters()}
    train_steps(tiny_method, 5, callbacks=[timer])
    assert len(timer.steps) == 3
    assert all(step.wall > 0 for step in timer.steps)
    changed = [k for k, v in tiny_method.module.avatar.named_parameters() if not torch.equal(v, before[k])]
    assert {"field.grid.tables", "deformation.local.offset.shapes"} <= {*changed}


def test_slices_run_in_the_second_stage(tiny_method):
    """With hard part assignment a step would cost half of what it costs later."""
    timed_steps(tiny_method, 1)
    assert tiny_method.module.avatar.deformation.assigner.hard is False
    train_steps(tiny_method, 1, progress=0.0)
    assert tiny_method.module.avatar.deformation.assigner.hard is True


def test_every_stage_begun_is_ended(tiny_method):
    ticks = iter(range(10**6))
    clock = StageClock(lambda: float(next(ticks)))
    train_steps(tiny_method, 2, callbacks=[StageCallback(clock)])
    assert clock.seconds.keys() == {"schedules, clipping, log", "backward", "optimizer"}
    with clock.stage("after"):
        pass
    assert clock.seconds["after"] == 1


def test_a_budget_ends_training_and_leads_the_schedules(tiny_method):
    seconds = iter(range(1000))
    budget = SecondsBudget(3, clock=lambda: float(next(seconds)))
    train_steps(tiny_method, -1, progress=0.0, callbacks=[budget])
    assert budget.steps == 3
    assert budget.spent == 3
    assert tiny_method.module.elapsed_shares["cpu"] == 1


def test_a_variant_takes_over_what_fits(build_tiny, tiny_method):
    set_up(tiny_method)
    trained = tiny_method.module.avatar
    with torch.no_grad():
        trained.field.grid.tables.fill_(0.25)
        trained.sampler.occupancy.occupied.zero_()
    variant = build_tiny("part_deformation", "--model.avatar.deformation.init_args.parts=3")
    continue_from(variant, tiny_method)
    avatar = variant.module.avatar
    assert (avatar.field.grid.tables == 0.25).all()
    assert not avatar.sampler.occupancy.occupied.any()
    assert avatar.deformation.parts == 3


@pytest.mark.parametrize("method", ["nerface", "skinning_only"])
def test_other_methods_run_through_the_same_steps(build_tiny, method):
    assert timed_steps(build_tiny(method), 1).wall > 0


def test_what_happens_in_a_pause_costs_nothing(tiny_method):
    """A clock that rises by one whenever it is read, and by a hundred in every pause."""
    time = [0.0]

    def clock() -> float:
        time[0] += 1
        return time[0]

    class Pause(Callback):
        def on_train_batch_end(self, *args) -> None:
            with budget.paused():
                time[0] += 100

    budget = SecondsBudget(5, clock=clock)
    train_steps(tiny_method, -1, progress=0.0, callbacks=[budget, Pause()])
    # Each step and each beginning of a pause is one reading of the clock.
    assert budget.spent == 5
    assert budget.steps == 3


def test_scores_are_taken_at_their_marks_and_training_goes_on(tiny_method):
    seconds = iter(range(1000))
    budget = SecondsBudget(20, clock=lambda: float(next(seconds)))

    def score() -> float:
        tiny_method.module.eval()
        return budget.spent

    scores = ScoresDuringTraining(score, budget, [1.5, 2, 7, 100])
    train_steps(tiny_method, -1, progress=0.0, callbacks=[budget, scores])
    assert all(second == value for second, value in scores.found)
    assert [second for second, _ in scores.found] == [2, 7]
    assert tiny_method.module.training
