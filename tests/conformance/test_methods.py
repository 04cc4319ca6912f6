"""What every registered finetune method promises."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from models_zoo import architecture as registry
from tests.worker.targets import candidate, finetuned, target, unet_file
from worker.science.errors import ScienceError
from worker.science.specs import FinetuneProtocol
from worker.science.training import finetune as room
from worker.science.training.finetune import Finetuned
from worker.science.training.method import Method, methods, usual_method
from worker.science.training.options import Option, complete_options
from worker.science.training.state import TrainingState, load_state, save_state
from worker.science.training.target_objective import raw_outputs

ONE = FinetuneProtocol(epochs=1)
SEVERAL = FinetuneProtocol(epochs=4, patience=3, learning_rate=5e-3, weight_decay=1e-3)
DATA = target(count=20)

every_method = pytest.mark.parametrize("method", methods().values(), ids=list(methods()))


def run(folder: Path, method: Method, protocol: FinetuneProtocol, **more: Any) -> Finetuned:
    made = candidate(unet_file(folder), DATA, protocol)
    return finetuned(made, method, **more)


def state_of(result: Finetuned) -> dict[str, Tensor]:
    return dict(result.network.state_dict())


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@every_method
@pytest.mark.parametrize("task", ["segmentation", "classification"])
def test_one_epoch_delivers_a_plain_network_that_answers_as_the_trained_one(
    method: Method, task: str, tmp_path: Path
) -> None:
    architecture = "unet" if task == "segmentation" else "unet_classifier"
    made = candidate(unet_file(tmp_path, architecture=architecture), target(task=task, classes=3), ONE)
    result = finetuned(made, method)
    plain = registry.build(architecture, spatial_dims=2, in_channels=1, classes=3, width=2).module
    plain.load_state_dict(result.network.state_dict())  # strict: exactly the architecture's keys
    assert all(type(a) is type(b) for a, b in zip(plain.modules(), result.network.modules(), strict=True))
    assert all(not module._forward_hooks for module in result.network.modules())
    images, _ = made.loader.batch([0, 1])
    with torch.no_grad():
        trained = raw_outputs(made.network.module.eval(), made.loader, images)
        torch.testing.assert_close(raw_outputs(plain.eval(), made.loader, images), trained, rtol=1e-5, atol=1e-5)


@every_method
def test_every_weight_of_the_delivered_network_can_learn(method: Method, tmp_path: Path) -> None:
    assert all(weight.requires_grad for weight in run(tmp_path, method, ONE).network.parameters())


@every_method
def test_the_same_seed_gives_the_same_network_whatever_was_drawn_before(method: Method, tmp_path: Path) -> None:
    delivered = []
    for elsewhere in (1, 2):
        made = candidate(unet_file(tmp_path), DATA, ONE)
        torch.manual_seed(elsewhere)
        before = torch.get_rng_state()
        delivered.append(state_of(finetuned(made, method)))
        assert torch.equal(torch.get_rng_state(), before)
    assert equal(*delivered)


@every_method
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_run_that_stopped_after_any_epoch_goes_on_as_if_it_had_not(
    method: Method, optimizer: str, tmp_path: Path
) -> None:
    protocol = FinetuneProtocol(**{**vars(SEVERAL), "optimizer": optimizer})
    files: list[Path] = []

    def keep(state: TrainingState) -> None:
        files.append(tmp_path / f"{state.epoch}.safetensors")
        save_state(state, files[-1])

    whole = run(tmp_path, method, protocol, after_epoch=keep)
    assert len(files) == len(whole.epochs)
    for file in files:
        resumed = run(tmp_path, method, protocol, resume=load_state(file))
        assert equal(state_of(whole), state_of(resumed)), file.name
        assert (resumed.epochs, resumed.metrics) == (whole.epochs, whole.metrics)
        assert resumed.best_epoch == whole.best_epoch


def test_a_pretext_runs_state_is_refused(tmp_path: Path) -> None:
    states: list[TrainingState] = []
    run(tmp_path, usual_method(), ONE, after_epoch=states.append)
    with pytest.raises(ScienceError, match="resume: the state has no best epoch"):
        run(tmp_path, usual_method(), ONE, resume=replace(states[0], best=None))


@every_method
def test_an_unknown_option_is_refused_before_training(
    method: Method, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "train_epoch", None)
    names = ", ".join(option.name for option in method.options) or "none"
    with pytest.raises(ScienceError, match=f"{method.name} has no option nonsense; it takes {names}"):
        run(tmp_path, method, ONE, options={"nonsense": 1})


@every_method
def test_options_are_described_and_their_defaults_are_accepted(method: Method, tmp_path: Path) -> None:
    defaults = {option.name: option.default for option in method.options}
    assert len(defaults) == len(method.options)
    assert all(option.meaning.endswith(".") for option in method.options)
    assert complete_options(method.options, defaults, owner=method.name) == defaults
    assert equal(state_of(run(tmp_path, method, ONE)), state_of(run(tmp_path, method, ONE, options=defaults)))


def test_one_method_is_the_usual_one() -> None:
    assert [method.name for method in methods().values() if method.usual] == ["ac_norm"]
    assert usual_method().name == "ac_norm"


OPTIONS = (
    Option("strength", 0.5, "How strong.", lowest=0.0, highest=1.0),
    Option("steps", 3, "How many.", lowest=1),
    Option("exact", False, "Whether it is exact."),
    Option("form", "paper", "Which form.", choices=("paper", "code")),
)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"strength": 2}, "options.strength: 2 is out of bounds; give a finite number of at least 0.0 and of at"),
        ({"strength": float("nan")}, "options.strength: nan is not a finite number"),
        ({"strength": True}, "options.strength: True is not a finite number"),
        ({"steps": 0}, "options.steps: 0 is out of bounds; give a whole number of at least 1"),
        ({"steps": 1.5}, "options.steps: 1.5 is not a whole number"),
        ({"steps": True}, "options.steps: True is not a whole number"),
        ({"steps": [3]}, r"options.steps: \[3\] is not a whole number"),
        ({"steps": 10**400}, "options.steps: the number is out of range; give a whole number of at least 1"),
        ({"strength": 10**400}, "options.strength: the number is out of range; give a finite number of at least"),
        ({"strength": -(10**5000)}, "options.strength: the number is out of range"),
        ({"strength": [0.5]}, r"options.strength: \[0.5\] is not a finite number"),
        ({"strength": "0.5"}, "options.strength: '0.5' is not a finite number"),
        ({"exact": []}, r"options.exact: \[\] is neither true nor false"),
        ({"form": ["paper"]}, r"options.form: \['paper'\] is not known"),
        ({"form": True}, "options.form: True is not known"),
        ({"exact": 1}, "options.exact: 1 is neither true nor false"),
        ({"form": "other"}, "options.form: 'other' is not known; use paper or code"),
        ({"other": 1}, "options: toy has no option other; it takes strength, steps, exact, form"),
    ],
)
def test_a_wrong_option_is_named_with_its_remedy(given: dict[str, object], message: str) -> None:
    with pytest.raises(ScienceError, match=message):
        complete_options(OPTIONS, given, owner="toy")


def test_a_whole_number_is_taken_for_a_finite_one() -> None:
    complete = complete_options(OPTIONS, {"strength": 1}, owner="toy")
    assert complete == {"strength": 1.0, "steps": 3, "exact": False, "form": "paper"}
    assert isinstance(complete["strength"], float)
