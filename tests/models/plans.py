"""How each family of the table is built small, and the sizes to try it at.

Where the example of the table is large its widths are reduced, and depths that no layer's name tells; its structure
stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from finercam._torchvision import import_torchvision
from finercam.models.families import Family

CLASSES = 3

Size = tuple[int, int]

#: These take more than about one and a half seconds.
SLOW = {
    "timm": {
        "caformer_s18",
        "coatnet_nano_rw_224",
        "convmixer_768_32",
        "davit_tiny",
        "dpn48b",
        "fastvit_t8",
        "focalnet_tiny_srf",
        "gcvit_xxtiny",
        "gmlp_ti16_224",
        "hiera_tiny_224",
        "inception_resnet_v2",
        "inception_v3",
        "inception_v4",
        "legacy_xception",
        "maxvit_tiny_tf_224",
        "mobilenetv4_hybrid_medium",
        "mobileone_s0",
        "mvitv2_base_cls",
        "mvitv2_tiny",
        "nest_tiny",
        "nfnet_l0",
        "repvit_m0_9",
        "res2net50_14w_8s",
        "resmlp_12_224",
        "resnest14d",
        "resnetv2_50",
        "resnext50_32x4d",
        "swinv2_tiny_window8_256",
        "tiny_vit_5m_224",
        "tnt_s_patch16_224",
        "twins_svt_small",
        "vgg11_bn",
        "vit_small_r26_s32_224",
        "volo_d1_224",
        "xception41",
    },
    "torchvision": {
        "alexnet",
        "convnext_tiny",
        "efficientnet_v2_s",
        "inception_v3",
        "maxvit_t",
        "resnext50_32x4d",
        "swin_v2_t",
        "vgg11_bn",
    },
}


@dataclass(frozen=True)
class Plan:
    """How a family is built and tried.

    Attributes:
        size: height and width of the images.
        stride: pixels per cell; the last cell may be cut off.
        other: another size, not square where the family allows it.
        rebuild: whether another size needs a model made for it. ``None``: the family takes one size only.
        sized: whether the model is made for a size (timm's ``img_size``).
        options: further arguments.
        trim: cells lost at the borders for want of padding.
    """

    size: Size = (128, 128)
    stride: int = 32
    other: Size | None = (96, 160)
    rebuild: bool = False
    sized: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    trim: int = 0

    def cells(self, size: Size) -> Size:
        """Height and width of the grid over an image of that size."""
        return -(-size[0] // self.stride) - self.trim, -(-size[1] // self.stride) - self.trim


def plan_of(family: Family) -> Plan:
    plans = {"timm": TIMM, "torchvision": TORCHVISION, "transformers": TRANSFORMERS, "open_clip": OPEN_CLIP}
    return plans[family.library].get(family.example, Plan())


def maker_of(family: Family) -> Callable[[Size], nn.Module]:
    makers = {"timm": _timm, "torchvision": _torchvision, "transformers": _transformers, "open_clip": _open_clip}
    return lambda size: makers[family.library](family, plan_of(family), size)


# --- timm --------------------------------------------------------------------------------------------------------

_NARROW = {"embed_dim": 96, "num_heads": 3}


def _vit(stride: int = 16, **options: Any) -> Plan:
    """Position embeddings are resized in the forward pass."""
    sizes = {"size": (6 * stride, 6 * stride), "other": (4 * stride, 7 * stride)}
    return Plan(stride=stride, sized=True, options={"dynamic_img_size": True, **options}, **sizes)


def _fixed(stride: int, size: Size, other: Size | None, **options: Any) -> Plan:
    """Made for one size."""
    return Plan(size, stride, other, rebuild=True, sized=True, options=options)


_UNPADDED = Plan((192, 192), 32, (160, 224), trim=2)

TIMM: dict[str, Plan] = {
    "inception_v3": _UNPADDED,
    "inception_v4": _UNPADDED,
    "inception_resnet_v2": _UNPADDED,
    "mobilevitv2_050": Plan(other=(128, 192)),
    "vit_tiny_patch16_224": _vit(),
    "vit_pwee_patch16_reg1_gap_256": _vit(),
    "vit_base_patch16_siglip_224": _vit(**_NARROW),
    "vit_base_patch16_siglip_gap_224": _vit(**_NARROW),
    "vit_small_r26_s32_224": _vit(32),
    "vit_base_patch32_clip_224": _vit(32, **_NARROW),
    "deit_tiny_patch16_224": _vit(),
    "deit_tiny_distilled_patch16_224": _vit(),
    "deit3_small_patch16_224": _vit(**_NARROW),
    "vit_small_patch14_dinov2": _vit(14, **_NARROW),
    "vit_small_patch14_reg4_dinov2": _vit(14, **_NARROW),
    "vit_small_patch16_dinov3": _vit(**_NARROW),
    "eva02_tiny_patch14_224": _vit(14),
    "eva02_base_patch16_clip_224": _vit(**_NARROW),
    "beit_base_patch16_224": _fixed(16, (96, 96), (64, 112), **_NARROW),
    "cait_xxs24_224": _fixed(16, (96, 96), None),
    "xcit_nano_12_p16_224": Plan((96, 96), 16, (64, 112)),
    "volo_d1_224": _fixed(16, (128, 128), None),
    "pit_ti_224": _fixed(32, (128, 128), None),
    "convit_tiny": _fixed(16, (96, 96), None),
    "tnt_s_patch16_224": _fixed(16, (96, 96), (64, 112)),
    "swin_tiny_patch4_window7_224": _fixed(32, (128, 128), (96, 160), window_size=4),
    "swinv2_tiny_window8_256": _fixed(32, (128, 128), (96, 160), window_size=4),
    "nest_tiny": _fixed(16, (128, 128), None),
    "maxvit_tiny_tf_224": _fixed(32, (128, 128), (96, 160)),
    "coatnet_nano_rw_224": _fixed(32, (128, 128), (96, 160)),
    "twins_svt_small": _fixed(32, (128, 128), (96, 160)),
    "mvitv2_tiny": _fixed(32, (128, 128), (96, 96)),
    "mvitv2_base_cls": _fixed(32, (128, 128), (96, 96)),
    "hiera_tiny_224": _fixed(32, (128, 128), (96, 160)),
    "gcvit_xxtiny": _fixed(32, (128, 128), (96, 160)),
    "levit_128s": _fixed(56, (224, 224), None),
    "efficientformer_l1": _fixed(32, (224, 224), None),
    "efficientformerv2_s0": _fixed(32, (224, 224), None),
    "mixer_s32_224": _fixed(32, (128, 128), (96, 160)),
    "resmlp_12_224": _fixed(16, (96, 96), (64, 112)),
    "gmlp_ti16_224": _fixed(16, (96, 96), (64, 112)),
    "convmixer_768_32": Plan((84, 84), 7, (56, 98)),
}


def _timm(family: Family, plan: Plan, size: Size) -> nn.Module:
    import_torchvision()
    import timm

    options = dict(plan.options) | ({"img_size": size} if plan.sized else {})
    return timm.create_model(family.example, num_classes=CLASSES, **options)


# --- torchvision -------------------------------------------------------------------------------------------------

TORCHVISION: dict[str, Plan] = {
    "googlenet": Plan(options={"init_weights": False}),
    "inception_v3": replace(_UNPADDED, options={"init_weights": False}),
    "squeezenet1_1": Plan((128, 128), 16, (96, 160), trim=1),
    "alexnet": Plan((224, 224), 32, (192, 288), trim=1),
    "vit_b_32": Plan((192, 192), 32, (128, 128), rebuild=True),
    "maxvit_t": Plan((224, 224), 32, None),
}


def _torchvision(family: Family, plan: Plan, size: Size) -> nn.Module:
    models = import_torchvision().models
    if family.example == "vit_b_32":
        return models.VisionTransformer(
            image_size=size[0],
            patch_size=32,
            num_layers=12,
            num_heads=3,
            hidden_dim=48,
            mlp_dim=96,
            num_classes=CLASSES,
        )
    module = models.get_model(family.example, weights=None, num_classes=CLASSES, **plan.options)
    if family.example == "squeezenet1_1":
        # Its logits are rectified: a class below zero has no map.
        module.classifier[1].bias.data.fill_(1.0)
    return module


# --- transformers ------------------------------------------------------------------------------------------------

_BLOCKS = {"hidden_size": 48, "num_hidden_layers": 12, "num_attention_heads": 4, "intermediate_size": 96}
_TEXT = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1, "vocab_size": 9}
_STAGES = {"hidden_sizes": [16, 24, 32, 48], "depths": [1, 1, 2, 1]}
_WINDOWS = {"embed_dim": 24, "depths": [1, 1, 2, 1], "num_heads": [1, 2, 4, 4], "window_size": 4, "patch_size": 4}


def _patches(other: Size | None = None, patch: int = 16, **options: Any) -> Plan:
    options = _BLOCKS | {"patch_size": patch} | options
    return Plan((6 * patch, 6 * patch), patch, other, rebuild=True, sized=True, options=options)


TRANSFORMERS: dict[str, Plan] = {
    "google/vit-base-patch16-224": _patches((64, 112)),
    "ViTMSNForImageClassification": _patches((64, 112)),
    "facebook/deit-tiny-distilled-patch16-224": _patches((64, 112)),
    "microsoft/beit-base-patch16-224": _patches((64, 112)),
    "facebook/data2vec-vision-base-ft1k": _patches((64, 112)),
    "facebook/dinov2-small-imagenet1k-1-layer": replace(_patches((56, 98), 14, mlp_ratio=2), rebuild=False),
    "facebook/dinov2-with-registers-small-imagenet1k-1-layer": replace(
        _patches((56, 98), 14, mlp_ratio=2), rebuild=False
    ),
    "IJepaForImageClassification": _patches((64, 112)),
    "CLIPForImageClassification": _patches((64, 64)),
    "SiglipForImageClassification": _patches((64, 64)),
    # Windows that do not fill the map are not masked as they should be.
    "microsoft/swin-tiny-patch4-window7-224": Plan(other=(128, 256), options=_WINDOWS, sized=True),
    "microsoft/swinv2-tiny-patch4-window8-256": Plan(options=_WINDOWS, sized=True),
    "facebook/hiera-tiny-224-in1k-hf": Plan(
        options={"embed_dim": 24, "depths": [1, 1, 2, 1]}, sized=True, rebuild=True
    ),
    "microsoft/focalnet-tiny": Plan(options={"embed_dim": 24, "depths": [1, 1, 2, 1]}, sized=True),
    "Xrenya/pvt-tiny-224": Plan(
        (128, 128),
        32,
        (96, 96),
        options={"hidden_sizes": [16, 24, 32, 48], "depths": [2, 2, 2, 2], "num_attention_heads": [1, 1, 2, 2]},
        sized=True,
        rebuild=True,
    ),
    "microsoft/cvt-13": Plan((96, 96), 16, (64, 112), options={"embed_dim": [16, 32, 48], "num_heads": [1, 2, 3]}),
    "facebook/levit-128S": Plan((224, 224), 56, None, sized=True),
    "OpenGVLab/pvt_v2_b0": Plan(options={"hidden_sizes": [16, 24, 32, 48], "num_attention_heads": [1, 1, 2, 2]}),
    "nvidia/mit-b0": Plan(options={"hidden_sizes": [16, 24, 32, 48], "num_attention_heads": [1, 1, 2, 2]}),
    "facebook/convnext-tiny-224": Plan(options=_STAGES),
    "facebook/convnextv2-atto-1k-224": Plan(options=_STAGES),
    "microsoft/resnet-18": Plan(options=_STAGES | {"embedding_size": 16, "layer_type": "basic"}),
    "facebook/regnet-y-040": Plan(options=_STAGES | {"embedding_size": 16, "groups_width": 8, "layer_type": "y"}),
    "google/efficientnet-b0": Plan(options={"width_coefficient": 0.5, "depth_coefficient": 1.0, "hidden_dim": 640}),
    "google/mobilenet_v1_0.75_192": Plan(options={"depth_multiplier": 0.5}),
    "google/mobilenet_v2_1.0_224": Plan(options={"depth_multiplier": 0.5}),
    "apple/mobilevit-xx-small": Plan(options={"hidden_sizes": [24, 32, 40]}),
    "apple/mobilevitv2-1.0-imagenet1k-256": Plan(other=(128, 192), options={"width_multiplier": 0.5}),
    "sail/poolformer_s12": Plan(options=_STAGES),
    "MBZUAI/swiftformer-xs": Plan((224, 224), other=None, options={"embed_dims": [16, 24, 32, 48]}),
}

_CLASSES = {
    "google/vit-base-patch16-224": "ViT",
    "facebook/deit-tiny-distilled-patch16-224": "DeiT",
    "microsoft/beit-base-patch16-224": "Beit",
    "facebook/data2vec-vision-base-ft1k": "Data2VecVision",
    "facebook/dinov2-small-imagenet1k-1-layer": "Dinov2",
    "facebook/dinov2-with-registers-small-imagenet1k-1-layer": "Dinov2WithRegisters",
    "microsoft/swin-tiny-patch4-window7-224": "Swin",
    "microsoft/swinv2-tiny-patch4-window8-256": "Swinv2",
    "facebook/hiera-tiny-224-in1k-hf": "Hiera",
    "microsoft/focalnet-tiny": "FocalNet",
    "Xrenya/pvt-tiny-224": "Pvt",
    "microsoft/cvt-13": "Cvt",
    "facebook/levit-128S": "Levit",
    "OpenGVLab/pvt_v2_b0": "PvtV2",
    "nvidia/mit-b0": "Segformer",
    "facebook/convnext-tiny-224": "ConvNext",
    "facebook/convnextv2-atto-1k-224": "ConvNextV2",
    "microsoft/resnet-18": "ResNet",
    "facebook/regnet-y-040": "RegNet",
    "google/efficientnet-b0": "EfficientNet",
    "google/mobilenet_v1_0.75_192": "MobileNetV1",
    "google/mobilenet_v2_1.0_224": "MobileNetV2",
    "apple/mobilevit-xx-small": "MobileViT",
    "apple/mobilevitv2-1.0-imagenet1k-256": "MobileViTV2",
    "sail/poolformer_s12": "PoolFormer",
    "MBZUAI/swiftformer-xs": "SwiftFormer",
}


def _transformers(family: Family, plan: Plan, size: Size) -> nn.Module:
    import_torchvision()
    import transformers

    name = _CLASSES.get(family.example, family.example.removesuffix("ForImageClassification"))
    options = dict(plan.options)
    if plan.sized:
        options["image_size"] = size if size[0] != size[1] or name == "Hiera" else size[0]
    if name in ("CLIP", "Siglip"):
        options = {"vision_config": options, "text_config": _TEXT}
    if name == "TimmWrapper":
        options = {"architecture": "resnet18"}
    config = getattr(transformers, f"{name}Config")(num_labels=CLASSES, **options)
    head = "ForImageClassificationWithTeacher" if name in ("DeiT", "Levit") else "ForImageClassification"
    return getattr(transformers, name + head)(config)


# --- open_clip ---------------------------------------------------------------------------------------------------

_TOWER = {"layers": 12, "width": 48, "head_width": 16, "patch_size": 16}

OPEN_CLIP: dict[str, Plan] = {
    "RN50/openai": Plan(other=(96, 96), rebuild=True, options={"layers": (3, 4, 6, 3), "width": 16}),
    "ViT-B-32/laion2b_s34b_b79k": Plan((96, 96), 16, (64, 112), rebuild=True, options=_TOWER),
    "coca_ViT-B-32/laion2b_s13b_b90k": Plan(
        (96, 96),
        16,
        (64, 112),
        rebuild=True,
        options=_TOWER | {"attentional_pool": True, "attn_pooler_heads": 1, "output_tokens": True},
    ),
    "ViT-B-16-SigLIP/webli": Plan((96, 96), 16, (64, 112), rebuild=True),
    "EVA02-B-16/merged2b_s8b_b131k": Plan((96, 96), 16, (64, 112), rebuild=True),
}

#: Towers of timm's are made through timm, whose arguments open_clip does not hand on.
_TRUNKS = {
    "ViT-B-16-SigLIP/webli": ("vit_base_patch16_siglip_224", _NARROW),
    "EVA02-B-16/merged2b_s8b_b131k": ("eva02_base_patch16_clip_224", _NARROW),
    "convnext_base/laion400m_s13b_b51k": ("convnext_atto", {}),
}


def _open_clip(family: Family, plan: Plan, size: Size) -> nn.Module:
    import_torchvision()
    import timm
    from open_clip.model import CLIPVisionCfg, _build_vision_tower
    from open_clip.timm_model import TimmModel

    if family.example not in _TRUNKS:
        config = CLIPVisionCfg(image_size=size if size[0] != size[1] else size[0], **plan.options)
        return _build_vision_tower(CLASSES, config)
    name, options = _TRUNKS[family.example]
    tower = TimmModel("test_vit", CLASSES, 160, pool="token", proj="linear")
    sized = {"img_size": size} if options else {}
    tower.trunk = timm.create_model(name, num_classes=0, **sized, **options)
    tower.head = nn.Sequential(nn.Linear(tower.trunk.num_features, CLASSES))
    return tower
