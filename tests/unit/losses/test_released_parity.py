"""The variant ``released`` against recorded results of the released code, every case of the file.

Tolerances are the file's: losses 1e-5 relative, gradients 2e-3 of their norm, parameters after
Adam 1e-2.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import parity
import pytest
import torch
from torch.nn import functional as F

from had_core.configs import TrainConfig
from had_core.losses import released
from had_core.losses.released import Select, released_prediction
from had_core.methods.had import HadConfig, HadLossConfig, Variant
from had_core.metrics.meters import meter_for
from had_core.optim import StageOptimizer

CASES = parity.ParityFile(parity.PATH).cases if parity.IS_THERE else {}
SELECT = {1: Select.ABOVE, 0: Select.REST, 2: Select.ALL}
LOSS, GRAD, ADAM = 1e-5, 2e-3, 1e-2


@pytest.fixture(scope="module")
def stored():
    if not parity.IS_THERE:
        pytest.skip("../shared/parity is absent")
    return parity.ParityFile(parity.PATH)


def names(*functions: str) -> list[str]:
    if not CASES:
        return ["absent"]  # the fixture skips it, with its reason
    return [name for name, case in CASES.items() if case["func"] in functions]


def assert_loss_and_gradient(stored, case, loss_of):
    prediction = stored.array(case, "pred").requires_grad_()
    loss = loss_of(prediction, stored.array(case, "target"))
    torch.testing.assert_close(
        loss.detach(), stored.expected(case), rtol=LOSS, atol=1e-12, equal_nan=True
    )
    loss.backward()
    expected = stored.expected(case, "grad_pred")
    assert torch.equal(prediction.grad.isnan(), expected.isnan())
    if not expected.isnan().any():
        assert (prediction.grad - expected).norm() <= GRAD * expected.norm()


@pytest.mark.parametrize("case", names("model_fit"))
def test_supervised(stored, case):
    task = parity.TASKS[stored.cases[case]["params"]["task"]]
    assert_loss_and_gradient(
        stored, case, lambda p, target: released.released_supervised_loss(task, p, target)
    )


@pytest.mark.parametrize("case", names("weight_fit"))
def test_distillation(stored, case):
    params = stored.cases[case]["params"]
    bar = None if params["num_interval"] == 1 else params["num_interval"]

    def loss(prediction, target):
        balanced, salient = released.released_terms(
            parity.TASKS[params["task"]],
            prediction,
            target,
            bar=bar,
            k=params["scalar_val"],
            select=SELECT[params["sel_max"]],
        )
        return (balanced + salient) / 2

    assert_loss_and_gradient(stored, case, loss)


@pytest.mark.parametrize("case", names("num_balance_seg", "num_dep_bar", "num_norm_bar"))
def test_balanced_term(stored, case):
    function, params = stored.cases[case]["func"], stored.cases[case]["params"]

    def loss(prediction, target):
        if function == "num_balance_seg":
            loss_BHW = F.nll_loss(prediction, target, reduction="none")
            return released.balanced_labels(loss_BHW, target, prediction)
        bar = params["num_interval"]
        if function == "num_dep_bar":
            valid = target.sum(1, keepdim=True) != 0
            error = (prediction - target).abs() * valid
            return released.balanced_by_bar(error, prediction, bar, empty=0.0)
        error = 1 - (prediction * target).mean(1, keepdim=True)
        return released.balanced_by_bar(error, prediction.mean(1, keepdim=True), bar, empty=1.0)

    assert_loss_and_gradient(stored, case, loss)


@pytest.mark.parametrize("case", names("geo_mean"))
def test_geometric_mean(stored, case):
    values = stored.array(case, "x")
    mean = released.geometric_means(values, torch.zeros(len(values), dtype=torch.int64), 1)
    # No absolute tolerance: one of the means is 1e-30.
    assert mean.item() == pytest.approx(stored.expected(case, "y").item(), rel=LOSS, abs=0.0)


@pytest.mark.parametrize("case", names("sober"))
def test_sobel(stored, case):
    size = released.sobel_zero_padded(stored.array(case, "map"))
    torch.testing.assert_close(size, stored.expected(case, "mag"), rtol=LOSS, atol=1e-6)


@pytest.mark.parametrize("case", names("_edgeMask"))
def test_salience_mask(stored, case):
    params = stored.cases[case]["params"]
    source, name = params["map_from"].split(" ")[0].split("/in/")
    mask = released.salience_mask(
        stored.array(source, name), params["scalar_val"], SELECT[params["sel_max"]]
    )
    assert torch.equal(mask, stored.expected(case, "mask"))


@pytest.mark.parametrize("case", names("depth_error"))
def test_depth_error(stored, case):
    meter = meter_for(parity.TASKS["depth"])
    meter.update(stored.array(case, "pred"), stored.array(case, "target"))
    expected = {f"{n}_err": stored.expected(case, n).item() for n in ("abs", "rel")}
    assert meter.compute() == pytest.approx(expected, rel=LOSS, nan_ok=True)


@pytest.mark.parametrize("case", names("normal_error"))
def test_normal_error(stored, case):
    """Ours is float64: the released float32 arc cosine is off by 0.01 degrees near 0."""
    meter = meter_for(parity.TASKS["normal"])
    meter.update(stored.array(case, "pred"), stored.array(case, "target"))
    found = meter.compute()
    for name, ours in (("mean", "mean_deg"), ("median", "median_deg")):
        expected = stored.expected(case, name).item()
        assert found[ours] == pytest.approx(expected, abs=0.02, nan_ok=True)
    for limit in ("11.25", "22.5", "30"):
        expected = stored.expected(case, f"lt{limit}").item()
        assert found[f"within_{limit}"] == pytest.approx(expected, rel=LOSS, nan_ok=True)


@pytest.mark.parametrize("case", names("ConfMatrix"))
def test_confusion_matrix(stored, case):
    """Where a class occurs neither in truth nor prediction the released mIoU is NaN, ours not."""
    task = parity.TASKS["semantic"]
    meter = meter_for(task)
    for update in range(stored.cases[case]["params"]["updates"]):
        prediction = stored.array(case, f"pred{update}")
        logits = F.one_hot(prediction, task.channels).permute(0, 3, 1, 2).float()
        meter.update(logits, stored.array(case, f"target{update}"))
    expected = stored.expected(case, "mat")
    assert torch.equal(meter.state()["confusion"], expected)
    found, miou = meter.compute(), stored.expected(case, "miou").item()
    accuracy = stored.expected(case, "acc").item()
    assert found["pixel_acc"] == pytest.approx(accuracy, rel=LOSS, nan_ok=True)
    if not math.isnan(miou):
        assert found["miou"] == pytest.approx(miou, rel=LOSS)
    else:
        assert math.isfinite(found["miou"]) == bool(expected.sum())


@pytest.mark.parametrize("case", names("DeepLabv3(resnet18).eval()"))
def test_network_in_eval_mode(stored, case):
    net = stored.net().eval()
    image = stored.image(case) * net.std + net.mean  # undoes our normalisation
    with torch.no_grad():
        features = net.encode(image)
        heads = net.decode(features, parity.TASKS)
    found = {"features": features, **{f"raw_{name}": head for name, head in heads.items()}}
    for name, task in parity.TASKS.items():
        full = net.upsample(heads[name], image.shape[2:])
        found[f"out_{name}"] = released_prediction(task, full)
    for name, value in found.items():
        expected = stored.expected(case, name)
        torch.testing.assert_close(value, expected, rtol=0, atol=1e-5 * expected.abs().max().item())


class Step:
    """One step of stage 3 as ``Had`` sees it, in one process."""

    def __init__(self, student, teacher, image, target):
        tasks = parity.TASKS
        self.old_tasks, self.new_tasks = (tasks["semantic"], tasks["depth"]), (tasks["normal"],)
        self._student = student(image)
        with torch.no_grad():
            self._teacher = teacher(image)
        self._target = target

    def student(self, task):
        return self._student[task.name]

    def teacher(self, task):
        return self._teacher[task.name]

    def target(self, task):
        return self._target

    def mean_over_images(self, per_image_B):
        return per_image_B.mean()


@pytest.mark.parametrize("case", names("HAD._new_train inner step"))
def test_a_whole_step_of_stage_3(stored, case):
    params = stored.cases[case]["params"]
    student, teacher = stored.net().train(), stored.net(seed_offset=7).eval()
    image = stored.image(case) * student.std + student.mean
    loss = HadLossConfig(
        delta=params["num_interval"], k=params["scalar_val"], variant=Variant.RELEASED
    )
    method = HadConfig(weight=3.0, loss=loss).build()
    terms = method.terms(Step(student, teacher, image, stored.array(case, "target_normal")))

    def term(name):
        return stored.expected(case, name).item()

    found = SimpleNamespace(**{k.replace("/", "_"): v.item() for k, v in terms.items()})
    assert found.new_normal == pytest.approx(term("L_new"), rel=LOSS)
    assert found.db_semantic + found.sg_semantic == pytest.approx(3 * term("L_semantic"), rel=LOSS)
    assert found.db_depth + found.sg_depth == pytest.approx(3 * term("L_depth"), rel=LOSS)
    total = torch.stack(list(terms.values())).sum()
    assert total.item() == pytest.approx(term("loss"), rel=LOSS)

    total.backward()
    trained = dict(student.named_parameters())
    ordered = [trained[name] for name in stored.parameter_names]
    norms = torch.stack([torch.zeros(()) if p.grad is None else p.grad.norm() for p in ordered])
    expected = stored.expected(case, "grad_norm_per_param").to(norms.dtype)
    torch.testing.assert_close(norms, expected, rtol=GRAD, atol=GRAD * expected.max().item() * 1e-2)

    train = TrainConfig(lr=params["lr"], weight_decay=params["weight_decay"])
    StageOptimizer(train, trained, 1).step(0)
    sums = torch.stack([p.detach().double().sum() for p in ordered])
    torch.testing.assert_close(
        sums, stored.expected(case, "param_sum_after_adam"), rtol=ADAM, atol=ADAM
    )


def test_every_function_of_the_file_has_a_test(stored):
    covered = set()
    for test in list(globals().values()):
        for mark in getattr(test, "pytestmark", []):
            covered |= set(mark.args[1])
    elsewhere = {"model/train_nodropout"}  # tests/unit/nets
    assert set(stored.cases) - covered == elsewhere & set(stored.cases)
