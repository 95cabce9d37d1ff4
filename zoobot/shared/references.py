"""Whom to cite: papers and software as data, for BibTeX and for sentences."""

from __future__ import annotations

import re
from collections.abc import Iterable

from zoobot.shared.trees.surveys import CAMPAIGNS, Paper

_JOURNALS = {
    "A&A": "Astronomy \\& Astrophysics",
    "A&AS": "Astronomy \\& Astrophysics Supplement Series",
    "ApJ": "The Astrophysical Journal",
    "Annals of Statistics": "The Annals of Statistics",
    "JASA": "Journal of the American Statistical Association",
    "JOSS": "Journal of Open Source Software",
    "MNRAS": "Monthly Notices of the Royal Astronomical Society",
    "Nature": "Nature",
}
#: Where a paper stands, as the end of its short name says: arXiv's number; or journal, volume, page.
_ON_ARXIV = re.compile(r", arXiv:([\d.]+)")
_IN_JOURNAL = re.compile(r" \d{4}, ([A-Z][A-Za-z& ]*) (\d+)(?:\(\d+\))?, (\w+)")

_OTHERS = (
    Paper(
        "bertin1996sextractor",
        "Bertin & Arnouts 1996, A&AS 117, 393",
        "Bertin, Emmanuel and Arnouts, Stephane",
        "{SExtractor}: Software for source extraction",
        "10.1051/aas:1996164",
    ),
    Paper(
        "barbary2016sep",
        "Barbary 2016, JOSS 1(6), 58",
        "Barbary, Kyle",
        "{SEP}: Source Extractor as a library",
        "10.21105/joss.00058",
    ),
    Paper(
        "walmsley2023zoobot",
        "Walmsley et al. 2023, JOSS 8(85), 5312",
        "Walmsley, Mike and Allen, Campbell and Aussel, Ben and Bowles, Micah and Gregorowicz, Kasia and "
        "Slijepcevic, Inigo Val and Lintott, Chris J. and Scaife, Anna M. M. and Jab{\\l}o{\\'n}ska, Maja "
        "and Karchev, Kosio and Lanzieri, Denise and Mohan, Devina and O'Ryan, David and Saiguhan, Bharath "
        "and Su{\\'a}rez, Crisel and Guerra-Varas, Nicol{\\'a}s and Velu, Renuka",
        "{Zoobot}: Adaptable Deep Learning Models for Galaxy Morphology",
        "10.21105/joss.05312",
    ),
    Paper(
        "baillard2011efigi",
        "Baillard et al. 2011, A&A 532, A74",
        "Baillard, A. and others",
        "The {EFIGI} catalogue of 4458 nearby galaxies with detailed morphology",
        "10.1051/0004-6361/201016423",
    ),
    Paper(
        "tan2019efficientnet",
        "Tan & Le 2019, arXiv:1905.11946",
        "Tan, Mingxing and Le, Quoc V.",
        "{EfficientNet}: Rethinking Model Scaling for Convolutional Neural Networks",
    ),
    Paper(
        "tan2021efficientnetv2",
        "Tan & Le 2021, arXiv:2104.00298",
        "Tan, Mingxing and Le, Quoc V.",
        "{EfficientNetV2}: Smaller Models and Faster Training",
    ),
    Paper(
        "liu2022convnext",
        "Liu et al. 2022, arXiv:2201.03545",
        "Liu, Zhuang and others",
        "A {ConvNet} for the 2020s",
    ),
    Paper(
        "woo2023convnextv2",
        "Woo et al. 2023, arXiv:2301.00808",
        "Woo, Sanghyun and others",
        "{ConvNeXt V2}: Co-designing and Scaling {ConvNets} with Masked Autoencoders",
    ),
    Paper(
        "he2015resnet",
        "He et al. 2015, arXiv:1512.03385",
        "He, Kaiming and Zhang, Xiangyu and Ren, Shaoqing and Sun, Jian",
        "Deep Residual Learning for Image Recognition",
    ),
    Paper(
        "dosovitskiy2020vit",
        "Dosovitskiy et al. 2020, arXiv:2010.11929",
        "Dosovitskiy, Alexey and others",
        "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale",
    ),
    Paper(
        "loshchilov2019adamw",
        "Loshchilov & Hutter 2019, arXiv:1711.05101",
        "Loshchilov, Ilya and Hutter, Frank",
        "Decoupled Weight Decay Regularization",
    ),
    Paper(
        "lin2017focal",
        "Lin et al. 2017, arXiv:1708.02002",
        "Lin, Tsung-Yi and others",
        "Focal Loss for Dense Object Detection",
    ),
    Paper(
        "szegedy2016rethinking",
        "Szegedy et al. 2016, arXiv:1512.00567",
        "Szegedy, Christian and others",
        "Rethinking the {Inception} Architecture for Computer Vision",
    ),
    Paper(
        "guo2017calibration",
        "Guo et al. 2017, arXiv:1706.04599",
        "Guo, Chuan and Pleiss, Geoff and Sun, Yu and Weinberger, Kilian Q.",
        "On Calibration of Modern Neural Networks",
    ),
    Paper(
        "angelopoulos2021conformal",
        "Angelopoulos & Bates 2021, arXiv:2107.07511",
        "Angelopoulos, Anastasios N. and Bates, Stephen",
        "A Gentle Introduction to Conformal Prediction and Distribution-Free Uncertainty Quantification",
    ),
    Paper(
        "sadinle2019sets",
        "Sadinle et al. 2019, JASA 114, 223",
        "Sadinle, Mauricio and Lei, Jing and Wasserman, Larry",
        "Least Ambiguous Set-Valued Classifiers With Bounded Error Levels",
        "10.1080/01621459.2017.1395341",
    ),
    Paper(
        "efron1979bootstrap",
        "Efron 1979, Annals of Statistics 7, 1",
        "Efron, B.",
        "Bootstrap Methods: Another Look at the Jackknife",
        "10.1214/aos/1176344552",
    ),
    Paper(
        "paszke2019pytorch",
        "Paszke et al. 2019, arXiv:1912.01703",
        "Paszke, Adam and others",
        "{PyTorch}: An Imperative Style, High-Performance Deep Learning Library",
    ),
    Paper(
        "falcon2019lightning",
        "Falcon et al. 2019",
        "Falcon, William and {The PyTorch Lightning team}",
        "{PyTorch Lightning}",
        "https://github.com/Lightning-AI/pytorch-lightning",
    ),
    Paper(
        "wightman2019timm",
        "Wightman 2019",
        "Wightman, Ross",
        "{PyTorch} Image Models",
        "https://github.com/huggingface/pytorch-image-models",
    ),
    Paper(
        "abadi2016tensorflow",
        "Abadi et al. 2016, arXiv:1603.04467",
        "Abadi, Mart{\\'i}n and others",
        "{TensorFlow}: Large-Scale Machine Learning on Heterogeneous Distributed Systems",
    ),
    Paper(
        "chollet2015keras",
        "Chollet et al. 2015",
        "Chollet, Fran{\\c c}ois and others",
        "Keras",
        "https://keras.io",
    ),
    Paper(
        "harris2020numpy",
        "Harris et al. 2020, Nature 585, 357",
        "Harris, Charles R. and others",
        "Array programming with {NumPy}",
        "10.1038/s41586-020-2649-2",
    ),
)

#: Every work that may be cited, by its key: those of campaigns, and the others.
REFERENCES: dict[str, Paper] = {
    paper.key: paper for paper in (*(campaign.paper for campaign in CAMPAIGNS.values()), *_OTHERS)
}

#: Encoders by how the names of their architectures begin, and whom to cite; the first that fits counts.
ARCHITECTURES: tuple[tuple[str, str], ...] = (
    (r"(tf_)?efficientnetv2", "tan2021efficientnetv2"),
    (r"(tf_)?efficientnet", "tan2019efficientnet"),
    (r"convnextv2", "woo2023convnextv2"),
    (r"convnext", "liu2022convnext"),
    (r"resnet\d", "he2015resnet"),
    (r"vit_", "dosovitskiy2020vit"),
)

#: Encoders that training started from, by how records call them, and whom to cite for what they learned.
PARENTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        r"zoobot-mini\b",
        (
            "walmsley2022decals",
            "walmsley2023zoobot",
            "willett2013gz2",
            "baillard2011efigi",
            "tan2019efficientnet",
        ),
    ),
    (r"imagenet-lite0\b", ("tan2019efficientnet",)),
    (r"hf[_-]hub:mwalmsley/zoobot-encoder-", ("walmsley2024scaling",)),
    (r"hf[_-]hub:timm/", ("wightman2019timm",)),
)


def key_of_architecture(name: str) -> str | None:
    """The key of the paper on an architecture; None where we know of none.

    Example:
        >>> key_of_architecture("tf_efficientnet_lite0"), key_of_architecture("my_network")
        ('tan2019efficientnet', None)
    """
    return next((key for start, key in ARCHITECTURES if re.match(start, name)), None)


def keys_of_parent(encoder: str) -> tuple[str, ...]:
    """The keys of what to cite for an encoder that training started from; none where we know of none.

    Example:
        >>> keys_of_parent("hf_hub:mwalmsley/zoobot-encoder-convnext_nano")
        ('walmsley2024scaling',)
    """
    return next((keys for start, keys in PARENTS if re.match(start, encoder)), ())


def bibtex(keys: Iterable[str]) -> str:
    """The entries of works in BibTeX, in the order of their keys, each once.

    Example:
        >>> print(bibtex(["walmsley2024scaling"]))
        @misc{walmsley2024scaling,
          author = {Walmsley, Mike and others},
          title = {Scaling Laws for Galaxy Images},
          year = {2024},
          eprint = {2404.02973},
          archiveprefix = {arXiv},
        }
    """
    return "\n\n".join(_entry(REFERENCES[key]) for key in sorted(set(keys)))


def _entry(paper: Paper) -> str:
    year = re.search(r" (\d{4})(?:,|$)", paper.short)
    fields = {"author": paper.author, "title": paper.title, "year": year[1] if year else ""}
    journal, preprint = _IN_JOURNAL.search(paper.short), _ON_ARXIV.search(paper.short)
    if journal is not None:
        name, volume, page = journal.groups()
        fields |= {"journal": _JOURNALS[name], "volume": volume, "pages": page}
    elif preprint is not None:
        fields |= {"eprint": preprint[1], "archiveprefix": "arXiv"}
    if paper.where:
        fields["url" if "://" in paper.where else "doi"] = paper.where
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items()]
    return "\n".join([f"@{'misc' if journal is None else 'article'}{{{paper.key},", *lines, "}"])
