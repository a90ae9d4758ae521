"""SSP, the self-support prototypes of Fan et al. (ECCV 2022), as a segmenter."""
