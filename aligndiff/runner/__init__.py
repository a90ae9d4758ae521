"""One command on many processes: the driver of the steps, workers, torchrun, Slurm, Ray."""
