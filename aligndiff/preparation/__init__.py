"""From what people have (photos, annotation files) to a dataset folder."""
