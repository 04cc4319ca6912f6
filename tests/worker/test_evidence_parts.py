"""The parts of the evidence: gathered only when asked for, the source's own head, stages at the voxels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from tests.worker.targets import Made, candidate, features_of, gather, silent, target, unet_file
from worker.science.data.sampling import sample_voxels
from worker.science.errors import ScienceError
from worker.science.evidence.parts import Part, SourceHead
from worker.science.measures.registry import evaluate, measures, needs_of
from worker.science.specs import CandidateSpec


def head_of(made: Made) -> SourceHead:
    head = gather(made, silent, needs={Part.SOURCE_HEAD}).evidence.source_head
    assert head is not None
    return head


def test_only_what_is_needed_is_gathered(tmp_path: Path) -> None:
    stages_seen: list[str] = []
    made = candidate(unet_file(tmp_path), target())
    gathered = gather(made, lambda stage, *_: stages_seen.append(stage), needs={Part.FEATURES})
    assert [getattr(gathered.evidence, part) is None for part in Part] == [False, True, True, True, True, True]
    assert set(stages_seen) == {"features"}
    assert gathered.figures.epoch_seconds is None
    stages_seen.clear()
    made = candidate(unet_file(tmp_path), target())
    gathered = gather(made, lambda stage, *_: stages_seen.append(stage), needs={Part.EPOCH, Part.AFFINES})
    assert [getattr(gathered.evidence, part) is None for part in Part] == [True, True, True, False, False, True]
    assert set(stages_seen) == {"epoch", "validation"}
    assert gathered.figures.feature_scale is None


@pytest.mark.parametrize("task", ["segmentation", "classification", "regression", "multilabel"])
def test_a_measure_scores_the_same_alone_as_with_all_others(tmp_path: Path, task: str) -> None:
    spec = unet_file(tmp_path, architecture="unet" if task == "segmentation" else "unet_classifier")
    data = target(task=task, count=24, size=(32, 32))
    few = {"null_permutations": 2}
    everything = gather(candidate(spec, data, **few), silent, needs=set(Part)).evidence
    for measure in measures().values():
        if task in measure.tasks:
            alone = gather(candidate(spec, data, **few), silent, needs=needs_of([measure])).evidence
            assert evaluate(measure, alone).value == evaluate(measure, everything).value, measure.name


@pytest.mark.parametrize("task", ["segmentation", "classification"])
def test_the_source_head_speaks_of_the_rows_of_the_features(tmp_path: Path, task: str) -> None:
    data = target(task=task, classes=3)
    spec = unet_file(tmp_path, architecture="unet" if task == "segmentation" else "unet_classifier")
    made = candidate(spec, data)
    network = made.network.module.eval()
    with torch.no_grad():
        index = data.indices("train")[:1]
        logits = network(made.loader.batch(index)[0]).double()
    head, features = head_of(made), features_of(candidate(spec, data))
    assert head.probabilities is not None
    assert torch.equal(head.labels, features.labels)
    assert head.probabilities.shape == (len(features.labels), 2)  # the source's classes, not the target's three
    if task == "segmentation":
        places = torch.from_numpy(sample_voxels(made.loader, data.indices("train"))[0])
        logits = logits[0].flatten(1)[:, places].T
    assert torch.allclose(head.probabilities[: len(logits)], logits.softmax(1), atol=1e-6)


def without_head(spec: CandidateSpec) -> CandidateSpec:
    state = load_file(spec.path)
    path = spec.path.with_name("headless.safetensors")
    save_file({key: value for key, value in state.items() if "out_tr" not in key}, path)
    return replace(spec, path=path)


def test_a_head_without_classes_is_not_applicable(tmp_path: Path) -> None:
    spec, data = unet_file(tmp_path), target()
    reasons = {
        "is not in the checkpoint": without_head(spec),
        "its head names no classes": replace(spec, head="none"),
        "don't exclude one another": replace(spec, head="sigmoid"),
    }
    for reason, changed in reasons.items():
        evidence = gather(candidate(changed, data), silent, needs={Part.SOURCE_HEAD}).evidence
        for name in ("leep", "nce"):
            score = evaluate(measures()[name], evidence)
            assert (score.value, score.flags) == (None, ("not_applicable",))
            assert reason in str(score.reason)
    with pytest.raises(ScienceError, match=r"card\.head: 'tanh' is not known; use one of softmax"):
        candidate(replace(spec, head="tanh"), data)


def single_output(folder: Path, spec: CandidateSpec) -> CandidateSpec:
    state = load_file(spec.path)
    path = folder / "single.safetensors"
    save_file({key: value[:1].clone() if "out_tr" in key else value for key, value in state.items()}, path)
    return replace(spec, path=path, classes=1)


def test_one_output_is_a_foreground_probability_only_if_its_card_says_so(tmp_path: Path) -> None:
    spec = single_output(tmp_path, unet_file(tmp_path))
    assert "has one output" in str(head_of(candidate(spec, target())).reason)
    head = head_of(candidate(replace(spec, head="sigmoid"), target()))
    assert head.probabilities is not None
    assert head.probabilities.shape[1] == 2
    assert torch.allclose(head.probabilities.sum(1), torch.ones(1).double())


@pytest.mark.parametrize("dims", [2, 3])
def test_stages_are_read_at_voxels_as_if_resized(tmp_path: Path, dims: int) -> None:
    size = (20, 18, 17)[:dims]  # not a multiple of the divisor
    data = target(size=size)
    made = candidate(unet_file(tmp_path, dims=dims), data, voxels_per_class=20)
    caught: dict[str, torch.Tensor] = {}
    for name, path in made.network.stages.items():
        made.network.module.get_submodule(path).register_forward_hook(
            lambda *call, name=name: caught.update({name: call[2]})
        )
    stages = gather(made, silent, needs={Part.STAGES}).evidence.stages
    assert stages is not None
    assert [stage.name for stage in stages] == ["decoder_1", "decoder_2", "decoder_3"]
    index = data.indices("train")[:1]
    padded = made.loader.pad(made.loader.batch(index)[0])
    with torch.no_grad():
        made.network.module.eval()(padded)
    for stage, count in zip(stages, (10, 20, 40), strict=True):
        places = torch.from_numpy(sample_voxels(made.loader, index, per_class=count)[0])
        mode = {2: "bilinear", 3: "trilinear"}[dims]
        maps = F.interpolate(caught[stage.name], padded.shape[2:], mode=mode, align_corners=False)
        valid = maps[(0, slice(None), *(slice(side) for side in size))].flatten(1)
        own = stage.images == int(index[0])
        assert torch.allclose(stage.values[own] * stage.scale, valid[:, places].T, atol=1e-5)


def test_stages_take_few_images_and_only_with_foreground(tmp_path: Path) -> None:
    data = target(count=80)
    data.labels[data.indices("train")[:3]] = 0
    stages = gather(candidate(unet_file(tmp_path), data), silent, needs={Part.STAGES}).evidence.stages
    assert stages is not None
    assert all(len(stage.images.unique()) == 32 for stage in stages)
    assert not set(data.indices("train")[:3].tolist()) & set(stages[0].images.tolist())
    nothing = replace(data, labels=data.labels * 0)
    evidence = gather(candidate(unet_file(tmp_path), nothing), silent, needs={Part.STAGES}).evidence
    assert evidence.stages == ()
    assert evaluate(measures()["cc_fv"], evidence).flags == ("not_applicable",)
