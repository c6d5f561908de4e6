#!/usr/bin/env python3
"""Writes tests/training/schedules.json: the learning rates of PyTorch's schedulers, step by step.

    pip install torch
    python scripts/schedule_goldens.py [FILE]
"""

import json
import pathlib
import sys

import torch
from torch.optim import lr_scheduler as kinds

STEPS, RATE = 40, 0.05


def optimizer():
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=RATE, momentum=0.9)


def rates(make, key="lr", metric=None):
    steps = optimizer()
    scheduler = make(steps)
    values = []
    for step in range(STEPS):
        values.append(float(steps.param_groups[0][key]))
        steps.step()
        scheduler.step() if metric is None else scheduler.step(metric(step))
    return values


def warmed(make, count, first):
    """The scheduler behind a linear rise, as PyTorch combines them."""
    def combined(steps):
        rise = kinds.LinearLR(steps, start_factor=first, end_factor=1.0, total_iters=count)
        return kinds.SequentialLR(steps, [rise, make(steps)], milestones=[count])
    return combined


def error(step):
    """Falls, stays, falls a little, rises."""
    return [4.0, 3.0, 3.0, 2.9999, 3.5, 2.5, 2.6, 2.7, 2.8, 2.9][step % 10] / (1 + step // 20)


def main():
    step = lambda steps: kinds.StepLR(steps, step_size=7, gamma=0.5)
    exponential = lambda steps: kinds.ExponentialLR(steps, gamma=0.9)
    cosine = lambda steps: kinds.CosineAnnealingLR(steps, T_max=STEPS - 1, eta_min=0.001)
    short_cosine = lambda steps: kinds.CosineAnnealingLR(steps, T_max=STEPS - 9, eta_min=0.001)
    cycle = lambda **options: lambda steps: kinds.OneCycleLR(steps, max_lr=RATE, total_steps=STEPS + 1, **options)
    plateau = lambda **options: lambda steps: kinds.ReduceLROnPlateau(steps, eps=0.0, **options)
    goldens = {
        "step": rates(step),
        "exponential": rates(exponential),
        "cosine": rates(cosine),
        "one_cycle": rates(cycle()),
        "one_cycle_momentum": rates(cycle(), key="momentum"),
        "one_cycle_other": rates(cycle(pct_start=0.15, div_factor=5.0, final_div_factor=100.0)),
        "step_warm": rates(warmed(step, 5, 0.2)),
        "exponential_warm": rates(warmed(exponential, 8, 0.01)),
        "cosine_warm": rates(warmed(short_cosine, 9, 0.1)),
        "constant_warm": rates(lambda steps: kinds.LinearLR(steps, start_factor=0.25, total_iters=10)),
        "plateau_minimize": rates(plateau(factor=0.5, patience=2), metric=error),
        "plateau_cooldown": rates(plateau(factor=0.5, patience=1, cooldown=3, min_lr=0.004), metric=error),
        "plateau_maximize": rates(plateau(mode="max", factor=0.3, patience=0, threshold=0.1), metric=error),
    }
    default = pathlib.Path(__file__).parent.parent / "tests" / "training" / "schedules.json"
    path = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default
    lines = (f"{json.dumps(name)}: {json.dumps(values)}" for name, values in goldens.items())
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{len(goldens)} schedules in {path.name}, PyTorch {torch.__version__}")


if __name__ == "__main__":
    main()
