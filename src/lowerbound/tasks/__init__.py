"""What a trained model is used for: anomaly scores, missing pixels, nearest images, codes in a plane."""
