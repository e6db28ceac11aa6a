"""Language models as KerasHub presets: how they are built, loaded and saved, their output layer, and their FLOPs."""
