"""The families of classifiers that are known to work, and which layer is looked at in each.

The table is what tests hold the search for the layer (``finercam.models.layers``) to. Nothing looks models up
in it: the layer is found by watching the model run.
"""

from __future__ import annotations

from dataclasses import dataclass

POOLED = "pool + linear"
POOLED_TOKENS = "mean of tokens + linear"
POOLED_NORM = "pool + norm + linear"
POOLED_TOKENS_NORM = "mean of tokens + norm + linear"
POOLED_CONV = "pool + 1x1 convolution"
POOLED_MLP = "pool + hidden layer + linear"
CLASS_TOKEN = "class token"
TWO_TOKENS = "class and teacher token"
TOKEN_AND_MEAN = "class token beside mean of tokens"
ATTENTION = "attention pooling"


@dataclass(frozen=True)
class Family:
    """One family of one library.

    Attributes:
        title: what people call it.
        library: ``timm``, ``torchvision``, ``transformers`` or ``open_clip``.
        example: a model of it, so that ``LIBRARY/EXAMPLE`` can be loaded; the name of its class where no such
            classifier is well known.
        layer: dotted name of the target layer in that model.
        layout: of that layer's output, as in ``Grid``.
        head: how the logits come from the layer's output.
        prefix: tokens before the patches in that output.
        exact: whether the logits are one linear layer on the mean of the cells, so that gradients have a closed form.
    """

    title: str
    library: str
    example: str
    layer: str
    layout: str
    head: str
    prefix: int = 0
    exact: bool = False


def _nchw(title: str, library: str, example: str, layer: str, head: str = POOLED, exact: bool | None = None) -> Family:
    return Family(title, library, example, layer, "nchw", head, exact=head == POOLED if exact is None else exact)


def _tokens(title: str, library: str, example: str, layer: str, prefix: int, head: str = CLASS_TOKEN) -> Family:
    return Family(title, library, example, layer, "tokens", head, prefix, exact=head == POOLED_TOKENS)


FAMILIES: tuple[Family, ...] = (
    # --- timm: convolutional
    _nchw("ResNet", "timm", "resnet18", "layer4"),
    _nchw("ResNeXt", "timm", "resnext50_32x4d", "layer4"),
    _nchw("SE-ResNet", "timm", "seresnet18", "layer4"),
    _nchw("ResNeSt", "timm", "resnest14d", "layer4"),
    _nchw("Res2Net", "timm", "res2net50_14w_8s", "layer4"),
    _nchw("ResNet v2, BiT", "timm", "resnetv2_50", "norm", POOLED_CONV),
    _nchw("VGG", "timm", "vgg11_bn", "features", "fully connected layers"),
    _nchw("DenseNet", "timm", "densenet121", "features"),
    _nchw("Inception v3", "timm", "inception_v3", "Mixed_7c"),
    _nchw("Inception v4", "timm", "inception_v4", "features"),
    _nchw("Inception-ResNet v2", "timm", "inception_resnet_v2", "conv2d_7b"),
    _nchw("Xception", "timm", "legacy_xception", "act4"),
    _nchw("Aligned Xception", "timm", "xception41", "blocks"),
    _nchw("MobileNet v1", "timm", "mobilenetv1_100", "blocks"),
    _nchw("MobileNet v2", "timm", "mobilenetv2_050", "bn2"),
    _nchw("MobileNet v3", "timm", "mobilenetv3_small_050", "blocks", POOLED_MLP),
    _nchw("MobileNet v4", "timm", "mobilenetv4_conv_small_050", "blocks", POOLED_MLP),
    _nchw("MobileNet v4 hybrid", "timm", "mobilenetv4_hybrid_medium", "blocks", POOLED_MLP),
    _nchw("MobileOne", "timm", "mobileone_s0", "stages"),
    _nchw("MNASNet", "timm", "mnasnet_small", "bn2"),
    _nchw("MixNet", "timm", "mixnet_s", "bn2"),
    _nchw("EfficientNet", "timm", "efficientnet_b0", "bn2"),
    _nchw("EfficientNet v2", "timm", "tf_efficientnetv2_b0", "bn2"),
    _nchw("RegNet", "timm", "regnety_002", "s4"),
    _nchw("RepVGG", "timm", "repvgg_a0", "stages"),
    _nchw("ReXNet", "timm", "rexnet_100", "features"),
    _nchw("ConvNeXt", "timm", "convnext_atto", "stages", POOLED_NORM),
    _nchw("ConvNeXt v2", "timm", "convnextv2_atto", "stages", POOLED_NORM),
    _nchw("InceptionNeXt", "timm", "inception_next_atto", "stages", POOLED_MLP),
    _nchw("NFNet", "timm", "nfnet_l0", "final_act"),
    _nchw("GhostNet", "timm", "ghostnet_050", "blocks", POOLED_MLP),
    _nchw("HRNet", "timm", "hrnet_w18_small", "final_layer"),
    _nchw("DLA", "timm", "dla46_c", "level5", POOLED_CONV),
    _nchw("DPN", "timm", "dpn48b", "features", POOLED_CONV),
    _nchw("CSPNet, DarkNet", "timm", "cs3darknet_s", "stages"),
    _nchw("VoVNet", "timm", "ese_vovnet19b_dw", "stages"),
    _nchw("StarNet", "timm", "starnet_s1", "norm"),
    _nchw("FastViT", "timm", "fastvit_t8", "final_conv"),
    _nchw("RepViT", "timm", "repvit_m0_9", "stages", "pool + norm + two linear layers"),
    Family("MambaOut", "timm", "mambaout_femto", "stages", "nhwc", POOLED_MLP),
    # --- timm: transformers and mixers
    _tokens("ViT, class token", "timm", "vit_tiny_patch16_224", "blocks.11.norm1", 1),
    _tokens("ViT, average pooling", "timm", "vit_pwee_patch16_reg1_gap_256", "blocks", 1, POOLED_TOKENS_NORM),
    _tokens("ViT, attention pooling", "timm", "vit_base_patch16_siglip_224", "norm", 0, ATTENTION),
    _tokens("ViT, hybrid", "timm", "vit_small_r26_s32_224", "blocks.11.norm1", 1),
    _tokens("SigLIP, average pooling", "timm", "vit_base_patch16_siglip_gap_224", "norm", 0, POOLED_TOKENS),
    _tokens("CLIP ViT", "timm", "vit_base_patch32_clip_224", "blocks.11.norm1", 1),
    _nchw("CLIP ResNet", "timm", "resnet50_clip", "stages", ATTENTION),
    _tokens("DeiT", "timm", "deit_tiny_patch16_224", "blocks.11.norm1", 1),
    _tokens(
        "DeiT, distilled", "timm", "deit_tiny_distilled_patch16_224", "blocks.11.norm1", 2, "class and teacher token"
    ),
    _tokens("DeiT III", "timm", "deit3_small_patch16_224", "blocks.11.norm1", 1),
    _tokens("DINOv2", "timm", "vit_small_patch14_dinov2", "blocks.11.norm1", 1),
    _tokens("DINOv2, registers", "timm", "vit_small_patch14_reg4_dinov2", "blocks.11.norm1", 5),
    _tokens("DINOv3", "timm", "vit_small_patch16_dinov3", "norm", 5, POOLED_TOKENS),
    _tokens("EVA-02", "timm", "eva02_tiny_patch14_224", "blocks.11", 1, POOLED_TOKENS_NORM),
    _tokens("EVA-02 CLIP", "timm", "eva02_base_patch16_clip_224", "blocks.11.norm1", 1),
    _tokens("BEiT", "timm", "beit_base_patch16_224", "blocks.11", 1, POOLED_TOKENS_NORM),
    _tokens("CaiT", "timm", "cait_xxs24_224", "blocks_token_only.1.norm1", 1, "class attention"),
    _tokens("XCiT", "timm", "xcit_nano_12_p16_224", "cls_attn_blocks.1.norm1", 1, "class attention"),
    _tokens("VOLO", "timm", "volo_d1_224", "post_network.1.norm1", 1, "class attention"),
    _tokens("PiT", "timm", "pit_ti_224", "transformers.2.blocks.3.norm1", 1),
    _tokens("ConViT", "timm", "convit_tiny", "blocks.11.norm1", 1),
    _tokens("TNT", "timm", "tnt_s_patch16_224", "blocks.11.norm_out", 1),
    Family("Swin", "timm", "swin_tiny_patch4_window7_224", "norm", "nhwc", POOLED, exact=True),
    Family("Swin v2", "timm", "swinv2_tiny_window8_256", "norm", "nhwc", POOLED, exact=True),
    Family("NesT", "timm", "nest_tiny", "norm", "nhwc", POOLED, exact=True),
    _nchw("MaxViT", "timm", "maxvit_tiny_tf_224", "stages", "pool + norm + hidden layer + linear"),
    _nchw("CoAtNet", "timm", "coatnet_nano_rw_224", "norm"),
    _nchw("PVT v2", "timm", "pvt_v2_b0", "stages"),
    _tokens("Twins", "timm", "twins_svt_small", "norm", 0, POOLED_TOKENS),
    _tokens("MViT v2", "timm", "mvitv2_tiny", "norm", 0, POOLED_TOKENS),
    _tokens("MViT v2, class token", "timm", "mvitv2_base_cls", "stages.3.blocks.2.norm1", 1),
    _tokens("Hiera", "timm", "hiera_tiny_224", "blocks.11", 0, POOLED_TOKENS_NORM),
    _nchw("MobileViT", "timm", "mobilevit_xxs", "final_conv"),
    _nchw("MobileViT v2", "timm", "mobilevitv2_050", "stages"),
    _nchw("EdgeNeXt", "timm", "edgenext_xx_small", "stages", POOLED_NORM),
    _nchw("EfficientViT", "timm", "efficientvit_b0", "head.in_conv", POOLED_MLP),
    _nchw("TinyViT", "timm", "tiny_vit_5m_224", "stages", POOLED_NORM),
    _nchw("DaViT", "timm", "davit_tiny", "stages", POOLED_NORM),
    _nchw("GCViT", "timm", "gcvit_xxtiny", "stages"),
    _nchw("FocalNet", "timm", "focalnet_tiny_srf", "norm"),
    _tokens("LeViT", "timm", "levit_128s", "stages", 0, "mean of tokens + norm + two linear layers"),
    _tokens("EfficientFormer", "timm", "efficientformer_l1", "norm", 0, "mean of tokens + two linear layers"),
    _nchw("EfficientFormer v2", "timm", "efficientformerv2_s0", "norm", "pool + two linear layers"),
    _nchw("PoolFormer", "timm", "poolformer_s12", "stages", POOLED_NORM),
    _nchw("CAFormer", "timm", "caformer_s18", "stages", POOLED_NORM),
    _tokens("MLP-Mixer", "timm", "mixer_s32_224", "norm", 0, POOLED_TOKENS),
    _tokens("ResMLP", "timm", "resmlp_12_224", "blocks", 0, "norm + mean of tokens + linear"),
    _tokens("gMLP", "timm", "gmlp_ti16_224", "norm", 0, POOLED_TOKENS),
    _nchw("ConvMixer", "timm", "convmixer_768_32", "blocks"),
    # --- torchvision
    _nchw("AlexNet", "torchvision", "alexnet", "features", "fully connected layers"),
    _nchw("VGG", "torchvision", "vgg11_bn", "features", "fully connected layers"),
    _nchw("ResNet", "torchvision", "resnet18", "layer4"),
    _nchw("ResNeXt", "torchvision", "resnext50_32x4d", "layer4"),
    # The activation after the last norm is a function, not a layer.
    _nchw("DenseNet", "torchvision", "densenet121", "features", "activation + pool + linear"),
    _nchw("GoogLeNet", "torchvision", "googlenet", "inception5b"),
    _nchw("Inception v3", "torchvision", "inception_v3", "Mixed_7c"),
    _nchw("SqueezeNet", "torchvision", "squeezenet1_1", "classifier.2", "pool"),
    _nchw("ShuffleNet v2", "torchvision", "shufflenet_v2_x0_5", "conv5"),
    _nchw("MNASNet", "torchvision", "mnasnet0_5", "layers"),
    _nchw("MobileNet v2", "torchvision", "mobilenet_v2", "features"),
    _nchw("MobileNet v3", "torchvision", "mobilenet_v3_small", "features", POOLED_MLP),
    _nchw("EfficientNet", "torchvision", "efficientnet_b0", "features"),
    _nchw("EfficientNet v2", "torchvision", "efficientnet_v2_s", "features"),
    _nchw("RegNet", "torchvision", "regnet_y_400mf", "trunk_output"),
    _nchw("ConvNeXt", "torchvision", "convnext_tiny", "features", POOLED_NORM),
    _tokens("ViT", "torchvision", "vit_b_32", "encoder.layers.encoder_layer_11.ln_1", 1),
    _nchw("Swin", "torchvision", "swin_t", "permute"),
    _nchw("Swin v2", "torchvision", "swin_v2_t", "permute"),
    _nchw("MaxViT", "torchvision", "maxvit_t", "blocks.3", "pool + norm + hidden layer + linear"),
    # --- transformers
    _tokens("ViT", "transformers", "google/vit-base-patch16-224", "vit.layers.11.layernorm_before", 1),
    _tokens("ViT-MSN", "transformers", "ViTMSNForImageClassification", "vit.layers.11.layernorm_before", 1),
    _tokens(
        "DeiT",
        "transformers",
        "facebook/deit-tiny-distilled-patch16-224",
        "deit.layers.11.layernorm_before",
        2,
        TWO_TOKENS,
    ),
    _tokens("BEiT", "transformers", "microsoft/beit-base-patch16-224", "beit.layers.11", 1, POOLED_TOKENS_NORM),
    _tokens(
        "Data2Vec",
        "transformers",
        "facebook/data2vec-vision-base-ft1k",
        "data2vec_vision.encoder",
        1,
        POOLED_TOKENS_NORM,
    ),
    _tokens("DINOv2", "transformers", "facebook/dinov2-small-imagenet1k-1-layer", "dinov2", 1, TOKEN_AND_MEAN),
    _tokens(
        "DINOv2, registers",
        "transformers",
        "facebook/dinov2-with-registers-small-imagenet1k-1-layer",
        "dinov2_with_registers",
        5,
        TOKEN_AND_MEAN,
    ),
    _tokens("I-JEPA", "transformers", "IJepaForImageClassification", "ijepa", 0, POOLED_TOKENS),
    _tokens("CLIP", "transformers", "CLIPForImageClassification", "vision_model", 1, POOLED_TOKENS),
    _tokens("SigLIP", "transformers", "SiglipForImageClassification", "vision_model", 0, POOLED_TOKENS),
    _tokens("Swin", "transformers", "microsoft/swin-tiny-patch4-window7-224", "swin.layernorm", 0, POOLED_TOKENS),
    _tokens(
        "Swin v2", "transformers", "microsoft/swinv2-tiny-patch4-window8-256", "swinv2.layernorm", 0, POOLED_TOKENS
    ),
    _tokens("Hiera", "transformers", "facebook/hiera-tiny-224-in1k-hf", "hiera.encoder", 0, POOLED_TOKENS_NORM),
    _tokens("FocalNet", "transformers", "microsoft/focalnet-tiny", "focalnet.layernorm", 0, POOLED_TOKENS),
    _tokens("PVT", "transformers", "Xrenya/pvt-tiny-224", "pvt.encoder.block.3.1.layer_norm_1", 1),
    _tokens("CvT", "transformers", "microsoft/cvt-13", "cvt.encoder.stages.2.layers.9.layernorm_before", 1),
    _tokens("LeViT", "transformers", "facebook/levit-128S", "levit", 0, "mean of tokens + norm + two linear layers"),
    _nchw("PVT v2", "transformers", "OpenGVLab/pvt_v2_b0", "pvt_v2"),
    _nchw("SegFormer", "transformers", "nvidia/mit-b0", "segformer"),
    _nchw("ConvNeXt", "transformers", "facebook/convnext-tiny-224", "convnext.encoder", POOLED_NORM),
    _nchw("ConvNeXt v2", "transformers", "facebook/convnextv2-atto-1k-224", "convnextv2.encoder", POOLED_NORM),
    _nchw("ResNet", "transformers", "microsoft/resnet-18", "resnet.encoder"),
    _nchw("RegNet", "transformers", "facebook/regnet-y-040", "regnet.encoder"),
    _nchw("EfficientNet", "transformers", "google/efficientnet-b0", "efficientnet.encoder"),
    _nchw("MobileNet v1", "transformers", "google/mobilenet_v1_0.75_192", "mobilenet_v1.layer.25"),
    _nchw("MobileNet v2", "transformers", "google/mobilenet_v2_1.0_224", "mobilenet_v2.conv_1x1"),
    _nchw("MobileViT", "transformers", "apple/mobilevit-xx-small", "mobilevit.conv_1x1_exp"),
    _nchw("MobileViT v2", "transformers", "apple/mobilevitv2-1.0-imagenet1k-256", "mobilevitv2.encoder"),
    _nchw("PoolFormer", "transformers", "sail/poolformer_s12", "norm"),
    _nchw("SwiftFormer", "transformers", "MBZUAI/swiftformer-xs", "norm", "pool + two linear layers"),
    _nchw("timm's models", "transformers", "TimmWrapperForImageClassification", "timm_model.layer4"),
    # --- open_clip: the logits are the dimensions of the embedding
    _nchw("CLIP ResNet", "open_clip", "RN50/openai", "layer4", ATTENTION),
    _tokens("CLIP ViT", "open_clip", "ViT-B-32/laion2b_s34b_b79k", "transformer.resblocks.11.ln_1", 1),
    _tokens("CoCa", "open_clip", "coca_ViT-B-32/laion2b_s13b_b90k", "attn_pool.ln_k", 1, ATTENTION),
    _tokens("SigLIP", "open_clip", "ViT-B-16-SigLIP/webli", "trunk.norm", 0, ATTENTION),
    _tokens("EVA-02 CLIP", "open_clip", "EVA02-B-16/merged2b_s8b_b131k", "trunk.blocks.11.norm1", 1),
    _nchw("ConvNeXt CLIP", "open_clip", "convnext_base/laion400m_s13b_b51k", "trunk.stages", POOLED_NORM),
)
