"""Scenes: instances of an object, pasted into other photos with other things around."""
