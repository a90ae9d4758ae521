"""The dataset folder: prompt bank, support pairs, records, samples; numpy and Pillow only."""
