"""The winner of a study in use: loaded from its folder, asked about images, exported for other runtimes.

model.py        the folder that `hpo evaluate` wrote, as a network on images of 0..1
predicting.py   image files in, classes and probabilities out
exporting.py    ONNX and torch.export files that give the same answers
"""
