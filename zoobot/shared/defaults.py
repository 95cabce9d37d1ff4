"""Every default that the two engines, the command line and the documentation share."""

from typing import Final, Literal, get_args

SEED = 42

# Encoder used when the user names none: a small model of real galaxies, bundled with Zoobot itself.
ENCODER = "zoobot-mini"

# Finetuning
N_BLOCKS = 0
LR_DECAY = 0.75
LEARNING_RATE = 1e-4
WEIGHT_DECAY = 0.05
DROPOUT_PROB = 0.5
LABEL_SMOOTHING = 0.0
FOCAL_GAMMA = 2.0
HUBER_DELTA = 1.0
WARMUP_EPOCHS = 1
MIN_LR_FACTOR = 0.01

# Head-only finetuning on features: views of each galaxy, and galaxies enough to choose a weight decay alone
FEATURE_VIEWS = 1
ENOUGH_TO_VALIDATE = 200

# Finetuning the top blocks: views of each galaxy whose activations below them are kept; 0: computed anew
ACTIVATION_VIEWS = 0

# Training a tree model whole, where no part of it is to be spared
TRAIN_LEARNING_RATE = 1e-3
TRAIN_DROPOUT_PROB = 0.2
EMA_DECAY = 0.998
GRADIENT_CLIP = 5.0

# Votes on a question that are enough to say which answer is true
ENOUGH_VOTES = 10

# Pictures
FigureFormat = Literal["png", "pdf", "svg"]
FIGURE_FORMATS: tuple[str, ...] = get_args(FigureFormat)

# Training loop
MAX_EPOCHS = 50
PATIENCE = 10
MONITOR = "val_loss"
CHECKPOINT_MINUTES = 15.0

# Data
BATCH_SIZE = 64
NUM_WORKERS = 2
IMAGE_SIZE_PIX = 224
VAL_FRACTION = 0.2
MAX_FAILED_FRACTION = 0.05

# The largest image, so that no damaged or hostile file can fill the memory: values (height × width × planes;
# 1 GiB of float32), and bytes of its file or, packed, of what that unpacks to; and the smallest
MAX_IMAGE_VALUES = 2**28
MAX_IMAGE_BYTES = 2**31
MIN_IMAGE_SIDE_PIX = 3
# Files of up to so many values (4,096²) may be packed as well as they go, larger ones by this factor at most:
# the noise of the sky packs to a half, and to a thirtieth in a coarse JPEG
VALUES_IN_ANY_FILE = 2**24
MAX_PACKING = 200
MAX_TIFF_PAGES = 1000

# Rows of a catalog that are read together
ROWS_AT_ONCE = 65_536

# Members of archives whose places are kept in memory, in each process: about 1 GB
INDEXED_MEMBERS = 5_000_000

# Row groups of Parquet files with images that are kept in memory, in each process
ROW_GROUP_CACHE_BYTES = 2**28

# Prediction: galaxies at once where the user names no number, on a CPU and on a GPU
PREDICT_BATCH_SIZE = 32
PREDICT_BATCH_SIZE_GPU = 256

# Galaxies in a part of a folder of predictions: what a kill costs at most (some minutes on a CPU, seconds on
# a GPU), against the number of files (10,000 for a hundred million galaxies). It is a multiple of both batch
# sizes, so that no batch is half full.
PART_ROWS = 10_240

# Compiling a network for prediction: what it takes, and the share of the time that it then saves
COMPILE_SECONDS = 60.0
COMPILE_SAVING = 0.15

# How far two ways to compute the same predictions may lie apart; relative for predictions above 1
AGREEMENT = 1e-4
# likewise where both compute in half precision: zoobot-mini's concentrations are off by up to 1.1 % in
# float16 and by up to 15 % in bfloat16 (fractions by 0.003 and 0.04)
AGREEMENT_FLOAT16 = 3e-2
AGREEMENT_BFLOAT16 = 0.3

# Augmentation: magnification of the galaxy, and displacement as a fraction of the image
ZOOM = (1.0, 1.2)
SHIFT = 0.03

# The concentrations a Dirichlet head can predict: 1 + 100 * sigmoid(x), as in Walmsley et al. (2022).
CONCENTRATION_MIN = 1.0
CONCENTRATION_RANGE = 100.0

# How near to 0 and 1 the mean of targets in [0, 1] may lie where a head takes its logit.
UNIT_INTERVAL_MARGIN = 1e-3

# Calibration of a tree's concentrations on validation galaxies: what is fitted, and on how many at least
CALIBRATION_OBJECTIVE: Final = "auto"
CALIBRATION_LEVEL = 0.9
CALIBRATION_MIN_GALAXIES = 50
COVERAGE_LEVELS = (0.5, 0.8, 0.9, 0.95)

# Intervals of expected vote fractions: the probability inside
INTERVAL_LEVEL = 0.9

#: At which levels the intervals and sets of conformal prediction are told of.
CONFORMAL_LEVELS = (0.68, 0.9, 0.95)

# Below this probability that a question is asked, a summary of predictions leaves its answers blank.
ASKED_THRESHOLD = 0.5

# Choosing galaxies to label: people asked about each, dropout samples that may disagree, and how many times
# more galaxies than wanted are looked at for diversity
VOLUNTEERS = 5
ACQUISITION_SAMPLES = 20
RULE_PROBABILITY = 0.8
SHORTLIST = 10

# Strange galaxies: how they are told, principal components of the features that count, neighbours that make
# the surroundings, and most galaxies that the others are compared with
ANOMALY_METHOD: Final = "local-outlier-factor"
ANOMALY_COMPONENTS = 40
ANOMALY_NEIGHBOURS = 100
ANOMALY_SAMPLE = 20_000

# Ratings: from 0 to this; what is asked next; and the most that a Gaussian process learns from: a million
# galaxies then take minutes
TOP_RATING = 5
RATING_ACQUISITION: Final = "upper-bound"
MOST_RATINGS_OF_PROCESS = 1000

# A page to look through: about 20 MB of pictures and numbers of a tree
EXPLORED_GALAXIES = 10_000

# Explaining an answer: points on the way from an empty image to the galaxy, and the part of what they add up
# to by which that may miss the difference they share out before it is told
SALIENCY_STEPS = 64
SALIENCY_ERROR = 0.05
