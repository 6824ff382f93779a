"""How ObjectNet's pictures are prepared for the models in model_description.py, once their red border is cut off.

PRESET has the loader do it: "objectnet" is the challenge's own (short side to 224, bilinear; centre 224; ImageNet's
mean and deviation). For another one, replace it with a transform of yours, as in the challenge's template; it gets a
PIL picture, and needs Pillow:

    class data_transform:
        def getTransform(self):
            return torchvision.transforms.Compose([...])
"""

PRESET = "objectnet"
