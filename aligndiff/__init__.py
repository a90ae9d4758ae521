"""AlignDiff: synthetic training pairs (image + mask) for few-shot segmentation.

Three steps, joined only by files: learn an object's look (`stages.inversion`), make images with
coarse masks from cross-attention (`stages.synthesis`), refine the masks (`stages.refinement`).
Importing this package imports neither torch nor diffusers.
"""

__version__ = "0.1.0"
