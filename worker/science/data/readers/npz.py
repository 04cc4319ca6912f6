"""The npz layout: images, labels or masks, and optional split, groups and spacing."""

from __future__ import annotations

from worker.science.data.data_file import DataFile
from worker.science.data.raw_target import RawTarget
from worker.science.data.readers.members import read_members
from worker.science.data.readers.registry import register
from worker.science.errors import ScienceError
from worker.science.target_tasks.registry import TargetTask

FIELDS = ("images", "labels", "masks", "split", "groups", "spacing")


@register(
    endings=(".npz",),
    summary="images (N,[D,]H,W[,C]); integer masks (N,[D,]H,W), or labels: classes (N,), numbers (N[,T]) or "
    "0 and 1 (N,L); split, groups, spacing",
)
def read_npz(file: DataFile, task: TargetTask) -> RawTarget:
    """Read the documented npz layout; never unpickles."""
    arrays = read_members(file, tuple(dict.fromkeys((*FIELDS, task.field))))
    if "images" not in arrays:
        raise ScienceError("images: the npz has no such array; store (N,[D,]H,W[,C]) numbers under that name")
    if task.field not in arrays:
        raise ScienceError(
            f"{task.field}: the npz has no such array, which {task.name} needs; add it or change the task"
        )
    return RawTarget(
        images=arrays["images"],
        labels=arrays[task.field],
        split=arrays.get("split"),
        groups=arrays.get("groups"),
        spacing=arrays.get("spacing"),
    )
