"""The most that a command line or a dataset.json may ask for: beyond it lies a slip of the hand."""

MOST_IN_A_BATCH = 1024  # no machine holds more
MOST_DENOISING_STEPS = 1000  # what diffusion models are trained on
MOST_GUIDANCE = 100
MOST_VECTORS = 16  # rows of an embedding; each takes one of the prompt's 77 tokens
MOST_IN_A_SHARD = 100_000  # samples in a tar file: 15 GB of 512 px
