"""Clips that mean the same: SemDeDup (Abbas et al. 2023, arXiv:2303.09540) over CLIP embeddings.

k-means parts the clips into clusters; within a cluster, clips whose cosine similarity reaches the
threshold are one group. Where the paper keeps the clip farthest from the centre, here the best one
by the rule of `best.py` stays, and takes what is similar to it.
"""

import numpy as np

BLOCK = 1 << 24  # similarities held at a time: 64 MB
ROUNDS = 20  # of k-means; SemDeDup's figures barely move with it


def clusters(vectors_ND: np.ndarray, *, num: int, seed: int) -> np.ndarray:
    """(N,) cluster of each unit vector, numbered by first member; the same on every run."""
    import faiss

    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)  # sums in one order
    try:
        means = faiss.Kmeans(
            vectors_ND.shape[1],
            num,
            niter=ROUNDS,
            seed=seed,
            spherical=True,
            min_points_per_centroid=1,  # small sets are clustered too, without a warning
        )
        means.train(vectors_ND)
        _, nearest = means.index.search(vectors_ND, 1)
    finally:
        faiss.omp_set_num_threads(threads)
    _, first, cluster = np.unique(nearest[:, 0], return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[cluster]


def keepers(
    vectors_ND: np.ndarray, cluster_N: np.ndarray, *, order: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """(N,) the clip that stays for each one (itself where it stays) and the similarity to it.

    order: the clips from the best on.
    """
    keeper = np.arange(len(vectors_ND))
    similarity = np.ones(len(vectors_ND), np.float32)
    by_cluster = order[np.argsort(cluster_N[order], kind="stable")]
    ends = np.cumsum(np.bincount(cluster_N)) if len(cluster_N) else []
    for members in np.split(by_cluster, ends[:-1]):
        _keep_best(members, vectors_ND, keeper, similarity, threshold=threshold)
    return keeper, similarity


def _keep_best(
    members: np.ndarray,
    vectors_ND: np.ndarray,
    keeper: np.ndarray,
    similarity: np.ndarray,
    *,
    threshold: float,
) -> None:
    """Fill in keeper and similarity for one cluster's members, best first."""
    free = np.ones(len(members), dtype=bool)
    rows = max(1, BLOCK // max(1, len(members)))
    for start in range(0, len(members), rows):
        block = vectors_ND[members[start : start + rows]]
        similar = block @ vectors_ND[members].T
        for i in range(len(block)):
            if not free[start + i]:
                continue
            free[start + i] = False
            taken = free & (similar[i] >= threshold)
            taken[: start + i] = False  # better ones stay by their own right
            keeper[members[taken]] = members[start + i]
            similarity[members[taken]] = similar[i][taken]
            free &= ~taken


def weights(cluster_N: np.ndarray, stays_N: np.ndarray) -> np.ndarray:
    """(N,) 1 / sqrt(clips of the cluster that stay): how often to draw a clip so that a common
    subject does not drown the rare ones (Movie Gen, Polyak et al. 2024, arXiv:2410.13720, §3.2).
    """
    size = np.bincount(cluster_N, weights=stays_N)[cluster_N] if len(cluster_N) else np.zeros(0)
    return 1 / np.sqrt(np.maximum(size, 1))
