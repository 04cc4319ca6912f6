"""Measure AC-Norm, folding and LogME side by side with what they replace; print a Markdown table.

    python benchmarks/speed.py --reference path/to/checkouts --output docs/speed.md

Both sides of a row run alternately in one process; times are medians, factors medians of paired factors.
`--reference` is any folder that holds thuml's `LogME.py`, tllib's `tllib/ranking/logme.py` and AC-Norm's
`affine_co_norm.py` (the first two need numba); rows that lack theirs are left out.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import platform
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from types import ModuleType

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from models_zoo import architecture as registry
from worker.science.acnorm.convert import convert, fold
from worker.science.measures.logme import class_evidence

Run = Callable[[], object]


@dataclass(frozen=True)
class Pair:
    """Two ways to do one thing and what their factor should be."""

    case: str
    ours: Run
    other: Run
    other_name: str
    target: float | None = None
    faster: bool = False  # factor is other / ours (at least the target), else ours / other (at most)
    often: float = 1.0  # times the number of repeats asked for; short runs need more


@dataclass(frozen=True)
class Row:
    """What was measured: milliseconds of each and the factor."""

    pair: Pair
    ours: float
    other: float
    factor: float

    def __str__(self) -> str:
        pair = self.pair
        bound = "at least" if pair.faster else "at most"
        target = "reported" if pair.target is None else f"{bound} {pair.target:g}"
        unit = "times faster" if pair.faster else "times its time"
        factor = f"{self.factor:.2f}" if self.factor < 10 else f"{self.factor:.0f}"
        return f"| {pair.case} | {pair.other_name} | {factor} {unit} | {target} | {self.verdict} |"

    @property
    def verdict(self) -> str:
        target = self.pair.target
        if target is None:
            return ""
        # the last shown digit decides: 1.00 is met by 1.004
        met = self.factor >= target if self.pair.faster else round(self.factor, 2) <= target
        return "met" if met else "**missed**"


def measure(pair: Pair, repeats: int) -> Row:
    """Run both alternately, after one unmeasured run each."""
    pair.ours(), pair.other()
    times = []
    for turn in range(max(3, round(repeats * pair.often))):
        both = (pair.ours, pair.other) if turn % 2 else (pair.other, pair.ours)
        seconds = [seconds_of(run) for run in both]
        times.append(seconds if turn % 2 else seconds[::-1])
    factors = [other / ours if pair.faster else ours / other for ours, other in times]
    ours, other = (1e3 * median(column) for column in zip(*times, strict=True))
    return Row(pair, ours, other, median(factors))


def seconds_of(run: Run) -> float:
    start = perf_counter()
    run()
    return perf_counter() - start


def passes(norm: nn.Module, shape: tuple[int, ...]) -> Run:
    """One forward and backward through a norm layer."""
    x, gradient = torch.randn(shape, requires_grad=True), torch.randn(shape)

    def run() -> None:
        x.grad = None
        norm.zero_grad()
        norm(x).backward(gradient)

    return run


def norm_of(shape: tuple[int, ...]) -> nn.Module:
    """A BatchNorm whose channels differ, as pretrained ones do."""
    norm = (nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm3d)(shape[1])
    nn.init.normal_(norm.weight, 1.0, 0.3)
    nn.init.normal_(norm.bias, 0.0, 0.5)
    return norm


def layer_pairs(reference: Path | None) -> Iterator[Pair]:
    """AC-Norm against BatchNorm, and against the public AC-Norm where given."""
    public = load(reference, "affine_co_norm.py")
    for shape, target in (((8, 64, 128, 128), 1.10), ((2, 32, 48, 48, 48), 1.10), ((2, 512, 16, 16), None)):
        plain = norm_of(shape)
        name = f"AC-Norm forward + backward {'x'.join(map(str, shape))}"
        ours = convert(copy.deepcopy(plain))
        often = 1.0 if shape[-1] > 16 else 20.0
        yield Pair(name, passes(ours, shape), passes(plain, shape), "BatchNorm", target, often=often)
        if public:
            kind = public.AffineCoNorm2d if len(shape) == 4 else public.AffineCoNorm3d
            other = passes(kind(shape[1]), shape)
            yield Pair(name, passes(ours, shape), other, "public AC-Norm", faster=True, often=often)


def unet() -> nn.Module:
    """A 2D U-Net with BatchNorm whose affines differ."""
    network = registry.build("unet", spatial_dims=2, in_channels=1, classes=2, width=16).module
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.3)
            nn.init.normal_(module.bias, 0.0, 0.5)
    return network


def training_step(network: nn.Module, x: Tensor, y: Tensor) -> Run:
    """Forward, loss, backward and one SGD step."""
    optimiser = torch.optim.SGD(network.train().parameters(), lr=1e-3, momentum=0.9)

    def run() -> None:
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(x), y).backward()
        optimiser.step()

    return run


def network_pairs() -> Iterator[Pair]:
    """A whole training step, and inference after folding."""
    plain, x, y = unet(), torch.randn(4, 1, 128, 128), torch.randint(2, (4, 128, 128))
    ours = convert(copy.deepcopy(plain))
    steps = training_step(ours, x, y), training_step(plain, x, y)
    yield Pair("U-Net training step 4x1x128x128", *steps, "BatchNorm", 1.06)
    folded, reference = fold(ours).eval(), copy.deepcopy(plain).eval()
    runs = torch.no_grad()(lambda: folded(x)), torch.no_grad()(lambda: reference(x))
    yield Pair("U-Net inference after folding 4x1x128x128", *runs, "BatchNorm", 1.00, often=2.0)


def drawn(rows: int, width: int, classes: int) -> tuple[Tensor, Tensor]:
    """Rectified features of overlapping classes, float32, and their labels."""
    labels = torch.randint(classes, (rows,))
    return (0.3 * torch.randn(classes, width)[labels] + torch.randn(rows, width)).relu(), labels


def logme_pairs(reference: Path | None) -> Iterator[Pair]:
    """LogME against thuml's default for N > D, and against the correct references for N < D."""
    thuml, tllib = load(reference, "LogME.py"), load(reference, "tllib/ranking/logme.py")
    if thuml:
        features, labels = drawn(10_000, 512, 100)
        f, y = features.numpy(), labels.numpy()
        ours, other = (lambda: class_evidence(features, labels)), (lambda: thuml.LogME().fit(f, y))
        yield Pair("LogME 10000 x 512, 100 classes", ours, other, "thuml, default", 4, faster=True, often=0.3)
    wide, names = drawn(400, 2048, 5)
    w, n = wide.numpy(), names.numpy()
    others: dict[str, Run] = {}
    if thuml:
        others["thuml, icml"] = lambda: thuml_icml(thuml).fit(w, n)
    if tllib:
        others["tllib"] = lambda: tllib.log_maximum_evidence(w, n)
    for name, run in others.items():
        case = "LogME 400 x 2048, 5 classes (N < D)"
        yield Pair(case, lambda: class_evidence(wide, names), run, name, 50, faster=True, often=0.1)


def thuml_icml(thuml: ModuleType) -> object:
    """Thuml's class with its first algorithm, the one that is right for N < D."""
    model = thuml.LogME()
    model._fit = model._fit_icml
    return model


def load(folder: Path | None, name: str) -> ModuleType | None:
    """The module in the first file below `folder` whose path ends with `name`; None without one."""
    if folder is None:
        return None
    for path in sorted(folder.rglob(Path(name).name)):
        if path.as_posix().endswith(name):
            return run_file(path)
    print(f"no {name} below {folder}")
    return None


def run_file(path: Path) -> ModuleType | None:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ImportError as error:
        print(f"{path.name} is left out: {error}")
        return None
    return module


def table(rows: list[Row], threads: int) -> str:
    """A Markdown table with the machine it was measured on."""
    machine = platform.processor() or platform.machine()
    head = f"Measured on {machine}, {threads} thread(s), torch {torch.__version__}."
    columns = "| case | beside | factor | target | |"
    return "\n".join([head, "", columns, "|---|---|---|---|---|", *map(str, rows)]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", type=Path, help="folder with checkouts of the reference code")
    parser.add_argument("--output", type=Path, help="write the table there as well")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=31)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore", module="numba")
    rows = []
    with threadpool_limits(options.threads):
        for pairs in (layer_pairs(options.reference), network_pairs(), logme_pairs(options.reference)):
            for pair in pairs:
                rows.append(measure(pair, options.repeats))
                print(rows[-1], flush=True)
    if options.output:
        options.output.write_text(table(rows, options.threads), encoding="utf-8")
    print(f"\n{table(rows, options.threads)}")


if __name__ == "__main__":
    main()
