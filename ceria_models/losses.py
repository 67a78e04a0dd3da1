"""Losses: how far a net's output is from the labels, of the batch on all processes together."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ceria_models.crops import Batch
from ceria_models.machine import total_of
from ceria_models.nets import NetOutput

_LOG_SPREAD = (-2.0, 5.0)
"""Natural logarithms of 0.14 Å and 150 Å: no depth is known better or worse."""


@dataclass(frozen=True)
class SpatialWeights:
    """Weight of every pixel in the cross-entropy.

    A pixel whose column of n atoms has the probability p weighs
    ``1 + p (column rarity(n) - 1) + 4 p (1 - p) boundary``, where ``rarity(n)`` is
    ``frequency(n) ** -balance``, scaled so that its mean over columns is 1.

    Attributes
    ----------
    column : float
        Weight at the middle of a column; background has 1.
    boundary : float
        Added where column and background are equally probable.
    balance : float
        0 treats all columns alike, 1 all counts alike.
    """

    column: float
    boundary: float
    balance: float


def rarity(frequency: Tensor, balance: float) -> Tensor:
    """Weigh classes by how rare they are.

    Parameters
    ----------
    frequency : Tensor, shape (species, class)
        Columns of every count in the training split; class 0 is ignored.
    balance : float
        See `SpatialWeights`.

    Returns
    -------
    Tensor, shape (species, class)
        Its mean over the columns is 1; classes that never occur weigh like the rarest.

    Examples
    --------
    >>> rarity(torch.tensor([[0.0, 90.0, 10.0, 0.0]]), balance=0.0)
    tensor([[1., 1., 1., 1.]])
    >>> rarity(torch.tensor([[0.0, 90.0, 10.0, 0.0]]), balance=1.0).round(decimals=2)
    tensor([[5.0000, 0.5600, 5.0000, 5.0000]])
    """
    share = frequency.clone()
    share[:, 0] = 0
    share = share / share.sum(1, keepdim=True).clamp_min(1)
    rarest = torch.where(share > 0, share, torch.inf).min(1, keepdim=True).values
    weight = torch.where(share > 0, share, rarest) ** -balance
    return weight / (weight * share).sum(1, keepdim=True)


def pixel_weights(batch: Batch, weights: SpatialWeights, rare: Tensor) -> Tensor:
    """Evaluate the weight of every pixel.

    Parameters
    ----------
    batch : Batch
    weights : SpatialWeights
    rare : Tensor, shape (species, class)
        As from `rarity`.

    Returns
    -------
    Tensor, shape (crop, species, y, x)
    """
    p = batch.probability
    species = torch.arange(rare.shape[0], device=p.device)[:, None, None]
    column = weights.column * rare[species, batch.occupancy.long()]
    return 1 + p * (column - 1) + 4 * p * (1 - p) * weights.boundary


def cross_entropy(output: NetOutput, batch: Batch, weight: Tensor) -> Tensor:
    """Compare class probabilities with the soft labels.

    Parameters
    ----------
    output : NetOutput
    batch : Batch
    weight : Tensor, shape (crop, species, y, x)

    Returns
    -------
    Tensor, scalar
        Weighted mean over pixels [nat].
    """
    log = torch.log_softmax(output.logits, dim=2)
    own = log.gather(2, batch.occupancy[:, :, None].long())[:, :, 0]
    entropy = -(batch.probability * own + (1 - batch.probability) * log[:, :, 0])
    return total_of((weight * entropy).sum()) / total_of(weight.sum())


def ranked_probability(output: NetOutput, batch: Batch) -> Tensor:
    """Compare cumulative probabilities of the counts: near misses cost less than far ones.

    Parameters
    ----------
    output : NetOutput
    batch : Batch

    Returns
    -------
    Tensor, scalar
        Ranked probability score, mean over the pixels of columns [classes].

    References
    ----------
    .. [1] Epstein, J. Appl. Meteorol. 8, 985 (1969).
    """
    weight = batch.probability
    counts = torch.softmax(output.logits[:, :, 1:], dim=2).cumsum(2)
    steps = torch.arange(1, output.logits.shape[2], device=weight.device)[:, None, None]
    score = (counts - (steps >= batch.occupancy[:, :, None]).float()).square().sum(2)
    return total_of((weight * score).sum()) / total_of(weight.sum()).clamp_min(1)


def dice(output: NetOutput, batch: Batch) -> Tensor:
    """Compare the area of every class with the label's area.

    Parameters
    ----------
    output : NetOutput
    batch : Batch

    Returns
    -------
    Tensor, scalar
        1 minus the soft Dice coefficient, mean over species and classes in the batch.

    References
    ----------
    .. [1] Milletari, Navab and Ahmadi, arXiv:1606.04797 (2016).
    """
    target = torch.zeros_like(output.logits)
    target.scatter_(2, batch.occupancy[:, :, None].long(), batch.probability[:, :, None])
    target[:, :, 0] += 1 - batch.probability
    found = torch.softmax(output.logits, dim=2)
    over = (0, 3, 4)
    overlap = 2 * total_of((found * target).sum(over))
    area = total_of((found.square() + target.square()).sum(over))
    present = total_of(target.sum(over)) > 0
    return (1 - overlap / area.clamp_min(1))[present].mean()


def depth_likelihood(output: NetOutput, batch: Batch) -> Tensor:
    """Compare depth and its spread with the columns' depth.

    Parameters
    ----------
    output : NetOutput
    batch : Batch

    Returns
    -------
    Tensor, scalar
        Negative logarithm of the likelihood, mean over the pixels of columns [nat].
    """
    weight = batch.probability
    score = student(output.depth - batch.depth, output.depth_log_spread)
    return total_of((weight * score).sum()) / total_of(weight.sum()).clamp_min(1)


def student(error: Tensor, log_spread: Tensor) -> Tensor:
    """Evaluate how unlikely errors are for a stated spread.

    Parameters
    ----------
    error, log_spread : Tensor
        Of one shape; the spread's natural logarithm is kept from -2 to 5.

    Returns
    -------
    Tensor
        Negative logarithm of the likelihood, up to a constant [nat].

    Notes
    -----
    Student's t with four degrees of freedom: where a net is wrong and sure of itself, as in
    its first steps, the slope of the loss stays finite; that of a normal one does not.

    Examples
    --------
    Twice the spread is worth it for an error that is large enough:

    >>> spreads = torch.tensor([0.0, 0.6931])
    >>> student(torch.tensor([0.1, 0.1]), spreads).argmin().item()
    0
    >>> student(torch.tensor([5.0, 5.0]), spreads).argmin().item()
    1
    """
    spread = log_spread.clamp(*_LOG_SPREAD)
    return 2.5 * torch.log1p(0.5 * (error * torch.exp(-spread)).square()) + spread


def offset_distance(output: NetOutput, batch: Batch) -> Tensor:
    """Compare the offset to the column's position.

    Parameters
    ----------
    output : NetOutput
    batch : Batch

    Returns
    -------
    Tensor, scalar
        Mean of the absolute errors along y and x over the pixels of columns [Å].
    """
    weight = batch.probability
    error = (output.offset - batch.offset).abs().mean(2)
    return total_of((weight * error).sum()) / total_of(weight.sum()).clamp_min(1)
