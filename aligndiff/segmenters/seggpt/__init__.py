"""SegGPT (Wang et al., ICCV 2023) as a segmenter, by the model of transformers."""
