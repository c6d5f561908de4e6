#!/usr/bin/env python3
"""Writes tests/training/optimizers.safetensors: 50 steps of each of PyTorch's optimizers.

    pip install torch safetensors
    python scripts/optimizer_goldens.py [FILE]

NAME is [steps, parameters]: the parameters after every step, in double precision. NAME.error is [steps]: the largest
difference of any parameter when PyTorch does the same in single precision. 8 of the 12 parameters have the learning rate
and weight decay of the optimizer, 4 have half the rate and another decay. Start and gradients are whole numbers times
powers of two, so that everyone computes with the same ones: see `start` and `gradient`.
"""

import pathlib
import sys

import torch
from safetensors.torch import save_file

STEPS, PARAMETERS, FIRST_GROUP = 50, 12, 8


def start(i):
    return ((i * 37 + 11) % 64 - 32) / 32


def gradient(step, i):
    """Of a size that differs from parameter to parameter, and now and then 0."""
    return ((step * 7919 + i * 104729 + step * step * i * 31) % 2001 - 1000) / 512 * 2.0 ** (i % 5 - 3)


def trajectory(make, clip, dtype):
    values = torch.tensor([start(i) for i in range(PARAMETERS)], dtype=dtype)
    groups = [torch.nn.Parameter(values[:FIRST_GROUP].clone()), torch.nn.Parameter(values[FIRST_GROUP:].clone())]
    optimizer = make(groups)
    rows = []
    for step in range(STEPS):
        every = torch.tensor([gradient(step, i) for i in range(PARAMETERS)], dtype=dtype)
        groups[0].grad, groups[1].grad = every[:FIRST_GROUP].clone(), every[FIRST_GROUP:].clone()
        clip(groups)
        optimizer.step()
        rows.append(torch.cat([group.detach() for group in groups]).clone())
    return torch.stack(rows)


def optimizer(kind, rate, decay=0.0, other_decay=0.0, **options):
    def make(groups):
        return kind([{"params": [groups[0]]}, {"params": [groups[1]], "lr": rate / 2, "weight_decay": other_decay}],
                    lr=rate, weight_decay=decay, foreach=False, **options)
    return make


def main():
    sgd, adam, adam_w, rms_prop = torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop
    clip_norm = lambda groups: torch.nn.utils.clip_grad_norm_(groups, 1.0, foreach=False)
    clip_value = lambda groups: torch.nn.utils.clip_grad_value_(groups, 0.25, foreach=False)
    none = lambda groups: None
    variants = {
        "sgd": (optimizer(sgd, 0.05, 0.01), none),
        "sgd_momentum": (optimizer(sgd, 0.05, 0.01, 0.1, momentum=0.9), none),
        "sgd_nesterov": (optimizer(sgd, 0.05, 0.01, momentum=0.9, nesterov=True), none),
        "adam": (optimizer(adam, 0.01), none),
        "adam_decay": (optimizer(adam, 0.01, 0.1, betas=(0.8, 0.99), eps=1e-6), none),
        "adam_w": (optimizer(adam_w, 0.01, 0.1, 0.02), none),
        "rms_prop": (optimizer(rms_prop, 0.01, 0.01), none),
        "rms_prop_momentum": (optimizer(rms_prop, 0.01, 0.0, 0.1, alpha=0.9, momentum=0.8), none),
        "rms_prop_centered": (optimizer(rms_prop, 0.01, 0.01, centered=True), none),
        "rms_prop_centered_momentum": (optimizer(rms_prop, 0.01, centered=True, momentum=0.5, eps=1e-4), none),
        "sgd_clip_norm": (optimizer(sgd, 0.05, 0.01, momentum=0.9), clip_norm),
        "adam_w_clip_norm": (optimizer(adam_w, 0.01, 0.1), clip_norm),
        "adam_clip_value": (optimizer(adam, 0.01), clip_value),
    }
    tensors = {}
    for name, (make, clip) in variants.items():
        exact, single = (trajectory(make, clip, dtype) for dtype in (torch.float64, torch.float32))
        tensors[name] = exact
        tensors[f"{name}.error"] = (exact - single.double()).abs().amax(dim=1)
    default = pathlib.Path(__file__).parent.parent / "tests" / "training" / "optimizers.safetensors"
    path = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default
    save_file(tensors, path, metadata={"torch": torch.__version__, "script": "scripts/optimizer_goldens.py"})
    print(f"{len(variants)} optimizers, {path.stat().st_size} bytes in {path.name}, PyTorch {torch.__version__}")


if __name__ == "__main__":
    main()
