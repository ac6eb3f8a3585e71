"""What must hold of training with teleportation, whatever the accuracies are."""

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional as F

from snnkit.experiments.data import LabelledImages, load_digits
from snnkit.experiments.findings import Check
from snnkit.experiments.matrix import Record
from snnkit.experiments.models import build_model
from snnkit.teleport import random, symmetries, teleport

__all__ = ["displacement_check", "invariance_check", "learning_rate_check"]

_STEPS, _BATCH = 40, 32
_EXACT = ("random", "optim", "gradient")
_FLOAT32_LOSS = 1e-4
"""Relative error that teleporting in float32 may leave in a loss."""


def learning_rate_check(generator: torch.Generator) -> Check:
    """Train a teleported MLP beside the plain one whose gradients are divided by the squared scales.

    With p' = c p the gradient is g / c, and so a step of p' is c times a step of p with gradient g / c². This
    holds for optimisers that are linear in gradients and weights: SGD with momentum and weight decay.
    """
    images = load_digits().train
    plain = build_model(
        "MLP", images.images.shape[1:], 10, {"hidden": (32, 32)}, generator=generator
    ).double()
    moved = copy.deepcopy(plain)
    element = random(
        symmetries(moved, images.images[:2].double()), 0.9, "inter_landscape", generator=generator
    )
    factors = {name: change.factor for name, change in element.changes().items()}
    teleport(moved, element)
    optimizers = [
        torch.optim.SGD(net.parameters(), 0.01, momentum=0.9, weight_decay=0.01) for net in (plain, moved)
    ]
    for _ in range(_STEPS):
        chosen = torch.randint(len(images), (_BATCH,), generator=generator)
        for net, optimizer in zip((plain, moved), optimizers, strict=True):
            _gradients(net, images[chosen])
            if net is plain:
                for name, parameter in net.named_parameters():
                    if name in factors and parameter.grad is not None:
                        parameter.grad /= factors[name] ** 2
            optimizer.step()
    worst = max(
        float((p.detach() * factors.get(name, 1.0) - q.detach()).abs().max() / q.detach().abs().max())
        for (name, p), q in zip(plain.named_parameters(), moved.parameters(), strict=True)
    )
    return Check(
        f"weights after {_STEPS} steps: teleported SGD against SGD on gradients divided by c²",
        worst,
        1e-9,
        relation="at most",
        law="p' = c p, g' = g / c: a teleport is a learning rate lr / c² for each parameter",
    )


def _gradients(net: nn.Module, batch: LabelledImages) -> None:
    net.zero_grad()
    F.cross_entropy(net(batch.images.double()), batch.labels).backward()


def invariance_check(records: Sequence[Record]) -> Check | None:
    """Compare the loss right before and right behind every teleportation; None where there were none."""
    errors = [
        abs(done["loss_after"] - done["loss_before"]) / max(abs(done["loss_before"]), 1.0)
        for record in records
        for done in record.result["teleportations"]
        if done["mode"] in _EXACT and done["loss_before"] is not None and done["loss_after"] is not None
    ]
    if not errors:
        return None
    return Check(
        f"change of the loss by a teleport, worst of {len(errors)}",
        max(errors),
        _FLOAT32_LOSS,
        relation="at most",
        law="a teleport leaves the function as it is (evaluation mode, float32)",
    )


def displacement_check(records: Sequence[Record]) -> Check | None:
    """Compare how far pseudo-teleports moved weights with the teleports of the same runs."""
    found: dict[str, dict[str, float]] = {}
    for record in records:
        for done in record.result["teleportations"]:
            job = record.job
            way = replace(job.teleport, mode="random") if job.teleport else None
            same = repr((job.dataset, job.model, job.initializer, way, job.run, job.seed))
            if done["epoch"] == 0:
                found.setdefault(same, {})[done["mode"]] = done["displacement"]["absolute_distance"]
    ratios = [modes["pseudo"] / modes["random"] for modes in found.values() if modes.keys() >= _BOTH]
    if not ratios:
        return None
    return Check(
        f"distance of a pseudo-teleport over that of the teleport, worst of {len(ratios)}",
        max(ratios, key=lambda ratio: abs(ratio - 1)),
        1.0,
        1e-4,
        law="a pseudo-teleport moves as far (sum of |Δw|), in a random direction",
    )


_BOTH = {"pseudo", "random"}
