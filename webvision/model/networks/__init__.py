"""The networks beside the ResNets: mobile (MobileNetV2, EfficientNet), mobilenet_v4, regnet, convnext; layers is what
all of them are made of. Each is a function of a tensor, and a row of webvision.model.backbones."""
