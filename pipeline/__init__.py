"""Background subtraction for time-lapse microscopy larger than memory."""
