"""Whom to cite: papers and software as data, for BibTeX and for sentences."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Reference:
    """One work that can be cited.

    Args:
        kind: BibTeX's word for it: article, misc, inproceedings.
        short: As it is said in a sentence, such as "Willett et al. 2013, MNRAS 435, 2835".
        fields: The fields of its entry, in TeX.
    """

    kind: str
    short: str
    fields: dict[str, str] = field(default_factory=dict)


def _paper(
    short: str, author: str, title: str, journal: str, volume: str, pages: str, year: int, doi: str = ""
) -> Reference:
    """An article of a journal."""
    told = {"author": author, "title": title, "journal": journal, "volume": volume, "pages": pages}
    return Reference("article", short, {**told, "year": str(year), **({"doi": doi} if doi else {})})


def _preprint(short: str, author: str, title: str, eprint: str, year: int, archive: str = "") -> Reference:
    """A paper on arXiv, wherever else it stands."""
    told = {"author": author, "title": title, "year": str(year), "eprint": eprint, "archiveprefix": "arXiv"}
    return Reference("misc", short, {**told, **({"primaryclass": archive} if archive else {})})


def _software(short: str, author: str, title: str, url: str, year: int | None = None) -> Reference:
    """A program without a paper."""
    told = {"author": author, "title": title, "url": url}
    return Reference("misc", short, {**told, **({"year": str(year)} if year else {})})


_MNRAS = "Monthly Notices of the Royal Astronomical Society"
_WALMSLEY = "Walmsley, Mike and others"

#: Every work that may be cited, by its key.
REFERENCES: dict[str, Reference] = {
    # Zoobot, and galaxies
    "walmsley2023zoobot": _paper(
        "Walmsley et al. 2023, JOSS 8(85), 5312",
        "Walmsley, Mike and Allen, Campbell and Aussel, Ben and Bowles, Micah and Gregorowicz, Kasia and "
        "Slijepcevic, Inigo Val and Lintott, Chris J. and Scaife, Anna M. M. and Jab{\\l}o{\\'n}ska, Maja "
        "and Karchev, Kosio and Lanzieri, Denise and Mohan, Devina and O'Ryan, David and Saiguhan, Bharath "
        "and Su{\\'a}rez, Crisel and Guerra-Varas, Nicol{\\'a}s and Velu, Renuka",
        "{Zoobot}: Adaptable Deep Learning Models for Galaxy Morphology",
        "Journal of Open Source Software",
        "8",
        "5312",
        2023,
        "10.21105/joss.05312",
    ),
    "walmsley2022decals": _paper(
        "Walmsley et al. 2022, MNRAS 509, 3966",
        _WALMSLEY,
        "{Galaxy Zoo DECaLS}: Detailed visual morphology measurements from volunteers and deep learning for "
        "314 000 galaxies",
        _MNRAS,
        "509",
        "3966",
        2022,
        "10.1093/mnras/stab2093",
    ),
    "walmsley2023desi": _paper(
        "Walmsley et al. 2023, MNRAS 526, 4768",
        _WALMSLEY,
        "{Galaxy Zoo DESI}: Detailed morphology measurements for 8.7M galaxies in the {DESI} Legacy Imaging "
        "Surveys",
        _MNRAS,
        "526",
        "4768",
        2023,
        "10.1093/mnras/stad2919",
    ),
    "walmsley2022practical": _paper(
        "Walmsley et al. 2022, MNRAS 513, 1581",
        _WALMSLEY,
        "Practical galaxy morphology tools from deep supervised representation learning",
        _MNRAS,
        "513",
        "1581",
        2022,
        "10.1093/mnras/stac525",
    ),
    "walmsley2022hybrid": _preprint(
        "Walmsley et al. 2022, arXiv:2206.11927",
        _WALMSLEY,
        "Towards Galaxy Foundation Models with Hybrid Contrastive Learning",
        "2206.11927",
        2022,
    ),
    "walmsley2024scaling": _preprint(
        "Walmsley et al. 2024, arXiv:2404.02973",
        _WALMSLEY,
        "Scaling Laws for Galaxy Images",
        "2404.02973",
        2024,
    ),
    "walmsley2025euclid": _preprint(
        "Walmsley et al. 2025, arXiv:2503.15310",
        "{Euclid Collaboration} and " + _WALMSLEY,
        "{Euclid} Quick Data Release ({Q1}): First visual morphology catalogue",
        "2503.15310",
        2025,
        "astro-ph.GA",
    ),
    "willett2013gz2": _paper(
        "Willett et al. 2013, MNRAS 435, 2835",
        "Willett, Kyle W. and others",
        "{Galaxy Zoo 2}: detailed morphological classifications for 304 122 galaxies from the {Sloan Digital "
        "Sky Survey}",
        _MNRAS,
        "435",
        "2835",
        2013,
        "10.1093/mnras/stt1458",
    ),
    "willett2017hubble": _paper(
        "Willett et al. 2017, MNRAS 464, 4176",
        "Willett, Kyle W. and others",
        "{Galaxy Zoo}: morphological classifications for 120 000 galaxies in {HST} legacy imaging",
        _MNRAS,
        "464",
        "4176",
        2017,
        "10.1093/mnras/stw2568",
    ),
    "simmons2017candels": _paper(
        "Simmons et al. 2017, MNRAS 464, 4420",
        "Simmons, B. D. and others",
        "{Galaxy Zoo}: quantitative visual morphological classifications for 48 000 galaxies from {CANDELS}",
        _MNRAS,
        "464",
        "4420",
        2017,
        "10.1093/mnras/stw2587",
    ),
    "pearson2025cosmicdawn": _preprint(
        "Pearson et al. 2025, arXiv:2509.22311",
        "Pearson, James and others",
        "{Galaxy Zoo}: {Cosmic Dawn} -- morphological classifications for over 41,000 galaxies in the "
        "{Euclid} Deep Field North from the {Hawaii Two-0 Cosmic Dawn} survey",
        "2509.22311",
        2025,
        "astro-ph.GA",
    ),
    "geron2025ceers": _preprint(
        "Géron et al. 2025, arXiv:2505.01421",
        "G{\\'e}ron, Tobias and others",
        "{Galaxy Zoo CEERS}: Bar fractions up to z~4.0",
        "2505.01421",
        2025,
    ),
    "casey2023cosmosweb": _paper(
        "Casey et al. 2023, ApJ 954, 31",
        "Casey, Caitlin M. and others",
        "{COSMOS-Web}: An Overview of the {JWST} Cosmic Origins Survey",
        "The Astrophysical Journal",
        "954",
        "31",
        2023,
        "10.3847/1538-4357/acc2bc",
    ),
    "masters2024ukidss": _preprint(
        "Masters et al. 2024, arXiv:2408.10160",
        "Masters, Karen L. and Galloway, Melanie and Fortson, Lucy and Lintott, Chris J. and Read, Mike and "
        "Scarlata, Claudia and Simmons, Brooke and Walmsley, Mike and Willett, Kyle",
        "{Galaxy Zoo}: Morphologies based on {UKIDSS NIR} Imaging for 71,052 Galaxies",
        "2408.10160",
        2024,
    ),
    "baillard2011efigi": _paper(
        "Baillard et al. 2011, A&A 532, A74",
        "Baillard, A. and others",
        "The {EFIGI} catalogue of 4458 nearby galaxies with detailed morphology",
        "Astronomy \\& Astrophysics",
        "532",
        "A74",
        2011,
        "10.1051/0004-6361/201016423",
    ),
    # encoders
    "tan2019efficientnet": _preprint(
        "Tan & Le 2019, arXiv:1905.11946",
        "Tan, Mingxing and Le, Quoc V.",
        "{EfficientNet}: Rethinking Model Scaling for Convolutional Neural Networks",
        "1905.11946",
        2019,
    ),
    "tan2021efficientnetv2": _preprint(
        "Tan & Le 2021, arXiv:2104.00298",
        "Tan, Mingxing and Le, Quoc V.",
        "{EfficientNetV2}: Smaller Models and Faster Training",
        "2104.00298",
        2021,
    ),
    "liu2022convnext": _preprint(
        "Liu et al. 2022, arXiv:2201.03545",
        "Liu, Zhuang and others",
        "A {ConvNet} for the 2020s",
        "2201.03545",
        2022,
    ),
    "woo2023convnextv2": _preprint(
        "Woo et al. 2023, arXiv:2301.00808",
        "Woo, Sanghyun and others",
        "{ConvNeXt V2}: Co-designing and Scaling {ConvNets} with Masked Autoencoders",
        "2301.00808",
        2023,
    ),
    "he2015resnet": _preprint(
        "He et al. 2015, arXiv:1512.03385",
        "He, Kaiming and Zhang, Xiangyu and Ren, Shaoqing and Sun, Jian",
        "Deep Residual Learning for Image Recognition",
        "1512.03385",
        2015,
    ),
    "dosovitskiy2020vit": _preprint(
        "Dosovitskiy et al. 2020, arXiv:2010.11929",
        "Dosovitskiy, Alexey and others",
        "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale",
        "2010.11929",
        2020,
    ),
    # methods
    "loshchilov2019adamw": _preprint(
        "Loshchilov & Hutter 2019, arXiv:1711.05101",
        "Loshchilov, Ilya and Hutter, Frank",
        "Decoupled Weight Decay Regularization",
        "1711.05101",
        2019,
    ),
    "lin2017focal": _preprint(
        "Lin et al. 2017, arXiv:1708.02002",
        "Lin, Tsung-Yi and others",
        "Focal Loss for Dense Object Detection",
        "1708.02002",
        2017,
    ),
    "szegedy2016rethinking": _preprint(
        "Szegedy et al. 2016, arXiv:1512.00567",
        "Szegedy, Christian and others",
        "Rethinking the {Inception} Architecture for Computer Vision",
        "1512.00567",
        2016,
    ),
    "guo2017calibration": _preprint(
        "Guo et al. 2017, arXiv:1706.04599",
        "Guo, Chuan and Pleiss, Geoff and Sun, Yu and Weinberger, Kilian Q.",
        "On Calibration of Modern Neural Networks",
        "1706.04599",
        2017,
    ),
    "angelopoulos2021conformal": _preprint(
        "Angelopoulos & Bates 2021, arXiv:2107.07511",
        "Angelopoulos, Anastasios N. and Bates, Stephen",
        "A Gentle Introduction to Conformal Prediction and Distribution-Free Uncertainty Quantification",
        "2107.07511",
        2021,
    ),
    "sadinle2019sets": _paper(
        "Sadinle et al. 2019, JASA 114, 223",
        "Sadinle, Mauricio and Lei, Jing and Wasserman, Larry",
        "Least Ambiguous Set-Valued Classifiers With Bounded Error Levels",
        "Journal of the American Statistical Association",
        "114",
        "223--234",
        2019,
        "10.1080/01621459.2017.1395341",
    ),
    "efron1979bootstrap": _paper(
        "Efron 1979, Annals of Statistics 7, 1",
        "Efron, B.",
        "Bootstrap Methods: Another Look at the Jackknife",
        "The Annals of Statistics",
        "7",
        "1--26",
        1979,
        "10.1214/aos/1176344552",
    ),
    # software
    "paszke2019pytorch": _preprint(
        "Paszke et al. 2019, arXiv:1912.01703",
        "Paszke, Adam and others",
        "{PyTorch}: An Imperative Style, High-Performance Deep Learning Library",
        "1912.01703",
        2019,
    ),
    "falcon2019lightning": _software(
        "Falcon et al. 2019",
        "Falcon, William and {The PyTorch Lightning team}",
        "{PyTorch Lightning}",
        "https://github.com/Lightning-AI/pytorch-lightning",
        2019,
    ),
    "wightman2019timm": _software(
        "Wightman 2019",
        "Wightman, Ross",
        "{PyTorch} Image Models",
        "https://github.com/huggingface/pytorch-image-models",
        2019,
    ),
    "abadi2016tensorflow": _preprint(
        "Abadi et al. 2016, arXiv:1603.04467",
        "Abadi, Mart{\\'i}n and others",
        "{TensorFlow}: Large-Scale Machine Learning on Heterogeneous Distributed Systems",
        "1603.04467",
        2016,
    ),
    "chollet2015keras": _software(
        "Chollet et al. 2015", "Chollet, Fran{\\c c}ois and others", "Keras", "https://keras.io", 2015
    ),
    "harris2020numpy": _paper(
        "Harris et al. 2020, Nature 585, 357",
        "Harris, Charles R. and others",
        "Array programming with {NumPy}",
        "Nature",
        "585",
        "357--362",
        2020,
        "10.1038/s41586-020-2649-2",
    ),
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


def key_of(short: str) -> str | None:
    """The key of the work that is said so; None where there is none.

    Example:
        >>> key_of("Willett et al. 2013, MNRAS 435, 2835")
        'willett2013gz2'
    """
    said = short.removesuffix(", for the survey")
    return next((key for key, reference in REFERENCES.items() if reference.short == said), None)


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
    entries = []
    for key in sorted(set(keys)):
        reference = REFERENCES[key]
        lines = [f"  {name} = {{{value}}}," for name, value in reference.fields.items()]
        entries.append("\n".join([f"@{reference.kind}{{{key},", *lines, "}"]))
    return "\n\n".join(entries)
