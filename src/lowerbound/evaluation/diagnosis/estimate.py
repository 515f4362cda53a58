"""An estimate of log p(x) that rests on a few of its samples."""

from lowerbound.evaluation.base import Subject
from lowerbound.evaluation.diagnosis.base import Finding, section
from lowerbound.words import counted

DOUBTFUL = 0.1  # of the images: a tenth of them moves the mean
PORTION = 0.1  # of the samples: where more are effective, a heavy tail weighs little
EFFECTIVE = 10.0  # samples: log p(x) of an image is then off by 1 / √10, a third of a nat


def effective(subject: Subject) -> Finding | None:
    """Look for images whose importance weights have a heavy tail, or that few samples decide."""
    found = section(subject, "likelihood")
    doubtful, images, samples = found.get("doubtful") or 0, found["images"], found["samples"]
    median = found["effective_samples"]["median"]
    heavy = doubtful > DOUBTFUL * images and median < PORTION * samples
    if not heavy and median >= min(EFFECTIVE, PORTION * samples):
        return None
    tail = f" For {doubtful} of {counted(images, 'image')} k̂ is above {found['k_hat_limit']:.2f}." if doubtful else ""
    return Finding(
        "log p(x) of too few effective samples",
        f"The estimate of log p(x) rests on a few of its {samples:,} samples: it is too low, and its error not known.",
        f"Of {samples:,} samples {median:.1f} are effective (median over images).{tail}",
        "Measure by annealing (--measure annealed), draw more samples (--importance), or train a posterior that fits "
        "better (--recipe iaf or full-covariance).",
        {"doubtful": doubtful, "images": images, "effective_median": median},
    )
