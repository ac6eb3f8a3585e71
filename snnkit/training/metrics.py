"""How well predictions match labels."""

import numpy as np

from snnkit.utilities.errors import ShapeError

__all__ = ["accuracy", "confusion_matrix"]


def accuracy(predictions: np.ndarray, labels: np.ndarray) -> float:
    """Return the fraction of ``predictions`` ``(n,)`` that equal ``labels`` ``(n,)``."""
    predictions, labels = _pair(predictions, labels)
    return float((predictions == labels).mean())


def confusion_matrix(predictions: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Return counts ``(classes, classes)``: row = label, column = prediction."""
    predictions, labels = _pair(predictions, labels)
    matrix = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(matrix, (labels, predictions), 1)
    return matrix


def _pair(predictions: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    predictions, labels = np.asarray(predictions), np.asarray(labels)
    if predictions.shape != labels.shape or predictions.ndim != 1 or not predictions.size:
        raise ShapeError(
            f"Predictions {predictions.shape} and labels {labels.shape} must have one shape (n,), n > 0."
        )
    return predictions, labels
