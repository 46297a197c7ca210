"""Distances between sets of pictures in a feature space, and how near single pictures come."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def kernel_distance(first: Array, second: Array) -> float:
    """Unbiased squared maximum mean discrepancy of (n, d) and (m, d) features; 0 for equal sets.

    Polynomial kernel of degree 3 as in Binkowski et al. 2018, "Demystifying MMD GANs" (KID). Unlike
    the Frechet distance its expectation does not depend on how many pictures there are.
    """
    n, m = len(first), len(second)

    def kernel(a: Array, b: Array) -> Array:
        return np.asarray((a @ b.T / a.shape[1] + 1) ** 3)

    own = kernel(first, first)
    other = kernel(second, second)
    within = (own.sum() - np.trace(own)) / (n * (n - 1))
    within += (other.sum() - np.trace(other)) / (m * (m - 1))
    return float(within - 2 * kernel(first, second).mean())


def frechet_distance(first: Array, second: Array) -> float:
    """Squared Frechet distance of two Gaussians fitted to (n, d), (m, d) (Heusel et al. 2017, FID).

    Needs clearly more pictures than d; too few make it larger.
    """
    difference = first.mean(0) - second.mean(0)
    a, b = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    # tr sqrt(a b) = sum of the roots of the eigenvalues of sqrt(a) b sqrt(a), which is symmetric.
    values, vectors = np.linalg.eigh(a)
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    mixed = np.linalg.eigvalsh(root @ b @ root).clip(0)
    return float(difference @ difference + np.trace(a) + np.trace(b) - 2 * np.sqrt(mixed).sum())


def nearest(features: Array, others: Array, *, same: bool = False) -> Array:
    """(n,) Euclidean distances to the nearest of `others` (m, d); same: the set itself, not one's own."""
    squares = (features**2).sum(1)[:, None] + (others**2).sum(1)[None] - 2 * features @ others.T
    if same:
        np.fill_diagonal(squares, np.inf)
    return np.asarray(np.sqrt(squares.clip(0).min(1)))


def whiten(reference: Array, *sets: Array) -> tuple[Array, ...]:
    """`sets` scaled so that every feature of `reference` has mean 0 and deviation 1."""
    mean, deviation = reference.mean(0), reference.std(0) + 1e-6
    return tuple(np.asarray((values - mean) / deviation) for values in sets)
