#!/usr/bin/env python3
"""Writes tests/layer_goldens.json: losses, embeddings and layer norm with their gradients by PyTorch in float64.

    python scripts/layer_goldens.py [OUT_FILE]

Needs torch 2.15.0; the seed is fixed, so another run writes the same bytes. All inputs are exact in float32.
"""
import json
import pathlib
import sys

import torch
from torch.nn import functional as F

torch.set_num_threads(1)
GENERATOR = torch.Generator().manual_seed(20)


def normal(*shape, scale=1.0):
    return (torch.randn(*shape, generator=GENERATOR) * scale).double()


def flat(tensor):
    return tensor.detach().double().flatten().tolist()


def differentiated(x, loss):
    """The loss of `x` and its gradient."""
    x = x.clone().requires_grad_()
    value = loss(x)
    value.backward()
    return {"x": flat(x), "loss": value.item(), "d_x": flat(x.grad)}


def pointwise():
    """Losses of 7 elements; the logits include large ones."""
    x, y = normal(7, scale=3.0), normal(7, scale=3.0)
    logits = normal(7, scale=4.0)
    logits[:2] = torch.tensor([1e4, -1e4])
    labels = torch.tensor([0.0, 1, 1, 0, 1, 0, 0.25]).double()
    cases = [
        ("squared", 0.0, x, y, lambda x: F.mse_loss(x, y)),
        ("absolute", 0.0, x, y, lambda x: F.l1_loss(x, y)),
    ]
    for delta in [0.5, 1.0, 2.5]:
        cases.append(("huber", delta, x, y, lambda x, delta=delta: F.huber_loss(x, y, delta=delta)))
    for weight in [1.0, 30.25]:
        pos_weight = torch.tensor(weight).double()
        loss = lambda x, p=pos_weight: F.binary_cross_entropy_with_logits(x, labels, pos_weight=p)
        cases.append(("binary_cross_entropy", weight, logits, labels, loss))
    return [
        {"kind": kind, "parameter": parameter, "y": flat(y), **differentiated(x, loss)}
        for kind, parameter, x, y, loss in cases
    ]


def softmax():
    """Rows of 5 classes; -100 is torch's ignored class."""
    logits, classes = normal(6, 5, scale=3.0), torch.tensor([0, 4, -100, 2, 2, 1])
    logits[1] = torch.tensor([1e4, -1e4, 0, 5e3, 9.99e3])
    weight = torch.tensor([1.0, 0.25, 2.0, 0.5, 3.0]).double()
    cases = []
    for class_weights in [None, weight]:
        for smoothing in [0.0, 0.125]:
            loss = lambda x: F.cross_entropy(x, classes, class_weights, label_smoothing=smoothing)
            case = {"smoothing": smoothing, "classes": classes.tolist()}
            case["class_weights"] = None if class_weights is None else flat(class_weights)
            cases.append({**case, **differentiated(logits, loss)})
    return cases


def embedding():
    ids, table, d_y = torch.tensor([3, 0, 3, 1, 3, 0]), normal(5, 4), normal(6, 4)
    table.requires_grad_()
    y = F.embedding(ids, table)
    (y * d_y).sum().backward()
    return {
        "ids": ids.tolist(), "table": flat(table), "d_y": flat(d_y), "y": flat(y), "d_table": flat(table.grad),
    }


def layer_norm():
    x, d_y, parameters = normal(4, 6, scale=2.0), normal(4, 6), normal(2, 6)
    x.requires_grad_()
    parameters.requires_grad_()
    y = F.layer_norm(x, (6,), parameters[0], parameters[1], eps=2.0**-10)
    (y * d_y).sum().backward()
    return {
        "x": flat(x), "d_y": flat(d_y), "parameters": flat(parameters), "y": flat(y), "d_x": flat(x.grad),
        "d_parameters": flat(parameters.grad),
    }


def main():
    default = pathlib.Path(__file__).parent.parent / "tests" / "layer_goldens.json"
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default
    cases = {
        "torch": torch.__version__.split("+")[0],
        "pointwise": pointwise(),
        "softmax": softmax(),
        "embedding": embedding(),
        "layer_norm": layer_norm(),
    }
    out.write_text(json.dumps(cases, indent=1) + "\n")


if __name__ == "__main__":
    main()
