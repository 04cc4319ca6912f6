"""What the service and its workers exchange in JSON columns: one frozen dataclass for each content.

A column holds the dict form of one content (`service.store.dict_form`). The docstring below a field is its
description in the API.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from service.store.dict_form import content

Scalar = bool | int | float | str | None
Figure = Scalar | tuple[Scalar, ...] | Mapping[str, Scalar | Mapping[str, Scalar]]
Value = bool | int | float | str | list[bool | int | float | str] | None  # of a parameter or an option


@content
class Protocol:
    """Everything that must be equal for two scores to be comparable."""

    optimizer: str
    """Name of the optimiser that takes the training steps."""
    learning_rate: float
    """Learning rate of the optimiser, the same for all weights."""
    weight_decay: float
    """Weight decay of the optimiser."""
    batch_size: int
    """Number of images in a training step."""
    crop: tuple[int, ...] | None
    """Voxels of the seeded crop along each axis; null means whole images in 2D and at most 96 a side in 3D."""
    steps: int | None
    """Number of training steps in an epoch; null means that every training image is seen once."""
    seed: int
    """Seed of the order, the crops, the new head and the sampled voxels."""
    voxels_per_class: int
    """Number of voxels that are sampled for each class in an image."""
    voxels_total: int
    """Largest number of voxels that are sampled for the features in all."""
    stage: str | None
    """Network stage whose features are scored; null means the usual stage of the target task."""
    threads: int
    """Number of CPU threads; it changes the numbers."""
    temperature: float
    """Temperature of Eq. 7 of AC-Norm."""
    precision: str
    """Numeric precision on a GPU: float32, tf32 (faster, 11 bits a factor), or mixed (bfloat16 and float32)."""
    feature_width: int | None = None
    """Number of features for measures that grow with it; null until the preflights are over, then the smallest of
    the candidates' widths; 0 leaves each candidate its own."""
    null_permutations: int = 0
    """Number of epochs on permuted labels for each candidate, for measures that need them."""
    foreground_crops: float = 0.0
    """Share of the crops placed around a foreground voxel of the mask, from 0 to 1; 0 places all at random."""


@content
class FinetuneProtocol(Protocol):
    """The protocol of a full finetune, with early stopping on the validation metric."""

    epochs: int = 0
    """Largest number of training epochs."""
    patience: int = 0
    """Number of epochs without a better validation metric after which training stops."""


@content
class ClassShare:
    """How much of a dataset one class is."""

    label: int
    """Number of the class in the file."""
    count: int
    """Number of images or voxels of this class."""
    share: float
    """Share of all images or voxels, from 0 to 1."""


@content
class ColumnSummary:
    """The values of one regression target."""

    column: int
    """Number of the column in the file."""
    lowest: float
    """Lowest value in the dataset."""
    mean: float
    """Mean over all images of the dataset."""
    deviation: float
    """Standard deviation over all images."""
    highest: float
    """Highest value in the dataset."""


@content
class Inspection:
    """What the worker found in a dataset's file."""

    images: int
    """Number of images in the dataset."""
    shape: tuple[int, ...]
    """Size of an image along each axis."""
    channels: int
    """Number of channels of an image."""
    dtype: str
    """Type of the stored image values."""
    value_range: tuple[float, float]
    """Lowest and highest value that images may have."""
    splits: Mapping[str, int]
    """Number of images in each split."""
    groups: int
    """Number of patients, or of images where no patients are given."""
    warnings: tuple[str, ...] = ()
    """What may make the results less certain."""
    classes: tuple[ClassShare, ...] | None = None
    """Classes or labels with their shares; null for regression."""
    targets: tuple[ColumnSummary, ...] | None = None
    """Regression targets with their values; null for other tasks."""
    sha256: str | None = None
    """SHA-256 digest of the file that was inspected; null for an inspection that did not note it."""
    spacing: tuple[float, ...] | None = None
    """Mean voxel size along each axis in millimetres, null where unknown; images are not resampled."""
    empty: Mapping[str, int] | None = None
    """Number of images without any foreground in each split; null where labels are not masks."""


@content
class LeftTensor:
    """A tensor that was not copied from the file into the network."""

    key: str
    """Name of the tensor in the file or the network."""
    reason: str
    """Reason why the tensor was not copied."""


@content
class NormCount:
    """All normalisation layers of one type in a network."""

    type: str
    """Type of the layers as torch names it."""
    layers: int
    """Number of layers of this type."""
    channels: int
    """Number of channels of these layers together."""
    affine: int
    """Number of layers with learned weight and bias."""
    running_statistics: int
    """Number of layers that keep a running mean and variance."""


@content
class Preflight:
    """What loaded from a checkpoint's file, what did not, and which norms the network has."""

    tensors: int
    """Number of tensors of the network."""
    loaded: int
    """Number of tensors that were copied from the file."""
    percent_loaded: float
    """Share of the network's numbers outside its head that were copied, from 0 to 100."""
    reinitialised: tuple[LeftTensor, ...] = ()
    """Tensors of the network that keep their random values."""
    unused: tuple[LeftTensor, ...] = ()
    """Tensors of the file that are not used."""
    norms: tuple[NormCount, ...] = ()
    """Normalisation layers of the network, counted by type."""
    last_encoder_norm: str | None = None
    """Path of the layer that AC-Corr is taken at; null where the encoder has no norm."""
    widths: Mapping[str, int] = field(default_factory=dict)
    """Number of features that each stage of the network gives; empty where it is not known."""
    usual_stage: str | None = None
    """Stage that features are taken from where a protocol names none."""

    def width_of(self, stage: str | None) -> int | None:
        """The number of features of a stage, or of the usual one; None where it is not known."""
        return self.widths.get(stage or self.usual_stage or "")


@content
class Normalisation:
    """How a checkpoint wants its input."""

    scale: str = "unit"
    """unit maps the limits, or else the value range, to 0..1; zscore standardises; none changes nothing."""
    mean: tuple[float, ...] = ()
    """Mean of each channel, subtracted after scaling."""
    std: tuple[float, ...] = ()
    """Standard deviation of each channel, divided by after scaling."""
    clip: tuple[float, ...] = ()
    """Lowest and highest value, in the units that images are stored in, that values are limited to first."""
    window: tuple[float, ...] = ()
    """Level and width of a CT window that values are limited to first."""
    percentiles: tuple[float, ...] = ()
    """Lower and upper percentile of each channel of each image that values are limited to first."""
    nonzero: bool = False
    """Whether percentiles and zscore leave out voxels that are stored as 0, which then stay 0."""


@content
class CardEntries:
    """The entries of a card that this service uses."""

    title: str | None = None
    """Name of the checkpoint for people."""
    source_task: str | None = None
    """Task that the checkpoint was trained for."""
    source_data: str | None = None
    """Data that the checkpoint was trained on."""
    modality: str | None = None
    """How the source images were taken."""
    licence: str | None = None
    """Licence of the weights, as SPDX names it."""
    normalisation: Normalisation = field(default_factory=Normalisation)
    """How the network wants its input scaled."""
    head: str = "softmax"
    """Kind of the source head: softmax, sigmoid for one foreground output, or none for no classes."""
    spacing: tuple[float, ...] = ()
    """Millimetres of a voxel along each axis of the source's images; empty where it is not known."""


@content
class Card(CardEntries):
    """Where a checkpoint comes from and how it wants its input, with further entries."""

    more: Mapping[str, Any] = field(default_factory=dict)
    """Further entries of the user or of the catalogue, kept as they are."""


@content
class Exclusion:
    """One change of whether an outcome counts."""

    excluded: bool
    """Whether the outcome was excluded; if not, it was included again."""
    reason: str | None
    """Reason that was given for the change; null where none was given."""
    at: float
    """Time of the change in seconds since 1970."""


@content
class Exclusions:
    """When and why an outcome was excluded and included again."""

    changes: tuple[Exclusion, ...] = ()
    """Every exclusion and inclusion of the row, oldest first."""


@content
class EvaluationFacts:
    """What the worker noted beside the scores of one candidate."""

    flags: tuple[str, ...] = ()
    """Flags of the candidate, whatever the measure."""
    crop: tuple[int, ...] = ()
    """Size of a training crop along each axis."""
    last_encoder_norm: str | None = None
    """Path of the layer that AC-Corr is taken at."""
    width: int | None = None
    """Number of channels of the layer that AC-Corr is taken at."""
    stage: str | None = None
    """Network stage whose features were scored."""
    feature_width: int | None = None
    """Number of features, at most the protocol's `feature_width`."""
    excess_width: int | None = None
    """Number by which these features are more than the samples; 0 where they are not."""
    feature_scale: float | None = None
    """Root mean square of the centred features before they were divided by it."""
    features_seconds: float | None = None
    """Seconds that the forward pass over the training images took."""
    evidence_seconds: float | None = None
    """Seconds that gathering all evidence took."""
    epoch_seconds: float | None = None
    """Seconds that the training epoch took."""
    finetune_epoch_seconds: float | None = None
    """Seconds that training one epoch and validating took."""
    null_seconds: float | None = None
    """Seconds that the epochs on permuted labels took."""
    null_epochs: int | None = None
    """Number of epochs on permuted labels that were trained."""
    steps: int | None = None
    """Number of training steps in the epoch that was run."""
    epoch_steps: int | None = None
    """Number of training steps of a whole epoch."""
    losses: tuple[float | None, ...] = ()
    """Training loss of every step of the epoch."""
    foreground_images: int | None = None
    """Number of training images with any foreground; null where labels are not masks."""
    foreground_in_epoch: int | None = None
    """Number of those that showed some in their crop of the epoch; null without masks or an epoch."""
    foreground_in_features: int | None = None
    """Number of those that showed some in the window that features come from; null without masks or features."""
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    """Validation metrics after the epoch, by name."""
    seconds: float | None = None
    """Seconds that the whole evaluation took."""


@content
class ScoreRecord:
    """What one score was computed from: figures that the measure names."""

    figures: Mapping[str, Figure] = field(default_factory=dict)
    """Figures by the names that the measure gives them."""


@content
class EpochResult:
    """One epoch of a finetune run."""

    loss: float | None
    """Mean training loss over the epoch."""
    metrics: Mapping[str, float | None]
    """Validation metrics after the epoch, by name."""
    penalty: float | None = None
    """Mean of the method's penalties over the epoch; null where it has none."""


@content
class NetworkCard:
    """What is needed to use a finetuned network without this service."""

    architecture: str
    """Name of the architecture that the weights fit."""
    parameters: Mapping[str, Value]
    """Parameters that the architecture is built with."""
    normalisation: Normalisation | None
    """How the network wants its input scaled."""
    value_range: tuple[float, float]
    """Lowest and highest value that input images may have."""
    task: str
    """Target task that the network was finetuned for."""
    labels: tuple[int, ...]
    """Class numbers or columns that the outputs stand for."""
    head: str
    """Kind of the head: softmax, sigmoid, or none for plain values."""
    source: str
    """Name of the checkpoint that the run started from."""
    source_sha256: str
    """SHA-256 digest of that checkpoint's file."""
    target_fingerprint: str
    """Fingerprint of the dataset that the network was finetuned on."""
    method: str
    """Finetune method of the run."""
    protocol: FinetuneProtocol
    """Protocol of the run in full."""
    metrics: Mapping[str, Mapping[str, float | None]]
    """Metrics of the network by split and name."""
    options: Mapping[str, Value] = field(default_factory=dict)
    """Options of the method that the run was given."""
    partly_loaded: bool = False
    """Whether part of the network outside its head began with random values instead of the checkpoint's."""
    percent_loaded: float = 100.0
    """Share of the network's numbers outside its head that came from the checkpoint, from 0 to 100."""
    output_mean: tuple[float, ...] | None = None
    """Values to add to scaled regression outputs; null for other tasks."""
    output_scale: tuple[float, ...] | None = None
    """Values to multiply regression outputs with; null for other tasks."""


@content
class FinetuneResult:
    """The outcome of a finetune run."""

    metrics: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    """Metrics of the delivered network by split and name."""
    primary: str | None = None
    """Name of the metric that the task is judged by."""
    higher_is_better: Mapping[str, bool] = field(default_factory=dict)
    """Whether a higher value is better, for each metric."""
    cases: tuple[float | None, ...] | None = None
    """Primary metric of every test image; null where it is not defined."""
    best_epoch: int | None = None
    """Number of the epoch that was kept, counted from 1."""
    epochs: tuple[EpochResult, ...] = ()
    """Loss and validation metrics of every epoch."""
    seconds: float | None = None
    """Seconds that the whole run took."""
    network_file: str | None = None
    """Name of the file that holds the finetuned network."""
    card: NetworkCard | None = None
    """Card of the finetuned network."""
