"""Networks whose features are matched, each behind one small protocol."""
