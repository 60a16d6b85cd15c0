"""Use the winner of a study: load it from its folder, classify images, export it for other runtimes.

model.py        the folder that `hpo evaluate` wrote, as a network on images of 0..1
predicting.py   image files in, classes and probabilities out
exporting.py    ONNX and torch.export files that give the same outputs
"""
