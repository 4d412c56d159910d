"""The fit loop: determinism, resume, ranks, cancellation, divergence."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from micro import MICRO_NET, MICRO_TRAIN, ORDER, fit_config
from thread_parallel import on_ranks

from had_core.configs import Augment, Norm, Schedule, TeacherCache
from had_core.errors import BadInput, Cancelled, NonFiniteLoss, NonFiniteNet
from had_core.evaluation import evaluate
from had_core.methods import HadConfig, NaiveConfig
from had_core.parallel import Solo
from had_core.progress import OPENING_STEPS, FitProgress, SilentObserver
from had_core.stage import Runtime, fit
from had_core.tensors import first_difference


class Recorder(SilentObserver):
    def __init__(self, stop_after: int | None = None) -> None:
        self.saved: list[bytes] = []
        self.steps: list[tuple[int, int]] = []
        self._stop_after = stop_after

    def on_step(self, epoch, step, steps_per_epoch):
        self.steps.append((epoch, step))

    def on_epoch(self, record, progress):
        self.saved.append(progress().to_bytes())

    def cancelled(self):
        return self._stop_after is not None and len(self.saved) >= self._stop_after


@pytest.fixture(scope="module")
def fitted(micro_dataset):
    """``fitted(config, ranks=1)``: the result on every rank, trained once a module from what
    ``fitted`` gives at the position before."""
    known = {}

    def fitted(config, ranks=1):
        name = repr(config), ranks
        if name not in known:
            position = len(config.tasks)
            parent = fitted(fit_config(position - 1))[0].state if position > 1 else None

            def run(parallel):
                runtime = Runtime(parallel=parallel)
                return fit(config, micro_dataset, parent=parent, runtime=runtime)

            known[name] = [run(Solo())] if ranks == 1 else on_ranks(ranks, run)
        return known[name]

    return fitted


@pytest.fixture(scope="module")
def parent(fitted):
    return fitted(fit_config(1))[0].state


def test_same_settings_give_the_same_weights_bit_for_bit(micro_dataset, parent, fitted):
    (first,) = fitted(fit_config(2))
    again = fit(fit_config(2), micro_dataset, parent=parent)
    assert first_difference(first.state, again.state) is None


def test_training_moves_the_encoder_and_keeps_unused_heads(parent, fitted):
    naive = fitted(fit_config(2, NaiveConfig()))[0].state
    moved = {name for name in parent if not torch.equal(parent[name], naive[name])}
    assert any(name.startswith("encoder.") for name in moved)
    assert not any(name.startswith("heads.semantic.") for name in moved)


def test_had_trains_the_old_heads_too(parent, fitted):
    had = fitted(fit_config(2))[0].state
    heads = [name for name in parent if name.startswith("heads.semantic.")]
    assert any(not torch.equal(parent[name], had[name]) for name in heads)


@pytest.mark.parametrize("weight", [0.0, {"semantic": 0.0}])
def test_had_with_lambda_0_is_naive_bit_for_bit(micro_dataset, parent, fitted, weight):
    (naive,) = fitted(fit_config(2, NaiveConfig()))
    had = fit(fit_config(2, HadConfig(weight=weight)), micro_dataset, parent=parent)
    assert first_difference(naive.state, had.state) is None


@pytest.mark.parametrize("schedule", list(Schedule))
@pytest.mark.parametrize("stop_after", [1, 2])
def test_resume_is_bitwise_the_uninterrupted_run(
    micro_dataset, parent, fitted, stop_after, schedule
):
    config = fit_config(2, train=replace(MICRO_TRAIN, epochs=3, schedule=schedule))
    (whole,) = fitted(config)
    first = Recorder(stop_after)
    with pytest.raises(Cancelled):
        fit(config, micro_dataset, parent=parent, observer=first)
    second = Recorder()
    resumed = fit(
        config,
        micro_dataset,
        parent=parent,
        observer=second,
        resume=FitProgress.from_bytes(first.saved[-1]),
    )
    assert first_difference(whole.state, resumed.state) is None
    assert len(first.steps) + len(second.steps) == whole.steps_run
    assert [r.terms for r in resumed.history] == [r.terms for r in whole.history]
    opening = [[dict(terms) for terms in r.opening] for r in resumed.history]
    assert opening == [[dict(terms) for terms in r.opening] for r in whole.history]
    assert (len(opening[0]), opening[1:]) == (min(whole.history[0].steps, OPENING_STEPS), [[], []])


def test_evaluating_inside_a_stage_leaves_the_training_as_it_is(micro_dataset, parent, fitted):
    three = replace(MICRO_TRAIN, epochs=3)
    config = fit_config(2, train=replace(three, eval_every=2))
    (plain,) = fitted(fit_config(2, train=three))
    at_end = []

    class Watching(Recorder):
        def on_epoch(self, record, progress):
            super().on_epoch(record, progress)
            at_end.append(FitProgress.from_bytes(self.saved[-1]).tensors)

    first = Watching()
    scored = fit(config, micro_dataset, parent=parent, observer=first)
    assert first_difference(plain.state, scored.state) is None
    assert [r.terms for r in plain.history] == [r.terms for r in scored.history]
    assert [bool(record.scores) for record in scored.history] == [False, True, False]
    state = {name[4:]: v for name, v in at_end[1].items() if name.startswith("net/")}
    assert scored.history[1].scores == evaluate(config, state, micro_dataset, "val")
    assert set(scored.history[1].scores) == set(ORDER[:2])
    resume = FitProgress.from_bytes(first.saved[1])
    resumed = fit(config, micro_dataset, parent=parent, resume=resume)
    assert first_difference(plain.state, resumed.state) is None
    assert [r.scores for r in resumed.history] == [r.scores for r in scored.history]


def test_ranks_evaluate_together(fitted):
    left, right = fitted(fit_config(1, train=replace(MICRO_TRAIN, eval_every=2)), ranks=2)
    alone, _ = fitted(fit_config(1), ranks=2)
    assert left.history[1].scores == right.history[1].scores != {}
    assert first_difference(left.state, alone.state) is None


def test_cache_off_and_float32_agree_up_to_rounding_and_float16_does_not(fitted):
    # Position 3, where depth is old: a label survives float16, a value does not.
    states = {
        cache: fitted(fit_config(3, train=replace(MICRO_TRAIN, teacher_cache=cache)))[0].state
        for cache in TeacherCache
    }
    gap = first_difference(states[TeacherCache.OFF], states[TeacherCache.FLOAT32])
    assert gap is None or gap[1] < 1e-4
    assert first_difference(states[TeacherCache.OFF], states[TeacherCache.FLOAT16]) is not None


@pytest.mark.parametrize("norm", [Norm.GROUP, Norm.SYNC, Norm.FROZEN])
def test_two_ranks_train_what_one_does_up_to_rounding(fitted, norm):
    config = fit_config(1, net=replace(MICRO_NET, norm=norm))
    (one,) = fitted(config)
    for rank in fitted(config, ranks=2):
        for left, right in zip(one.history, rank.history, strict=True):
            assert left.terms == pytest.approx(right.terms, rel=2e-3)
            assert (left.images, left.steps) == (right.images, right.steps)


@pytest.mark.parametrize("norm", [Norm.GROUP, Norm.BATCH])
def test_ranks_end_with_equal_weights(fitted, norm):
    left, right = fitted(fit_config(1, net=replace(MICRO_NET, norm=norm)), ranks=2)
    assert first_difference(left.state, right.state) is None


def test_two_ranks_share_the_teacher_cache_fill(fitted):
    (one,), two = fitted(fit_config(2)), fitted(fit_config(2), ranks=2)
    assert one.history[0].terms == pytest.approx(two[0].history[0].terms, rel=2e-2)


def test_flip_is_reproducible_and_changes_the_weights(micro_dataset):
    train = replace(MICRO_TRAIN, epochs=1, augment=Augment.FLIP, teacher_cache=TeacherCache.OFF)
    first = fit(fit_config(1, train=train), micro_dataset).state
    again = fit(fit_config(1, train=train), micro_dataset).state
    plain = fit(fit_config(1, train=replace(train, augment=Augment.NONE)), micro_dataset).state
    assert first_difference(first, again) is None
    assert first_difference(first, plain) is not None


def test_divergence_names_step_and_term_on_every_rank(micro_dataset):
    train = replace(MICRO_TRAIN, lr=1e30)

    def attempt(parallel):
        with pytest.raises(NonFiniteLoss) as caught:
            fit(fit_config(1, train=train), micro_dataset, runtime=Runtime(parallel=parallel))
        return caught.value.term, caught.value.epoch, caught.value.step

    left, right = on_ranks(2, attempt)
    assert left == right
    assert left[0] == f"new/{ORDER[0]}"


def test_a_last_step_that_ends_at_infinity_is_no_success(micro_dataset):
    """Its loss is that of the weights before it."""
    train = replace(MICRO_TRAIN, lr=1e300, epochs=1, batch_size=12)  # one step

    def attempt(parallel):
        with pytest.raises(NonFiniteNet, match="is not finite after the last step"):
            fit(fit_config(1, train=train), micro_dataset, runtime=Runtime(parallel=parallel))

    on_ranks(2, attempt)


def test_batch_larger_than_a_slice_is_refused(micro_dataset):
    with pytest.raises(BadInput, match=r"train\.batch_size=100 .* at most the \d+ images"):
        fit(fit_config(1, train=replace(MICRO_TRAIN, batch_size=100)), micro_dataset)


def test_batch_that_workers_cannot_share_is_refused(micro_dataset):
    train = replace(MICRO_TRAIN, batch_size=5)

    def attempt(parallel):
        with pytest.raises(BadInput, match="a multiple of the 2 workers"):
            fit(fit_config(1, train=train), micro_dataset, runtime=Runtime(parallel=parallel))

    on_ranks(2, attempt)


def test_unknown_task_is_refused(micro_dataset):
    config = replace(fit_config(1), tasks=("colour",))
    with pytest.raises(BadInput):
        fit(config, micro_dataset)
