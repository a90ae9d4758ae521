"""A few-shot segmenter that matches frozen patch features; nothing in it is trained."""
