"""Models in one `.safetensors` file: which kind it is, and what the file itself does not hold."""
