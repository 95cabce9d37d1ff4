"""Models exported to ONNX: written, read, and predicting without an engine."""
