"""One thread a test process: tests run side by side, and small networks only lose by more."""

from __future__ import annotations

import torch

torch.set_num_threads(1)
