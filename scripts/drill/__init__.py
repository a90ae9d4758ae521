"""Faults on purpose: kills, full disks, rivals, hostile input."""
