"""The 3D regression network: architecture, training, inference, model files."""
