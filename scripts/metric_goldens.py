#!/usr/bin/env python3
"""Writes tests/metric_goldens.json: small inputs with the values that scikit-learn and seqeval give them.

    python scripts/metric_goldens.py [OUT_FILE]

Needs scikit-learn 1.9.1, seqeval 1.2.2 and numpy 2.4.6; the seeds are fixed, so another run writes the same bytes.

Numbers go in as float32 holds them, and are judged in float64. What neither library has (WAPE, MASE, expected calibration
error) is written down below from its definition.
"""
import json
import pathlib
import sys
import warnings

import numpy as np
import seqeval.metrics
import sklearn.metrics as sk
from sklearn.calibration import calibration_curve


def exact(values):
    """What float32 holds, as float64."""
    return np.asarray(values, dtype=np.float32).astype(np.float64)


# ------------------------------------------------------------------------------------------------------ binary


def calibration(labels, scores, bins, strategy):
    observed, predicted = calibration_curve(labels, scores, n_bins=bins, strategy=strategy)
    edges = np.linspace(0, 1, bins + 1)
    if strategy == "quantile":
        edges = np.percentile(scores, edges * 100)
    counts = np.bincount(np.searchsorted(edges[1:-1], scores), minlength=bins)
    counts = counts[counts > 0]
    error = float(np.sum(counts * np.abs(observed - predicted)) / len(labels))
    return {
        "bins": bins,
        "strategy": strategy,
        "counts": counts.tolist(),
        "observed": observed.tolist(),
        "predicted": predicted.tolist(),
        "expected_error": error,
    }


def binary(name, labels, scores, probabilities=True):
    labels, scores = np.asarray(labels), exact(scores)
    false_positive_rate, true_positive_rate, thresholds = sk.roc_curve(labels, scores, drop_intermediate=False)
    precision, recall, cuts = sk.precision_recall_curve(labels, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
    case = {
        "name": name,
        "labels": labels.tolist(),
        "scores": scores.tolist(),
        "auc": sk.roc_auc_score(labels, scores),
        "average_precision": sk.average_precision_score(labels, scores),
        "roc": {
            "false_positive_rate": false_positive_rate.tolist(),
            "true_positive_rate": true_positive_rate.tolist(),
            # The first one is infinite, which JSON cannot hold.
            "thresholds": thresholds[1:].tolist(),
        },
        "f1": [[float(t), sk.f1_score(labels, scores >= t, zero_division=0)] for t in exact([-5, 0.25, 0.5, 0.9, 20])],
        "best_f1": float(np.max(f1)),
        "best_threshold": float(max(t for t, f in zip(cuts, f1) if f >= np.max(f1) - 1e-15)),
    }
    if probabilities:
        # scikit-learn's own clip for float32 input, done here so that the logarithms are float64's.
        epsilon = np.finfo(np.float32).eps
        clipped = np.clip(scores, epsilon, 1 - epsilon)
        case["log_loss"] = sk.log_loss(labels, clipped, labels=[0, 1])
        case["brier"] = sk.brier_score_loss(labels, scores)
        case["calibration"] = [
            calibration(labels, scores, bins, strategy) for bins in (1, 5, 10) for strategy in ("uniform", "quantile")
        ]
    return case


def binary_cases():
    random = np.random.default_rng(1)
    rare = (random.random(300) < 0.05).astype(int)
    truth = random.random(200)
    return [
        binary("four", [0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]),
        binary("constant score", [0, 1, 1, 0, 1], [0.5] * 5),
        binary("backwards", [1, 1, 0, 0], [0.1, 0.2, 0.7, 0.9]),
        binary("perfect", [0, 1, 0, 1, 1], [0.0, 1.0, 0.25, 0.75, 0.5]),
        binary("ties", random.integers(0, 2, 120), random.integers(0, 8, 120) / 8),
        binary("wrong and certain", [0, 1, 1, 0], [1.0, 0.0, 1.0, 0.0]),
        binary("calibrated", (random.random(200) < truth).astype(int), truth),
        binary("rare", rare, np.clip(random.random(300) * 0.5 + rare * 0.3, 0, 1)),
        binary("logits", random.integers(0, 2, 90), random.normal(0, 4, 90), probabilities=False),
    ]


# ----------------------------------------------------------------------------------------------------- classes


def multiclass(name, classes, labels, predicted):
    return {
        "name": name,
        "classes": classes,
        "labels": [int(x) for x in labels],
        "predicted": [int(x) for x in predicted],
        "matrix": sk.confusion_matrix(labels, predicted, labels=range(classes)).tolist(),
        "accuracy": sk.accuracy_score(labels, predicted),
        "macro_f1": sk.f1_score(labels, predicted, average="macro", zero_division=0),
        "micro_f1": sk.f1_score(labels, predicted, average="micro", zero_division=0),
        "f1": sk.f1_score(labels, predicted, average=None, labels=range(classes), zero_division=0).tolist(),
        "precision": sk.precision_score(
            labels, predicted, average=None, labels=range(classes), zero_division=0
        ).tolist(),
        "recall": sk.recall_score(labels, predicted, average=None, labels=range(classes), zero_division=0).tolist(),
    }


def multiclass_cases():
    random = np.random.default_rng(2)
    labels = random.integers(0, 5, 150)
    predicted = np.where(random.random(150) < 0.6, labels, random.integers(0, 5, 150))
    return [
        multiclass("five", 5, labels, predicted),
        multiclass("one class missing", 4, [0, 1, 3, 3, 0], [0, 3, 3, 1, 0]),
        multiclass("predicted but never there", 3, [0, 0, 1], [0, 2, 2]),
        multiclass("all wrong", 2, [0, 1], [1, 0]),
        multiclass("one class", 1, [0, 0], [0, 0]),
    ]


# ----------------------------------------------------------------------------------------------------- tagging


def tagging(name, actual, predicted):
    flat = [[tag for tags in side for tag in tags] for side in (actual, predicted)]
    inside = sorted({tag for side in flat for tag in side} - {"O"})
    micro = {"average": "micro", "zero_division": 0}
    token = lambda score: score(*flat, labels=inside, **micro) if inside else 0.0
    report = seqeval.metrics.classification_report(actual, predicted, output_dict=True, zero_division=0)
    kinds = {kind: [s["precision"], s["recall"], s["f1-score"]] for kind, s in report.items() if "avg" not in kind}
    # Without any entity seqeval divides by zero.
    macro = report["macro avg"]["f1-score"] if kinds else 0.0
    return {
        "name": name,
        "actual": actual,
        "predicted": predicted,
        "accuracy": seqeval.metrics.accuracy_score(actual, predicted),
        "token": [token(sk.precision_score), token(sk.recall_score), token(sk.f1_score)],
        "entity": [
            float(score(actual, predicted, **micro))
            for score in (seqeval.metrics.precision_score, seqeval.metrics.recall_score, seqeval.metrics.f1_score)
        ],
        "macro_f1": float(macro),
        "kinds": {kind: [float(x) for x in scores] for kind, scores in kinds.items()},
        "entities": [
            [[kind, int(start), int(end) + 1] for kind, start, end in seqeval.metrics.sequence_labeling.get_entities(tags)]
            for tags in actual
        ],
    }


def tagging_cases():
    random = np.random.default_rng(3)
    tags = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-first-last", "I-first-last"]
    # Any tag after any other: ill-formed sequences are most of them.
    actual = [[tags[i] for i in random.integers(0, len(tags), n)] for n in random.integers(1, 20, 40)]
    predicted = [[t if random.random() < 0.7 else tags[random.integers(0, len(tags))] for t in s] for s in actual]
    split = lambda text: [line.split() for line in text.split("/")]
    return [
        tagging("random", actual, predicted),
        tagging("seqeval's own", split("O O O B-MISC I-MISC I-MISC O / B-PER I-PER O"), split("O O B-MISC I-MISC I-MISC I-MISC O / B-PER I-PER O")),
        tagging("begins inside", split("I-PER I-PER O I-LOC / I-PER"), split("B-PER I-PER O B-LOC / B-PER")),
        tagging("changes kind", split("B-PER I-LOC I-LOC B-LOC I-PER"), split("B-PER B-LOC I-LOC B-LOC I-PER")),
        tagging("beside each other", split("B-PER B-PER I-PER / B-PER O"), split("B-PER I-PER I-PER / O B-PER")),
        tagging("nothing found", split("B-PER I-PER O"), split("O O O")),
        tagging("nothing there", split("O O O"), split("O B-PER O")),
        tagging("nothing at all", split("O O"), split("O O")),
    ]


# -------------------------------------------------------------------------------------------------- forecasting


def forecast(name, actual, predicted, training, season):
    actual, predicted, training = exact(actual), exact(predicted), exact(training)
    mae = sk.mean_absolute_error(actual, predicted)
    return {
        "name": name,
        "actual": actual.tolist(),
        "predicted": predicted.tolist(),
        "training": training.tolist(),
        "season": season,
        "mae": mae,
        "rmse": sk.root_mean_squared_error(actual, predicted),
        "wape": float(np.abs(actual - predicted).sum() / np.abs(actual).sum()),
        "mase": float(mae / sk.mean_absolute_error(training[season:], training[:-season])),
        "quantile_loss": [[q, sk.mean_pinball_loss(actual, predicted, alpha=q)] for q in (0.1, 0.5, 0.9)],
    }


def forecast_cases():
    random = np.random.default_rng(4)
    series = 10 + np.sin(np.arange(200) * 2 * np.pi / 24) * 3 + random.normal(0, 1, 200)
    return [
        forecast("daily", series[150:], series[150:] + random.normal(0, 0.5, 50), series[:150], 24),
        forecast("last value", series[150:], series[149:-1], series[:150], 1),
        forecast("negative", [-1.0, 2.0, -3.0], [-1.5, 1.0, 4.0], [1.0, -1.0, 1.0], 1),
        forecast("perfect", [1.0, 2.0], [1.0, 2.0], [0.0, 5.0], 1),
    ]


# ------------------------------------------------------------------------------------------------------ latency


def latency(nanoseconds):
    percentiles = np.percentile(nanoseconds, [50, 95, 99, 100], method="inverted_cdf")
    return {"nanoseconds": [int(t) for t in nanoseconds], "percentiles": [int(t) for t in percentiles]}


def latency_cases():
    random = np.random.default_rng(5)
    return [latency((random.lognormal(13, 1, n)).astype(np.int64)) for n in (1, 2, 19, 20, 21, 100, 101)]


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else root / "tests/metric_goldens.json"
    warnings.simplefilter("ignore")
    goldens = {
        "binary": binary_cases(),
        "classes": multiclass_cases(),
        "tagging": tagging_cases(),
        "forecast": forecast_cases(),
        "latency": latency_cases(),
    }
    # A case a line, so that a change is readable.
    groups = [
        f"{json.dumps(name)}: [\n" + ",\n".join(json.dumps(case, allow_nan=False) for case in cases) + "\n]"
        for name, cases in goldens.items()
    ]
    out.write_text("{\n" + ",\n".join(groups) + "\n}\n")


if __name__ == "__main__":
    main()
